//! The rules for request fields.

use super::{UP, before_ok};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::upstream::{Recorded, Upstream};

/// Sends a GET with these fields; gives what arrived.
async fn arrived(fields: &[(&str, &[u8])]) -> Recorded {
    let (app, upstream) = before_ok().await;
    let mut request = Request::get(&format!("{UP}/x"));
    for (name, value) in fields {
        request = request.header(name, value);
    }
    let response = request.send(app.addr).await;
    assert_eq!(response.status, 200, "{}", response.text());
    upstream.request()
}

#[tokio::test]
async fn host_becomes_the_targets() {
    let (app, upstream) = before_ok().await;
    let request = Request::get(&format!("{UP}/x")).header("Host", "public.example");
    assert_eq!(request.send(app.addr).await.status, 200);
    let arrived = upstream.request();
    assert_eq!(arrived.header("host"), Some(upstream.addr.to_string()));
    assert_eq!(arrived.header("x-forwarded-host").as_deref(), Some("public.example"));
}

#[tokio::test]
async fn ordinary_fields_go_through_unchanged_and_in_their_order() {
    let fields: &[(&str, &[u8])] = &[
        ("Accept", b"text/html"),
        ("accept", b"application/json;q=0.5"),
        ("ACCEPT", b"*/*"),
        ("Cookie", b"a=1; b=2"),
        ("Cookie", b"c=3"),
        ("X-Latin", b"caf\xe9"),
        ("X-Utf8", "\u{732b}".as_bytes()),
        ("X-Empty", b""),
        ("X-Inner", b"a  b\tc"),
        ("X_Under_Score", b"1"),
        ("Accept-Encoding", b"gzip, br"),
        ("Authorization", b"Bearer not-a-credential-here"),
        ("Range", b"bytes=0-1"),
        ("If-None-Match", b"\"x\""),
        ("User-Agent", b"tests/1"),
        ("Content-Type", b"x/y"),
        ("Content-Encoding", b"gzip"),
        ("Origin", b"https://app.example"),
        ("X-Tenant-Id", b"acme"),
    ];
    let arrived = arrived(fields).await;
    for (name, _) in fields {
        let name = name.to_ascii_lowercase();
        let same = |field: &&(&str, &[u8])| field.0.eq_ignore_ascii_case(&name);
        let sent: Vec<Vec<u8>> = fields.iter().filter(same).map(|f| f.1.to_vec()).collect();
        let got = arrived.fields.iter().filter(|field| field.0 == name);
        let got: Vec<Vec<u8>> = got.map(|field| field.1.clone()).collect();
        assert_eq!(got, sent, "{name}");
    }
}

#[tokio::test]
async fn nothing_is_added_but_what_the_contract_names() {
    let arrived = arrived(&[]).await;
    let mut names: Vec<&str> = arrived.fields.iter().map(|field| field.0.as_str()).collect();
    names.sort_unstable();
    names.retain(|name| *name != "traceparent");
    let forwarded = ["forwarded", "host", "via", "x-forwarded-for", "x-forwarded-host"];
    assert_eq!(names[..5], forwarded);
    assert_eq!(names[5..], ["x-forwarded-proto", "x-request-id"]);
}

#[tokio::test]
async fn hop_by_hop_fields_stay_behind() {
    let arrived = arrived(&[
        ("Connection", b"keep-alive, X-Named , x-other"),
        ("Connection", b"X-Third"),
        ("Keep-Alive", b"timeout=5"),
        ("Proxy-Authorization", b"Basic x"),
        ("Proxy-Authenticate", b"Basic"),
        ("Proxy-Connection", b"keep-alive"),
        ("TE", b"gzip"),
        ("Trailer", b"X-Later"),
        ("Upgrade", b"h2c"),
        ("X-Named", b"1"),
        ("X-Other", b"2"),
        ("X-Third", b"3"),
        ("X-Kept", b"4"),
    ])
    .await;
    let gone = [
        "keep-alive",
        "proxy-authorization",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "x-named",
        "x-other",
        "x-third",
        "transfer-encoding",
    ];
    for name in gone {
        assert_eq!(arrived.headers(name), Vec::<String>::new(), "{name}");
    }
    for value in arrived.headers("connection") {
        assert!(!value.to_lowercase().contains("x-"), "{value}");
    }
    assert_eq!(arrived.headers("x-kept"), ["4"]);
}

