//! A request's id: the client's or a new one.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::{NoContext, Timestamp, Uuid};

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id: the client's own if it is 1 to 128 visible ASCII characters, else a new
/// UUIDv7.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id for a request with these fields.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(&REQUEST_ID);
        if let (Some(id), None) = (sent.next(), sent.next())
            && (1..=128).contains(&id.len())
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
        {
            return Self(id.clone());
        }
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let id = Uuid::new_v7(Timestamp::now(NoContext)).hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("unknown")))
    }

    /// The id as a field's value.
    pub(super) fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("unknown")
    }
}
