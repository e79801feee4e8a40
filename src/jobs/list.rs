//! What operators do: look at jobs, have them tried again, drop them.

use std::time::SystemTime;

use sqlx::{Row, any::AnyRow};

use super::{Jobs, PAGE, job::unreadable};
use crate::database::{Batch, Error, Result, millis, of_millis};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is to be run, now or later.
    Waiting,
    /// Somebody runs it.
    Running,
    /// It failed for good: a dead letter.
    Dead,
}

impl State {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Running, Self::Dead];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// A job, as operators see it.
#[derive(Clone, Debug)]
pub struct Listed {
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
    /// Where it stands.
    pub state: State,
    /// The runs that were begun.
    pub attempts: u64,
    /// When it is due; of a running one, when its lease ends; of a dead letter none.
    pub due_at: Option<SystemTime>,
    /// Why the last run failed, if one did.
    pub error: Option<String>,
    /// When it was added.
    pub created_at: SystemTime,
    /// When it became a dead letter.
    pub died_at: Option<SystemTime>,
}

impl Listed {
    /// Where it stands in the order of lists.
    pub fn position(&self) -> Position {
        Position { created_at: self.created_at, id: self.id.clone() }
    }
}

/// Which jobs.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this queue's.
    pub queue: Option<String>,
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only those about this.
    pub subject: Option<String>,
    /// Only dead letters.
    pub dead: bool,
}

/// Jobs that are named, or chosen.
#[derive(Clone, Debug)]
pub enum Which {
    /// Those of these ids.
    Ids(Vec<String>),
    /// All that the filter lets through.
    All(Filter),
}

/// A place in the order of lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// When the job was added, to the millisecond.
    pub created_at: SystemTime,
    /// Which of those added then.
    pub id: String,
}

/// How many jobs of a queue are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The queue.
    pub queue: String,
    /// The state.
    pub state: State,
    /// Jobs.
    pub jobs: u64,
    /// When the oldest of them was added.
    pub oldest: SystemTime,
}

impl Jobs {
    /// Up to `limit` jobs behind `after`, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        filter: Filter,
        after: Option<Position>,
        limit: u64,
    ) -> Result<Vec<Listed>> {
        self.read(move |connection| {
            Box::pin(async move {
                let batch = choose(Batch::new(connection), &filter, after.as_ref(), limit);
                batch.run(connection).await?.rows.iter().map(listed).collect()
            })
        })
        .await
    }

    /// Up to `limit` jobs whose ids are between these, the greatest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_between(
        &self,
        above: String,
        below: String,
        limit: u64,
    ) -> Result<Vec<Listed>> {
        const SQL: &str = "SELECT * FROM jobs WHERE id > $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(above).bind(below).bind(limit);
                query.fetch_all(connection).await?.iter().map(listed).collect()
            })
        })
        .await
    }

    /// The job of this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, id: &str) -> Result<Option<Listed>> {
        const SQL: &str = "SELECT * FROM jobs WHERE id = $1";
        let id = id.to_owned();
        self.read(move |connection| {
            Box::pin(async move {
                let row = sqlx::query(SQL).bind(id).fetch_optional(connection).await?;
                row.as_ref().map(listed).transpose()
            })
        })
        .await
    }

    /// Those of the jobs of these ids, a few, that there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_all(&self, ids: Vec<String>) -> Result<Vec<Listed>> {
        let numbers: Vec<_> = (1..=ids.len()).map(|number| format!("${number}")).collect();
        let sql = format!("SELECT * FROM jobs WHERE id IN ({})", numbers.join(", "));
        self.read(move |connection| {
            Box::pin(async move {
                let batch = Batch::new(connection).statement(&sql);
                let batch = ids.into_iter().fold(batch, Batch::bind);
                batch.run(connection).await?.rows.iter().map(listed).collect()
            })
        })
        .await
    }

    /// Makes jobs due now, dead letters too; they are tried as if they had just been added. Those
    /// that run stay as they are. How many.
    ///
    /// # Errors
    /// When the database fails; some may be due then.
    pub async fn retry(&self, which: Which) -> Result<u64> {
        const SQL: &str = "\
            UPDATE jobs SET due_at = {now}, tried_since = {now}, died_at = NULL, attempts = 0 \
            WHERE owner IS NULL AND id IN ({ids}) RETURNING queue";
        let mut queues = self.change(SQL, which).await?;
        let count = queues.len() as u64;
        queues.sort_unstable();
        queues.dedup();
        if !queues.is_empty() && self.wake_all(&queues).await.is_err() {
            tracing::debug!("workers are not woken; they will find the jobs by themselves");
        }
        Ok(count)
    }

    /// Removes jobs, whatever their state; a run that is under way is cancelled by its worker as
    /// soon as that finds out, and what it comes to is not written. How many.
    ///
    /// # Errors
    /// When the database fails; some may be gone then.
    pub async fn drop(&self, which: Which) -> Result<u64> {
        let gone = self.change("DELETE FROM jobs WHERE id IN ({ids}) RETURNING queue", which);
        Ok(gone.await?.len() as u64)
    }

    /// How many jobs there are, by queue and state; those of which there are none are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn counts(&self) -> Result<Vec<Count>> {
        const SQL: &str = "\
            SELECT queue, CASE WHEN due_at IS NULL THEN 'dead' WHEN owner IS NULL THEN 'waiting' \
            ELSE 'running' END AS state, COUNT(*) AS jobs, MIN(created_at) AS oldest \
            FROM jobs GROUP BY queue, state ORDER BY queue, state";
        let rows = self.read(|connection| {
            Box::pin(async move { Ok::<_, Error>(sqlx::query(SQL).fetch_all(connection).await?) })
        });
        rows.await?.iter().map(counted).collect()
    }

    /// Runs a statement on jobs, a page at a time; the queue of each that it changed.
    async fn change(&self, sql: &'static str, which: Which) -> Result<Vec<String>> {
        let filter = match which {
            Which::Ids(ids) => {
                let mut changed = Vec::new();
                for ids in ids.chunks(PAGE as usize) {
                    changed.extend(self.change_page(sql, ids.to_vec()).await?);
                }
                return Ok(changed);
            }
            Which::All(filter) => filter,
        };
        let (mut changed, mut after) = (Vec::new(), None);
        loop {
            let page = self.list(filter.clone(), after, PAGE as u64).await?;
            after = page.last().map(Listed::position);
            if after.is_none() {
                return Ok(changed);
            }
            let ids = page.into_iter().map(|job| job.id).collect();
            changed.extend(self.change_page(sql, ids).await?);
        }
    }

    async fn change_page(&self, sql: &'static str, ids: Vec<String>) -> Result<Vec<String>> {
        let now = self.database().dialect().now();
        let numbers: Vec<_> = (1..=ids.len()).map(|number| format!("${number}")).collect();
        let sql = sql.replace("{now}", now).replace("{ids}", &numbers.join(", "));
        self.write(move |connection| {
            Box::pin(async move {
                let batch = Batch::new(connection).statement(&sql);
                let batch = ids.into_iter().fold(batch, Batch::bind);
                let rows = batch.run(connection).await?.rows;
                rows.iter().map(|row| Ok(row.try_get("queue")?)).collect()
            })
        })
        .await
    }
}

