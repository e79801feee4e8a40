//! Whose a run is, and for how long: a lease in the job's own row. It ends at `due_at` by the
//! database's clock unless it is renewed; whoever then looks at the job finds it due.

use std::{collections::HashSet, time::Duration};

use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, AssertSqlSafe, Row, any::AnyRow};

use super::{
    Backoff, Job, Jobs,
    job::{Run, millis, unreadable},
};
use crate::database::{Batch, Dialect, Result};

/// What has to be known of a job that is due.
pub(super) const COLUMNS: &str =
    "id, queue, tenant, subject, kind, payload, attempts, owner, tried_since, trace";
/// Why a run failed whose lease ran out.
const LEFT: &str = "the process that ran it ended, or could not show that it still ran it";

impl Jobs {
    /// Begins runs of up to `most` jobs of `queue` that are due, the oldest first, each for `lease`.
    /// A job whose lease has run out is not among them: that run has failed, and the next one is
    /// due as `backoff` says.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take(
        &self,
        queue: &'static str,
        most: usize,
        lease: Duration,
        backoff: Backoff,
    ) -> Result<Vec<Job>> {
        let dialect = self.database().dialect();
        self.take_due(queue, lease, backoff, move |connection| {
            Box::pin(due(connection, dialect, queue, most))
        })
        .await
    }

    /// Begins runs of the jobs whose rows `due` finds, which are [`COLUMNS`] and `now`.
    pub(super) async fn take_due(
        &self,
        queue: &'static str,
        lease: Duration,
        backoff: Backoff,
        due: impl for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<Vec<AnyRow>>>
        + Send
        + 'static,
    ) -> Result<Vec<Job>> {
        let (dialect, owner) = (self.database().dialect(), self.owner());
        let taking = self.write(move |connection| {
            Box::pin(async move {
                let due = due(connection).await?;
                let (mut jobs, mut batch) = (Vec::new(), Batch::new(connection));
                for row in &due {
                    let now: i64 = row.try_get("now")?;
                    if row.try_get::<Option<String>, _>("owner")?.is_none() {
                        jobs.push(Job::taken(row, now)?);
                    } else {
                        batch = fail_left(batch, row, now, backoff)?;
                    }
                }
                if !jobs.is_empty() {
                    batch = begin(batch, dialect, owner, lease, &jobs);
                }
                if !due.is_empty() {
                    batch.run(connection).await?;
                }
                Ok((due.len() - jobs.len(), jobs))
            })
        });
        let (left, jobs) = taking.await?;
        if left > 0 {
            tracing::warn!(queue, jobs = left, "jobs were left by a process that is gone");
        }
        Ok(jobs)
    }

    /// How long until the next job of `queue` is due, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_due(&self, queue: &'static str) -> Result<Option<Duration>> {
        const SQL: &str = "\
            SELECT due_at - {now} AS wait FROM jobs WHERE queue = $1 AND due_at IS NOT NULL \
            ORDER BY due_at LIMIT 1";
        let sql = AssertSqlSafe(SQL.replace("{now}", self.database().dialect().now()));
        self.read(move |connection| {
            Box::pin(async move {
                let Some(row) = sqlx::query(sql).bind(queue).fetch_optional(connection).await?
                else {
                    return Ok(None);
                };
                let wait: i64 = row.try_get("wait")?;
                Ok(Some(Duration::from_millis(u64::try_from(wait).unwrap_or_default())))
            })
        })
        .await
    }

    /// Lets these runs go on for `lease` from now; those that are still this owner's.
    pub(super) async fn renew(&self, runs: &[Run], lease: Duration) -> Result<HashSet<Run>> {
        const SQL: &str = "UPDATE jobs SET due_at = {now} + $1 WHERE owner = $2 AND ";
        let sql = SQL.replace("{now}", self.database().dialect().now());
        let (owner, runs) = (self.owner(), runs.to_vec());
        self.write(move |connection| {
            Box::pin(async move {
                let batch = Batch::new(connection)
                    .statement(&format!("{sql}{} RETURNING id, attempts", among(3, runs.len())));
                let batch = batch.bind(millis(lease)).bind(owner);
                let outcome = bind_all(batch, &runs).run(connection).await?;
                outcome.rows.iter().map(run_of).collect()
            })
        })
        .await
    }

    /// Gives runs back as if they had never begun.
    pub(super) async fn give_back(&self, runs: Vec<Run>) -> Result<()> {
        const SQL: &str = "\
            UPDATE jobs SET owner = NULL, attempts = attempts - 1, due_at = {now} WHERE owner = $1 AND ";
        let sql = SQL.replace("{now}", self.database().dialect().now());
        let owner = self.owner();
        self.write(move |connection| {
            Box::pin(async move {
                let sql = format!("{sql}{}", among(2, runs.len()));
                let batch = Batch::new(connection).statement(&sql).bind(owner);
                bind_all(batch, &runs).run(connection).await?;
                Ok(())
            })
        })
        .await
    }

    /// Ends the leases of processes before this one, where it knows that they are gone: a SQLite
    /// file has one server at a time, and nothing else runs jobs.
    pub(super) async fn end_leases_of_the_gone(&self, queue: &'static str) -> Result<()> {
        const SQL: &str = "\
            UPDATE jobs SET due_at = {now} WHERE queue = $1 AND due_at > {now} AND owner <> $2";
        let (dialect, owner) = (self.database().dialect(), self.owner());
        if dialect == Dialect::Postgres {
            return Ok(());
        }
        let sql = AssertSqlSafe(SQL.replace("{now}", dialect.now()));
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(sql).bind(queue).bind(owner).execute(connection).await?;
                Ok(())
            })
        })
        .await
    }
}

