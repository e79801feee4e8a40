//! Intents: what is about to change the store is written down first, and the note is gone once
//! the record says the same as the store.
//!
//! An upload's life: *opened* (the store keeps parts of it that a crash would leave behind), then
//! *prepared* (all is known of it, and it has the lease of its name: its object may appear from now
//! on), then *completed* into the record, or *cancelled*. Small uploads are prepared at once. What
//! ends in between is settled by [`super::Reconciler`].

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, Row};
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use super::{
    Error, Records, Result,
    image::{self, Image, millis, signed},
    names::Turn,
    quota::{self, Expected},
};
use crate::{
    fault,
    storage::{self, Journal, ObjectKey, Stored},
    tenant::TenantId,
};

/// How long a change waits for its turn at a name, across processes.
const TURN: Duration = Duration::from_secs(30);
/// How long it waits where the change before has failed, and is to be settled.
const LEFT_OVER: Duration = Duration::from_secs(2);

/// What has to hold of the image that has the name now, if any.
pub type Check = Arc<dyn Fn(Option<&Image>) -> Result<()> + Send + Sync>;

/// What an upload will be, once it is in the store.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// The customer's id.
    pub customer: String,
    /// The name to show.
    pub display_name: String,
    /// What the bytes are.
    pub content_type: &'static str,
    /// Bytes.
    pub size: u64,
    /// Of the bytes.
    pub sha256: [u8; 32],
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What is known of an upload's size before its end, in bytes: for the quota.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpectedSize {
    /// It comes to no less.
    pub least: u64,
    /// As much is reserved, if there is room for it.
    pub most: u64,
}

/// One upload's or deletion's note, from before it begins until it is settled. When it is dropped
/// earlier, the reconciler settles it.
pub struct Intent {
    records: Records,
    id: Uuid,
    tenant: TenantId,
    key: ObjectKey,
    size: ExpectedSize,
    /// Whether there may be something to settle.
    written: AtomicBool,
}

impl Records {
    /// A note of an upload to `key`, or of its deletion. Nothing is written yet.
    pub fn intent(&self, tenant: &TenantId, key: &ObjectKey, size: ExpectedSize) -> Arc<Intent> {
        let id = Uuid::now_v7();
        self.live().insert(id);
        Arc::new(Intent {
            records: self.clone(),
            id,
            tenant: tenant.clone(),
            key: key.clone(),
            size,
            written: AtomicBool::new(false),
        })
    }
}

impl Intent {
    /// The upload's id: in the object's metadata, and the record's `upload`.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Writes down what the upload is, once it is this upload's turn to change the object of its
    /// name and `check` holds for what is there. Nobody else changes that object until the
    /// intent is settled.
    ///
    /// # Errors
    /// What `check` says; [`Error::Quota`]; [`Error::Busy`] when the turn does not come.
    pub async fn prepare(&self, new: NewImage, check: Check) -> Result<Turn> {
        let (intent, quotas) = (self.note("upload"), self.records.quotas());
        self.in_turn(move |connection, old| {
            check(old.as_ref())?;
            let (intent, new, quotas) = (intent.clone(), new.clone(), Arc::clone(&quotas));
            Ok(Box::pin(async move {
                let grown = Expected::exactly(quota::growth(new.size, old.as_ref()));
                let (tenant, id) = (&intent.tenant, intent.id);
                let grown = quota::reserve(connection, tenant, id, grown, &quotas).await?;
                intent.write(connection, None, grown, Some(&new)).await
            }))
        })
        .await
    }

    /// Writes down that the image `id` of the tenant is to be deleted, as [`Intent::prepare`] does.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is gone; what `check` says.
    pub async fn prepare_deletion(&self, id: Uuid, check: Check) -> Result<Turn> {
        let intent = self.note("delete");
        self.in_turn(move |connection, old| {
            let old = old.filter(|old| old.id == id).ok_or(Error::NotFound)?;
            check(Some(&old))?;
            let intent = intent.clone();
            Ok(Box::pin(async move {
                intent.write(connection, Some(old.upload), quota::Growth::default(), None).await
            }))
        })
        .await
    }