#[tokio::test]
async fn of_te_only_trailers_goes_on() {
    let te = arrived(&[("TE", b"trailers"), ("Connection", b"TE")]).await.header("te");
    assert_eq!(te.as_deref(), Some("trailers"));
    let te = arrived(&[("TE", b"gzip, trailers"), ("Connection", b"TE")]).await.header("te");
    assert!(te.is_none_or(|te| te == "trailers"));
    let te = arrived(&[("TE", b"deflate;q=0.5"), ("Connection", b"TE")]).await.header("te");
    assert_eq!(te, None);
}

#[tokio::test]
async fn connection_cannot_name_away_what_gatehouse_sets() {
    let arrived = arrived(&[
        ("Connection", b"x-request-id, x-forwarded-for, via, host, forwarded, x-forwarded-proto"),
        ("X-Request-Id", b"mine"),
        ("X-Forwarded-For", b"6.6.6.6"),
    ])
    .await;
    assert_eq!(arrived.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(arrived.headers("x-forwarded-proto"), ["http"]);
    assert_eq!(arrived.headers("x-request-id").len(), 1);
    for name in ["via", "host", "forwarded"] {
        assert_eq!(arrived.headers(name).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn via_is_appended_to_whoever_sent_it() {
    let arrived = arrived(&[("Via", b"1.0 fred"), ("Via", b"1.1 p.example")]).await;
    let via = arrived.headers("via").join(", ");
    let entries: Vec<&str> = via.split(", ").collect();
    assert_eq!(entries.len(), 3, "{via}");
    assert_eq!(entries[..2], ["1.0 fred", "1.1 p.example"]);
    assert!(entries[2].starts_with("1.1 "), "{via}");
}

#[tokio::test]
async fn what_an_untrusted_peer_says_of_itself_is_replaced() {
    let arrived = arrived(&[
        ("Host", b"public.example"),
        ("X-Forwarded-For", b"6.6.6.6"),
        ("X-Forwarded-For", b"7.7.7.7"),
        ("X-Forwarded-Proto", b"https"),
        ("X-Forwarded-Host", b"evil.example"),
        ("Forwarded", b"for=6.6.6.6;proto=https;host=evil.example"),
    ])
    .await;
    assert_eq!(arrived.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(arrived.headers("x-forwarded-proto"), ["http"]);
    assert_eq!(arrived.headers("x-forwarded-host"), ["public.example"]);
    let forwarded = arrived.header("forwarded").expect("Forwarded");
    let mut pairs: Vec<String> =
        forwarded.split(';').map(|pair| pair.trim().replace('"', "")).collect();
    pairs.sort_unstable();
    pairs.retain(|pair| !pair.starts_with("by="));
    assert_eq!(pairs, ["for=127.0.0.1", "host=public.example", "proto=http"], "{forwarded}");
}

#[tokio::test]
async fn what_a_trusted_peer_says_is_kept_and_added_to() {
    let upstream = Upstream::ok().await;
    let app = App::builder()
        .file("[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"127.0.0.0/8\"]")
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    let request = Request::get(&format!("{UP}/x"))
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "app.example")
        .header("Forwarded", "for=203.0.113.9;proto=https;host=app.example");
    assert_eq!(request.send(app.addr).await.status, 200);
    let arrived = upstream.request();
    assert_eq!(arrived.headers("x-forwarded-for").join(", "), "203.0.113.9, 127.0.0.1");
    assert_eq!(arrived.headers("x-forwarded-proto"), ["https"]);
    assert_eq!(arrived.headers("x-forwarded-host"), ["app.example"]);
    let forwarded = arrived.headers("forwarded").join(", ");
    let kept = "for=203.0.113.9;proto=https;host=app.example, ";
    assert!(forwarded.starts_with(kept), "{forwarded}");
    assert!(forwarded[kept.len()..].contains("127.0.0.1"), "{forwarded}");
}

#[tokio::test]
async fn a_peer_outside_of_the_trusted_networks_is_not_believed() {
    let upstream = Upstream::ok().await;
    let app = App::builder()
        .file("[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1/128\"]")
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    let request = Request::get(&format!("{UP}/x")).header("X-Forwarded-For", "203.0.113.9");
    assert_eq!(request.send(app.addr).await.status, 200);
    assert_eq!(upstream.request().headers("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn expect_is_answered_here_and_the_body_still_arrives() {
    let (app, upstream) = before_ok().await;
    let request = Request::post(&format!("{UP}/x")).header("Expect", "100-continue").body("hello");
    let response = request.send(app.addr).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(upstream.request().body, b"hello");
}
