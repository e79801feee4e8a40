//! Which header fields pass the gateway, in which form, and in which direction.
//!
//! This is the one place where the server's header types (http 0.2, actix) and the proxy's
//! (http 1.x, hyper) meet. It knows RFC 9110 and the names that the gateway sets; it knows no
//! connection, no service and no setting.

use std::{fmt::Write as _, net::IpAddr};

use actix_web::http::header as server;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self as upstream, HeaderName, HeaderValue};

/// The header that names the tenant.
pub const TENANT_ID: &str = "x-tenant-id";
/// The header that carries the request's id.
pub const REQUEST_ID: &str = "x-request-id";

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static(REQUEST_ID);
const X_TENANT_ID: HeaderName = HeaderName::from_static(TENANT_ID);

/// A field that cannot be carried over; nothing else can go wrong in this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header field cannot be carried over")]
pub struct Unfit;

/// What the gateway itself says in a forwarded request's fields.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The target's authority, for `Host`.
    pub host: &'a HeaderValue,
    /// The verified tenant; without one no `x-tenant-id` goes out.
    pub tenant: Option<&'a str>,
    /// The request's id.
    pub request_id: &'a str,
    /// Who sent the request.
    pub peer: Option<IpAddr>,
    /// Whether that peer's `X-Forwarded-*` and `Forwarded` are believed.
    pub peer_is_trusted: bool,
    /// `http` or `https`, as the client came.
    pub scheme: &'a str,
    /// Whether the client spoke HTTP/1.0, for `Via`.
    pub http_10: bool,
}

/// How a request's body is framed (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither `Content-Length` nor `Transfer-Encoding`: there is no body.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl Framing {
    /// Reads the framing of a request that the server has already accepted: at most one
    /// `Content-Length`, never together with `Transfer-Encoding`, and that only `chunked`.
    ///
    /// # Errors
    /// [`Unfit`] when the length is no number, should a parser ever let that through.
    pub fn of(headers: &server::HeaderMap) -> Result<Self, Unfit> {
        if headers.contains_key(server::TRANSFER_ENCODING) {
            return Ok(Self::Chunked);
        }
        let Some(value) = headers.get(server::CONTENT_LENGTH) else {
            return Ok(Self::None);
        };
        let length = value.to_str().ok().and_then(|v| v.trim().parse().ok()).ok_or(Unfit)?;
        Ok(Self::Length(length))
    }
}