    /// Makes the record say what the store now has. Its object is `stored`.
    ///
    /// # Errors
    /// [`Error::Lost`] when another process took this one for dead meanwhile.
    pub async fn complete(&self, stored: &Stored) -> Result<Image> {
        let image = self.records.complete(self.id, stored).await?;
        self.end();
        Ok(image)
    }

    /// Removes the record, now that the object is gone.
    ///
    /// # Errors
    /// [`Error::Lost`] as [`Intent::complete`].
    pub async fn complete_deletion(&self) -> Result<()> {
        self.records.complete_deletion(self.id).await?;
        self.end();
        Ok(())
    }

    /// Makes way for others: the object did not come, and will not. Parts of it that are still
    /// in the store are cleared away by the reconciler.
    ///
    /// # Errors
    /// When the database fails; the reconciler then settles it.
    pub async fn give_up(&self) -> Result<()> {
        let id = self.id;
        self.records
            .write(move |connection| Box::pin(async move { give_up(connection, id).await }))
            .await
    }

    fn end(&self) {
        self.written.store(false, Ordering::Relaxed);
    }

    /// What is about to be written.
    fn note(&self, kind: &'static str) -> Note {
        self.written.store(true, Ordering::Relaxed);
        Note {
            id: self.id,
            kind,
            tenant: self.tenant.clone(),
            key: self.key.clone(),
            owner: self.records.owner_id(),
        }
    }

    /// Waits for this intent's turn, and runs `work` in the transaction that takes it, on the image
    /// that has the name by then.
    async fn in_turn<W>(&self, work: W) -> Result<Turn>
    where
        W: for<'c> Fn(&'c mut AnyConnection, Option<Image>) -> Result<BoxFuture<'c, Result<()>>>
            + Send
            + Sync
            + 'static,
    {
        let began = Instant::now();
        let turn = self.records.names().turn(&self.key, began + TURN).await.ok_or(Error::Busy)?;
        let work = Arc::new(work);
        let mut pause = Duration::from_millis(5);
        loop {
            self.records.keep_alive().await?;
            let (id, key, work) = (self.id, self.key.clone(), Arc::clone(&work));
            let lease = self.records.write(move |connection| {
                Box::pin(async move {
                    // First of all statements, so that no two transactions wait for one another.
                    let lease = take_lease(connection, &key, id).await?;
                    if lease == Lease::Taken {
                        let old = image::named(connection, key.as_str()).await?;
                        work(connection, old)?.await?;
                    }
                    Ok(lease)
                })
            });
            let patience = match lease.await? {
                Lease::Taken => return Ok(turn),
                Lease::Anothers => TURN,
                Lease::LeftOver => LEFT_OVER,
            };
            if began.elapsed() > patience {
                return Err(Error::Busy);
            }
            sleep(pause + Duration::from_millis(fastrand::u64(0..5))).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

impl Journal for Intent {
    fn opening(&self) -> BoxFuture<'_, std::result::Result<(), Box<dyn StdError + Send + Sync>>> {
        Box::pin(async move {
            let (row, size, quotas) = (self.note("upload"), self.size, self.records.quotas());
            let written = self.records.write(move |connection| {
                Box::pin(async move {
                    let old = image::named(connection, row.key.as_str()).await?;
                    let grown = |size| quota::growth(size, old.as_ref());
                    let grown = Expected { least: grown(size.least), most: grown(size.most) };
                    let (tenant, id) = (&row.tenant, row.id);
                    let grown = quota::reserve(connection, tenant, id, grown, &quotas).await?;
                    row.write(connection, None, grown, None).await
                })
            });
            written.await?;
            fault::point("upload.opening");
            Ok(())
        })
    }

    fn opened<'a>(
        &'a self,
        reference: &'a str,
    ) -> BoxFuture<'a, std::result::Result<(), Box<dyn StdError + Send + Sync>>> {
        Box::pin(async move {
            fault::point("upload.created");
            let (id, reference) = (self.id.to_string(), reference.to_owned());
            let written = self.records.write(move |connection| {
                Box::pin(async move {
                    const SQL: &str = "UPDATE intents SET staged = $1 WHERE id = $2";
                    let updated = sqlx::query(SQL).bind(reference).bind(id).execute(connection);
                    if updated.await?.rows_affected() == 0 {
                        return Err(Error::Lost);
                    }
                    Ok(())
                })
            });
            written.await?;
            fault::point("upload.opened");
            Ok(())
        })
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        self.records.live().remove(&self.id);
        if self.written.load(Ordering::Relaxed) {
            self.records.wake_reconciler();
        }
    }
}

