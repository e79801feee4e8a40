//! An image's record as clients see it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::consumers::records::Image;

/// What an upload is answered with, and a part of every record.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ImageRecord)]
pub struct Record<'a> {
    /// Where the image is: its tenant, customer and file's name.
    #[schema(example = "tenant-abc/customer/12345/image.jpg")]
    stored_name: &'a str,
    #[schema(example = "12345")]
    customer_id: &'a str,
    /// Stays the same when the content is replaced.
    #[schema(format = Uuid)]
    id: String,
    /// The name to show.
    #[schema(example = "image.jpg")]
    file_name: &'a str,
    /// What the bytes are.
    #[schema(example = "image/jpeg")]
    content_type: &'a str,
    /// Bytes.
    #[schema(minimum = 1, example = 48213)]
    size: u64,
    /// Of the bytes, in hexadecimal digits; null while it is not computed yet.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: Option<&'a str>,
    /// Pixels.
    #[schema(minimum = 1, example = 1200)]
    width: u32,
    /// Pixels.
    #[schema(minimum = 1, example = 800)]
    height: u32,
    #[schema(format = DateTime)]
    created_at: String,
    /// There, and true, while the content is held back until it was checked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    quarantined: bool,
}

/// The whole record.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Image)]
pub struct WholeRecord<'a> {
    #[serde(flatten)]
    record: Record<'a>,
    /// Grows by one with every replacement.
    #[schema(minimum = 1, example = 1)]
    version: u64,
    /// When this content was stored.
    #[schema(format = DateTime)]
    updated_at: String,
    /// The content's entity tag, without its quotes.
    #[schema(example = "01a2064a6d5e7381bda1893f193e44ac")]
    etag: String,
}

impl<'a> Record<'a> {
    /// What an upload's answer tells of `image`.
    pub fn of(image: &'a Image) -> Self {
        Self {
            stored_name: image.key.as_str(),
            customer_id: &image.customer,
            id: image.id.to_string(),
            file_name: &image.display_name,
            content_type: &image.content_type,
            size: image.size,
            sha256: image.sha256.as_deref(),
            width: image.width,
            height: image.height,
            created_at: humantime::format_rfc3339_millis(image.created_at).to_string(),
            quarantined: image.quarantined,
        }
    }
}

impl<'a> WholeRecord<'a> {
    /// All that is told of `image`.
    pub fn of(image: &'a Image) -> Self {
        Self {
            record: Record::of(image),
            version: image.version,
            updated_at: humantime::format_rfc3339_millis(image.updated_at).to_string(),
            etag: image.etag(),
        }
    }
}
