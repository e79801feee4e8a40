//! Requests that come together: each is understood, served and answered by itself, in turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::upload;
use crate::harness::upstream::{Upstream, a_moment};

const UP: &str = "/consumer-api/service/up/x";

async fn before(upstream: &Upstream) -> App {
    App::builder().service("up", &upstream.url(""), "").start().await
}

fn get(fields: &str) -> String {
    format!("GET {UP} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[tokio::test]
async fn an_answer_has_a_body_by_its_own_requests_method() {
    let upstream = Upstream::ok().await;
    let gone = "[services.gone]\nurl = \"http://127.0.0.1:1\"";
    let app = App::builder().service("up", &upstream.url(""), "").file(gone).start().await;
    let head = format!("HEAD {UP} HTTP/1.1\r\nHost: a\r\n\r\n");
    let failing = "HEAD /consumer-api/service/gone/x HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut connection = Connection::open(app.addr).await;
    connection.send(format!("{}{head}{}{failing}{}", get(""), get(""), get(""))).await;
    assert_eq!(connection.response().await.text(), "ok");
    assert_eq!(connection.response_to_head().await.status, 200);
    assert_eq!(connection.response().await.text(), "ok");
    assert_eq!(connection.response_to_head().await.status, 502);
    assert_eq!(connection.response().await.text(), "ok");
}

#[tokio::test]
async fn an_answer_is_of_its_own_requests_version() {
    let upstream = Upstream::ok().await;
    let app = before(&upstream).await;
    let old = format!("GET {UP} HTTP/1.0\r\nHost: a\r\n\r\n");
    let mut connection = Connection::open(app.addr).await;
    connection.send(format!("{}{old}{}", get(""), get(""))).await;
    assert_eq!(connection.response().await.text(), "ok");
    // It asked for the end, which comes before the third is looked at.
    let rest = String::from_utf8(connection.rest().await).unwrap();
    assert!(rest.starts_with("HTTP/1.0 200 OK\r\n") && rest.ends_with("\r\n\r\nok"), "{rest}");
    assert_eq!(rest.matches("HTTP/1.").count(), 1, "{rest}");
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn nothing_is_served_behind_a_request_to_close() {
    let upstream = Upstream::ok().await;
    let app = before(&upstream).await;
    let mut connection = Connection::open(app.addr).await;
    let post = format!("POST {UP} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    connection.send(format!("{}{post}{}", get("Connection: close\r\n"), get(""))).await;
    let response = connection.response().await;
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    assert!(connection.rest().await.is_empty());
    assert_eq!(upstream.request().method(), "GET");
}

#[tokio::test]
async fn a_service_sees_the_next_request_after_the_answer_to_the_one_before() {
    let answer = Arc::new(Notify::new());
    let told = Arc::clone(&answer);
    let upstream = Upstream::scripted(move |mut peer| {
        let answer = Arc::clone(&told);
        async move {
            while peer.request().await.is_some() {
                answer.notified().await;
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let app = before(&upstream).await;
    let mut connection = Connection::open(app.addr).await;
    connection.send(get("").repeat(2)).await;
    upstream.received(1).await;
    a_moment().await;
    assert_eq!(upstream.requests().len(), 1);
    for _ in 0..2 {
        answer.notify_one();
        assert_eq!(connection.response().await.text(), "ok");
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn many_at_once_are_answered_in_turn_however_they_are_cut() {
    let upstream = Upstream::ok().await;
    let app = before(&upstream).await;
    let mut bytes = Vec::new();
    let count = 60;
    for number in 0..count {
        let request = Request::post(UP).header("X-Request-Id", format!("n{number}"));
        let body = vec![b'0'; number * 50];
        let request = match number % 3 {
            0 => Request::get(UP).header("X-Request-Id", format!("n{number}")),
            1 => request.body(body),
            _ => request.body(body).chunked(number),
        };
        bytes.extend(request.head_bytes(app.addr));
        bytes.extend(request.body_bytes());
    }
    for piece in [bytes.len(), 1000, 61] {
        let mut connection = Connection::open(app.addr).await;
        let seen = upstream.requests().len();
        let (mut reader, mut writer) = connection.stream.split();
        let write = async {
            for piece in bytes.chunks(piece) {
                tokio::io::AsyncWriteExt::write_all(&mut writer, piece).await.unwrap();
            }
        };
        let read = async {
            let mut answers = Vec::new();
            while String::from_utf8_lossy(&answers).matches("HTTP/1.1 200 OK").count() < count
                || !answers.ends_with(b"ok")
            {
                let read = tokio::io::AsyncReadExt::read_buf(&mut reader, &mut answers).await;
                assert!(read.unwrap() > 0, "{}", String::from_utf8_lossy(&answers));
            }
            String::from_utf8(answers).unwrap()
        };
        let (answers, ()) = tokio::join!(read, write);
        let ids = answers.lines().filter_map(|line| line.strip_prefix("x-request-id: "));
        let wanted: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
        assert_eq!(ids.collect::<Vec<_>>(), wanted);
        let arrived = upstream.requests().split_off(seen);
        for (number, request) in arrived.iter().enumerate() {
            let length = if number % 3 == 0 { 0 } else { number * 50 };
            assert_eq!(request.body, vec![b'0'; length], "{number}");
        }
        assert_eq!(arrived.len(), count);
    }
}

#[tokio::test]
async fn uploads_behind_one_another_are_stored() {
    let app = App::local().await;
    let mut bytes = Vec::new();
    for name in ["a.gif", "b.gif", "c.gif"] {
        let request = upload::put(name, &images::gif(1, 1, 100_000));
        let request = if name == "b.gif" { request.chunked(7000) } else { request };
        bytes.extend(request.head_bytes(app.addr));
        bytes.extend(request.body_bytes());
    }
    let mut connection = Connection::open(app.addr).await;
    connection.send(bytes).await;
    for name in ["a.gif", "b.gif", "c.gif"] {
        let response = connection.response().await;
        assert_eq!(response.status, 201, "{name}: {}", response.text());
        assert_eq!(response.json()["fileName"], name);
    }
}

#[tokio::test]
async fn a_head_that_began_behind_another_request_is_not_waited_for_without_end() {
    let app = App::builder().set("SERVER__HEADER_TIMEOUT", "1s").start().await;
    let mut connection = Connection::open(app.addr).await;
    connection.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HT").await;
    assert_eq!(connection.response().await.status, 200);
    assert!(connection.ends_within(Duration::from_secs(10)).await, "still open");
}
