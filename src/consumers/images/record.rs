//! An image's record as clients see it.

use serde::Serialize;

use crate::consumers::records::Image;

/// What an upload is answered with, and a part of every record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<'a> {
    stored_name: &'a str,
    customer_id: &'a str,
    id: String,
    file_name: &'a str,
    content_type: &'a str,
    size: u64,
    sha256: Option<&'a str>,
    width: u32,
    height: u32,
    created_at: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    quarantined: bool,
}

/// The whole record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WholeRecord<'a> {
    #[serde(flatten)]
    record: Record<'a>,
    version: u64,
    updated_at: String,
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
