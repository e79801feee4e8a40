//! What comes back from a remote service.

use std::time::Duration;

use super::{UP, before};
use crate::harness::App;
use crate::harness::http::{Connection, Request, Response};
use crate::harness::upstream::Upstream;

/// What the client gets when the upstream answers these bytes.
async fn relayed(answer: &str) -> Response {
    let upstream = Upstream::answering(answer).await;
    let app = before(&upstream.url("")).await;
    Request::get(&format!("{UP}/x")).send(app.addr).await
}

#[tokio::test]
async fn statuses_come_back_as_they_are() {
    for status in
        [200, 201, 202, 206, 299, 301, 302, 400, 401, 404, 418, 429, 451, 500, 502, 503, 599]
    {
        let answer = format!("HTTP/1.1 {status} Some Reason\r\nContent-Length: 4\r\n\r\nbody");
        let response = relayed(&answer).await;
        assert_eq!((response.status, response.body.as_slice()), (status, &b"body"[..]));
    }
}

#[tokio::test]
async fn fields_come_back_as_they_are_repeated_ones_too() {
    let response = relayed(
        "HTTP/1.1 404 Not Found\r\nContent-Type: x/y; z\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: theirs\r\nETag: \"x\"\r\n\
         Content-Encoding: gzip\r\nRetry-After: 7\r\nX-Empty:\r\nLocation: ../x\r\n\
         Cache-Control: no-store\r\nVary: a, b\r\nContent-Length: 4\r\n\r\n\x1f~\x08~",
    )
    .await;
    assert_eq!(response.status, 404);
    assert_eq!(response.headers("set-cookie"), ["a=1", "b=2"]);
    let single = [
        ("content-type", "x/y; z"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("server", "theirs"),
        ("etag", "\"x\""),
        ("content-encoding", "gzip"),
        ("retry-after", "7"),
        ("x-empty", ""),
        ("location", "../x"),
        ("cache-control", "no-store"),
        ("vary", "a, b"),
        ("content-length", "4"),
    ];
    for (name, value) in single {
        assert_eq!(response.header(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(response.body, b"\x1f~\x08~");
}

#[tokio::test]
async fn hop_by_hop_fields_do_not_come_back() {
    let response = relayed(
        "HTTP/1.1 200 OK\r\nConnection: X-Named, keep-alive\r\nX-Named: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nProxy-Connection: x\r\n\
         Upgrade: h2c\r\nTrailer: X-Later\r\nX-Kept: 2\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let gone =
        ["x-named", "keep-alive", "proxy-authenticate", "proxy-connection", "trailer", "upgrade"];
    for name in gone {
        assert_eq!(response.headers(name), Vec::<String>::new(), "{name}");
    }
    assert_eq!(response.headers("x-kept"), ["2"]);
    assert!(response.header("connection").is_none_or(|value| !value.contains("X-Named")));
}

#[tokio::test]
async fn a_problem_of_the_upstream_is_not_touched() {
    let body = "{\"type\":\"about:blank\",\"status\":500}";
    let head = "HTTP/1.1 500 No\r\nContent-Type: application/problem+json\r\nContent-Length: ";
    let response = relayed(&format!("{head}{}\r\n\r\n{body}", body.len())).await;
    assert_eq!((response.status, response.text().as_str()), (500, body));
}

#[tokio::test]
async fn bodies_come_back_whatever_their_framing() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let framed = [
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world".to_owned(),
        format!("{chunked}5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"),
        format!("{chunked}b\r\nhello world\r\n0\r\nX: y\r\n\r\n"),
    ];
    for answer in framed {
        assert_eq!(relayed(&answer).await.text(), "hello world");
    }
    for version in ["1.0", "1.1"] {
        let upstream = Upstream::scripted(move |mut peer| async move {
            peer.request().await;
            peer.send(format!("HTTP/{version} 200 OK\r\nConnection: close\r\n\r\nhello ")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            peer.send("world").await;
        })
        .await;
        let app = before(&upstream.url("")).await;
        let response = Request::get(&format!("{UP}/x")).send(app.addr).await;
        assert_eq!(response.text(), "hello world", "until the end, {version}");
    }
}

#[tokio::test]
async fn statuses_without_a_body_come_back_without_one() {
    let answers = [
        ("HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", 204),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nX-A: 1\r\n\r\n", 304),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nX-A: 1\r\n\r\n", 304),
    ];
    for (answer, status) in answers {
        let upstream = Upstream::answering(answer).await;
        let app = before(&upstream.url("")).await;
        let mut connection = Connection::open(app.addr).await;
        let request = Request::get(&format!("{UP}/x"));
        for _ in 0..2 {
            // Twice on one connection: a stray body would be read as the second answer.
            let response = connection.exchange(&request, app.addr).await.unwrap();
            assert_eq!(response.status, status);
            assert_eq!(response.headers("x-a"), ["1"]);
            assert_eq!(response.headers("transfer-encoding"), Vec::<String>::new());
            if status == 204 {
                assert_eq!(response.headers("content-length"), Vec::<String>::new());
            }
        }
    }
}

#[tokio::test]
async fn head_comes_back_with_the_fields_of_get_and_no_body() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n";
    let upstream = Upstream::answering(answer).await;
    let app = before(&upstream.url("")).await;
    let mut connection = Connection::open(app.addr).await;
    let request = Request::new("HEAD", &format!("{UP}/x"));
    for _ in 0..2 {
        let response = connection.exchange(&request, app.addr).await.unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-length").as_deref(), Some("1234"));
        assert_eq!(response.header("etag").as_deref(), Some("\"x\""));
    }
    assert_eq!(upstream.requests()[0].method(), "HEAD");
}

#[tokio::test]
async fn interim_answers_of_the_upstream_are_not_the_answer() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
                  HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
    let response = relayed(answer).await;
    assert_eq!((response.status, response.text().as_str()), (201, "ok"));
}

#[tokio::test]
async fn an_upstream_that_closes_behind_each_answer_is_no_error() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let app = App::builder().set("SERVER__WORKERS", "1").service("up", &upstream.url(""), "");
    let app = app.start().await;
    let mut connection = Connection::open(app.addr).await;
    let request = Request::get(&format!("{UP}/x"));
    for round in 0..100 {
        let response = connection.exchange(&request, app.addr).await.unwrap();
        assert_eq!(response.status, 200, "round {round}: {}", response.text());
    }
    assert_eq!(upstream.requests().len(), 100);
}
