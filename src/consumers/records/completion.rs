//! An intent's end: what is in the store becomes the record, or goes from it.

use std::time::SystemTime;

use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::{
    Error, Records, Result,
    image::{self, Image, millis},
    quota,
    rows::{Kind, remove},
};
use crate::storage::Stored;

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
        SELECT kind, tenant, stored_name, customer, display_name, content_type, size, sha256, width, \
        height, created_at FROM intents WHERE id = $1 AND owner = $2 AND size IS NOT NULL";
    let row = sqlx::query(INTENT).bind(id.to_string()).bind(owner.to_string());
    let Some(row) = row.fetch_optional(&mut *connection).await? else {
        return already(connection, id).await;
    };
    let key = image::key(&row)?;
    let old = image::named(connection, key.as_str()).await?;
    let now = match Kind::parse(row.try_get("kind")?)? {
        // It has been there since then.
        Kind::Adoption => image::time(row.try_get("created_at")?),
        Kind::Upload | Kind::Deletion => image::time(millis(SystemTime::now())),
    };
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
