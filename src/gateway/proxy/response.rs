//! An upstream's response as actix is to send it.

use std::task::Poll;

use actix_web::{
    HttpResponse,
    body::{self, BoxBody},
    http::{
        ConnectionType, Method, StatusCode, Version,
        header::{self, HeaderMap, HeaderValue},
    },
};
use http::{
    Response,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::{
    Outgoing,
    body::{HeadBody, ResponseBody},
    connection::Piece,
    error::{Error, Kind, Phase},
    pool::Lease,
};
use crate::gateway::headers;

/// What of the request matters to its response.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    head: bool,
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
pub(super) fn relay(
    head: &Response<()>,
    lease: Lease,
    asked: Asked,
) -> Result<HttpResponse, Error> {
    let status = StatusCode::from_u16(head.status().as_u16()).map_err(|e| invalid().because(e))?;
    let length = length(head);
    let mut fields = headers::for_client(head.headers()).map_err(|e| invalid().because(e))?;
    // actix writes it from the body's size.
    fields.remove(header::CONTENT_LENGTH);

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
        _ => content(head, lease, length)?,
    };
    Ok(respond(status, fields, body, length.is_some(), asked))
}

/// A body of a response that may have one.
fn content(head: &Response<()>, mut lease: Lease, length: Option<u64>) -> Result<BoxBody, Error> {
    if let Some(coding) = head.headers().get(TRANSFER_ENCODING) {
        // Of other codings hyper would take off the last and leave the rest unnamed.
        if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
            || head.headers().get_all(TRANSFER_ENCODING).iter().nth(1).is_some()
        {
            return Err(invalid());
        }
    }
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

/// The declared length, which counts only without `Transfer-Encoding`. hyper has refused
/// lengths that differ.
fn length(head: &Response<()>) -> Option<u64> {
    if head.headers().contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let value = head.headers().get(CONTENT_LENGTH)?.to_str().ok()?;
    value.split(',').next()?.trim().parse().ok()
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

fn invalid() -> Error {
    Error::new(Kind::Invalid, Phase::Head)
}
