//! Statements that run right after one another. SQLite takes all of a batch in one visit to its
//! thread, and a visit costs more than most statements do.

use futures_util::TryStreamExt;
use sqlx::{
    Any, AnyConnection, Arguments as _, AssertSqlSafe, Either, Encode, Executor, Type,
    any::{AnyArguments, AnyRow},
};

use super::Dialect;

/// Statements to run. Each has parameters of its own, which begin at `$1`.
pub struct Batch {
    /// Statements that go together, and their arguments.
    parts: Vec<(String, AnyArguments)>,
    /// Whether all of them go together.
    joined: bool,
    failed: Option<sqlx::Error>,
}

/// What a batch came to.
pub struct Outcome {
    /// The rows that the last statement changed; if it only reads, any number.
    pub affected: u64,
    /// The rows that they returned.
    pub rows: Vec<AnyRow>,
}

impl Batch {
    /// No statements yet, for this connection.
    pub fn new(connection: &AnyConnection) -> Self {
        Self { parts: Vec::new(), joined: connection.backend_name() == "SQLite", failed: None }
    }

    /// What is spoken where it will run.
    pub fn dialect(&self) -> Dialect {
        if self.joined { Dialect::Sqlite } else { Dialect::Postgres }
    }

    /// Adds a statement.
    pub fn statement(mut self, sql: &str) -> Self {
        match self.parts.last_mut().filter(|_| self.joined) {
            Some((joined, arguments)) => {
                joined.push_str("; ");
                push_shifted(joined, sql, arguments.len());
            }
            None => self.parts.push((sql.to_owned(), AnyArguments::default())),
        }
        self
    }

    /// Binds the next parameter of the statement that was added last.
    pub fn bind(mut self, value: impl for<'q> Encode<'q, Any> + Type<Any>) -> Self {
        if let Some((_, arguments)) = self.parts.last_mut()
            && let Err(error) = arguments.add(value)
        {
            self.failed = Some(sqlx::Error::Encode(error));
        }
        self
    }

    /// Runs them, until one fails.
    ///
    /// # Errors
    /// When one fails. What those before it did stands in the transaction.
    pub async fn run(self, connection: &mut AnyConnection) -> sqlx::Result<Outcome> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut outcome = Outcome { affected: 0, rows: Vec::new() };
        for (sql, arguments) in self.parts {
            // Made of the callers' constants only.
            let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
            let mut results = connection.fetch_many(query);
            while let Some(result) = results.try_next().await? {
                match result {
                    Either::Left(done) => outcome.affected = done.rows_affected(),
                    Either::Right(row) => outcome.rows.push(row),
                }
            }
        }
        Ok(outcome)
    }
}

/// Adds a statement whose parameters come behind `count` others.
fn push_shifted(to: &mut String, sql: &str, count: usize) {
    let mut pieces = sql.split('$');
    to.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = piece.split_at(digits);
        let number = number.parse::<usize>().unwrap_or_default() + count;
        to.push('$');
        to.push_str(itoa::Buffer::new().format(number));
        to.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_on() {
        let mut sql = "SELECT $1; ".to_owned();
        push_shifted(&mut sql, "UPDATE t SET a = $1, b = $12 WHERE c = $2", 1);
        assert_eq!(sql, "SELECT $1; UPDATE t SET a = $2, b = $13 WHERE c = $3");
    }
}
