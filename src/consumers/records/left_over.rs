//! Intents that nobody works on any more, as the tables tell of them: for the reconciler.

use std::time::{Duration, SystemTime};

use sqlx::Row as _;
use uuid::Uuid;

use super::{Error, Records, Result, image, rows::Kind};
use crate::{
    database::{millis, of_millis},
    storage::ObjectKey,
};

/// An intent to settle.
#[derive(Clone)]
pub(super) struct Left {
    pub(super) id: Uuid,
    pub(super) key: ObjectKey,
    pub(super) kind: Kind,
    /// Where the store keeps parts of it.
    pub(super) staged: Option<String>,
    /// The upload that a deletion is to undo.
    pub(super) target: Option<Uuid>,
    /// The size and the SHA-256 if it is known, once it was prepared: its object may be there.
    pub(super) prepared: Option<(u64, Option<String>)>,
    /// Nobody has worked on it since then.
    pub(super) left_at: SystemTime,
}

impl Records {
    /// This process's intents that nobody works on and whose time has come.
    pub(super) async fn due(&self) -> Result<Vec<Left>> {
        const SQL: &str = "\
            SELECT id, kind, stored_name, staged, target, size, sha256, left_at FROM intents \
            WHERE owner = $1 AND (settle_at IS NULL OR settle_at <= $2) ORDER BY settle_at";
        let owner = self.owner_id();
        let rows = self.read(move |connection| {
            Box::pin(async move {
                let now = millis(SystemTime::now());
                let query = sqlx::query(SQL).bind(owner.to_string()).bind(now);
                query.fetch_all(connection).await.map_err(Error::from)
            })
        });
        let mut left = Vec::new();
        // Those that end while the rows are read, and those that begin, are not left over.
        let mut live = self.live().clone();
        let rows = rows.await?;
        live.extend(&self.live());
        for row in &rows {
            let id = image::uuid(row, "id")?;
            if live.contains(id) {
                continue;
            }
            let size: Option<i64> = row.try_get("size")?;
            let sha256: Option<String> = row.try_get("sha256")?;
            left.push(Left {
                id,
                key: image::key(row)?,
                kind: Kind::parse(row.try_get("kind")?)?,
                staged: row.try_get("staged")?,
                target: match row.try_get::<Option<String>, _>("target")? {
                    Some(_) => Some(image::uuid(row, "target")?),
                    None => None,
                },
                prepared: size.map(|size| (u64::try_from(size).unwrap_or_default(), sha256)),
                left_at: self.left_at(id, row.try_get("left_at")?).await?,
            });
        }
        Ok(left)
    }

    /// Since when nobody works on an intent: since now, where nobody has seen it left over before.
    async fn left_at(&self, id: Uuid, seen: Option<i64>) -> Result<SystemTime> {
        const SQL: &str = "UPDATE intents SET left_at = $1, settle_at = $1 WHERE id = $2";
        if let Some(seen) = seen {
            return Ok(of_millis(seen));
        }
        let now = millis(SystemTime::now());
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(SQL).bind(now).bind(id.to_string()).execute(connection).await?;
                Ok(of_millis(now))
            })
        })
        .await
    }

    /// How long until the next of this process's intents is to be looked at.
    pub(super) async fn next_look(&self) -> Result<Option<Duration>> {
        const SQL: &str =
            "SELECT MIN(settle_at) AS next FROM intents WHERE owner = $1 AND settle_at > 0";
        let owner = self.owner_id();
        let next = self.read(move |connection| {
            Box::pin(async move {
                let row = sqlx::query(SQL).bind(owner.to_string()).fetch_one(connection).await?;
                Ok(row.try_get::<Option<i64>, _>("next")?)
            })
        });
        let now = millis(SystemTime::now());
        Ok(next.await?.map(|at| Duration::from_millis(u64::try_from(at - now).unwrap_or_default())))
    }

    /// Leaves an intent for later.
    pub(super) async fn look_again(&self, id: Uuid, at: SystemTime) -> Result<()> {
        const SQL: &str = "UPDATE intents SET settle_at = $1 WHERE id = $2 AND owner = $3";
        let (at, owner) = (millis(at), self.owner_id());
        self.write(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(at).bind(id.to_string()).bind(owner.to_string());
                query.execute(connection).await?;
                Ok(())
            })
        })
        .await
    }

    /// The references of other multipart uploads to this key; none for one that is about to be
    /// named. One that was left before it was named is not: several of those would wait for
    /// one another for ever.
    pub(super) async fn others(&self, key: &ObjectKey, but: Uuid) -> Result<Vec<Option<String>>> {
        const SQL: &str = "\
            SELECT staged FROM intents WHERE stored_name = $1 AND id <> $2 \
            AND (staged IS NOT NULL OR (kind IN ('upload', 'session') AND owner <> '' \
            AND size IS NULL AND left_at IS NULL))";
        let key = key.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(key.as_str().to_owned()).bind(but.to_string());
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(|row| Ok(row.try_get("staged")?)).collect()
            })
        })
        .await
    }

    pub(super) async fn is_leased(&self, key: &ObjectKey) -> Result<bool> {
        const SQL: &str = "SELECT 1 FROM leases WHERE stored_name = $1";
        let key = key.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let lease = sqlx::query(SQL).bind(key.as_str()).fetch_optional(connection);
                Ok(lease.await?.is_some())
            })
        })
        .await
    }

    pub(super) async fn retag(&self, image: &image::Image, etag: &str) -> Result<bool> {
        const SQL: &str = "UPDATE images SET object_etag = $1 WHERE id = $2 AND upload = $3";
        let (etag, id, upload) = (etag.to_owned(), image.id.to_string(), image.upload.to_string());
        self.write(move |connection| {
            Box::pin(async move {
                let query = sqlx::query(SQL).bind(etag).bind(id).bind(upload);
                Ok(query.execute(connection).await?.rows_affected() == 1)
            })
        })
        .await
    }
}
