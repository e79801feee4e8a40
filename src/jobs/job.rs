//! A job, and how one is added.

use std::time::{Duration, Instant};

use sqlx::{Row, any::AnyRow};

use crate::{
    database::{Batch, Error, ErrorKind, Result},
    trace,
};

/// A job that is to be added.
#[derive(Clone, Copy, Debug)]
pub struct NewJob<'a> {
    /// What it is known by among all jobs. Made of what asks for it, so that to ask twice is to ask
    /// once: `{event}:{webhook}`.
    pub id: &'a str,
    /// Which workers do it.
    pub queue: &'static str,
    /// For whom it is.
    pub tenant: &'a str,
    /// What it is about, such as an image's id.
    pub subject: &'a str,
    /// Which of the queue's kinds of work, such as a step's name.
    pub kind: &'a str,
    /// What its worker has to know.
    pub payload: &'a str,
    /// How long it waits at least.
    pub after: Duration,
}

/// A job that is being run.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it is known by among all jobs.
    pub id: String,
    /// Which workers do it.
    pub queue: String,
    /// For whom it is.
    pub tenant: String,
    /// What it is about.
    pub subject: String,
    /// Which of the queue's kinds of work.
    pub kind: String,
    /// What its worker has to know.
    pub payload: String,
    /// Which run this is, from 1.
    pub attempts: u64,
    /// What it was added within, see [`trace::stored`].
    pub(super) trace: Option<String>,
    /// How long it had been tried when it was taken.
    tried_for: Duration,
    taken: Instant,
}

/// Adds a job to what `batch` will do, unless there is one of its id. Once that is committed,
/// [`wake`](super::Jobs::wake) its queue. Its runs belong to the trace that is current now.
pub fn add(batch: Batch, job: &NewJob<'_>) -> Batch {
    const SQL: &str = "\
        INSERT INTO jobs (id, queue, tenant, subject, kind, payload, due_at, created_at, tried_since, trace) \
        VALUES ($1, $2, $3, $4, $5, $6, {now} + $7, {now}, {now}, $8) ON CONFLICT (id) DO NOTHING";
    let sql = SQL.replace("{now}", batch.dialect().now());
    batch
        .statement(&sql)
        .bind(job.id.to_owned())
        .bind(job.queue.to_owned())
        .bind(job.tenant.to_owned())
        .bind(job.subject.to_owned())
        .bind(job.kind.to_owned())
        .bind(job.payload.to_owned())
        .bind(millis(job.after))
        .bind(trace::stored())
}

/// Adds a job for each row that the query `rows` selects, unless there is one of its id: `id`,
/// `queue`, `tenant`, `subject`, `kind` and `payload`, in this order. Its parameters, which begin at `$2`, are to
/// be bound.
pub fn add_each(batch: Batch, rows: &str) -> Batch {
    let now = batch.dialect().now();
    // SQLite cannot tell a join's ON from that of the conflict without the WHERE.
    let batch = batch.statement(&format!(
        "INSERT INTO jobs (id, queue, tenant, subject, kind, payload, due_at, created_at, tried_since, trace) \
         SELECT asked.*, {now}, {now}, {now}, CAST($1 AS TEXT) FROM ({rows}) AS asked WHERE true \
         ON CONFLICT (id) DO NOTHING"
    ));
    batch.bind(trace::stored())
}

impl Job {
    /// How long it has been tried: since it was added, or asked for again.
    pub fn tried_for(&self) -> Duration {
        self.tried_for + self.taken.elapsed()
    }

    /// The job of a row that is being taken at `now`, by the database's clock.
    pub(super) fn taken(row: &AnyRow, now: i64) -> Result<Self> {
        let tried_since: i64 = row.try_get("tried_since")?;
        let attempts: i64 = row.try_get("attempts")?;
        Ok(Self {
            id: row.try_get("id")?,
            queue: row.try_get("queue")?,
            tenant: row.try_get("tenant")?,
            subject: row.try_get("subject")?,
            kind: row.try_get("kind")?,
            payload: row.try_get("payload")?,
            trace: row.try_get("trace")?,
            attempts: u64::try_from(attempts + 1).map_err(unreadable)?,
            tried_for: Duration::from_millis(u64::try_from(now - tried_since).unwrap_or_default()),
            taken: Instant::now(),
        })
    }

    /// What tells this run of the job from any other.
    pub(super) fn run(&self) -> Run {
        let attempt = i64::try_from(self.attempts).unwrap_or(i64::MAX);
        Run { id: self.id.clone(), attempt }
    }
}

/// A run of a job, among those of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) attempt: i64,
}

/// Milliseconds, as the table has them.
pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

/// A column that does not have what this module writes into it.
pub(super) fn unreadable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Internal, cause)
}
