//! Which service a path belongs to, which paths are refused, and what the rest becomes.

use super::{UP, before, before_ok};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::problem::assert_problem;
use crate::harness::upstream::Upstream;

#[tokio::test]
async fn an_unknown_service_is_not_found() {
    let (app, upstream) = before_ok().await;
    let long = "a".repeat(64);
    let names = ["nope", "upp", "u", "UP", "Up", "up%20", "-up", "a_b", long.as_str()];
    for name in names {
        for rest in ["/x", ""] {
            let path = format!("/consumer-api/service/{name}{rest}");
            let response = Request::get(&path).send(app.addr).await;
            assert_eq!(response.status, 404, "{path}: {}", response.text());
            assert_problem(&response, "service-not-found");
        }
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn each_service_has_its_own_upstream() {
    let (one, two) = (Upstream::ok().await, Upstream::ok().await);
    let longest = format!("0{}", "-".repeat(62));
    let app = App::builder()
        .service("one", &one.url(""), "")
        .service(&longest, &two.url("/two"), "")
        .start()
        .await;
    let response = Request::get("/consumer-api/service/one/a").send(app.addr).await;
    assert_eq!(response.status, 200);
    let path = format!("/consumer-api/service/{longest}/b");
    assert_eq!(Request::get(&path).send(app.addr).await.status, 200);
    assert_eq!(one.request().target(), "/a");
    assert_eq!(two.request().target(), "/two/b");
}

/// Dot segments: raw, encoded, doubly encoded, with each separator.
const DOTS: &[&str] = &[
    "..",
    ".",
    "../x",
    "./x",
    "a/..",
    "a/.",
    "a/../b",
    "a/./b",
    "a/../../../healthz",
    "%2e%2e/x",
    "%2E%2E/x",
    ".%2e/x",
    "%2e./x",
    "%2e/x",
    "a/%2e%2e",
    "a/%2e",
    "..%2fx",
    "..%2Fx",
    "%2e%2e%2fx",
    "a%2f..",
    "a%2f..%2fb",
    "a%2f%2e%2e%2fb",
    "a%2f.%2fb",
    "..%5cx",
    "..%5Cx",
    "%2e%2e%5cx",
    "a%5c..",
    "a%5c..%5cb",
    "..\\x",
    "a\\..\\b",
    "a\\..",
    "%252e%252e/x",
    "%252e%252e%252fx",
    "..%252fx",
    "..%255cx",
    "%252E%252E%255Cx",
    ".%252e/x",
    "a/%252e",
    "a%252f..%252fb",
    "a%252f%252e%252e",
    "../x?query",
    "a/..?",
    "%2e%2e?x=1",
];

/// NUL and control bytes, and escapes that are none.
const BYTES: &[&str] = &[
    "%00", "a%00b", "a/%00", "%01", "%0a", "%0d%0ax", "a%1fb", "%7f", "a%09b", "%", "a%", "a%2",
    "%zz", "a%g0b", "%2x", "%%", "a%/b", "%u0041",
];

#[tokio::test]
async fn paths_with_dot_segments_or_bad_bytes_are_refused() {
    let (app, upstream) = before_ok().await;
    for rest in DOTS.iter().chain(BYTES) {
        for service in ["up", "consumers", "nope"] {
            let path = format!("/consumer-api/service/{service}/{rest}");
            let response = Request::get(&path).tenant("acme").send(app.addr).await;
            assert_eq!(response.status, 400, "{path}: {}", response.text());
            assert_problem(&response, "path-invalid");
        }
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn dots_where_the_service_stands_are_refused_too() {
    let app = App::local().await;
    for service in
        ["..", "../x", "%2e%2e/x", "./x", "%2e%2e%2fx", "%252e%252e/x", "a%00b/x", "a%zz/x"]
    {
        let path = format!("/consumer-api/service/{service}");
        let response = Request::get(&path).send(app.addr).await;
        assert_eq!(response.status, 400, "{path}: {}", response.text());
        assert_problem(&response, "path-invalid");
    }
}

#[tokio::test]
async fn dots_that_are_no_segment_go_through() {
    let (app, upstream) = before_ok().await;
    let rests = ["...", "a..b", "..a", "a..", ".a", "a.", "x/.well-known/y", "a%2eb", "%2e%2e%2e"];
    for rest in rests {
        let response = Request::get(&format!("{UP}/{rest}")).send(app.addr).await;
        assert_eq!(response.status, 200, "{rest}: {}", response.text());
        let requests = upstream.requests();
        assert_eq!(requests.last().unwrap().target(), format!("/base/{rest}"));
    }
}

#[tokio::test]
async fn the_target_is_the_url_a_slash_and_the_rest_byte_for_byte() {
    let (app, upstream) = before_ok().await;
    let rests = [
        "a",
        "a/b/c",
        "a/",
        "/a",
        "//a///b//",
        "a%2Fb%2fc",
        "%41%7Ea~%7e",
        "caf%C3%A9/%E7%8C%AB",
        "%FF%80",
        "a%20b+c",
        "%25",
        "%253F",
        "a;b=c;d,e",
        "!$&'()*+,;=:@-._~",
        "a:b@c",
        "a|b",
        "{x}[y]\"z\"",
        "a^b",
        "a%5Cb",
        "a?",
        "a??",
        "?",
        "?x",
        "a?b=c&d=e&b=c&&=",
        "a?z=1&a=2",
        "a?x=../..&y=%zz&z=%00",
        "a?x=%2e%2e%2f",
        "a?x=a/b?c\\d|e^f{g}[h]'j'",
        "a?http://x/y:80@z",
        "a?x=+%20%2B",
    ];
    for rest in rests {
        let response = Request::get(&format!("{UP}/{rest}")).send(app.addr).await;
        assert_eq!(response.status, 200, "{rest}: {}", response.text());
        let requests = upstream.requests();
        assert_eq!(requests.last().unwrap().target(), format!("/base/{rest}"));
    }
}

#[tokio::test]
async fn exactly_one_slash_joins_the_url_and_the_rest() {
    // The URL's path, what follows the service's name, the target.
    let cases = [
        ("", "", "/"),
        ("", "/", "/"),
        ("", "/a", "/a"),
        ("", "?q", "/?q"),
        ("/", "", "/"),
        ("/", "/a", "/a"),
        ("/base", "", "/base"),
        ("/base", "?q=1", "/base?q=1"),
        ("/base", "/", "/base/"),
        ("/base", "/?q", "/base/?q"),
        ("/base", "/a", "/base/a"),
        ("/base/", "/a", "/base/a"),
        ("/base/", "/", "/base/"),
        ("/a/b%20c", "/d", "/a/b%20c/d"),
    ];
    for (base, rest, target) in cases {
        let upstream = Upstream::ok().await;
        let app = before(&upstream.url(base)).await;
        let response = Request::get(&format!("{UP}{rest}")).send(app.addr).await;
        assert_eq!(response.status, 200, "{base} {rest}: {}", response.text());
        assert_eq!(upstream.request().target(), target, "{base} {rest}");
    }
}

#[tokio::test]
async fn a_long_path_and_query_go_through() {
    let (app, upstream) = before_ok().await;
    let rest = format!("{}?{}", "p/".repeat(1500), "q=1&".repeat(1000));
    assert_eq!(Request::get(&format!("{UP}/{rest}")).send(app.addr).await.status, 200);
    assert_eq!(upstream.request().target(), format!("/base/{rest}"));
}
