//! Which processes are alive: each has a row, so that others know whose intents are left over.
//!
//! On Postgres a process shows every few seconds that it lives. A SQLite file has one server at
//! a time, so a new one knows that all earlier ones are gone, and need not write while idle.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use sqlx::AnyConnection;
use uuid::Uuid;

use super::{Error, Records, Result};
use crate::database::{Dialect, Role, millis};

/// How often a process shows that it lives.
pub(super) const BEAT: Duration = Duration::from_secs(5);
/// Who has not shown so for that long is taken for dead.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// Who has not shown so for that long does before it begins what others must not overtake.
const ALIVE_FOR: Duration = Duration::from_secs(12);
/// Who has not shown so for that long breaks off what others must not overtake.
const HELD_FOR: Duration = Duration::from_secs(18);

/// This process, as the others see it.
pub(super) struct Owner {
    pub(super) id: Uuid,
    pub(super) role: Role,
    /// When it last showed that it lives; none before the first time.
    seen: Mutex<Option<Instant>>,
}

impl Owner {
    pub(super) fn new(role: Role) -> Self {
        Self { id: Uuid::now_v7(), role, seen: Mutex::default() }
    }
}

impl Records {
    /// Whether other servers may use the same records.
    pub fn has_replicas(&self) -> bool {
        self.database().dialect() == Dialect::Postgres
    }

    /// Whether this process serves requests.
    pub(super) fn is_server(&self) -> bool {
        self.owner().role == Role::Server
    }

    /// Whether a server of this role must show again and again that it lives.
    pub(super) fn beats(&self) -> bool {
        self.database().dialect() == Dialect::Postgres || self.owner().role == Role::Command
    }

    /// Shows that this process lives, and takes over the intents of those that do not.
    pub(super) async fn beat(&self) -> Result<()> {
        let (id, role, dialect) = (self.owner().id, self.owner().role, self.database().dialect());
        let now = Instant::now();
        let first = self.last_seen().is_none();
        let taken = self.write(move |connection| {
            Box::pin(async move {
                if first && role == Role::Server && dialect == Dialect::Sqlite {
                    let others =
                        sqlx::query("DELETE FROM owners WHERE role = 'server' AND id <> $1");
                    others.bind(id.to_string()).execute(&mut *connection).await?;
                }
                show(connection, id, role, dialect).await?;
                bury(connection, dialect).await?;
                take_over(connection, id).await
            })
        });
        let taken = taken.await?;
        *self.owner().seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        if taken > 0 {
            tracing::info!(taken, "unfinished changes of a process that is gone are settled");
            self.wake_reconciler();
        }
        Ok(())
    }

    /// Makes sure that nobody takes this process for dead while it does what it is about to begin.
    ///
    /// # Errors
    /// When it cannot show that it lives.
    pub(super) async fn keep_alive(&self) -> Result<()> {
        let alive = self.seen_within(ALIVE_FOR) || (!self.beats() && self.last_seen().is_some());
        if !alive {
            self.beat().await?;
        }
        Ok(())
    }

    /// Does `work`, which changes the object of the intent `id`'s name, as long as nobody can take
    /// the intent over: breaks it off where this process cannot show any more that it lives.
    ///
    /// # Errors
    /// [`Error::Lost`] when the intent is another's, or may soon be.
    pub(super) async fn while_held<T>(&self, id: Uuid, work: impl Future<Output = T>) -> Result<T> {
        if !self.beats() {
            return Ok(work.await);
        }
        if !self.seen_within(ALIVE_FOR) {
            self.beat().await?;
            self.check_owner(id).await?;
        }
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.lapsed() => Err(Error::Lost),
        }
    }

    async fn check_owner(&self, id: Uuid) -> Result<()> {
        const SQL: &str = "SELECT 1 FROM intents WHERE id = $1 AND owner = $2";
        let owner = self.owner_id();
        self.read(move |connection| {
            Box::pin(async move {
                let own = sqlx::query(SQL).bind(id.to_string()).bind(owner.to_string());
                own.fetch_optional(connection).await?.map(drop).ok_or(Error::Lost)
            })
        })
        .await
    }

    /// Ends when others are about to take this process for dead.
    async fn lapsed(&self) {
        while let Some(seen) = self.last_seen().filter(|seen| seen.elapsed() < HELD_FOR) {
            tokio::time::sleep(HELD_FOR.saturating_sub(seen.elapsed())).await;
        }
    }

    /// Whether it showed that it lives no longer ago than that.
    pub(super) fn seen_within(&self, time: Duration) -> bool {
        self.last_seen().is_some_and(|seen| seen.elapsed() < time)
    }

    /// Takes this process's row away: it ends, and has no intents.
    pub(super) async fn leave(&self) -> Result<()> {
        let id = self.owner().id;
        self.write(move |connection| {
            Box::pin(async move {
                let own = sqlx::query("DELETE FROM owners WHERE id = $1").bind(id.to_string());
                own.execute(connection).await?;
                Ok(())
            })
        })
        .await
    }

    fn last_seen(&self) -> Option<Instant> {
        *self.owner().seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn show(
    connection: &mut AnyConnection,
    id: Uuid,
    role: Role,
    dialect: Dialect,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO owners (id, role, seen_at) VALUES ($1, $2, {}) \
         ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
        dialect.now()
    );
    let role = match role {
        Role::Server => "server",
        Role::Command => "command",
    };
    // Made of constants only.
    let sql = sqlx::AssertSqlSafe(sql);
    sqlx::query(sql).bind(id.to_string()).bind(role).execute(connection).await?;
    Ok(())
}

/// Removes those that have not shown that they live.
async fn bury(connection: &mut AnyConnection, dialect: Dialect) -> Result<()> {
    let sql = match dialect {
        // Its servers need not.
        Dialect::Sqlite => "DELETE FROM owners WHERE role <> 'server' AND seen_at < {now} - $1",
        Dialect::Postgres => "DELETE FROM owners WHERE seen_at < {now} - $1",
    };
    let sql = sqlx::AssertSqlSafe(sql.replace("{now}", dialect.now()));
    let dead_after = i64::try_from(DEAD_AFTER.as_millis()).unwrap_or(i64::MAX);
    sqlx::query(sql).bind(dead_after).execute(connection).await?;
    Ok(())
}

async fn take_over(connection: &mut AnyConnection, id: Uuid) -> Result<u64> {
    const SQL: &str = "\
        UPDATE intents SET owner = $1, left_at = $2, settle_at = $2 \
        WHERE owner <> '' AND owner NOT IN (SELECT id FROM owners)";
    let taken = sqlx::query(SQL).bind(id.to_string()).bind(millis(SystemTime::now()));
    Ok(taken.execute(connection).await?.rows_affected())
}
