//! An upstream's response as actix is to send it.

use std::task::Poll;

use super::{
    Outgoing,
    body::{HeadBody, ResponseBody},
    connection::Piece,
    error::{Error, Kind, Phase},
    head::Head,
    pool::Lease,
    tunnel::ClientSide,
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
pub(super) struct Asked<'a> {
    pub(super) head: bool,
    /// The client speaks HTTP/1.0. actix would send it chunks all the same.
    http_10: bool,
    /// The protocol that the client asks for, and the upstream is asked for.
    pub(super) upgrade: Option<&'a HeaderValue>,
    /// actix takes the request for one that asks for an upgrade. It would confirm it, and
    /// announce chunks without sending any.
    seems_upgrade: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn by(outgoing: &Outgoing<'a>, has_body: bool) -> Self {
        let http_10 = outgoing.version < Version::HTTP_11;
        let seems_upgrade = headers::looks_like_upgrade(outgoing.headers);
        let tunnel = seems_upgrade && !has_body && !http_10 && outgoing.client.is_some();
        Self {
            head: outgoing.method == Method::HEAD,
            http_10,
            upgrade: if tunnel { headers::upgrade(outgoing.headers) } else { None },
            seems_upgrade,
        }
    }

    /// Whether a 101 is one that was asked for; then where the client is.
    pub(super) fn agrees<'b>(
        &self,
        head: &Head,
        client: Option<ClientSide<'b>>,
    ) -> Result<ClientSide<'b>, Error> {
        let asked = self.upgrade.map_or(&b""[..], HeaderValue::as_bytes);
        let granted = head.upgrade.as_ref().and_then(|protocol| protocol.to_str().ok());
        let granted = granted.is_some_and(|protocol| headers::has_token(asked, protocol));
        client.filter(|_| granted).ok_or_else(|| Error::new(Kind::Invalid, Phase::Head))
    }
}

/// The response to the client. Its body streams from the leased connection, unless all of it
/// has come already.
pub(super) fn relay(head: Head, lease: Lease, asked: Asked<'_>) -> Result<HttpResponse, Error> {
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
    asked: Asked<'_>,
) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, body);
    let head = response.head_mut();
    head.headers = fields;
    if status.canonical_reason().is_none() {
        head.reason = Some("");
    }
    if asked.seems_upgrade || (asked.http_10 && !sized) {
        // The end of the connection is the end of the body.
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    response
}

fn none() -> BoxBody {
    BoxBody::new(body::None::new())
}
