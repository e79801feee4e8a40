//! Durable work that is done later: a table of jobs, and the workers that do them.
//!
//! A job is a row that is added in the transaction of what asks for it, and removed in the
//! transaction of what it comes to; in between it is run at least once, whatever fails and
//! whenever a process dies. Knows the database and traces only: no HTTP, no images, and a tenant is a text
//! to it.
//!
//! Read in this order: [`Job`], `lease` for how a run is a worker's own, `share` for what is fair,
//! `settle` for how it ends, [`Worker`].

mod backoff;
mod held;
mod job;
mod lease;
mod list;
pub mod metrics;
mod outcome;
mod remove;
mod settle;
mod share;
mod traced;
mod wake;
mod worker;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::AnyConnection;
use uuid::Uuid;

pub use backoff::Backoff;
pub use job::{Job, NewJob, add, add_each};
pub use list::{Count, Filter, Listed, Position, State, Which};
pub use outcome::{Done, Outcome};
pub use remove::{drop_of_tenant, remove};
pub use worker::{Handler, Pace, Worker};

use crate::database::{Database, Migration, Result};
use wake::Wakes;

/// The most jobs that a transaction changes which nobody runs: so many that others need not wait.
const PAGE: i64 = 500;

/// The migrations of this module's table.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 4,
        name: "jobs",
        sqlite: include_str!("migrations/0004_jobs.sqlite.sql"),
        postgres: include_str!("migrations/0004_jobs.postgres.sql"),
    },
    Migration {
        version: 8,
        name: "shares of jobs",
        sqlite: include_str!("migrations/0008_shares.sql"),
        postgres: include_str!("migrations/0008_shares.sql"),
    },
    Migration {
        version: 9,
        name: "traces of jobs",
        sqlite: include_str!("migrations/0009_traces.sql"),
        postgres: include_str!("migrations/0009_traces.sql"),
    },
];

/// The jobs of a database, as one process sees them. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    database: Database,
    /// Who runs what is taken here.
    owner: Uuid,
    wakes: Wakes,
}

impl Jobs {
    /// The jobs that `database` keeps, as a process of its own sees them: all workers of a process
    /// share one.
    pub fn new(database: Database) -> Self {
        Self(Arc::new(Inner { database, owner: Uuid::now_v7(), wakes: Wakes::default() }))
    }

    /// Runs `job` in a transaction, see [`Database::write`].
    async fn write<T: Send + 'static>(
        &self,
        job: impl for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.0.database.write(job).await
    }

    /// Runs `job` on a connection that only reads, see [`Database::read`].
    async fn read<T: Send + 'static>(
        &self,
        job: impl for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.0.database.read(job).await
    }

    fn database(&self) -> &Database {
        &self.0.database
    }

    fn owner(&self) -> String {
        self.0.owner.to_string()
    }

    fn wakes(&self) -> &Wakes {
        &self.0.wakes
    }
}

/// An error as the table keeps it: one line of at most 300 characters.
fn one_line(error: &str) -> String {
    const LONGEST: usize = 300;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let error = error.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let mut line: String = error.chars().map(plain).take(LONGEST + 1).collect();
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_bounded_line() {
        assert_eq!(one_line(" no\nway\u{0}\r\n"), "no way");
        let long = one_line(&"ü".repeat(1000));
        assert_eq!(long.chars().count(), 301);
        assert!(long.ends_with("ü…"));
    }
}
