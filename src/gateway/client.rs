//! Where a request comes from: its peer, or whom a trusted proxy speaks for.

use std::net::IpAddr;

use actix_http::RequestHead;
use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue, X_FORWARDED_FOR};

use super::TrustedProxies;
use crate::edge::PublicBase;

/// The client's address. Behind trusted proxies it is the last one they name that is none of
/// them: what stands before it, the client may have written itself.
pub fn address(head: &RequestHead, trusted: &TrustedProxies) -> Option<IpAddr> {
    let peer = head.peer_addr?.ip().to_canonical();
    if !trusted.contains(peer) {
        return Some(peer);
    }
    let named = forwarded_for(head.headers());
    let mut client = peer;
    for address in named.iter().rev() {
        let Some(address) = address else { break };
        client = *address;
        if !trusted.contains(client) {
            break;
        }
    }
    Some(client)
}

/// Where the client has sent the request to, as a trusted proxy tells.
pub fn base(head: &RequestHead, trusted: &TrustedProxies) -> Option<PublicBase> {
    if !head.peer_addr.is_some_and(|peer| trusted.contains(peer.ip())) {
        return None;
    }
    let first = |name: &'static str| {
        elements(head.headers(), HeaderName::from_static(name)).next().flatten().map(str::trim)
    };
    let forwarded = |wanted: &str| {
        let element = elements(head.headers(), FORWARDED).next().flatten()?;
        element.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
        })
    };
    let host = first("x-forwarded-host").or_else(|| forwarded("host"))?;
    let host =
        host.parse::<http::uri::Authority>().ok().filter(|host| !host.as_str().contains('@'))?;
    let scheme = match first("x-forwarded-proto").or_else(|| forwarded("proto")) {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    let prefix = first("x-forwarded-prefix").unwrap_or_default().trim_end_matches('/');
    let is_path = prefix.is_empty() || prefix.starts_with('/') && !prefix.starts_with("//");
    let is_plain =
        prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\?#".contains(&byte));
    (is_path && is_plain).then(|| PublicBase(format!("{scheme}://{host}{prefix}")))
}

/// The addresses of `X-Forwarded-For`, or where there is none of `Forwarded` (RFC 7239, section 5.2),
/// in their order; none for what is no address.
fn forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    // Nothing that a client writes into the one may have the other believed, which is all its own.
    if headers.contains_key(X_FORWARDED_FOR) {
        return elements(headers, X_FORWARDED_FOR).map(|node| node.and_then(parse)).collect();
    }
    let nodes = elements(headers, FORWARDED).map(|element| {
        element?.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case("for").then_some(value)
        })
    });
    nodes.map(|node| node.and_then(parse)).collect()
}

/// The elements of a field's lists; none for what is no text.
fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Option<&str>> {
    let lists = headers.get_all(name).map(HeaderValue::as_bytes);
    lists.flat_map(|list| list.split(|byte| *byte == b',')).map(|node| str::from_utf8(node).ok())
}

/// An address, in quotes or brackets and with a port where there are any.
fn parse(node: &str) -> Option<IpAddr> {
    let node = node.trim().trim_matches('"');
    let address = match node.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if node.matches(':').count() == 1 => node.split(':').next()?,
        None => node,
    };
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client of a request by this peer with these fields, behind proxies of 10.0.0.0/8.
    fn client(peer: &str, fields: &[(&'static str, &str)]) -> String {
        let mut head = RequestHead::default();
        head.peer_addr = Some(std::net::SocketAddr::new(peer.parse().unwrap(), 1));
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            head.headers.append(HeaderName::from_static(name), value);
        }
        let trusted = TrustedProxies(["10.0.0.0/8".parse().unwrap()].into());
        address(&head, &trusted).unwrap().to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let claim = [("x-forwarded-for", "192.0.2.9")];
        assert_eq!(client("192.0.2.1", &claim), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &claim), "192.0.2.9");
        assert_eq!(client("::ffff:10.0.0.1", &claim), "192.0.2.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_the_client_wrote_itself_is_passed_over() {
        let cases: [(&[(&'static str, &str)], &str); 11] = [
            (&[("x-forwarded-for", "ü, 192.0.2.9"), ("forwarded", "for=6.6.6.6")], "192.0.2.9"),
            (&[("x-forwarded-for", "192.0.2.9, ü"), ("forwarded", "for=6.6.6.6")], "10.0.0.1"),
            (&[("x-forwarded-for", "6.6.6.6, 192.0.2.9")], "192.0.2.9"),
            (&[("x-forwarded-for", "6.6.6.6, 192.0.2.9, 10.0.0.7")], "192.0.2.9"),
            (&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.9")], "192.0.2.9"),
            (&[("x-forwarded-for", "10.0.0.8, 10.0.0.7")], "10.0.0.8"),
            (&[("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.7")], "10.0.0.7"),
            (&[("x-forwarded-for", "192.0.2.9:4711")], "192.0.2.9"),
            (&[("forwarded", "for=6.6.6.6, For=\"[2001:db8::1]:4711\";proto=http")], "2001:db8::1"),
            (&[("forwarded", "proto=http;for=192.0.2.9")], "192.0.2.9"),
            (&[("forwarded", "for=_hidden")], "10.0.0.1"),
        ];
        for (fields, wanted) in cases {
            assert_eq!(client("10.0.0.1", fields), wanted, "{fields:?}");
        }
    }
}
