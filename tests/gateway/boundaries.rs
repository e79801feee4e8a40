//! Where an answer ends: whatever a service says about it, what follows on the client's
//! connection and on the service's is the answer to what was asked next.

use super::UP;
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::problem::assert_upstream_problem;
use crate::harness::upstream::{Peer, Upstream};

const NEXT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";

/// Framing fields that an answer without a body may have, rightly or not, and what a service
/// may then send all the same.
const FRAMINGS: &[(&str, &[&str])] = &[
    ("", &["", "hello"]),
    ("Content-Length: 0\r\n", &["", "hello"]),
    ("Content-Length: 5\r\n", &["", "hello", NEXT]),
    ("Transfer-Encoding: chunked\r\n", &["", "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"]),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &["", "hello", "0\r\n\r\n"]),
];

/// How a request's body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    None,
    Length,
    Chunked,
    /// In chunks, and the answer is given in between.
    AnsweredWithin,
}

/// One worker, so that the next request finds the connection that the one before has left.
async fn before(upstream: &Upstream) -> App {
    let app = App::builder().set("SERVER__WORKERS", "1");
    app.service("up", &upstream.url(""), "").start().await
}

/// Answers `/odd` with these bytes, and everything else with `next`.
async fn odd(head: String, stray: &'static str, body: Body) -> Upstream {
    let serve = move |mut peer: Peer| {
        let head = head.clone();
        async move {
            loop {
                let Some(request) = peer.request_head().await else { return };
                let is_odd = request.target() == "/odd";
                if is_odd && body == Body::AnsweredWithin {
                    peer.connection.read_until(b"half").await;
                    peer.send(format!("{head}{stray}")).await;
                    // Whether the other half comes is not its business.
                    peer.connection.rest().await;
                    return;
                }
                if peer.connection.body(&request.fields, false).await.is_err() {
                    return;
                }
                peer.send(if is_odd { format!("{head}{stray}") } else { NEXT.to_owned() }).await;
            }
        }
    };
    Upstream::scripted(serve).await
}

/// Asks `/odd` and then twice something else, on one connection as long as it is kept.
async fn stays_in_step(app: &App, method: &str, status: u16, body: Body, case: &str) {
    let asked = Request::new(method, &format!("{UP}/odd"));
    let asked = match body {
        Body::None => asked,
        Body::Length => asked.body("half and half"),
        Body::Chunked | Body::AnsweredWithin => asked.body("half and half").chunked(4),
    };
    let mut client = Connection::open(app.addr).await;
    let bytes = [asked.head_bytes(app.addr), asked.body_bytes()].concat();
    let now = if body == Body::AnsweredWithin { bytes.len() - 20 } else { bytes.len() };
    client.send(&bytes[..now]).await;
    let answer = client.response_to_head().await;
    assert_eq!(answer.status, status, "{case}");
    if status == 204 {
        assert_eq!(answer.header("content-length"), None, "{case}");
    }
    let _ = client.try_send(&bytes[now..]).await;
    if answer.header("connection").as_deref() == Some("close") {
        client.finish_sending().await;
        assert_eq!(String::from_utf8_lossy(&client.rest().await), "", "{case}");
        client = Connection::open(app.addr).await;
    }
    for _ in 0..2 {
        client.send(Request::get(&format!("{UP}/next")).head_bytes(app.addr)).await;
        let next = client.response().await;
        assert_eq!((next.status, next.text().as_str()), (200, "next"), "{case}");
    }
}

async fn all_framings(method: &str, status: u16) {
    for (fields, strays) in FRAMINGS {
        for stray in *strays {
            for body in [Body::None, Body::Length, Body::Chunked, Body::AnsweredWithin] {
                let case = format!("{fields:?}, then {stray:?}, asked with {body:?}");
                let head = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
                let upstream = odd(head, stray, body).await;
                let app = before(&upstream).await;
                stays_in_step(&app, method, status, body, &case).await;
            }
        }
    }
}

#[tokio::test]
async fn head_has_no_body_whatever_the_service_sends() {
    all_framings("HEAD", 200).await;
}

#[tokio::test]
async fn a_204_has_no_body_whatever_the_service_sends() {
    all_framings("POST", 204).await;
}

#[tokio::test]
async fn a_304_has_no_body_whatever_the_service_sends() {
    all_framings("GET", 304).await;
}

#[tokio::test]
async fn interim_answers_stand_before_any_answer_however_many() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    let processing = "HTTP/1.1 102 Processing\r\n\r\n";
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        processing.to_owned(),
        early.to_owned(),
        [processing, early, "HTTP/1.1 199 Odd\r\nContent-Length: 5\r\n\r\n"].concat(),
        processing.repeat(16),
    ] {
        let upstream = Upstream::answering(format!("{interim}{NEXT}")).await;
        let app = before(&upstream).await;
        let mut client = Connection::open(app.addr).await;
        let post = Request::post(&format!("{UP}/x")).body("body");
        for request in [Request::get(&format!("{UP}/x")), post.clone(), post.chunked(1)] {
            let answer = client.exchange(&request, app.addr).await.expect("an answer");
            assert_eq!((answer.status, answer.text().as_str()), (200, "next"), "{interim:?}");
        }
    }
    let upstream = Upstream::answering(processing.repeat(17) + NEXT).await;
    let app = before(&upstream).await;
    let endless = Request::get(&format!("{UP}/x")).send(app.addr).await;
    assert_upstream_problem(&endless, "upstream-invalid", "invalid");
}

#[tokio::test]
async fn trailers_end_where_they_end_and_go_no_further() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    for trailers in ["X-Sum: 1\r\n", "X-Sum: 1\r\nContent-Length: 3\r\nX-B:\r\n"] {
        let upstream =
            Upstream::answering(format!("{chunked}4\r\nnext\r\n0\r\n{trailers}\r\n")).await;
        let app = before(&upstream).await;
        let mut client = Connection::open(app.addr).await;
        for _ in 0..3 {
            client.send(Request::get(&format!("{UP}/x")).head_bytes(app.addr)).await;
            let head = client.head().await.expect("an answer");
            assert_eq!(head.header("trailer"), None);
            let body = client.read_until(b"\r\n0\r\n\r\n").await;
            assert_eq!(body, b"4\r\nnext\r\n0\r\n\r\n");
        }
    }
}
