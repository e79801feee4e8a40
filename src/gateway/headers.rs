//! Which header fields pass the gateway, in which form, and in which direction.
//!
//! Requests' fields are written as the bytes that go out; responses' become the server's. It
//! knows RFC 9110 and the names that the gateway sets; it knows no connection, no service and
//! no setting.

use std::{io::Write as _, net::IpAddr};

use actix_web::http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
    UPGRADE,
};
use bytes::Bytes;

use crate::trace::{Onward, TRACEPARENT, TRACESTATE};

/// The header that names the tenant.
pub const TENANT_ID: &str = "x-tenant-id";
/// The header that carries an API key.
const API_KEY: &str = "x-api-key";
/// The header that carries the request's id.
pub const REQUEST_ID: &str = "x-request-id";

/// A field that cannot be carried over; nothing else can go wrong in this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header field cannot be carried over")]
pub struct Unfit;

/// What the gateway itself says in a forwarded request's fields.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The target's authority, for `Host`.
    pub host: &'a str,
    /// The verified tenant; without one no `x-tenant-id` goes out.
    pub tenant: Option<&'a str>,
    /// What becomes of the client's credential.
    pub credentials: Credentials<'a>,
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
    /// The protocol to ask for (RFC 9110, section 7.8).
    pub upgrade: Option<&'a HeaderValue>,
    /// The trace that it goes on with. Without it, what the client says of one passes.
    pub trace: Option<&'a Onward>,
}

/// What becomes of `Authorization` and `x-api-key`.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// Whether they travel on.
    pub pass: bool,
    /// Goes out as `x-api-key`, in place of what came.
    pub api_key: Option<&'a str>,
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
    pub fn of(headers: &HeaderMap) -> Result<Self, Unfit> {
        if headers.contains_key(TRANSFER_ENCODING) {
            return Ok(Self::Chunked);
        }
        let Some(value) = headers.get(CONTENT_LENGTH) else {
            return Ok(Self::None);
        };
        let length = value.to_str().ok().and_then(|v| v.trim().parse().ok()).ok_or(Unfit)?;
        Ok(Self::Length(length))
    }
}

/// Writes the fields of the request that goes upstream: the client's less what is hop-by-hop or
/// the gateway's to say, then what the gateway says. Set last, those can neither be forged, nor
/// doubled, nor removed by naming them in `Connection`.
///
/// # Errors
/// [`Unfit`] when a value holds a line end, should a parser ever let that
/// through.
pub fn for_upstream(
    incoming: &HeaderMap,
    identity: Identity<'_>,
    framing: Framing,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    let mut lines = Lines::behind(out);
    lines.field("host", identity.host.as_bytes());
    match framing {
        Framing::None => {}
        Framing::Length(length) => {
            let mut digits = itoa::Buffer::new();
            lines.field("content-length", digits.format(length).as_bytes());
        }
        Framing::Chunked => lines.field("transfer-encoding", b"chunked"),
    }
    if let Some(protocol) = identity.upgrade {
        lines.field("connection", b"upgrade");
        lines.field("upgrade", protocol.as_bytes());
    }

    let trusted = identity.peer_is_trusted;
    let named = Named::by(incoming.get_all(CONNECTION).map(HeaderValue::as_bytes));
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
            Role::Authorization => identity.credentials.pass && !named.contains(name),
            Role::ApiKey => {
                let Credentials { pass, api_key } = identity.credentials;
                pass && api_key.is_none() && !named.contains(name)
            }
            Role::ForwardedOther => trusted && !named.contains(name),
            Role::Trace => identity.trace.is_none() && !named.contains(name),
            Role::Te => {
                if has_token(value.as_bytes(), "trailers") {
                    lines.field("te", b"trailers");
                }
                false
            }
            Role::OfThisHop | Role::Chained | Role::Gateway => false,
        };
        if pass {
            lines.field(name, value.as_bytes());
        }
    }

    if let Some(tenant) = identity.tenant {
        lines.field(TENANT_ID, tenant.as_bytes());
    }
    if let Some(key) = identity.credentials.api_key {
        lines.field(API_KEY, key.as_bytes());
    }
    lines.field(REQUEST_ID, identity.request_id.as_bytes());
    if let Some(trace) = identity.trace {
        lines.field(TRACEPARENT, trace.parent());
        if let Some(state) = trace.state() {
            lines.field(TRACESTATE, state.as_bytes());
        }
    }

    let came = |name: &str, believed: bool| {
        let values: &[HeaderValue] = if believed { incoming.get_all(name).as_slice() } else { &[] };
        values.iter().map(HeaderValue::as_bytes)
    };
    let host = incoming.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
    lines.list("via", came("via", true), |out| {
        let us: &[u8] = if identity.http_10 { b"1.0 gatehouse" } else { b"1.1 gatehouse" };
        out.extend_from_slice(us);
    });
    lines.list("x-forwarded-for", came("x-forwarded-for", trusted), |out| {
        write_peer(out, identity.peer);
    });
    lines.list("forwarded", came("forwarded", trusted), |out| {
        write_forwarded(out, identity.peer, host, identity.scheme);
    });
    if !has_proto {
        lines.field("x-forwarded-proto", identity.scheme.as_bytes());
    }
    if !has_host && !host.is_empty() {
        lines.field("x-forwarded-host", host);
    }
    lines.check()
}