/// What is the same in all of an intent's rows.
#[derive(Clone)]
struct Note {
    id: Uuid,
    kind: &'static str,
    tenant: TenantId,
    key: ObjectKey,
    owner: Uuid,
}

impl Note {
    /// Writes the row, or what has become known of it.
    async fn write(
        &self,
        connection: &mut AnyConnection,
        target: Option<Uuid>,
        grown: quota::Growth,
        new: Option<&NewImage>,
    ) -> Result<()> {
        const SQL: &str = "\
            INSERT INTO intents (id, kind, tenant, stored_name, owner, target, customer, display_name, \
            content_type, size, sha256, width, height, reserved_bytes, reserved_images, created_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
            ON CONFLICT (id) DO UPDATE SET customer = excluded.customer, \
            display_name = excluded.display_name, content_type = excluded.content_type, \
            size = excluded.size, sha256 = excluded.sha256, width = excluded.width, \
            height = excluded.height, reserved_bytes = excluded.reserved_bytes, \
            reserved_images = excluded.reserved_images WHERE intents.owner = excluded.owner";
        let written = sqlx::query(SQL)
            .bind(self.id.to_string())
            .bind(self.kind)
            .bind(self.tenant.as_str())
            .bind(self.key.as_str())
            .bind(self.owner.to_string())
            .bind(target.map(|id| id.to_string()))
            .bind(new.map(|new| new.customer.as_str()))
            .bind(new.map(|new| new.display_name.as_str()))
            .bind(new.map(|new| new.content_type))
            .bind(new.map(|new| signed(new.size)))
            .bind(new.map(|new| storage::hex(&new.sha256)))
            .bind(new.map(|new| i64::from(new.width)))
            .bind(new.map(|new| i64::from(new.height)))
            .bind(grown.bytes)
            .bind(grown.images)
            .bind(millis(SystemTime::now()))
            .execute(connection)
            .await?;
        if written.rows_affected() == 0 { Err(Error::Lost) } else { Ok(()) }
    }
}

/// Whose turn it is at a name.
#[derive(PartialEq)]
enum Lease {
    /// The asker's.
    Taken,
    /// That of a change that is under way.
    Anothers,
    /// That of a change that is to be settled.
    LeftOver,
}

async fn take_lease(connection: &mut AnyConnection, key: &ObjectKey, id: Uuid) -> Result<Lease> {
    const TAKE: &str = "INSERT INTO leases (stored_name, intent) VALUES ($1, $2) ON CONFLICT (stored_name) DO NOTHING";
    const LEFT: &str = "\
        SELECT 1 FROM leases JOIN intents ON intents.id = leases.intent \
        WHERE leases.stored_name = $1 AND intents.left_at IS NOT NULL";
    let take = sqlx::query(TAKE).bind(key.as_str()).bind(id.to_string());
    if take.execute(&mut *connection).await?.rows_affected() == 1 {
        return Ok(Lease::Taken);
    }
    let left = sqlx::query(LEFT).bind(key.as_str()).fetch_optional(connection).await?;
    Ok(if left.is_some() { Lease::LeftOver } else { Lease::Anothers })
}

