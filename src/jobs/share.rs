//! How jobs are taken where each subject has a share only: the subjects that wait are found first, by
//! going from one to the next in an index, so that a million jobs of one cost the others nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{AnyConnection, AssertSqlSafe, Row, any::AnyRow};
use tokio::sync::Notify;

use super::{Backoff, Job, Jobs, lease::COLUMNS};
use crate::database::{Batch, Dialect, Result};

/// The most subjects that are looked at, those first that have waited longest.
const SUBJECTS: i64 = 1000;

/// How many jobs of each subject a worker holds.
#[derive(Default)]
pub(super) struct Shares {
    held: Mutex<HashMap<String, usize>>,
    /// A subject has room again.
    pub(super) freed: Notify,
}

/// What a worker may take now, and how long it can wait if that is nothing.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// So many jobs of each subject.
    pub(super) of: Vec<(String, usize)>,
    /// When the next is due; none where no subject waits that has room.
    pub(super) next: Option<Duration>,
}

impl Shares {
    /// A job about this is held, until what this gives is dropped.
    pub(super) fn hold(self: &Arc<Self>, subject: &str) -> Hold {
        *self.held().entry(subject.to_owned()).or_default() += 1;
        Hold { shares: Arc::clone(self), subject: subject.to_owned() }
    }

    /// Shares `free` slots among the subjects that wait: those first of which the fewest jobs are held, then
    /// those that have waited longest. No more of each than `share` says.
    pub(super) fn plan(
        &self,
        waiting: Vec<(String, i64)>,
        free: usize,
        share: impl Fn(&str) -> usize,
    ) -> Plan {
        let held = self.held();
        let count = |subject: &str| held.get(subject).copied().unwrap_or_default();
        let (mut due, mut plan) = (Vec::new(), Plan::default());
        for (subject, wait) in waiting {
            let (held, share) = (count(&subject), share(&subject).max(1));
            if held >= share {
                continue;
            }
            match u64::try_from(wait) {
                Ok(wait) if wait > 0 => {
                    let wait = Duration::from_millis(wait);
                    plan.next = Some(plan.next.map_or(wait, |next| next.min(wait)));
                }
                _ => due.push((held, subject, share - held)),
            }
        }
        // It keeps the order of those with as many.
        due.sort_by_key(|(held, ..)| *held);
        let mut free = free;
        for (_, subject, room) in due {
            let most = room.min(free);
            if most == 0 {
                break;
            }
            free -= most;
            plan.of.push((subject, most));
        }
        plan
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one job of a subject.
pub(super) struct Hold {
    shares: Arc<Shares>,
    subject: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        if let Some(count) = held.get_mut(&self.subject) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.subject);
            }
        }
        drop(held);
        self.shares.freed.notify_one();
    }
}

impl Jobs {
    /// The subjects of `queue` that have jobs which are no dead letters, and in how many milliseconds
    /// the first of each is due; those first that have waited longest.
    pub(super) async fn waiting(&self, queue: &'static str) -> Result<Vec<(String, i64)>> {
        const SQL: &str = "\
            WITH RECURSIVE found (subject) AS (\
              SELECT MIN(subject) FROM jobs WHERE queue = $1 AND due_at IS NOT NULL \
              UNION ALL \
              SELECT (SELECT MIN(jobs.subject) FROM jobs WHERE jobs.queue = $1 \
              AND jobs.subject > found.subject AND jobs.due_at IS NOT NULL) \
              FROM found WHERE found.subject IS NOT NULL\
            ), first (subject, due_at) AS MATERIALIZED (\
              SELECT subject, (SELECT MIN(jobs.due_at) FROM jobs WHERE jobs.queue = $1 \
              AND jobs.subject = found.subject AND jobs.due_at IS NOT NULL) FROM found WHERE subject IS NOT NULL\
            ) SELECT subject, due_at - {now} AS wait FROM first WHERE due_at IS NOT NULL \
            ORDER BY due_at LIMIT $2";
        let sql = AssertSqlSafe(SQL.replace("{now}", self.database().dialect().now()));
        self.read(move |connection| {
            Box::pin(async move {
                let rows =
                    sqlx::query(sql).bind(queue).bind(SUBJECTS).fetch_all(connection).await?;
                let row = |row: &AnyRow| Ok((row.try_get("subject")?, row.try_get("wait")?));
                rows.iter().map(row).collect()
            })
        })
        .await
    }

    /// Begins runs as [`Jobs::take`] does, of up to so many jobs of each of these subjects.
    pub(super) async fn take_of(
        &self,
        queue: &'static str,
        of: Vec<(String, usize)>,
        lease: Duration,
        backoff: Backoff,
    ) -> Result<Vec<Job>> {
        let dialect = self.database().dialect();
        self.take_due(queue, lease, backoff, move |connection| {
            Box::pin(due(connection, dialect, queue, of))
        })
        .await
    }
}

/// The rows that are due of these subjects, which nobody else takes until the transaction ends.
async fn due(
    connection: &mut AnyConnection,
    dialect: Dialect,
    queue: &'static str,
    of: Vec<(String, usize)>,
) -> Result<Vec<AnyRow>> {
    let sql = format!(
        "SELECT {COLUMNS}, {now} AS now FROM jobs WHERE queue = $1 AND subject = $2 AND due_at <= {now} \
         ORDER BY due_at LIMIT $3{lock}",
        now = dialect.now(),
        lock = dialect.skip_locked()
    );
    let batch = of.into_iter().fold(Batch::new(connection), |batch, (subject, most)| {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        batch.statement(&sql).bind(queue.to_owned()).bind(subject).bind(most)
    });
    Ok(batch.run(connection).await?.rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(subjects: &[(&str, i64)]) -> Vec<(String, i64)> {
        subjects.iter().map(|(subject, wait)| ((*subject).to_owned(), *wait)).collect()
    }

    fn of(plan: &Plan) -> Vec<(&str, usize)> {
        plan.of.iter().map(|(subject, most)| (subject.as_str(), *most)).collect()
    }

    #[test]
    fn who_has_little_goes_first_and_nobody_beyond_its_share() {
        let shares = Arc::new(Shares::default());
        let _slow: Vec<_> = (0..3).map(|_| shares.hold("slow")).collect();
        let mut full: Vec<_> = (0..4).map(|_| shares.hold("full")).collect();
        let subjects = waiting(&[("full", -9000), ("slow", -5000), ("old", -20), ("new", -10)]);
        let plan = |free| shares.plan(subjects.clone(), free, |_| 4);
        assert_eq!(of(&plan(32)), [("old", 4), ("new", 4), ("slow", 1)]);
        assert_eq!(of(&plan(6)), [("old", 4), ("new", 2)]);
        full.pop();
        assert_eq!(of(&plan(32)), [("old", 4), ("new", 4), ("full", 1), ("slow", 1)]);
    }

    #[test]
    fn the_next_is_one_that_has_room() {
        let shares = Arc::new(Shares::default());
        let _full = shares.hold("full");
        let later = waiting(&[("full", -5), ("a", 300), ("b", 200)]);
        let plan = shares.plan(later, 8, |_| 1);
        assert_eq!(plan, Plan { of: Vec::new(), next: Some(Duration::from_millis(200)) });
        assert_eq!(shares.plan(waiting(&[("full", -5)]), 8, |_| 1), Plan::default());
    }
}
