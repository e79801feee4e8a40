//! An image's record, as it stands in the table.

use std::time::SystemTime;

use sqlx::{AnyConnection, Row, any::AnyRow};
use uuid::Uuid;

use super::Result;
use crate::{
    database::{Batch, Error, ErrorKind, millis, of_millis},
    storage::ObjectKey,
    tenant::TenantId,
};

/// All columns of a record, for a SELECT.
macro_rules! columns {
    () => {
        "id, tenant, customer, stored_name, display_name, content_type, size, sha256, width, \
         height, object_etag, upload, version, created_at, updated_at, quarantined"
    };
}
pub(super) use columns;

/// The same in the same order, of the table `images` where others are beside it.
macro_rules! columns_of_images {
    () => {
        "images.id, images.tenant, images.customer, images.stored_name, images.display_name, \
         images.content_type, images.size, images.sha256, images.width, images.height, \
         images.object_etag, images.upload, images.version, images.created_at, images.updated_at, \
         images.quarantined"
    };
}
pub(super) use columns_of_images;

/// An image that is whole and durable in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Stays the same when the content is replaced.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: TenantId,
    /// Which of the tenant's customers it is of.
    pub customer: String,
    /// Where the object is.
    pub key: ObjectKey,
    /// The name to show.
    pub display_name: String,
    /// What the bytes are.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// Of the bytes, in hexadecimal digits; none while it is not computed yet.
    pub sha256: Option<String>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The store's entity tag of the object.
    pub object_etag: String,
    /// The upload that brought this content.
    pub upload: Uuid,
    /// Grows by one with every replacement; the first is 1.
    pub version: u64,
    /// When the first content was stored.
    pub created_at: SystemTime,
    /// When this content was stored.
    pub updated_at: SystemTime,
    /// Whether its content is held back, until the gates among its steps let it pass.
    pub quarantined: bool,
}

impl Image {
    /// The entity tag of this content, without quotes: a strong validator (RFC 9110 8.8.1), since
    /// no two uploads have the same id.
    pub fn etag(&self) -> String {
        self.upload.simple().to_string()
    }

    pub(super) fn of_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: uuid(row, "id")?,
            tenant: tenant(row)?,
            customer: row.try_get("customer")?,
            key: key(row)?,
            display_name: row.try_get("display_name")?,
            content_type: row.try_get("content_type")?,
            size: number(row, "size")?,
            sha256: row.try_get("sha256")?,
            width: number(row, "width")?,
            height: number(row, "height")?,
            object_etag: row.try_get("object_etag")?,
            upload: uuid(row, "upload")?,
            version: number(row, "version")?,
            created_at: of_millis(row.try_get("created_at")?),
            updated_at: of_millis(row.try_get("updated_at")?),
            quarantined: row.try_get::<i64, _>("quarantined")? != 0,
        })
    }
}

/// The image that has this name.
pub(super) async fn named(
    connection: &mut AnyConnection,
    stored_name: &str,
) -> Result<Option<Image>> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM images WHERE stored_name = $1");
    let row = sqlx::query(SQL).bind(stored_name).fetch_optional(connection).await?;
    row.as_ref().map(Image::of_row).transpose()
}

pub(super) fn uuid(row: &AnyRow, column: &str) -> Result<Uuid> {
    let text: String = row.try_get(column)?;
    Ok(Uuid::try_parse(&text).map_err(|e| unreadable(column, e))?)
}

pub(super) fn tenant(row: &AnyRow) -> Result<TenantId> {
    let text: String = row.try_get("tenant")?;
    Ok(TenantId::parse(&text).map_err(|_| unreadable("tenant", "no tenant's id"))?)
}

pub(super) fn key(row: &AnyRow) -> Result<ObjectKey> {
    let text: String = row.try_get("stored_name")?;
    Ok(ObjectKey::parse(&text).map_err(|e| unreadable("stored_name", e))?)
}

pub(super) fn number<N: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<N> {
    let number: i64 = row.try_get(column)?;
    Ok(N::try_from(number).map_err(|_| unreadable(column, "out of range"))?)
}

pub(super) fn unreadable(
    column: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let (column, cause) = (column.to_owned(), cause.into());
    Error::new(ErrorKind::Internal, format!("column {column}: {cause}"))
}

/// Bytes or a count as they are kept.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Writes a record: a new one, or the replacement of the one with this id.
pub(super) fn put(batch: Batch, image: &Image) -> Batch {
    const SQL: &str = concat!(
        "INSERT INTO images (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
         ON CONFLICT (id) DO UPDATE SET display_name = excluded.display_name, \
         content_type = excluded.content_type, size = excluded.size, sha256 = excluded.sha256, \
         width = excluded.width, height = excluded.height, object_etag = excluded.object_etag, \
         upload = excluded.upload, version = excluded.version, updated_at = excluded.updated_at, \
         quarantined = excluded.quarantined"
    );
    batch
        .statement(SQL)
        .bind(image.id.to_string())
        .bind(image.tenant.as_str().to_owned())
        .bind(image.customer.clone())
        .bind(image.key.as_str().to_owned())
        .bind(image.display_name.clone())
        .bind(image.content_type.clone())
        .bind(signed(image.size))
        .bind(image.sha256.clone())
        .bind(i64::from(image.width))
        .bind(i64::from(image.height))
        .bind(image.object_etag.clone())
        .bind(image.upload.to_string())
        .bind(signed(image.version))
        .bind(millis(image.created_at))
        .bind(millis(image.updated_at))
        .bind(i64::from(image.quarantined))
}