/// The fields of the request that goes upstream: the client's less what is hop-by-hop or the
/// gateway's to say, then what the gateway says. Set last, those can neither be forged, nor
/// doubled, nor removed by naming them in `Connection`.
///
/// # Errors
/// [`Unfit`] when a value holds bytes that no header field may have.
pub fn for_upstream(
    incoming: &server::HeaderMap,
    identity: Identity<'_>,
    framing: Framing,
) -> Result<upstream::HeaderMap, Unfit> {
    let mut out = Fields::sized_for(incoming);
    out.append(upstream::HOST, identity.host.clone())?;
    match framing {
        Framing::None => {}
        Framing::Length(length) => out.append(upstream::CONTENT_LENGTH, length.into())?,
        Framing::Chunked => {
            out.append(upstream::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
        }
    }

    let trusted = identity.peer_is_trusted;
    let named = Named::by(incoming.get_all(server::CONNECTION));
    let (mut has_proto, mut has_host) = (false, false);
    for (name, value) in incoming {
        let name = name.as_str();
        let pass = match role(name) {
            Role::Ordinary => !named.contains(name),
            Role::ForwardedProto => {
                has_proto |= trusted;
                trusted
            }
            Role::ForwardedHost => {
                has_host |= trusted;
                trusted
            }
            Role::ForwardedOther => trusted && !named.contains(name),
            Role::Te => {
                if has_token(value.as_bytes(), "trailers") {
                    out.append(upstream::TE, HeaderValue::from_static("trailers"))?;
                }
                false
            }
            Role::OfThisHop | Role::Chained | Role::Gateway => false,
        };
        if pass {
            out.copy(name, value.as_bytes())?;
        }
    }

    if let Some(tenant) = identity.tenant {
        out.copy_as(X_TENANT_ID, tenant.as_bytes())?;
    }
    out.copy_as(X_REQUEST_ID, identity.request_id.as_bytes())?;

    let came = |name: &str, believed: bool| {
        let values: &[server::HeaderValue] =
            if believed { incoming.get_all(name).as_slice() } else { &[] };
        values.iter()
    };
    let host = incoming.get(server::HOST).map_or(&b""[..], server::HeaderValue::as_bytes);
    out.join(upstream::VIA, came("via", true), |buf| {
        buf.put_slice(if identity.http_10 { b"1.0 gatehouse" } else { b"1.1 gatehouse" });
    })?;
    let peer = out.write(|buf| match identity.peer {
        Some(peer) => write_display(buf, peer.to_canonical()),
        None => buf.put_slice(b"unknown"),
    });
    out.join(X_FORWARDED_FOR, came("x-forwarded-for", trusted), |buf| buf.put_slice(&peer))?;
    out.join(upstream::FORWARDED, came("forwarded", trusted), |buf| {
        write_forwarded(buf, &peer, host, identity.scheme);
    })?;
    if !has_proto {
        out.copy_as(X_FORWARDED_PROTO, identity.scheme.as_bytes())?;
    }
    if !has_host && !host.is_empty() {
        out.copy_as(X_FORWARDED_HOST, host)?;
    }
    Ok(out.map)
}

/// The fields of the response that goes to the client: the upstream's less what is hop-by-hop.
/// `Content-Length` stays in; `x-request-id` is the gateway's to say.
///
/// # Errors
/// [`Unfit`] when a value holds bytes that no header field may have.
pub fn for_client(incoming: &upstream::HeaderMap) -> Result<server::HeaderMap, Unfit> {
    let mut out = server::HeaderMap::with_capacity(incoming.keys_len() + 2);
    let mut buf = BytesMut::with_capacity(incoming.values().map(HeaderValue::len).sum());
    let named = Named::by(incoming.get_all(upstream::CONNECTION));
    for (name, value) in incoming {
        let name = name.as_str();
        if is_hop_by_hop(name) || name == REQUEST_ID || named.contains(name) {
            continue;
        }
        let name = server::HeaderName::from_bytes(name.as_bytes()).map_err(|_| Unfit)?;
        buf.put_slice(value.as_bytes());
        let value = buf.split().freeze();
        out.append(name, server::HeaderValue::from_maybe_shared(value).map_err(|_| Unfit)?);
    }
    Ok(out)
}

/// Whether a request asks for another protocol, as the server understands it: either field is
/// enough for it.
pub fn asks_for_upgrade(headers: &server::HeaderMap) -> bool {
    headers.contains_key(server::UPGRADE)
        || headers.get_all(server::CONNECTION).any(|v| has_token(v.as_bytes(), "upgrade"))
}

/// What a request's field is to the gateway.
enum Role {
    /// Passes unchanged.
    Ordinary,
    /// Means this connection, or the framing that is written anew.
    OfThisHop,
    /// Hop-by-hop, but `trailers` passes.
    Te,
    /// A list that the gateway appends to.
    Chained,
    ForwardedProto,
    ForwardedHost,
    /// Another `X-Forwarded-*`: the gateway has none, an untrusted peer may not have one.
    ForwardedOther,
    /// Only the gateway says it.
    Gateway,
}

fn role(name: &str) -> Role {
    match name {
        "via" | "forwarded" | "x-forwarded-for" => Role::Chained,
        "x-forwarded-proto" => Role::ForwardedProto,
        "x-forwarded-host" => Role::ForwardedHost,
        TENANT_ID | REQUEST_ID => Role::Gateway,
        "te" => Role::Te,
        // The server has answered `Expect` itself. `Proxy` becomes HTTP_PROXY in CGI programs.
        "host" | "content-length" | "expect" | "http2-settings" | "proxy" => Role::OfThisHop,
        _ if is_hop_by_hop(name) => Role::OfThisHop,
        _ if name.starts_with("x-forwarded-") => Role::ForwardedOther,
        _ if imitates_gateway(name) => Role::Gateway,
        _ => Role::Ordinary,
    }
}

/// RFC 9110, section 7.6.1, and `Proxy-*`.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade")
        || name.starts_with("proxy-")
}