/// The fields of the response that goes to the client: the upstream's less what is hop-by-hop
/// and its length, which the server writes. `x-request-id` is the gateway's to say. `keep` makes
/// a value outlive the buffer that it was read into.
///
/// # Errors
/// [`Unfit`] when a value holds bytes that no header field may have.
pub fn for_client(
    fields: &[httparse::Header<'_>],
    keep: impl Fn(&[u8]) -> Bytes,
) -> Result<HeaderMap, Unfit> {
    let mut out = HeaderMap::with_capacity(fields.len() + 2);
    let is_connection = |f: &&httparse::Header<'_>| f.name.eq_ignore_ascii_case("connection");
    let named = Named::by(fields.iter().filter(is_connection).map(|f| f.value));
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Unfit)?;
        if is_hop_by_hop(name.as_str())
            || name == CONTENT_LENGTH
            || name.as_str() == REQUEST_ID
            || named.contains(name.as_str())
        {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(keep(field.value));
        out.append(name, value.map_err(|_| Unfit)?);
    }
    Ok(out)
}

/// Whether the server takes a request for one that asks for another protocol: either field is
/// enough for it.
pub fn looks_like_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) || connection_names(headers, "upgrade")
}

/// The protocol that a request asks for, if it really does: `Upgrade`, and the token for it in
/// `Connection`. HTTP, bare or in TLS, is not asked for: its requests in a tunnel would be nobody's
/// to check.
pub fn upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut protocols = headers.get_all(UPGRADE);
    let protocol = protocols.next()?;
    let asks = protocols.next().is_none() && connection_names(headers, "upgrade");
    let mut named = protocol.as_bytes().split(|byte| *byte == b',').map(|protocol| {
        let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
        name.trim_ascii()
    });
    let is_http = named.any(|name| {
        [&b"http"[..], b"h2", b"h2c", b"tls"].iter().any(|http| name.eq_ignore_ascii_case(http))
    });
    (asks && !is_http).then_some(protocol)
}

fn connection_names(headers: &HeaderMap, token: &str) -> bool {
    headers.get_all(CONNECTION).any(|v| has_token(v.as_bytes(), token))
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
    /// Which trace a request belongs to.
    Trace,
    /// The client's credential, or what may become one.
    Authorization,
    ApiKey,
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
        TRACEPARENT | TRACESTATE => Role::Trace,
        "authorization" => Role::Authorization,
        API_KEY => Role::ApiKey,
        // The server has answered `Expect` itself. `Proxy` becomes HTTP_PROXY in CGI programs.
        "host" | "content-length" | "expect" | "http2-settings" | "proxy" => Role::OfThisHop,
        _ if is_hop_by_hop(name) => Role::OfThisHop,
        _ if name.starts_with("x-forwarded-") => Role::ForwardedOther,
        _ if name.contains('_') => role_of_imitation(name),
        _ => Role::Ordinary,
    }
}

