//! The rules of forwarding, field by field.

use super::*;

/// The fields that went out, in their order.
struct Sent(Vec<(String, Vec<u8>)>);

impl Sent {
    fn values(&self, name: &str) -> Vec<&str> {
        let of_name = self.0.iter().filter(|(n, _)| n == name);
        of_name.map(|(_, value)| std::str::from_utf8(value).unwrap()).collect()
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

fn sent(fields: &[(&'static str, &'static str)], change: impl FnOnce(&mut Identity<'_>)) -> Sent {
    let mut identity = Identity {
        host: "orders:8080",
        tenant: None,
        credentials: Credentials { pass: true, api_key: None },
        request_id: "id-1",
        peer: Some([192, 0, 2, 7].into()),
        peer_is_trusted: false,
        scheme: "http",
        http_10: false,
        upgrade: None,
        trace: None,
    };
    change(&mut identity);
    let mut out = Vec::new();
    for_upstream(&map(fields), identity, Framing::None, &mut out).unwrap();
    let lines = out.strip_suffix(b"\r\n").unwrap().split(|&b| b == b'\n');
    let field = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|&b| b == b':').unwrap();
        let name = String::from_utf8(line[..colon].to_vec()).unwrap();
        (name, line[colon..].strip_prefix(b": ").unwrap().to_vec())
    };
    Sent(lines.map(field).collect())
}

#[test]
fn hop_by_hop_fields_and_what_connection_names_stay_behind() {
    let sent = sent(
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
    let ours = ["forwarded", "host", "te", "via", "x-forwarded-for", "x-forwarded-host"];
    let rest = ["x-forwarded-proto", "x-request-id", "accept"];
    let mut expected: Vec<_> = ours.into_iter().chain(rest).collect();
    expected.sort_unstable();
    assert_eq!(sent.names(), expected);
    assert_eq!(sent.values("te"), ["trailers"]);
    assert_eq!(sent.values("host"), ["orders:8080"]);
}

#[test]
fn repeated_fields_keep_their_order() {
    let sent = sent(&[("x-a", "1"), ("cookie", "c"), ("x-a", "2"), ("x-a", "3")], |_| {});
    assert_eq!(sent.values("x-a"), ["1", "2", "3"]);
}

#[test]
fn what_the_gateway_says_is_not_forged_doubled_removed_or_imitated() {
    let sent = sent(
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
    assert!(sent.0.iter().all(|(_, value)| !value.starts_with(b"evil")));
    assert_eq!(sent.values("x-tenant-id"), ["acme"]);
    assert_eq!(sent.values("x-request-id"), ["id-1"]);
    assert_eq!(sent.values("x-forwarded-for"), ["192.0.2.7"]);
}

#[test]
fn without_a_tenant_no_tenant_goes_out() {
    assert!(sent(&[("x-tenant-id", "evil")], |_| {}).values("x-tenant-id").is_empty());
}

#[test]
fn an_untrusted_peer_is_not_believed() {
    let sent = sent(
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
    assert_eq!(sent.values("x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(sent.values("x-forwarded-proto"), ["http"]);
    assert_eq!(sent.values("x-forwarded-host"), ["gate:3000"]);
    assert!(sent.values("x-forwarded-port").is_empty());
    assert_eq!(sent.values("forwarded"), ["for=192.0.2.7;host=\"gate:3000\";proto=http"]);
}

#[test]
fn a_trusted_peer_is_appended_to() {
    let sent = sent(
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
    assert_eq!(sent.values("x-forwarded-for"), ["203.0.113.1, 203.0.113.2, 2001:db8::1"]);
    assert_eq!(sent.values("x-forwarded-proto"), ["https"]);
    assert_eq!(sent.values("x-forwarded-host"), ["shop"]);
    assert_eq!(sent.values("x-forwarded-port"), ["443"]);
    let ours = "for=203.0.113.1, for=\"[2001:db8::1]\";host=\"gate\";proto=http";
    assert_eq!(sent.values("forwarded"), [ours]);
}

#[test]
fn via_is_appended_to_whoever_sent_it() {
    let sent = sent(&[("via", "1.0 fred"), ("via", "1.1 joe")], |i| i.http_10 = true);
    assert_eq!(sent.values("via"), ["1.0 fred, 1.1 joe, 1.0 gatehouse"]);
}

#[test]
fn a_quote_in_host_stays_inside_forwarded() {
    let sent = sent(&[("host", "a\";for=6.6.6.6;x=\"\\")], |_| {});
    let expected = "for=192.0.2.7;host=\"a\\\";for=6.6.6.6;x=\\\"\\\\\";proto=http";
    assert_eq!(sent.values("forwarded"), [expected]);
}

#[test]
fn framing_is_as_received() {
    let of = |fields: &[_]| Framing::of(&map(fields));
    assert_eq!(of(&[]), Ok(Framing::None));
    assert_eq!(of(&[("content-length", "0")]), Ok(Framing::Length(0)));
    assert_eq!(of(&[("content-length", " 12 ")]), Ok(Framing::Length(12)));
    assert_eq!(of(&[("transfer-encoding", "chunked")]), Ok(Framing::Chunked));
    assert_eq!(of(&[("content-length", "1, 1")]), Err(Unfit));
}

#[test]
fn a_response_loses_hop_by_hop_fields_only() {
    let field = |(name, value)| httparse::Header { name, value };
    let fields = [
        ("Set-Cookie", &b"a=1"[..]),
        ("connection", b"keep-alive, x-hop"),
        ("X-Hop", b"1"),
        ("set-cookie", b"b=2"),
        ("transfer-encoding", b"chunked"),
        ("content-length", b"7"),
        ("x-request-id", b"theirs"),
        ("proxy-authenticate", b"x"),
        ("via", b"1.1 cache"),
        ("x-bytes", b"\xe9\xff"),
    ]
    .map(field);
    let out = for_client(&fields, Bytes::copy_from_slice).unwrap();
    assert_eq!(out.len(), 4);
    let cookies: Vec<_> = out.get_all("set-cookie").collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(out.get("x-bytes").unwrap().as_bytes(), b"\xe9\xff");
    assert_eq!(out.get("via").unwrap(), "1.1 cache");
}

#[test]
fn a_line_end_in_a_value_never_goes_out() {
    for evil in [&b"a\r\nx: y"[..], b"a\nb", b"\n"] {
        let mut out = Vec::new();
        let mut lines = Lines::behind(&mut out);
        lines.field("x-a", evil);
        assert_eq!(lines.check(), Err(Unfit));
        let mut lines = Lines::behind(&mut out);
        lines.list("via", [evil].into_iter(), |_| {});
        assert_eq!(lines.check(), Err(Unfit));
    }
}

#[test]
fn the_trace_of_the_client_passes_unless_the_gateway_has_its_own() {
    const THEIRS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fields = &[("traceparent", THEIRS), ("tracestate", "a=1"), ("connection", "close")];
    let passed = sent(fields, |_| {});
    assert_eq!(passed.values("traceparent"), [THEIRS]);
    assert_eq!(passed.values("tracestate"), ["a=1"]);
}
