//! What is sent: an event, or a test; and how a job tells which.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use crate::{
    consumers::{
        records::{Records, Result},
        told::Told,
    },
    tenant::TenantId,
};

/// The type of tests.
pub(super) const TEST: &str = "webhook.test";

/// What a job's payload says that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The event of this number and id.
    Event(u64, Uuid),
    /// A test that was asked for then.
    Test(SystemTime),
}

/// A message: what names it, the same whenever it is sent, and the JSON.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Bytes,
}

impl Subject {
    /// What this payload says; none for one that was not written here.
    pub(super) fn parse(payload: &str) -> Option<Self> {
        let (first, second) = payload.split_once(' ')?;
        if first == "test" {
            let since = Duration::from_millis(second.parse().ok()?);
            return Some(Self::Test(UNIX_EPOCH + since));
        }
        Some(Self::Event(first.parse().ok()?, Uuid::try_parse(second).ok()?))
    }

    /// The payload that says so.
    pub(super) fn payload(self) -> String {
        match self {
            Self::Event(number, id) => format!("{number} {id}"),
            Self::Test(at) => {
                let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
                format!("test {}", since.as_millis())
            }
        }
    }

    /// The event's id.
    pub(super) fn event(self) -> Option<Uuid> {
        match self {
            Self::Event(_, id) => Some(id),
            Self::Test(_) => None,
        }
    }

    /// The message; none if the event is kept no more. A test is known by its delivery.
    pub(super) async fn message(
        self,
        records: &Records,
        tenant: &TenantId,
        webhook: &str,
        delivery: &str,
    ) -> Result<Option<Message>> {
        match self {
            Self::Test(at) => {
                let told = json!({
                    "id": delivery, "type": TEST, "tenantId": tenant.as_str(),
                    "timestamp": humantime::format_rfc3339_millis(at).to_string(),
                    "data": { "webhookId": webhook },
                });
                Ok(Some(Message { id: delivery.to_owned(), body: told.to_string().into() }))
            }
            Self::Event(number, id) => {
                let events = records.events(tenant, number.saturating_sub(1), 1).await?;
                let event = events.first().filter(|event| event.id == id);
                Ok(event.and_then(|event| {
                    let body = serde_json::to_vec(&Told::of(event)).ok()?;
                    Some(Message { id: id.to_string(), body: body.into() })
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_as_it_was_written() {
        let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        for subject in [Subject::Event(17, Uuid::now_v7()), Subject::Test(at)] {
            assert_eq!(Subject::parse(&subject.payload()), Some(subject));
        }
        for wrong in ["", "17", "x y", "17 x", "test", "test -1"] {
            assert_eq!(Subject::parse(wrong), None, "{wrong}");
        }
    }
}