/// The rows that are due, which nobody else takes until the transaction ends.
async fn due(
    connection: &mut AnyConnection,
    dialect: Dialect,
    queue: &'static str,
    most: usize,
) -> Result<Vec<AnyRow>> {
    let sql = format!(
        "SELECT {COLUMNS}, {now} AS now FROM jobs WHERE queue = $1 AND due_at <= {now} \
         ORDER BY due_at LIMIT $2{lock}",
        now = dialect.now(),
        lock = dialect.skip_locked()
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let query = sqlx::query(AssertSqlSafe(sql)).bind(queue).bind(most);
    Ok(query.fetch_all(connection).await?)
}

fn begin(batch: Batch, dialect: Dialect, owner: String, lease: Duration, jobs: &[Job]) -> Batch {
    let numbers: Vec<_> = (3..).take(jobs.len()).map(|number| format!("${number}")).collect();
    let batch = batch.statement(&format!(
        "UPDATE jobs SET owner = $1, attempts = attempts + 1, due_at = {} + $2 WHERE id IN ({})",
        dialect.now(),
        numbers.join(", ")
    ));
    let batch = batch.bind(owner).bind(millis(lease));
    jobs.iter().fold(batch, |batch, job| batch.bind(job.id.clone()))
}

/// The run that `row` tells of has failed: its lease ran out.
fn fail_left(batch: Batch, row: &AnyRow, now: i64, backoff: Backoff) -> Result<Batch> {
    const SQL: &str =
        "UPDATE jobs SET owner = NULL, error = $1, due_at = $2, died_at = $3 WHERE id = $4";
    let attempts: i64 = row.try_get("attempts")?;
    let tried_for = now - row.try_get::<i64, _>("tried_since")?;
    let wait = backoff.after(
        u64::try_from(attempts).map_err(unreadable)?,
        Duration::from_millis(u64::try_from(tried_for).unwrap_or_default()),
        None,
    );
    let due_at = wait.map(|wait| now.saturating_add(millis(wait)));
    let died_at = wait.is_none().then_some(now);
    let id: String = row.try_get("id")?;
    Ok(batch.statement(SQL).bind(LEFT.to_owned()).bind(due_at).bind(died_at).bind(id))
}

/// The condition that a row is of one of `count` runs, which are bound as parameters from `$first`.
pub(super) fn among(first: usize, count: usize) -> String {
    let numbers = || (first..).step_by(2).take(count);
    let ids: Vec<_> = numbers().map(|number| format!("${number}")).collect();
    let pairs: Vec<_> = numbers().map(|number| format!("(${number}, ${})", number + 1)).collect();
    // SQLite would read all rows for the pairs alone; by the ids it finds them.
    format!("id IN ({}) AND (id, attempts) IN (VALUES {})", ids.join(", "), pairs.join(", "))
}

pub(super) fn bind_all<'a>(batch: Batch, runs: impl IntoIterator<Item = &'a Run>) -> Batch {
    runs.into_iter().fold(batch, |batch, run| batch.bind(run.id.clone()).bind(run.attempt))
}

pub(super) fn run_of(row: &AnyRow) -> Result<Run> {
    Ok(Run { id: row.try_get("id")?, attempt: row.try_get("attempts")? })
}