/// The statement that lists jobs.
fn choose(batch: Batch, filter: &Filter, after: Option<&Position>, limit: u64) -> Batch {
    let mut sql = "\
        SELECT id, queue, tenant, subject, kind, payload, attempts, due_at, owner, error, created_at, died_at \
        FROM jobs WHERE true"
        .to_owned();
    let mut next = 2;
    if filter.dead {
        sql.push_str(" AND due_at IS NULL");
    }
    if after.is_some() {
        sql.push_str(" AND (created_at, id) > ($2, $3)");
        next = 4;
    }
    let wanted =
        [("queue", &filter.queue), ("tenant", &filter.tenant), ("subject", &filter.subject)];
    let wanted = wanted.into_iter().filter_map(|(column, value)| Some((column, value.clone()?)));
    let mut values = Vec::new();
    for (column, value) in wanted {
        sql.push_str(&format!(" AND {column} = ${next}"));
        values.push(value);
        next += 1;
    }
    sql.push_str(" ORDER BY created_at, id LIMIT $1");
    let mut batch = batch.statement(&sql).bind(i64::try_from(limit).unwrap_or(i64::MAX));
    if let Some(after) = after {
        batch = batch.bind(millis(after.created_at)).bind(after.id.clone());
    }
    values.into_iter().fold(batch, Batch::bind)
}

fn listed(row: &AnyRow) -> Result<Listed> {
    let due_at: Option<i64> = row.try_get("due_at")?;
    let owner: Option<String> = row.try_get("owner")?;
    let state = match (due_at, owner) {
        (None, _) => State::Dead,
        (Some(_), Some(_)) => State::Running,
        (Some(_), None) => State::Waiting,
    };
    Ok(Listed {
        id: row.try_get("id")?,
        queue: row.try_get("queue")?,
        tenant: row.try_get("tenant")?,
        subject: row.try_get("subject")?,
        kind: row.try_get("kind")?,
        payload: row.try_get("payload")?,
        state,
        attempts: u64::try_from(row.try_get::<i64, _>("attempts")?).map_err(unreadable)?,
        due_at: due_at.map(of_millis),
        error: row.try_get("error")?,
        created_at: of_millis(row.try_get("created_at")?),
        died_at: row.try_get::<Option<i64>, _>("died_at")?.map(of_millis),
    })
}

fn counted(row: &AnyRow) -> Result<Count> {
    let state: String = row.try_get("state")?;
    let state = State::ALL.into_iter().find(|known| known.as_str() == state);
    Ok(Count {
        queue: row.try_get("queue")?,
        state: state.ok_or_else(|| unreadable("an unknown state"))?,
        jobs: u64::try_from(row.try_get::<i64, _>("jobs")?).map_err(unreadable)?,
        oldest: of_millis(row.try_get("oldest")?),
    })
}