/// Whether a name becomes one of the gateway's where `_` and `-` are the same, as in CGI
/// variables.
fn imitates_gateway(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let dashed = name.replace('_', "-");
    dashed.starts_with("x-forwarded-") || matches!(dashed.as_str(), TENANT_ID | REQUEST_ID)
}

/// The field names that `Connection` lists.
struct Named<'a>(Vec<&'a [u8]>);

impl<'a> Named<'a> {
    fn by<V: AsRef<[u8]> + ?Sized + 'a>(connection: impl IntoIterator<Item = &'a V>) -> Self {
        let options = connection.into_iter().flat_map(|v| list(v.as_ref()));
        // What every client sends is no field, or goes anyway.
        let usual = |o: &&[u8]| {
            [&b"keep-alive"[..], b"close", b"upgrade", b"te"]
                .iter()
                .any(|usual| o.eq_ignore_ascii_case(usual))
        };
        Self(options.filter(|option| !usual(option)).collect())
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|named| named.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// The members of a comma-separated list (RFC 9110, section 5.6.1), without parameters' quotes.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

fn has_token(value: &[u8], token: &str) -> bool {
    list(value).any(|member| {
        let name = member.split(|&b| b == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(token.as_bytes())
    })
}

/// One element of `Forwarded` (RFC 7239, section 4).
fn write_forwarded(buf: &mut BytesMut, peer: &[u8], host: &[u8], scheme: &str) {
    buf.put_slice(b"for=");
    if peer.contains(&b':') {
        buf.put_slice(b"\"[");
        buf.put_slice(peer);
        buf.put_slice(b"]\"");
    } else {
        buf.put_slice(peer);
    }
    if !host.is_empty() {
        buf.put_slice(b";host=\"");
        for &byte in host {
            if matches!(byte, b'"' | b'\\') {
                buf.put_u8(b'\\');
            }
            buf.put_u8(byte);
        }
        buf.put_u8(b'"');
    }
    buf.put_slice(b";proto=");
    buf.put_slice(scheme.as_bytes());
}

fn write_display(buf: &mut BytesMut, value: impl std::fmt::Display) {
    // Writing to memory cannot fail, and neither can these types' Display.
    let _ = write!(buf, "{value}");
}

/// A header map in the making, whose values share one buffer: an allocation a request instead
/// of one a field.
struct Fields {
    map: upstream::HeaderMap,
    buf: BytesMut,
}

impl Fields {
    /// Room for what the gateway adds: names above, and about this many bytes of values.
    const OWN_FIELDS: usize = 10;
    const OWN_BYTES: usize = 384;

    fn sized_for(incoming: &server::HeaderMap) -> Self {
        let bytes: usize = incoming.iter().map(|(_, value)| value.len()).sum();
        Self {
            map: upstream::HeaderMap::with_capacity(incoming.len() + Self::OWN_FIELDS),
            buf: BytesMut::with_capacity(bytes + Self::OWN_BYTES),
        }
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Unfit> {
        self.map.try_append(name, value).map(drop).map_err(|_| Unfit)
    }

    fn copy(&mut self, name: &str, value: &[u8]) -> Result<(), Unfit> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Unfit)?;
        self.copy_as(name, value)
    }

    fn copy_as(&mut self, name: HeaderName, value: &[u8]) -> Result<(), Unfit> {
        self.buf.put_slice(value);
        self.take_as(name)
    }

    /// One field of what came, if anything, and what `write` adds.
    fn join<'a>(
        &mut self,
        name: HeaderName,
        came: impl Iterator<Item = &'a server::HeaderValue>,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<(), Unfit> {
        for value in came.filter(|value| !value.is_empty()) {
            self.buf.put_slice(value.as_bytes());
            self.buf.put_slice(b", ");
        }
        write(&mut self.buf);
        self.take_as(name)
    }

    fn write(&mut self, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        write(&mut self.buf);
        self.buf.split().freeze()
    }

    fn take_as(&mut self, name: HeaderName) -> Result<(), Unfit> {
        let value = self.buf.split().freeze();
        self.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| Unfit)?)
    }
}

#[cfg(test)]
mod tests;
