//! What is said about single tenants: that they are suspended, and limits of their own. Commands
//! write it into a table, which every replica reads again and again.

use std::{
    collections::HashMap,
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use sqlx::{Row, any::AnyRow};
use tokio::time::{sleep, timeout};

use super::rate_limit::{Class, Limit, OwnLimits, Rate};
use crate::{
    database::{self, Database, Error, millis},
    problem,
    tenant::TenantId,
};

/// How often the table is read.
const READ_EVERY: Duration = Duration::from_secs(2);

/// How long the start waits until it has been read.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is said about a tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantRecord {
    /// Whether nobody may act for it.
    pub suspended: bool,
    /// Limits of its own, in place of the settings'.
    pub reads: Option<Rate>,
    /// The same for writes.
    pub writes: Option<Rate>,
    /// The same for remote services.
    pub remote: Option<Rate>,
}

/// The rates of a tenant, as its table has them: `requests a second/burst`.
impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write requests a second and burst, such as 50/100".to_owned();
        let (per_second, burst) = text.split_once('/').ok_or_else(form)?;
        let per_second: f64 = per_second.parse().map_err(|_| form())?;
        let rate = Self { per_second, burst: burst.parse().map_err(|_| form())? };
        match (per_second.is_finite(), rate.validate()) {
            (true, Ok(())) => Ok(rate),
            (true, Err((key, message))) => Err(format!("{key} {message}")),
            (false, _) => Err(form()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.per_second, self.burst)
    }
}

/// The table. Cheap to clone.
#[derive(Clone)]
pub struct TenantStore(Database);

impl TenantStore {
    /// The table of this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// Everything that is said, by tenant in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> database::Result<Vec<(String, TenantRecord)>> {
        const SQL: &str = "SELECT id, suspended_at, reads, writes, remote FROM tenants ORDER BY id";
        self.0
            .read(|connection| {
                Box::pin(async move {
                    let rows = sqlx::query(SQL).fetch_all(connection).await?;
                    rows.iter().map(record).collect()
                })
            })
            .await
    }

    /// Suspends a tenant, or lets it act again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn suspend(&self, tenant: &TenantId, suspend: bool) -> database::Result<()> {
        const SQL: &str = "\
            INSERT INTO tenants (id, suspended_at) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE \
            SET suspended_at = excluded.suspended_at";
        let at = suspend.then(|| millis(SystemTime::now()));
        let tenant = tenant.clone();
        self.0
            .write(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(SQL).bind(tenant.as_str()).bind(at);
                    query.execute(connection).await?;
                    Ok::<_, Error>(())
                })
            })
            .await
    }

    /// Sets a tenant's own limits; those that are none are the settings' again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_limits(
        &self,
        tenant: &TenantId,
        limits: [Option<Rate>; 3],
    ) -> database::Result<()> {
        const SQL: &str = "\
            INSERT INTO tenants (id, reads, writes, remote) VALUES ($1, $2, $3, $4) \
            ON CONFLICT (id) DO UPDATE \
            SET reads = excluded.reads, writes = excluded.writes, remote = excluded.remote";
        let tenant = tenant.clone();
        let limits = limits.map(|limit| limit.map(|limit| limit.to_string()));
        self.0
            .write(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(SQL).bind(tenant.as_str());
                    let query = limits.into_iter().fold(query, |query, limit| query.bind(limit));
                    query.execute(connection).await?;
                    Ok::<_, Error>(())
                })
            })
            .await
    }
}

fn record(row: &AnyRow) -> database::Result<(String, TenantRecord)> {
    let rate = |column| -> database::Result<Option<Rate>> {
        let text: Option<&str> = row.try_get(column)?;
        let rate = text.map(str::parse).transpose();
        rate.map_err(|wrong: String| Error::new(database::ErrorKind::Internal, wrong))
    };
    let record = TenantRecord {
        suspended: row.try_get::<Option<i64>, _>("suspended_at")?.is_some(),
        reads: rate("reads")?,
        writes: rate("writes")?,
        remote: rate("remote")?,
    };
    Ok((row.try_get("id")?, record))
}

/// What holds for a tenant.
#[derive(Debug)]
pub struct Rules {
    record: TenantRecord,
    /// Its own limits, with what has been counted.
    pub limits: OwnLimits,
}

impl Rules {
    /// Whether nobody may act for it.
    pub fn suspended(&self) -> bool {
        self.record.suspended
    }
}

type Table = HashMap<String, Arc<Rules>>;

/// The rules of all tenants that have any. Shared by all workers; cheap to clone.
#[derive(Clone)]
pub struct Tenants(Arc<Inner>);

struct Inner {
    store: TenantStore,
    /// None until the table has been read.
    table: ArcSwapOption<Table>,
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").field("table", &self.0.table.load()).finish_non_exhaustive()
    }
}

impl Tenants {
    /// Reads the table, and goes on doing so in the background. A database that cannot be reached
    /// does not fail this.
    pub async fn start(database: Database) -> Self {
        let store = TenantStore::new(database);
        let tenants = Self(Arc::new(Inner { store, table: ArcSwapOption::empty() }));
        // Should it take longer, it goes on below.
        let _ = timeout(PATIENCE, tenants.read()).await;
        tokio::spawn(tenants.clone().keep());
        tenants
    }

    /// Whether the table has been read since the start.
    pub fn are_known(&self) -> bool {
        self.0.table.load().is_some()
    }

    /// What holds for a tenant, if anything is said about it.
    pub fn rules(&self, tenant: &TenantId) -> Option<Arc<Rules>> {
        self.0.table.load().as_ref()?.get(tenant.as_str()).cloned()
    }

    async fn keep(self) {
        let mut is_told = false;
        loop {
            sleep(READ_EVERY).await;
            match self.read().await {
                Ok(()) => is_told = false,
                Err(error) if !is_told => {
                    let cause = problem::chain(&error);
                    tracing::warn!(
                        cause,
                        "the table of tenants cannot be read; what was known of them holds on"
                    );
                    is_told = true;
                }
                Err(_) => {}
            }
        }
    }

    /// Reads the table. Rules that are as they were stay the very same, with what was counted.
    async fn read(&self) -> database::Result<()> {
        let list = self.0.store.list().await?;
        let old = self.0.table.load_full().unwrap_or_default();
        let entries = list.into_iter().filter(|(_, record)| *record != TenantRecord::default());
        let rules = entries.map(|(id, record)| match old.get(&id) {
            Some(rules) if rules.record == record => (id, Arc::clone(rules)),
            _ => {
                let limits = OwnLimits {
                    reads: record.reads.map(|rate| Limit::new(Class::Reads.name(), rate)),
                    writes: record.writes.map(|rate| Limit::new(Class::Writes.name(), rate)),
                    remote: record.remote.map(|rate| Limit::new(Class::Remote.name(), rate)),
                };
                (id, Arc::new(Rules { record, limits }))
            }
        });
        self.0.table.store(Some(Arc::new(rules.collect())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_written() {
        for text in ["50/100", "0.5/1", "1000000/1000000"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in
            ["", "50", "/", "50/", "/1", "0/1", "-1/1", "1/0", "inf/1", "NaN/1", "1/1.5", "1e-9/9"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
