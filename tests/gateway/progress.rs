//! Time limits are about progress: whoever goes on sending may take as long as it likes, and
//! whoever stops is told in time.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use super::UP;
use crate::harness::App;
use crate::harness::http::{Connection, Failure, Request};
use crate::harness::problem::{assert_problem, assert_upstream_problem};
use crate::harness::upstream::{Peer, Upstream};

/// Much less than a trickle takes, and much more than one of its pauses.
const SHORT: &str = "response_timeout = \"500ms\"\nidle_timeout = \"500ms\"";

const PAUSE: Duration = Duration::from_millis(100);
/// Three seconds of it.
const PIECES: usize = 30;

async fn before(url: &str) -> App {
    App::builder().service("up", url, SHORT).start().await
}

/// Sends a body a byte a time.
async fn trickle(to: &mut Connection, chunked: bool) {
    for _ in 0..PIECES {
        to.send(if chunked { "1\r\nx\r\n" } else { "x" }).await;
        sleep(PAUSE).await;
    }
    if chunked {
        to.send("0\r\n\r\n").await;
    }
}

fn framing(chunked: bool) -> String {
    match chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {PIECES}"),
    }
}

/// Posts a trickle, in either framing at once, and gives the answers' bodies.
async fn posted(app: &App) -> [String; 2] {
    let post = |chunked| async move {
        let mut client = Connection::open(app.addr).await;
        let framing = framing(chunked);
        client.send(format!("POST {UP}/x HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).await;
        trickle(&mut client, chunked).await;
        let answer = client.response().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    };
    let (sized, chunked) = tokio::join!(post(false), post(true));
    [sized, chunked]
}

#[tokio::test]
async fn a_trickling_client_is_waited_for() {
    let upstream = Upstream::ok().await;
    let app = before(&upstream.url("")).await;
    assert_eq!(posted(&app).await, ["ok", "ok"]);
    for request in upstream.requests() {
        assert_eq!(request.body, vec![b'x'; PIECES]);
    }
}

#[tokio::test]
async fn a_trickling_upstream_is_waited_for() {
    for chunked in [false, true] {
        let upstream = Upstream::scripted(move |mut peer| async move {
            peer.request().await;
            peer.send(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", framing(chunked))).await;
            trickle(&mut peer.connection, chunked).await;
        })
        .await;
        let app = before(&upstream.url("")).await;
        let answer = Request::get(&format!("{UP}/x")).send(app.addr).await;
        assert_eq!(answer.body, vec![b'x'; PIECES]);
    }
}

#[tokio::test]
async fn an_answer_that_waits_for_a_trickling_client_is_waited_for() {
    // The head comes at once, the body only when the request is over.
    let upstream = Upstream::scripted(|mut peer: Peer| async move {
        let request = peer.request_head().await.unwrap();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n").await;
        let body = peer.connection.body(&request.fields, false).await.unwrap();
        peer.send(body).await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    let all = "x".repeat(PIECES);
    assert_eq!(posted(&app).await, [all.clone(), all]);
}

#[tokio::test]
async fn an_upstream_that_reads_slowly_is_waited_for() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request_head().await;
        let mut piece = vec![0; 1 << 20];
        for _ in 0..PIECES {
            peer.connection.stream.read_exact(&mut piece).await.unwrap();
            sleep(PAUSE).await;
        }
        peer.connection.read_until(b"the end").await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    // What lies in the system's buffers counts as sent.
    let patient = "response_timeout = \"10s\"\nidle_timeout = \"500ms\"";
    let app = App::builder().service("up", &upstream.url(""), patient).start().await;
    let body = [&vec![b'x'; (PIECES + 1) << 20][..], b"the end"].concat();
    let request = Request::post(&format!("{UP}/x")).body(body);
    assert_eq!(request.send(app.addr).await.text(), "ok");
}

#[tokio::test]
async fn an_upstream_that_stops_reading_times_out() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request_head().await;
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    let request = Request::post(&format!("{UP}/x")).body(vec![b'x'; 100 << 20]);
    for request in [request.clone(), request.chunked(1 << 20)] {
        let started = Instant::now();
        assert_upstream_problem(&request.send(app.addr).await, "upstream-timeout", "timeout");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_client_that_stops_within_a_trickle_is_told_so_however_it_sends() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request_head().await;
        peer.connection.rest().await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    for chunked in [false, true] {
        let mut client = Connection::open(app.addr).await;
        let framing = framing(chunked);
        client.send(format!("POST {UP}/x HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).await;
        for _ in 0..3 {
            client.send(if chunked { "1\r\nx\r\n" } else { "x" }).await;
            sleep(PAUSE).await;
        }
        assert_problem(&client.response().await, "request-timeout");
    }
}

#[tokio::test]
async fn both_that_stop_after_the_head_are_cut() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request_head().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nsome").await;
        peer.connection.rest().await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    let mut client = Connection::open(app.addr).await;
    let request = Request::post(&format!("{UP}/x")).claiming(30);
    client.send(request.head_bytes(app.addr)).await;
    client.send("some").await;
    match client.try_response().await {
        Err(Failure::Cut(came)) => assert_eq!(came, b"some"),
        other => panic!("{other:?}"),
    }
}