/// Gives the lease back, and leaves a note only of parts that the store may have.
async fn give_up(connection: &mut AnyConnection, id: Uuid) -> Result<()> {
    for sql in [
        "DELETE FROM leases WHERE intent = $1",
        "DELETE FROM intents WHERE id = $1 AND staged IS NULL",
        "UPDATE intents SET size = NULL WHERE id = $1",
    ] {
        sqlx::query(sql).bind(id.to_string()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Removes an intent's row and its lease; whether it was there.
pub(super) async fn remove(connection: &mut AnyConnection, id: Uuid) -> Result<bool> {
    let id = id.to_string();
    sqlx::query("DELETE FROM leases WHERE intent = $1").bind(&id).execute(&mut *connection).await?;
    let removed = sqlx::query("DELETE FROM intents WHERE id = $1").bind(&id).execute(connection);
    Ok(removed.await?.rows_affected() == 1)
}

impl Records {
    /// Turns a prepared intent into the record. Does nothing if that was done before.
    pub(super) async fn complete(&self, id: Uuid, stored: &Stored) -> Result<Image> {
        let (stored, owner) = (stored.clone(), self.owner_id());
        self.write(move |connection| {
            Box::pin(async move { complete(connection, id, owner, &stored).await })
        })
        .await
    }

    pub(super) async fn complete_deletion(&self, id: Uuid) -> Result<()> {
        let owner = self.owner_id();
        self.write(move |connection| {
            Box::pin(async move { complete_deletion(connection, id, owner).await })
        })
        .await
    }

    pub(super) async fn cancel(&self, id: Uuid) -> Result<()> {
        self.write(move |connection| {
            Box::pin(async move { remove(connection, id).await.map(drop) })
        })
        .await
    }
}

async fn complete(
    connection: &mut AnyConnection,
    id: Uuid,
    owner: Uuid,
    stored: &Stored,
) -> Result<Image> {
    const INTENT: &str = "\
        SELECT tenant, stored_name, customer, display_name, content_type, size, sha256, width, height \
        FROM intents WHERE id = $1 AND owner = $2 AND size IS NOT NULL";
    let row = sqlx::query(INTENT).bind(id.to_string()).bind(owner.to_string());
    let Some(row) = row.fetch_optional(&mut *connection).await? else {
        return already(connection, id).await;
    };
    let key = image::key(&row)?;
    let old = image::named(connection, key.as_str()).await?;
    let now = image::time(millis(SystemTime::now()));
    let image = Image {
        id: old.as_ref().map_or(id, |old| old.id),
        tenant: image::tenant(&row)?,
        customer: row.try_get("customer")?,
        key,
        display_name: row.try_get("display_name")?,
        content_type: row.try_get("content_type")?,
        size: image::number(&row, "size")?,
        sha256: row.try_get("sha256")?,
        width: image::number(&row, "width")?,
        height: image::number(&row, "height")?,
        object_etag: stored.etag.clone(),
        upload: id,
        version: old.as_ref().map_or(1, |old| old.version + 1),
        created_at: old.as_ref().map_or(now, |old| old.created_at),
        updated_at: old.as_ref().map_or(now, |old| old.updated_at.max(now)),
    };
    quota::settle(connection, &image.tenant, quota::difference(image.size, old.as_ref())).await?;
    image::put(connection, &image).await?;
    remove(connection, id).await?;
    Ok(image)
}

/// The record that an intent became before, which is gone now.
async fn already(connection: &mut AnyConnection, id: Uuid) -> Result<Image> {
    const SQL: &str = concat!("SELECT ", image::columns!(), " FROM images WHERE upload = $1");
    let row = sqlx::query(SQL).bind(id.to_string()).fetch_optional(connection).await?;
    row.as_ref().map_or(Err(Error::Lost), Image::of_row)
}

async fn complete_deletion(connection: &mut AnyConnection, id: Uuid, owner: Uuid) -> Result<()> {
    const INTENT: &str =
        "SELECT stored_name, target FROM intents WHERE id = $1 AND owner = $2 AND kind = 'delete'";
    let row = sqlx::query(INTENT).bind(id.to_string()).bind(owner.to_string());
    let Some(row) = row.fetch_optional(&mut *connection).await? else {
        // Done before, or taken over by one that does it.
        return Ok(());
    };
    let (key, target) = (image::key(&row)?, image::uuid(&row, "target")?);
    if let Some(old) = image::named(connection, key.as_str()).await?
        && old.upload == target
    {
        quota::settle(connection, &old.tenant, quota::removal(&old)).await?;
        sqlx::query("DELETE FROM images WHERE id = $1")
            .bind(old.id.to_string())
            .execute(&mut *connection)
            .await?;
    }
    remove(connection, id).await?;
    Ok(())
}
