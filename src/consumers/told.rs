//! How an event is told: the same to streams, to webhooks and to steps.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    images::record::WholeRecord,
    records::{Change, Event, Image},
};

/// An event as it is told: as Standard Webhooks asks, with its id and its tenant.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub struct Told<'a> {
    #[schema(format = Uuid)]
    id: String,
    #[serde(rename = "type")]
    #[schema(example = "image.created")]
    kind: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
    tenant_id: &'a str,
    data: Data<'a>,
}

/// The image that an event is of.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = EventData)]
enum Data<'a> {
    /// Its record.
    There(WholeRecord<'a>),
    /// What it was called.
    #[serde(rename_all = "camelCase")]
    Gone { id: String, customer_id: &'a str, stored_name: &'a str, version: u64, etag: String },
}

impl<'a> Told<'a> {
    /// What is told of `event`.
    pub fn of(event: &'a Event) -> Self {
        Self::new(event.id, event.change, event.occurred_at, &event.image)
    }

    /// What is told of a change of `image`.
    pub fn new(event: Uuid, change: Change, occurred_at: SystemTime, image: &'a Image) -> Self {
        let data = match change {
            Change::Created | Change::Replaced | Change::Processed => {
                Data::There(WholeRecord::of(image))
            }
            Change::Deleted => Data::Gone {
                id: image.id.to_string(),
                customer_id: &image.customer,
                stored_name: image.key.as_str(),
                version: image.version,
                etag: image.etag(),
            },
        };
        Self {
            id: event.to_string(),
            kind: change.as_str(),
            timestamp: humantime::format_rfc3339_millis(occurred_at).to_string(),
            tenant_id: image.tenant.as_str(),
            data,
        }
    }
}
