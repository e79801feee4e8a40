//! The two heads of an exchange on the wire: the request's is written, the response's read.

use std::mem::MaybeUninit;

use actix_web::http::{
    StatusCode, Version,
    header::{HeaderMap, HeaderValue},
};
use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    Outgoing,
    decoder::{Chunked, Decoder},
    error::{Error, Kind, Phase},
    instance::Instance,
};
use crate::{
    gateway::headers::{self, Framing, Identity},
    trace::Onward,
};

/// How many fields a response may have.
const MAX_FIELDS: usize = 128;

/// A response's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// The fields that go to the client.
    pub(super) fields: HeaderMap,
    /// The body's declared length. It counts only without `Transfer-Encoding`.
    pub(super) length: Option<u64>,
    /// How a body is framed, if this response has one.
    pub(super) framing: Decoder,
    /// Whether another request may follow on the connection.
    pub(super) persistent: bool,
    /// The protocol that it switches to, or offers.
    pub(super) upgrade: Option<HeaderValue>,
}

/// Writes a request's head.
///
/// # Errors
/// When its target or a field cannot be sent on as it is.
pub(super) fn write(
    instance: &Instance,
    outgoing: &Outgoing<'_>,
    framing: Framing,
    upgrade: Option<&HeaderValue>,
    trace: Option<&Onward>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.extend_from_slice(outgoing.method.as_str().as_bytes());
    out.push(b' ');
    if !instance.write_target(outgoing.rest, outgoing.query, out) {
        return Err(Error::new(Kind::Target, Phase::Check));
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let identity = Identity {
        host: instance.authority(),
        tenant: outgoing.tenant,
        credentials: outgoing.credentials,
        request_id: outgoing.request_id,
        peer: outgoing.peer,
        peer_is_trusted: outgoing.peer_is_trusted,
        scheme: outgoing.scheme,
        http_10: outgoing.version < Version::HTTP_11,
        upgrade,
        trace,
    };
    headers::for_upstream(outgoing.headers, identity, framing, out)
        .map_err(|unfit| Error::new(Kind::Target, Phase::Check).because(unfit))?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Takes a response's head from the front of `input`; none if not all of it has come.
///
/// # Errors
/// When it is no HTTP/1.x, or its framing could be read in two ways.
pub(super) fn read(input: &mut BytesMut) -> Result<Option<Head>, Error> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, input, &mut fields)
        .map_err(|e| invalid().because(e))?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let head = understand(&response, &input[..length])?;
    input.advance(length);
    Ok(Some(head))
}

/// What a parsed head says; `wire` is what it was parsed from.
fn understand(response: &httparse::Response<'_, '_>, wire: &[u8]) -> Result<Head, Error> {
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(invalid)?;
    let http_11 = response.version == Some(1);
    let (mut length, mut coding, mut close, mut upgrade) = (None, None, !http_11, None);
    for field in &*response.headers {
        if field.name.eq_ignore_ascii_case("content-length") {
            let value = content_length(field.value).ok_or_else(invalid)?;
            if length.replace(value).is_some_and(|before| before != value) {
                return Err(invalid());
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            // What other codings there are would have to be taken off, or named to a client
            // that was not asked whether it knows them.
            let chunked = field.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            if !chunked || !http_11 || coding.replace(()).is_some() {
                return Err(invalid());
            }
        } else if field.name.eq_ignore_ascii_case("connection") {
            close |= headers::has_token(field.value, "close");
        } else if field.name.eq_ignore_ascii_case("upgrade") {
            upgrade = HeaderValue::from_bytes(field.value).ok();
        }
    }
    let framing = match (coding, length) {
        (Some(()), _) => Decoder::Chunked(Chunked::Line),
        (None, Some(length)) => Decoder::Length(length),
        (None, None) => Decoder::UntilClose,
    };
    // Both: somebody on the way may have believed the other (RFC 9112, section 6.3).
    close |= coding.is_some() && length.is_some();
    // All values are slices of one copy, so that the connection's buffer can be used again.
    let copy = Bytes::copy_from_slice(wire);
    let fields = headers::for_client(response.headers, |value| {
        let at = value.as_ptr().addr().wrapping_sub(wire.as_ptr().addr());
        if value.is_empty() { Bytes::new() } else { copy.slice(at..at + value.len()) }
    });
    Ok(Head {
        status,
        fields: fields.map_err(|unfit| invalid().because(unfit))?,
        length: if coding.is_some() { None } else { length },
        framing,
        persistent: !close,
        upgrade,
    })
}

/// A `Content-Length`: digits only. A list of the same number is what some gateways make of a
/// repeated field (RFC 9110, section 8.6).
fn content_length(value: &[u8]) -> Option<u64> {
    let mut length = None;
    for member in value.split(|&b| b == b',') {
        let member = member.trim_ascii();
        if member.is_empty() || !member.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let value = std::str::from_utf8(member).ok()?.parse().ok()?;
        if length.replace(value).is_some_and(|before: u64| before != value) {
            return None;
        }
    }
    length
}

fn invalid() -> Error {
    Error::new(Kind::Invalid, Phase::Head)
}
