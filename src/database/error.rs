//! The database's error: a kind that callers decide by, and the cause for the log.

use std::{error::Error as StdError, fmt};

use super::metrics;

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The database cannot be reached, is too busy, or ran out of room: worth a later try.
    /// Whether a transaction that was being committed took place is not known.
    Unavailable,
    /// A row with this key is there already.
    Taken,
    /// A defect: wrong SQL, a value that cannot be read.
    Internal,
}

/// An error of a database operation.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// An error of `kind`, because of `source`.
    pub fn new(kind: ErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        metrics::failed(kind);
        Self { kind, source: source.into() }
    }

    /// What a caller decides by.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ErrorKind::Unavailable => "the database is unavailable",
            ErrorKind::Taken => "the row exists already",
            ErrorKind::Internal => "the database failed",
        })
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Database(answer) if answer.is_unique_violation() => ErrorKind::Taken,
            sqlx::Error::Database(answer) => {
                let code = answer.code().unwrap_or_default();
                let passing = is_passing_in_sqlite(&code) || is_passing_in_postgres(&code);
                if passing { ErrorKind::Unavailable } else { ErrorKind::Internal }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, error)
    }
}

/// <https://sqlite.org/rescode.html>: BUSY, LOCKED, NOMEM, IOERR, FULL and CANTOPEN, in their
/// lowest byte.
fn is_passing_in_sqlite(code: &str) -> bool {
    code.len() < 5
        && code.parse::<u32>().is_ok_and(|c| matches!(c & 0xff, 5 | 6 | 7 | 10 | 13 | 14))
}

/// The PostgreSQL manual's appendix A: connection exceptions, rolled back transactions,
/// insufficient resources, operator intervention, system errors, and what a starting or
/// read-only server says.
fn is_passing_in_postgres(code: &str) -> bool {
    code.len() == 5
        && (["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            || matches!(code, "25006" | "55P03"))
}
