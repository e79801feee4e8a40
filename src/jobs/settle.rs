//! How runs end: many at a time, each only if it is still its owner's.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Job, Jobs, PAGE,
    job::{Run, millis},
    lease::{among, bind_all, run_of},
    one_line,
    outcome::{Also, Done},
};
use crate::database::{Batch, Dialect, Result};

/// How a run ends.
#[derive(Clone)]
pub(super) enum End {
    /// The job is removed, and what comes with it written.
    Done(Arc<Done>),
    /// It is due again after this time.
    Again(Duration, String),
    /// It is due after this time, as if it had not run; and so is what else is due about this.
    Later(Duration, Option<String>),
    /// It is a dead letter.
    Dead(String),
}

impl Jobs {
    /// Ends the run of `job`, which is done: removes it, and writes what `also` adds in the same
    /// transaction. Whether the run was still this owner's; if not, nothing is written.
    ///
    /// # Errors
    /// When the database fails, or what `also` adds is refused; then the run has not ended.
    pub async fn finish(
        &self,
        job: &Job,
        also: impl Fn(Batch) -> Batch + Send + Sync + 'static,
    ) -> Result<bool> {
        self.settle_one(job, End::Done(Arc::new(Done::with(also)))).await
    }

    /// Ends the run of `job`, which failed for `error` and is due again after `wait`. Whether the run
    /// was still this owner's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retry_after(&self, job: &Job, wait: Duration, error: &str) -> Result<bool> {
        self.settle_one(job, End::Again(wait, error.to_owned())).await
    }

    /// Ends the run of `job`, which failed for `error` and for good: it is a dead letter. Whether the
    /// run was still this owner's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bury(&self, job: &Job, error: &str) -> Result<bool> {
        self.settle_one(job, End::Dead(error.to_owned())).await
    }

    async fn settle_one(&self, job: &Job, end: End) -> Result<bool> {
        let run = job.run();
        Ok(self.settle(&job.queue, vec![(run.clone(), end)]).await?.contains(&run))
    }

    /// Ends runs of jobs of `queue` in one transaction; those that were still this owner's. Of the others
    /// nothing is written: they are somebody else's, or gone.
    ///
    /// # Errors
    /// When the database fails, or what one of them writes is refused; then none has ended.
    pub(super) async fn settle(&self, queue: &str, ends: Vec<(Run, End)>) -> Result<HashSet<Run>> {
        let (dialect, owner) = (self.database().dialect(), self.owner());
        let queue = queue.to_owned();
        let settling = self.write(move |connection| {
            Box::pin(async move {
                let marked = mark(Batch::new(connection), dialect, &owner, &ends);
                let marked = marked.run(connection).await?;
                let own = marked.rows.iter().map(run_of).collect::<Result<HashSet<_>>>()?;
                let ended = || ends.iter().filter(|(run, _)| own.contains(run)).map(|(_, end)| end);
                let with: Vec<_> = ended().filter_map(also).collect();
                let off: BTreeMap<_, _> = ended().filter_map(all_later).collect();
                if !with.is_empty() || !off.is_empty() {
                    let batch = with.iter().fold(Batch::new(connection), |batch, also| also(batch));
                    let put_off = |batch, (about, wait)| put_off(batch, &queue, about, wait);
                    off.into_iter().fold(batch, put_off).run(connection).await?;
                }
                Ok(own)
            })
        });
        settling.await
    }
}

/// The statements that end the runs' rows, and return those that they found.
fn mark(batch: Batch, dialect: Dialect, owner: &str, ends: &[(Run, End)]) -> Batch {
    const AGAIN: &str = "\
        UPDATE jobs SET owner = NULL, error = $1, due_at = {now} + $2 \
        WHERE id = $3 AND attempts = $4 AND owner = $5 RETURNING id, attempts";
    const LATER: &str = "\
        UPDATE jobs SET owner = NULL, attempts = attempts - 1, due_at = {now} + $1, \
        tried_since = tried_since + $1 \
        WHERE id = $2 AND attempts = $3 AND owner = $4 RETURNING id, attempts + 1 AS attempts";
    const DEAD: &str = "\
        UPDATE jobs SET owner = NULL, error = $1, due_at = NULL, died_at = {now} \
        WHERE id = $2 AND attempts = $3 AND owner = $4 RETURNING id, attempts";
    let is_done = |(_, end): &&(Run, End)| matches!(end, End::Done(_));
    let done: Vec<_> = ends.iter().filter(is_done).map(|(run, _)| run).collect();
    let mut batch = batch;
    if !done.is_empty() {
        let condition = among(2, done.len());
        let sql =
            format!("DELETE FROM jobs WHERE owner = $1 AND {condition} RETURNING id, attempts");
        batch = bind_all(batch.statement(&sql).bind(owner.to_owned()), done);
    }
    for (run, end) in ends {
        batch = match end {
            End::Done(_) => continue,
            End::Again(wait, error) => {
                let batch = batch.statement(&AGAIN.replace("{now}", dialect.now()));
                batch.bind(one_line(error)).bind(millis(*wait))
            }
            End::Later(wait, _) => {
                batch.statement(&LATER.replace("{now}", dialect.now())).bind(millis(*wait))
            }
            End::Dead(error) => {
                batch.statement(&DEAD.replace("{now}", dialect.now())).bind(one_line(error))
            }
        };
        batch = batch.bind(run.id.clone()).bind(run.attempt).bind(owner.to_owned());
    }
    batch
}

fn also(end: &End) -> Option<&Also> {
    match end {
        End::Done(done) => done.also.as_deref(),
        End::Again(..) | End::Later(..) | End::Dead(_) => None,
    }
}

/// About what all is put off, and how long.
fn all_later(end: &End) -> Option<(&str, Duration)> {
    match end {
        End::Later(wait, Some(about)) => Some((about, *wait)),
        _ => None,
    }
}

/// Adds that jobs about this which are due, and which nobody runs, are due after `wait` as if they had not
/// waited. A page of them: what is due still when the next one is taken goes on with it.
fn put_off(batch: Batch, queue: &str, about: &str, wait: Duration) -> Batch {
    const SQL: &str = "\
        UPDATE jobs SET due_at = {now} + $1, tried_since = tried_since + $1 WHERE id IN (\
        SELECT id FROM jobs WHERE queue = $2 AND subject = $3 AND due_at <= {now} AND owner IS NULL \
        ORDER BY due_at LIMIT $4{lock})";
    let dialect = batch.dialect();
    let sql = SQL.replace("{now}", dialect.now()).replace("{lock}", dialect.skip_locked());
    let batch = batch.statement(&sql).bind(millis(wait)).bind(queue.to_owned());
    batch.bind(about.to_owned()).bind(PAGE)
}
