//! Methods, bodies, tenants, ids and framing on the way to a remote service.

use super::{UP, before_ok};
use crate::harness::App;
use crate::harness::http::{Connection, Failure, Request};
use crate::harness::problem::assert_problem;
use crate::harness::text::assert_fresh_uuid_v7;
use crate::harness::upstream::{Upstream, a_moment};

#[tokio::test]
async fn every_method_goes_through_as_it_is() {
    let (app, upstream) = before_ok().await;
    let methods = [
        "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE", "PROPFIND",
        "M-SEARCH", "get", "X_y.z",
    ];
    for method in methods {
        let response = Request::new(method, &format!("{UP}/x")).send(app.addr).await;
        assert_eq!(response.status, 200, "{method}: {}", response.text());
        assert_eq!(upstream.requests().last().unwrap().method(), method);
    }
}

#[tokio::test]
async fn a_body_goes_through_with_any_method() {
    let (app, upstream) = before_ok().await;
    for method in ["GET", "POST", "DELETE", "OPTIONS", "PURGE"] {
        let request = Request::new(method, &format!("{UP}/x")).body("some body");
        assert_eq!(request.send(app.addr).await.status, 200, "{method}");
        let arrived = upstream.requests().pop().unwrap();
        assert_eq!(arrived.body, b"some body", "{method}");
        assert_eq!(arrived.header("content-length").as_deref(), Some("9"), "{method}");
        assert_eq!(request.chunked(4).send(app.addr).await.status, 200, "{method}");
        assert_eq!(upstream.requests().pop().unwrap().body, b"some body", "{method}");
    }
}

#[tokio::test]
async fn a_request_without_a_body_arrives_without_one() {
    let (app, upstream) = before_ok().await;
    for method in ["GET", "DELETE", "OPTIONS"] {
        let request = Request::new(method, &format!("{UP}/x"));
        assert_eq!(request.send(app.addr).await.status, 200);
        let arrived = upstream.requests().pop().unwrap();
        assert_eq!(arrived.header("transfer-encoding"), None, "{method}");
        assert!(matches!(arrived.header("content-length").as_deref(), None | Some("0")));
    }
    // An empty body that is announced stays announced.
    let request = Request::post(&format!("{UP}/x")).claiming(0);
    assert_eq!(request.send(app.addr).await.status, 200);
    let arrived = upstream.requests().pop().unwrap();
    assert_eq!(arrived.header("content-length").as_deref(), Some("0"));
}

#[tokio::test]
async fn a_remote_service_needs_a_tenant_only_where_it_says_so() {
    let upstream = Upstream::ok().await;
    let app = App::builder()
        .service("free", &upstream.url(""), "")
        .service("strict", &upstream.url(""), "tenant_required = true")
        .start()
        .await;
    let (free, strict) = ("/consumer-api/service/free/x", "/consumer-api/service/strict/x");
    assert_problem(&Request::get(strict).send(app.addr).await, "tenant-missing");
    assert_problem(&Request::get(strict).tenant("").send(app.addr).await, "tenant-missing");
    assert!(upstream.requests().is_empty());
    assert_eq!(Request::get(free).send(app.addr).await.status, 200);
    assert_eq!(Request::get(strict).tenant("acme").send(app.addr).await.status, 200);
    let arrived = upstream.requests().pop().unwrap();
    assert_eq!(arrived.headers("x-tenant-id"), ["acme"]);
}

#[tokio::test]
async fn a_tenant_that_is_sent_must_be_valid_for_any_service() {
    let (app, upstream) = before_ok().await;
    let path = format!("{UP}/x");
    for tenant in ["../x", ".", "a b", "a,b", "_x", "a."] {
        assert_problem(&Request::get(&path).tenant(tenant).send(app.addr).await, "tenant-invalid");
    }
    for second in ["acme", "other", ""] {
        let twice = Request::get(&path).tenant("acme").header("X-TENANT-ID", second);
        assert_problem(&twice.send(app.addr).await, "tenant-invalid");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn the_request_id_goes_along_and_comes_back() {
    let answer = "HTTP/1.1 200 OK\r\nX-Request-Id: upstreams-own\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::answering(answer).await;
    let app = super::before(&upstream.url("")).await;
    let path = format!("{UP}/x");

    let response = Request::get(&path).header("X-Request-Id", "mine-1").send(app.addr).await;
    assert_eq!(response.header("x-request-id").as_deref(), Some("mine-1"));
    assert_eq!(upstream.requests()[0].header("x-request-id").as_deref(), Some("mine-1"));

    // None, and one that is no good: made before it goes anywhere.
    let none = Request::get(&path);
    let bad = Request::get(&path).header("X-Request-Id", "a b");
    for (number, request) in [none, bad].into_iter().enumerate() {
        let response = request.send(app.addr).await;
        let made = response.header("x-request-id").expect("x-request-id");
        assert_fresh_uuid_v7(&made);
        assert_eq!(upstream.requests()[number + 1].header("x-request-id"), Some(made));
    }
}

#[tokio::test]
async fn the_trace_context_goes_along() {
    let (app, upstream) = before_ok().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::get(&format!("{UP}/x")).header("traceparent", parent);
    let request = request.header("tracestate", "vendor=1");
    assert_eq!(request.send(app.addr).await.status, 200);
    let arrived = upstream.request();
    let sent = arrived.header("traceparent").expect("traceparent");
    assert_eq!(sent.split('-').nth(1), parent.split('-').nth(1));
    assert_eq!(arrived.header("tracestate").as_deref(), Some("vendor=1"));
}

#[tokio::test]
async fn one_request_never_reaches_an_upstream_as_two() {
    let (app, upstream) = before_ok().await;
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = inner.len() + 5;
    let tries = [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{inner}"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: xchunked\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: identity, chunked\r\nContent-Length: 0\r\n\r\n{inner}"),
        format!("Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked\r\n\r\n1\r\nZZ\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked\r\n\r\n0;\n\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff0\r\n\r\n{inner}"),
        format!("Content-Length: 0x{length:x}\r\n\r\n{inner}"),
        format!("Content-Length: {length} \r\n 0\r\n\r\n{inner}"),
        format!("X: y\nContent-Length: {length}\r\n\r\n{inner}"),
        format!("Host: b\r\n\r\n{inner}"),
    ];
    for attempt in tries {
        let mut connection = Connection::open(app.addr).await;
        let head = format!("POST {UP}/outer HTTP/1.1\r\nHost: a\r\n");
        connection.send(format!("{head}{attempt}")).await;
        connection.finish_sending().await;
        match connection.try_response().await {
            Ok(_) | Err(Failure::Closed) => {}
            Err(other) => panic!("{attempt:?}: {other:?}"),
        }
        connection.rest().await;
        let targets: Vec<String> =
            upstream.requests().iter().map(|request| request.target().to_owned()).collect();
        assert!(targets.iter().all(|target| target == "/base/outer"), "{attempt:?}: {targets:?}");
    }
}

#[tokio::test]
async fn both_framings_at_once_are_400_and_the_end() {
    let (app, upstream) = before_ok().await;
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut connection = Connection::open(app.addr).await;
        let head = format!("POST {UP}/x HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        connection.send(format!("{head}0\r\n\r\n")).await;
        assert_eq!(connection.response().await.status, 400, "{fields}");
        assert!(connection.rest().await.is_empty());
    }
    a_moment().await;
    assert!(upstream.requests().is_empty());
}