/// RFC 9110, section 7.6.1, and `Proxy-*`.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade")
        || name.starts_with("proxy-")
}

/// The role of a name that may become another where `_` and `-` are the same, as in CGI variables.
fn role_of_imitation(name: &str) -> Role {
    let dashed = name.replace('_', "-");
    match dashed.as_str() {
        TENANT_ID | REQUEST_ID => Role::Gateway,
        API_KEY => Role::ApiKey,
        dashed if dashed.starts_with("x-forwarded-") => Role::Gateway,
        _ => Role::Ordinary,
    }
}

/// The field names that `Connection` lists.
struct Named<'a>(Vec<&'a [u8]>);

impl<'a> Named<'a> {
    fn by(connection: impl IntoIterator<Item = &'a [u8]>) -> Self {
        // What every client sends is no field, or goes anyway.
        let usual = |o: &&[u8]| {
            [&b"keep-alive"[..], b"close", b"upgrade", b"te"]
                .iter()
                .any(|usual| o.eq_ignore_ascii_case(usual))
        };
        Self(connection.into_iter().flat_map(list).filter(|option| !usual(option)).collect())
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|named| named.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// The members of a comma-separated list (RFC 9110, section 5.6.1), without parameters' quotes.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Whether a comma-separated list has this member, whatever its parameters.
pub fn has_token(value: &[u8], token: &str) -> bool {
    list(value).any(|member| {
        let name = member.split(|&b| b == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(token.as_bytes())
    })
}

/// The field lines of a head in the making.
struct Lines<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    count: usize,
}

impl<'a> Lines<'a> {
    fn behind(out: &'a mut Vec<u8>) -> Self {
        Self { start: out.len(), out, count: 0 }
    }

    /// One field line.
    fn field(&mut self, name: &str, value: &[u8]) {
        self.line(name, |out| out.extend_from_slice(value));
    }

    /// One field line of what came, if anything, and what `write` adds.
    fn list<'b>(
        &mut self,
        name: &str,
        came: impl Iterator<Item = &'b [u8]>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.line(name, |out| {
            for value in came.filter(|value| !value.is_empty()) {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
            write(out);
        });
    }

    fn line(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        write(self.out);
        self.out.extend_from_slice(b"\r\n");
        self.count += 1;
    }

    /// Looks once more whether any value brought a line end along.
    fn check(self) -> Result<(), Unfit> {
        let ends = memchr::memchr_iter(b'\n', &self.out[self.start..]).count();
        if ends == self.count { Ok(()) } else { Err(Unfit) }
    }
}

fn write_peer(out: &mut Vec<u8>, peer: Option<IpAddr>) {
    match peer.map(|peer| peer.to_canonical()) {
        Some(IpAddr::V4(address)) => {
            for (i, octet) in address.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Writing to memory cannot fail.
        Some(IpAddr::V6(address)) => drop(write!(out, "{address}")),
        None => out.extend_from_slice(b"unknown"),
    }
}

/// One element of `Forwarded` (RFC 7239, section 4).
fn write_forwarded(out: &mut Vec<u8>, peer: Option<IpAddr>, host: &[u8], scheme: &str) {
    out.extend_from_slice(b"for=");
    if peer.is_some_and(|peer| peer.to_canonical().is_ipv6()) {
        out.extend_from_slice(b"\"[");
        write_peer(out, peer);
        out.extend_from_slice(b"]\"");
    } else {
        write_peer(out, peer);
    }
    if !host.is_empty() {
        out.extend_from_slice(b";host=\"");
        for &byte in host {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(scheme.as_bytes());
}

#[cfg(test)]
mod tests;
