//! An intent's end: what is in the store becomes the record, or goes from it.

use std::{sync::Arc, time::SystemTime};

use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::{
    Error, NewImage, Records, Result,
    events::Change,
    image::{self, Image},
    quota,
    rows::{Kind, run_and_remove},
    sessions,
};
use crate::{
    database::{Batch, millis, of_millis},
    storage::{self, ObjectKey, Stored},
    tenant::TenantId,
};

/// What a prepared intent turns into, once its object is in the store.
pub(super) struct Prospect {
    pub(super) kind: Kind,
    pub(super) tenant: TenantId,
    pub(super) key: ObjectKey,
    pub(super) new: Arc<NewImage>,
    /// What it replaces; it stays so as long as the intent has the lease of its name.
    pub(super) old: Option<Image>,
    /// When the object was written, where that was before the intent.
    pub(super) written_at: Option<SystemTime>,
}

impl Prospect {
    /// The record of what the intent `id` has brought.
    fn into_image(self, id: Uuid, stored: Stored, quarantined: bool) -> Image {
        let Self { tenant, key, new, old, written_at, .. } = self;
        let now = of_millis(millis(written_at.unwrap_or_else(SystemTime::now)));
        Image {
            id: old.as_ref().map_or(id, |old| old.id),
            tenant,
            customer: new.customer.clone(),
            key,
            display_name: new.display_name.clone(),
            content_type: new.content_type.clone(),
            size: new.size,
            sha256: new.sha256.clone().or_else(|| stored.sha256.as_ref().map(storage::hex)),
            width: new.width,
            height: new.height,
            object_etag: stored.etag,
            upload: id,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            created_at: old.as_ref().map_or(now, |old| old.created_at),
            updated_at: old.as_ref().map_or(now, |old| old.updated_at.max(now)),
            quarantined,
        }
    }
}

impl Records {
    /// Turns a prepared intent into the record. Does nothing if that was done before. What it is to
    /// be is read from the intent where the caller does not know it.
    ///
    /// # Errors
    /// [`Error::Lost`] when the intent is another's, or gone without a record.
    pub(super) async fn complete(
        &self,
        id: Uuid,
        known: Option<Prospect>,
        stored: Stored,
    ) -> Result<Image> {
        let (owner, records) = (self.owner_id(), self.clone());
        let completed = self.write(move |connection| {
            Box::pin(async move {
                let prospect = match known {
                    Some(prospect) => prospect,
                    None => prospect(connection, id, owner).await?,
                };
                complete(connection, &records, id, prospect, stored).await
            })
        });
        match completed.await {
            Ok(image) => {
                self.told(&image.tenant);
                Ok(image)
            }
            Err(Error::Lost) => self.completed(id).await,
            Err(error) => Err(error),
        }
    }

    /// The record that an intent became before, which is gone now.
    async fn completed(&self, id: Uuid) -> Result<Image> {
        const SQL: &str = concat!("SELECT ", image::columns!(), " FROM images WHERE upload = $1");
        self.read(move |connection| {
            Box::pin(async move {
                let row = sqlx::query(SQL).bind(id.to_string()).fetch_optional(connection).await?;
                row.as_ref().map_or(Err(Error::Lost), Image::of_row)
            })
        })
        .await
    }

    pub(super) async fn complete_deletion(&self, id: Uuid) -> Result<()> {
        let records = self.clone();
        let completed = self.write(move |connection| {
            Box::pin(async move { complete_deletion(connection, &records, id).await })
        });
        if let Some(tenant) = completed.await? {
            self.told(&tenant);
        }
        Ok(())
    }

    pub(super) async fn cancel(&self, id: Uuid) -> Result<()> {
        let owner = self.owner_id();
        self.write(move |connection| {
            Box::pin(run_and_remove(Batch::new(connection), connection, id, owner))
        })
        .await
    }
}

/// What this owner's intent says, and the image that has its name.
async fn prospect(connection: &mut AnyConnection, id: Uuid, owner: Uuid) -> Result<Prospect> {
    const SQL: &str = "\
        SELECT kind, tenant, stored_name, customer, display_name, content_type, size, sha256, width, \
        height, created_at FROM intents WHERE id = $1 AND owner = $2 AND size IS NOT NULL";
    let row = sqlx::query(SQL).bind(id.to_string()).bind(owner.to_string());
    let row = row.fetch_optional(&mut *connection).await?.ok_or(Error::Lost)?;
    let kind = Kind::parse(row.try_get("kind")?)?;
    let written_at = match kind {
        Kind::Adoption => Some(of_millis(row.try_get("created_at")?)),
        Kind::Upload | Kind::Session | Kind::Deletion => None,
    };
    let new = NewImage {
        customer: row.try_get("customer")?,
        display_name: row.try_get("display_name")?,
        content_type: row.try_get("content_type")?,
        size: image::number(&row, "size")?,
        sha256: row.try_get("sha256")?,
        width: image::number(&row, "width")?,
        height: image::number(&row, "height")?,
    };
    let key = image::key(&row)?;
    let old = image::named(connection, key.as_str()).await?;
    Ok(Prospect { kind, tenant: image::tenant(&row)?, key, new: Arc::new(new), old, written_at })
}

async fn complete(
    connection: &mut AnyConnection,
    records: &Records,
    id: Uuid,
    prospect: Prospect,
    stored: Stored,
) -> Result<Image> {
    let grown = quota::difference(prospect.new.size, prospect.old.as_ref());
    let kind = prospect.kind;
    let change = if prospect.old.is_some() { Change::Replaced } else { Change::Created };
    let image = prospect.into_image(id, stored, records.holds_back());
    let batch = quota::settle(Batch::new(connection), &image.tenant, grown);
    let batch = records.tell(image::put(batch, &image), id, change, &image);
    let batch = if kind == Kind::Session { sessions::finish(batch, id) } else { batch };
    run_and_remove(batch, connection, id, records.owner_id()).await?;
    Ok(image)
}

/// The tenant whose image is gone with it, if one is.
async fn complete_deletion(
    connection: &mut AnyConnection,
    records: &Records,
    id: Uuid,
) -> Result<Option<TenantId>> {
    const INTENT: &str =
        "SELECT stored_name, target FROM intents WHERE id = $1 AND owner = $2 AND kind = 'delete'";
    let owner = records.owner_id();
    let row = sqlx::query(INTENT).bind(id.to_string()).bind(owner.to_string());
    let Some(row) = row.fetch_optional(&mut *connection).await? else {
        // Done before, or taken over by one that does it.
        return Ok(None);
    };
    let (key, target) = (image::key(&row)?, image::uuid(&row, "target")?);
    let (mut batch, mut gone) = (Batch::new(connection), None);
    if let Some(old) = image::named(connection, key.as_str()).await?
        && old.upload == target
    {
        batch = quota::settle(batch, &old.tenant, quota::removal(&old));
        batch = records
            .tell(batch, id, Change::Deleted, &old)
            .statement("DELETE FROM images WHERE id = $1")
            .bind(old.id.to_string())
            .statement("DELETE FROM finished WHERE id = $1")
            .bind(old.id.to_string());
        gone = Some(old.tenant);
    }
    run_and_remove(batch, connection, id, owner).await?;
    Ok(gone)
}
