//! The rules of forwarding, field by field.

use super::*;

fn server_map(fields: &[(&'static str, &'static str)]) -> server::HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (server::HeaderName::from_static(name), server::HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

fn identity(host: &HeaderValue) -> Identity<'_> {
    Identity {
        host,
        tenant: None,
        request_id: "id-1",
        peer: Some([192, 0, 2, 7].into()),
        peer_is_trusted: false,
        scheme: "http",
        http_10: false,
    }
}

fn sent(
    fields: &[(&'static str, &'static str)],
    change: impl FnOnce(&mut Identity<'_>),
) -> upstream::HeaderMap {
    let host = HeaderValue::from_static("orders:8080");
    let mut identity = identity(&host);
    change(&mut identity);
    for_upstream(&server_map(fields), identity, Framing::None).unwrap()
}

fn values<'a>(map: &'a upstream::HeaderMap, name: &str) -> Vec<&'a str> {
    map.get_all(name).iter().map(|v| v.to_str().unwrap()).collect()
}

#[test]
fn hop_by_hop_fields_and_what_connection_names_stay_behind() {
    let map = sent(
        &[
            ("host", "gate"),
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "x"),
            ("te", "gzip, Trailers;q=0.5"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("expect", "100-continue"),
            ("content-length", "5"),
            ("accept", "*/*"),
        ],
        |_| {},
    );
    let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let ours = ["forwarded", "host", "te", "via", "x-forwarded-for", "x-forwarded-host"];
    let rest = ["x-forwarded-proto", "x-request-id", "accept"];
    let mut expected: Vec<_> = ours.into_iter().chain(rest).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(values(&map, "te"), ["trailers"]);
    assert_eq!(values(&map, "host"), ["orders:8080"]);
}

#[test]
fn repeated_fields_keep_their_order() {
    let map = sent(&[("x-a", "1"), ("cookie", "c"), ("x-a", "2"), ("x-a", "3")], |_| {});
    assert_eq!(values(&map, "x-a"), ["1", "2", "3"]);
}

#[test]
fn what_the_gateway_says_is_not_forged_doubled_removed_or_imitated() {
    let map = sent(
        &[
            ("connection", "x-tenant-id, x-request-id, via, x-forwarded-for, forwarded"),
            ("x-tenant-id", "evil"),
            ("x-request-id", "evil"),
            ("x_tenant_id", "evil"),
            ("x-tenant_id", "evil"),
            ("x_request_id", "evil"),
            ("x_forwarded_for", "evil"),
            ("x-forwarded_port", "evil"),
            ("proxy", "evil"),
        ],
        |identity| identity.tenant = Some("acme"),
    );
    assert!(map.values().all(|value| !value.as_bytes().starts_with(b"evil")));
    assert_eq!(values(&map, "x-tenant-id"), ["acme"]);
    assert_eq!(values(&map, "x-request-id"), ["id-1"]);
    assert_eq!(values(&map, "x-forwarded-for"), ["192.0.2.7"]);
}

#[test]
fn without_a_tenant_no_tenant_goes_out() {
    assert!(!sent(&[("x-tenant-id", "evil")], |_| {}).contains_key("x-tenant-id"));
}

#[test]
fn an_untrusted_peer_is_not_believed() {
    let map = sent(
        &[
            ("host", "gate:3000"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "bank"),
            ("x-forwarded-port", "443"),
            ("forwarded", "for=6.6.6.6"),
        ],
        |_| {},
    );
    assert_eq!(values(&map, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&map, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&map, "x-forwarded-host"), ["gate:3000"]);
    assert!(!map.contains_key("x-forwarded-port"));
    assert_eq!(values(&map, "forwarded"), ["for=192.0.2.7;host=\"gate:3000\";proto=http"]);
}

#[test]
fn a_trusted_peer_is_appended_to() {
    let map = sent(
        &[
            ("host", "gate"),
            ("x-forwarded-for", "203.0.113.1"),
            ("x-forwarded-for", "203.0.113.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop"),
            ("x-forwarded-port", "443"),
            ("forwarded", "for=203.0.113.1"),
        ],
        |identity| {
            identity.peer_is_trusted = true;
            identity.peer = "2001:db8::1".parse().ok();
        },
    );
    assert_eq!(values(&map, "x-forwarded-for"), ["203.0.113.1, 203.0.113.2, 2001:db8::1"]);
    assert_eq!(values(&map, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&map, "x-forwarded-host"), ["shop"]);
    assert_eq!(values(&map, "x-forwarded-port"), ["443"]);
    let ours = "for=203.0.113.1, for=\"[2001:db8::1]\";host=\"gate\";proto=http";
    assert_eq!(values(&map, "forwarded"), [ours]);
}

#[test]
fn via_is_appended_to_whoever_sent_it() {
    let map = sent(&[("via", "1.0 fred"), ("via", "1.1 joe")], |i| i.http_10 = true);
    assert_eq!(values(&map, "via"), ["1.0 fred, 1.1 joe, 1.0 gatehouse"]);
}

#[test]
fn a_quote_in_host_stays_inside_forwarded() {
    let map = sent(&[("host", "a\";for=6.6.6.6;x=\"\\")], |_| {});
    let expected = "for=192.0.2.7;host=\"a\\\";for=6.6.6.6;x=\\\"\\\\\";proto=http";
    assert_eq!(values(&map, "forwarded"), [expected]);
}

#[test]
fn framing_is_as_received() {
    let of = |fields: &[_]| Framing::of(&server_map(fields));
    assert_eq!(of(&[]), Ok(Framing::None));
    assert_eq!(of(&[("content-length", "0")]), Ok(Framing::Length(0)));
    assert_eq!(of(&[("content-length", " 12 ")]), Ok(Framing::Length(12)));
    assert_eq!(of(&[("transfer-encoding", "chunked")]), Ok(Framing::Chunked));
    assert_eq!(of(&[("content-length", "1, 1")]), Err(Unfit));
}

#[test]
fn a_response_loses_hop_by_hop_fields_only() {
    let mut map = upstream::HeaderMap::new();
    for (name, value) in [
        ("set-cookie", "a=1"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("set-cookie", "b=2"),
        ("transfer-encoding", "chunked"),
        ("x-request-id", "theirs"),
        ("proxy-authenticate", "x"),
        ("via", "1.1 cache"),
    ] {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    map.append("x-bytes", HeaderValue::from_bytes(b"\xe9\xff").unwrap());
    let out = for_client(&map).unwrap();
    assert_eq!(out.len(), 4);
    let cookies: Vec<_> = out.get_all("set-cookie").collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(out.get("x-bytes").unwrap().as_bytes(), b"\xe9\xff");
    assert_eq!(out.get("via").unwrap(), "1.1 cache");
}
