//! An upstream's response as actix is to send it.

use std::task::Poll;

use super::{
    Outgoing,
    body::{HeadBody, ResponseBody},
    connection::Piece,
    error::Error,
    head::Head,
    pool::Lease,
};
use crate::gateway::headers;
use actix_web::{
    HttpResponse,
    body::{self, BoxBody},
    http::{
        ConnectionType, Method, StatusCode, Version,
        header::{self, HeaderMap, HeaderValue},
    },
};

/// What of the request matters to its response.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) head: bool,
    /// The client speaks HTTP/1.0. actix would send it chunks all the same.
    http_10: bool,
    /// The client asked for an upgrade and does not get one. actix would confirm it, and
    /// announce chunks without sending any.
    upgrade: bool,
}

impl Asked {
    pub(super) fn by(outgoing: &Outgoing<'_>) -> Self {
        Self {
            head: outgoing.method == Method::HEAD,
            http_10: outgoing.version < Version::HTTP_11,
            upgrade: headers::asks_for_upgrade(outgoing.headers),
        }
    }
}

/// The response to the client. Its body streams from the leased connection, unless all of it
/// has come already.
pub(super) fn relay(head: Head, lease: Lease, asked: Asked) -> Result<HttpResponse, Error> {
    let Head { status, mut fields, length, .. } = head;
    let body = match status {
        StatusCode::NO_CONTENT => {
            lease.give_back();
            none()
        }
        StatusCode::NOT_MODIFIED => {
            lease.give_back();
            // There is no size to write it from.
            if let Some(length) = length {
                fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            none()
        }
        _ if asked.head => {
            lease.give_back();
            length.map_or_else(none, |length| BoxBody::new(HeadBody(length)))
        }
        _ => content(lease, length)?,
    };
    Ok(respond(status, fields, body, length.is_some(), asked))
}

/// A body of a response that may have one.
fn content(mut lease: Lease, length: Option<u64>) -> Result<BoxBody, Error> {
    let first = match lease.connection.poll_ready_piece() {
        Poll::Ready(Ok(Piece::Data(bytes))) => Some(bytes),
        Poll::Ready(Err(error)) => return Err(error),
        Poll::Ready(Ok(Piece::End)) | Poll::Pending => None,
    };
    let come = first.as_ref().map_or(0, bytes::Bytes::len) as u64;
    if length == Some(come) {
        lease.give_back();
        return Ok(BoxBody::new(first.unwrap_or_default()));
    }
    Ok(BoxBody::new(ResponseBody::new(lease, first, length)))
}

fn respond(
    status: StatusCode,
    fields: HeaderMap,
    body: BoxBody,
    sized: bool,
    asked: Asked,
) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, body);
    let head = response.head_mut();
    head.headers = fields;
    if status.canonical_reason().is_none() {
        head.reason = Some("");
    }
    if asked.upgrade || (asked.http_10 && !sized) {
        // The end of the connection is the end of the body.
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    response
}

fn none() -> BoxBody {
    BoxBody::new(body::None::new())
}
