//! Requests that are wrong before their body matters: media types, codings, methods, routes,
//! framing.

use std::time::Duration;

use crate::harness::App;
use crate::harness::http::{Connection, Failure, Request};
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

fn image() -> Vec<u8> {
    images::gif(1, 1, 50)
}

#[tokio::test]
async fn a_body_that_is_no_form_is_an_unsupported_media_type() {
    let app = App::local().await;
    let kinds = [
        "application/json",
        "application/x-www-form-urlencoded",
        "image/gif",
        "multipart/mixed; boundary=b",
        "multipart/form-dat; boundary=b",
        "multipart/form-data2; boundary=b",
        "text/plain; x=multipart/form-data; boundary=b",
        "nonsense",
        "",
    ];
    let form = Form::with_boundary("b").file("a.gif", &image());
    for kind in kinds {
        let request = Request::post(&upload::path("42")).tenant("acme").body(form.body());
        let response = request.header("Content-Type", kind).send(app.addr).await;
        assert_eq!(response.status, 415, "{kind}: {}", response.text());
        assert_problem(&response, "media-type-unsupported");
    }
    let untyped = Request::post(&upload::path("42")).tenant("acme").body(form.body());
    assert_problem(&untyped.send(app.addr).await, "media-type-unsupported");
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_content_encoding_is_refused() {
    let app = App::local().await;
    for coding in ["gzip", "br", "zstd", "deflate", "x-unknown"] {
        let requests = [upload::main_job("a.gif", &image()), upload::put("a.gif", &image())];
        for request in requests {
            let response = request.header("Content-Encoding", coding).send(app.addr).await;
            assert_problem(&response, "media-type-unsupported");
        }
    }
    // With any request to the module, whether it has a body or not.
    let module = "/consumer-api/service/consumers/customer-images";
    let tus = format!("{module}/tus/42/0199d1d2-0000-7000-8000-000000000000");
    for (method, path) in [
        ("GET", &format!("{module}/images")),
        ("GET", &format!("{module}/webhooks")),
        ("DELETE", &format!("{module}/images/0199d1d2-0000-7000-8000-000000000000")),
        ("POST", &format!("{module}/direct-uploads/42")),
        ("HEAD", &tus),
        ("DELETE", &tus),
    ] {
        let request = Request::new(method, path).tenant("acme").header("Tus-Resumable", "1.0.0");
        let response = request.header("Content-Encoding", "gzip").send(app.addr).await;
        assert_eq!(response.status, 415, "{method} {path}");
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let app = App::local().await;
    let form_route = upload::path("42");
    let raw_route = format!("{form_route}/a.gif");
    for method in ["GET", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE", "PUT"] {
        let response = Request::new(method, &form_route).tenant("acme").send(app.addr).await;
        assert_problem(&response, "method-not-allowed");
        assert_eq!(response.header("allow").as_deref(), Some("POST"), "{method}");
    }
    for method in ["GET", "DELETE", "PATCH", "OPTIONS", "POST"] {
        let response = Request::new(method, &raw_route).tenant("acme").send(app.addr).await;
        assert_problem(&response, "method-not-allowed");
        assert_eq!(response.header("allow").as_deref(), Some("PUT"), "{method}");
    }
    for route in ["/healthz", "/readyz"] {
        let response = Request::post(route).body("x").send(app.addr).await;
        assert_problem(&response, "method-not-allowed");
        assert!(response.header("allow").unwrap().contains("GET"), "{route}");
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn head_on_an_upload_is_405_without_a_body() {
    let app = App::local().await;
    let mut connection = Connection::open(app.addr).await;
    let head = Request::new("HEAD", &upload::path("42")).tenant("acme");
    connection.send(head.head_bytes(app.addr)).await;
    let response = connection.response_to_head().await;
    assert_eq!(response.status, 405);
    assert_eq!(response.header("allow").as_deref(), Some("POST"));
    assert!(
        connection.is_silent_for(Duration::from_millis(200)).await
            || connection.ends_within(Duration::from_millis(200)).await
    );
}

#[tokio::test]
async fn connect_is_405() {
    let app = App::local().await;
    for target in ["127.0.0.1:80", "example.com:443", "/consumer-api/service/consumers/x"] {
        let mut connection = Connection::open(app.addr).await;
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: example.com\r\n\r\n");
        connection.send(head).await;
        let response = connection.response().await;
        assert_eq!(response.status, 405, "{target}: {}", response.text());
    }
    let line = app.access_line("/consumer-api/service/consumers/x").await;
    assert_eq!((&line["method"], &line["complete"]), (&"CONNECT".into(), &true.into()), "{line}");
}

#[tokio::test]
async fn unknown_routes_are_not_found() {
    let app = App::local().await;
    let routes = [
        "/",
        "/nope",
        "/healthz/",
        "/healthz/x",
        "/consumer-api",
        "/consumers/customer-images/upload/42",
        "/customer-images/upload/42",
        "/problems",
        "/consumer-api/service/consumers",
        "/consumer-api/service/consumers/",
        "/consumer-api/service/consumers/customer-images",
        "/consumer-api/service/consumers/customer-images/upload",
        "/consumer-api/service/consumers/customer-images/uploads/42",
        "/consumer-api/service/consumers/Customer-Images/upload/42",
        "/consumer-api/service/consumers/customer-images/upload/42/a.gif/b",
        "/consumer-api/service/consumers//customer-images/upload/42",
    ];
    for route in routes {
        for method in ["GET", "POST"] {
            let response = Request::new(method, route).tenant("acme").send(app.addr).await;
            assert_eq!(response.status, 404, "{method} {route}: {}", response.text());
            assert_problem(&response, "not-found");
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn checks_come_in_the_contracts_order() {
    let app = App::local().await;
    let base = "/consumer-api/service";
    let bad_tenant =
        |method: &str, path: &str| Request::new(method, &format!("{base}{path}")).tenant("../x");
    let first = [
        // Path before service, service before tenant, tenant before what the module says.
        (bad_tenant("POST", "/nope/../x"), "path-invalid"),
        (bad_tenant("POST", "/nope/x"), "service-not-found"),
        (bad_tenant("DELETE", "/consumers/customer-images/upload/42"), "tenant-invalid"),
        (bad_tenant("GET", "/consumers/nope"), "tenant-invalid"),
        (bad_tenant("POST", "/consumers/customer-images/upload/-"), "tenant-invalid"),
        (Request::get(&format!("{base}/consumers/nope")), "tenant-missing"),
    ];
    for (request, slug) in first {
        assert_problem(&request.send(app.addr).await, slug);
    }
}

#[tokio::test]
async fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let app = App::local().await;
    let path = upload::path("42");
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Smuggled: 1\r\n\r\n";
    let length = smuggled.len() + 5;
    let heads = [
        format!("Host: a\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        "Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n".to_owned(),
        "Host: a\r\nContent-Length: +5\r\n".to_owned(),
        "Host: a\r\nContent-Length: -1\r\n".to_owned(),
        "Host: a\r\nContent-Length: 5, 5\r\n".to_owned(),
        "Host: a\r\nContent-Length: 99999999999999999999999\r\n".to_owned(),
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Host: a\r\nTransfer-Encoding: gzip\r\n".to_owned(),
        "Host: a\r\nTransfer-Encoding: xchunked\r\n".to_owned(),
        "Host: a\r\nHost: b\r\n".to_owned(),
        "Host: a\r\nHost: a\r\n".to_owned(),
        String::new(),
        "Host: a\r\nX : y\r\n".to_owned(),
        "Host: a\r\nX: y\r\n folded\r\n".to_owned(),
        "Host: a\r\nX\0: y\r\n".to_owned(),
        "Host: a\r\nno colon\r\n".to_owned(),
    ];
    for head in heads {
        let mut connection = Connection::open(app.addr).await;
        let bytes = format!("POST {path} HTTP/1.1\r\n{head}\r\n0\r\n\r\n{smuggled}");
        connection.send(bytes).await;
        match connection.try_response().await {
            Ok(response) => {
                assert!(matches!(response.status, 400 | 501), "{head:?}: {}", response.status);
            }
            Err(Failure::Closed) => {}
            Err(other) => panic!("{head:?}: {other:?}"),
        }
        let rest = connection.rest().await;
        assert!(rest.is_empty(), "{head:?} let more through: {}", String::from_utf8_lossy(&rest));
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn heads_over_the_parsers_limits_are_refused() {
    let app = App::local().await;
    let mut many = Request::get("/healthz");
    for number in 0..3000 {
        many = many.header(&format!("x-{number}"), "y");
    }
    let requests = [
        (Request::get("/healthz").header("x", "y".repeat(1 << 20)), &[400, 431][..]),
        (many, &[400, 431]),
        (Request::get(&format!("/{}", "p".repeat(1 << 20))), &[400, 414, 431]),
    ];
    for (request, statuses) in requests {
        match request.try_send(app.addr).await {
            Ok(response) => assert!(statuses.contains(&response.status), "{}", response.status),
            Err(Failure::Closed) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(Request::get("/healthz").send(app.addr).await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let app = App::local().await;
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n\r\nGET\r\n\r\n",
    ];
    for bytes in garbage {
        let mut connection = Connection::open(app.addr).await;
        connection.send(bytes).await;
        connection.finish_sending().await;
        match connection.try_response().await {
            Ok(response) => assert!(matches!(response.status, 400 | 505), "{}", response.status),
            Err(Failure::Closed) => {}
            Err(other) => panic!("{:?}: {other:?}", String::from_utf8_lossy(bytes)),
        }
    }
    assert_eq!(Request::get("/healthz").send(app.addr).await.status, 200);
}
