//! Both bodies stream: nothing waits for the whole of either, and memory does not hold one.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{UP, before};
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images::filling;
use crate::harness::problem::assert_problem;
use crate::harness::text::sha256;
use crate::harness::upstream::{Upstream, a_moment};

#[tokio::test]
async fn the_upstream_sees_the_first_piece_before_the_client_sends_the_second() {
    let (seen, mut first_seen) = mpsc::channel(1);
    let upstream = Upstream::scripted(move |mut peer| {
        let seen = seen.clone();
        async move {
            peer.request_head().await;
            peer.connection.read_until(b"first").await;
            seen.send(()).await.unwrap();
            peer.connection.read_until(b"second").await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    for framing in ["Content-Length: 11", "Transfer-Encoding: chunked"] {
        let mut connection = Connection::open(app.addr).await;
        connection.send(format!("POST {UP}/x HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).await;
        let chunked = framing.contains("chunked");
        connection.send(if chunked { "5\r\nfirst\r\n" } else { "first" }).await;
        let told = timeout(Duration::from_secs(10), first_seen.recv()).await;
        assert_eq!(told.expect("the first piece is held back"), Some(()));
        connection.send(if chunked { "6\r\nsecond\r\n0\r\n\r\n" } else { "second" }).await;
        assert_eq!(connection.response().await.status, 200);
    }
}

#[tokio::test]
async fn the_client_sees_the_first_piece_before_the_upstream_sends_the_second() {
    for (framing, first, second) in [
        ("Content-Length: 11", "first", "second"),
        ("Transfer-Encoding: chunked", "5\r\nfirst\r\n", "6\r\nsecond\r\n0\r\n\r\n"),
    ] {
        let (go, wait) = watch::channel(false);
        let upstream = Upstream::scripted(move |mut peer| {
            let mut wait = wait.clone();
            async move {
                peer.request().await;
                peer.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{first}")).await;
                wait.wait_for(|go| *go).await.unwrap();
                peer.send(second).await;
                a_moment().await;
            }
        })
        .await;
        let app = before(&upstream.url("")).await;
        let mut connection = Connection::open(app.addr).await;
        let request = Request::get(&format!("{UP}/x"));
        connection.send(request.head_bytes(app.addr)).await;
        connection.read_until(b"first").await;
        go.send(true).unwrap();
        connection.read_until(b"second").await;
    }
}

#[tokio::test]
async fn both_bodies_flow_at_the_same_time() {
    // Answers each piece before the client sends the next.
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request_head().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await;
        for piece in ["one", "two", "four"] {
            let got = peer.connection.read_until(piece.as_bytes()).await;
            peer.send(got).await;
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    let mut connection = Connection::open(app.addr).await;
    let request = Request::post(&format!("{UP}/x")).claiming(10);
    connection.send(request.head_bytes(app.addr)).await;
    for piece in ["one", "two", "four"] {
        connection.send(piece).await;
        connection.read_until(piece.as_bytes()).await;
    }
}

#[tokio::test]
async fn large_bodies_go_through_unchanged_both_ways() {
    let upstream = Upstream::scripted(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
            peer.send(head).await;
            peer.send(&request.body).await;
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    let body = filling(20 << 20, 7);
    let digest = sha256(&body);
    let request = Request::post(&format!("{UP}/x")).body(body);
    for request in [request.clone(), request.chunked(100_001)] {
        let response = request.send(app.addr).await;
        assert_eq!(response.status, 200);
        assert!(sha256(&response.body) == digest, "the body has changed");
    }
}

/// The most memory that a process has held.
fn peak_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn an_upstream_that_does_not_read_stops_the_client_and_not_the_memory() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request_head().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    let before = peak_memory(app.pid());
    let mut connection = Connection::open(app.addr).await;
    let request = Request::post(&format!("{UP}/x")).claiming(1 << 29);
    connection.send(request.head_bytes(app.addr)).await;
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    let second = Duration::from_secs(1);
    while let Ok(wrote) = timeout(second, connection.stream.write_all(&piece)).await {
        wrote.unwrap();
        sent += piece.len();
        assert!(sent < 200 << 20, "nothing stops the client");
    }
    let grown = peak_memory(app.pid()) - before;
    assert!(grown < 32 << 20, "the gateway holds {grown} bytes of a request");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_upstream_and_not_the_memory() {
    let (sent, count) = watch::channel(0);
    let upstream = Upstream::scripted(move |mut peer| {
        let sent = sent.clone();
        async move {
            peer.request().await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await;
            let piece = vec![b'x'; 1 << 20];
            while peer.connection.stream.write_all(&piece).await.is_ok() {
                sent.send_modify(|count| *count += piece.len());
            }
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    let before = peak_memory(app.pid());
    let mut connection = Connection::open(app.addr).await;
    connection.send(Request::get(&format!("{UP}/x")).head_bytes(app.addr)).await;
    connection.stream.read_exact(&mut [0; 100]).await.unwrap();
    let mut last = usize::MAX;
    while *count.borrow() != last {
        last = *count.borrow();
        assert!(last < 200 << 20, "nothing stops the upstream");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let grown = peak_memory(app.pid()) - before;
    assert!(grown < 32 << 20, "the gateway holds {grown} bytes of a response");
}

#[tokio::test]
async fn an_early_answer_of_the_upstream_reaches_a_client_that_is_still_sending() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request_head().await;
        peer.send("HTTP/1.1 413 No\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge").await;
        // Reads on for a while, as a careful server does.
        let mut rest = vec![0; 1 << 20];
        let read = async { while peer.connection.stream.read(&mut rest).await.unwrap_or(0) > 0 {} };
        let _ = timeout(Duration::from_secs(5), read).await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    for _ in 0..5 {
        let request = Request::post(&format!("{UP}/x")).body(vec![b'x'; 20 << 20]);
        let response = request.send(app.addr).await;
        assert_eq!((response.status, response.text().as_str()), (413, "large"));
    }
}

#[tokio::test]
async fn the_limit_of_a_remote_services_bodies_is_inclusive() {
    let upstream = Upstream::ok().await;
    let limit = "max_body_size = \"1000 B\"";
    let app = App::builder().service("up", &upstream.url(""), limit).start().await;
    let most = Request::post(&format!("{UP}/x")).body(vec![b'x'; 1000]);
    let more = Request::post(&format!("{UP}/x")).body(vec![b'x'; 1001]);
    for request in [most.clone(), most.chunked(99)] {
        assert_eq!(request.send(app.addr).await.status, 200);
        assert_eq!(upstream.requests().pop().unwrap().body.len(), 1000);
    }
    let seen = upstream.requests().len();
    for request in [more.clone(), more.chunked(99)] {
        assert_problem(&request.send(app.addr).await, "too-large");
    }
    a_moment().await;
    assert_eq!(upstream.requests().len(), seen, "too large a request arrived whole");
}
