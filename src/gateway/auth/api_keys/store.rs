//! The table of API keys.

use std::time::{Duration, SystemTime};

use sqlx::{AnyConnection, Row, any::AnyRow};
use uuid::Uuid;

use super::{ApiKey, KeyHash};
use crate::{
    database::{self, Database, Error, ErrorKind, millis, of_millis},
    tenant::{Reach, Scopes, TenantId},
};

/// How exactly it is known when a key was last used.
const LAST_USED_WITHIN: Duration = Duration::from_secs(60);

const COLUMNS: &str = "id, hash, tenant, scopes, created_at, expires_at, revoked_at, last_used_at";

/// What is kept of an API key.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// What it is called; no secret.
    pub id: String,
    /// Whom it may act for.
    pub reach: Reach,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it ends by itself, if it does.
    pub expires_at: Option<SystemTime>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<SystemTime>,
    /// When it was last used, within a minute.
    pub last_used_at: Option<SystemTime>,
}

/// The table. Cheap to clone.
#[derive(Clone)]
pub struct KeyStore(Database);

impl KeyStore {
    /// The table of this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// Keeps a new key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add(
        &self,
        key: &ApiKey,
        reach: Reach,
        scopes: Scopes,
        expires_at: Option<SystemTime>,
    ) -> database::Result<KeyRecord> {
        const SQL: &str = "\
            INSERT INTO api_keys (id, hash, tenant, scopes, created_at, expires_at) \
            VALUES ($1, $2, $3, $4, $5, $6)";
        let record = KeyRecord {
            id: Uuid::now_v7().to_string(),
            reach,
            scopes,
            created_at: SystemTime::now(),
            expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        let (row, hash) = (record.clone(), key.hash().to_string());
        self.0
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query(SQL)
                        .bind(row.id)
                        .bind(hash)
                        .bind(row.reach.to_string())
                        .bind(row.scopes.to_string())
                        .bind(millis(row.created_at))
                        .bind(row.expires_at.map(millis))
                        .execute(connection)
                        .await?;
                    Ok::<_, Error>(())
                })
            })
            .await?;
        Ok(record)
    }

    /// The key with this hash, revoked or not.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn find(&self, hash: KeyHash) -> database::Result<Option<KeyRecord>> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE hash = $1");
        self.0
            .read(move |connection| {
                Box::pin(async move {
                    let sql = sqlx::AssertSqlSafe(sql);
                    let row = sqlx::query(sql).bind(hash.to_string()).fetch_optional(connection);
                    let Some(row) = row.await? else { return Ok(None) };
                    let is_it = hash.is(row.try_get::<&str, _>("hash")?);
                    if is_it { record(&row).map(Some) } else { Ok(None) }
                })
            })
            .await
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> database::Result<Vec<KeyRecord>> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys ORDER BY created_at, id");
        self.0
            .read(move |connection| {
                Box::pin(async move {
                    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await?;
                    rows.iter().map(record).collect()
                })
            })
            .await
    }

    /// Revokes a key for good; whether there is one of this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke(&self, id: &str) -> database::Result<bool> {
        const SQL: &str = "\
            UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2";
        self.update(SQL, SystemTime::now(), id).await
    }

    /// Notes that a key was used just now, unless that was noted within the last minute.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn used(&self, record: &KeyRecord) -> database::Result<()> {
        const SQL: &str = "UPDATE api_keys SET last_used_at = $1 WHERE id = $2";
        let now = SystemTime::now();
        let is_known = record.last_used_at.is_some_and(|last| {
            now.duration_since(last).is_ok_and(|since| since < LAST_USED_WITHIN)
        });
        if !is_known {
            self.update(SQL, now, &record.id).await?;
        }
        Ok(())
    }

    async fn update(
        &self,
        sql: &'static str,
        time: SystemTime,
        id: &str,
    ) -> database::Result<bool> {
        let id = id.to_owned();
        self.0
            .write(move |connection: &mut AnyConnection| {
                Box::pin(async move {
                    let done = sqlx::query(sql).bind(millis(time)).bind(id).execute(connection);
                    Ok::<_, Error>(done.await?.rows_affected() > 0)
                })
            })
            .await
    }
}

fn record(row: &AnyRow) -> database::Result<KeyRecord> {
    let time = |column| -> database::Result<Option<SystemTime>> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(of_millis))
    };
    let reach = match row.try_get::<&str, _>("tenant")? {
        "*" => Reach::Any,
        tenant => Reach::One(
            TenantId::parse(tenant)
                .map_err(|_| Error::new(ErrorKind::Internal, "an API key is for no tenant"))?,
        ),
    };
    Ok(KeyRecord {
        id: row.try_get("id")?,
        reach,
        scopes: Scopes::parse(row.try_get("scopes")?),
        created_at: of_millis(row.try_get("created_at")?),
        expires_at: time("expires_at")?,
        revoked_at: time("revoked_at")?,
        last_used_at: time("last_used_at")?,
    })
}
