//! Remote services and clients that take too long.

use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::UP;
use crate::harness::App;
use crate::harness::http::{Connection, Failure, Request};
use crate::harness::problem::{assert_problem, assert_upstream_problem};
use crate::harness::upstream::Upstream;

const SHORT: &str =
    "connect_timeout = \"400ms\"\nresponse_timeout = \"400ms\"\nidle_timeout = \"600ms\"";

async fn before(url: &str) -> App {
    App::builder().service("up", url, SHORT).start().await
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_times_out() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.connection.rest().await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    for request in [Request::get(&format!("{UP}/x")), Request::post(&format!("{UP}/x")).body("b")] {
        let started = Instant::now();
        let response = request.send(app.addr).await;
        assert_upstream_problem(&response, "upstream-timeout", "timeout");
        let took = started.elapsed();
        assert!((Duration::from_millis(350)..Duration::from_secs(5)).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_accept_times_out() {
    // A listener whose queue is full: further connections get no answer at all.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(addr)).await {
        waiting.push(connected.unwrap());
    }
    let app = before(&format!("http://{addr}")).await;
    let response = Request::get(&format!("{UP}/x")).send(app.addr).await;
    assert_upstream_problem(&response, "upstream-timeout", "timeout");
}

#[tokio::test]
async fn an_upstream_that_stalls_within_its_body_is_cut_off() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial").await;
        peer.connection.rest().await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    let started = Instant::now();
    match Request::get(&format!("{UP}/x")).try_send(app.addr).await {
        Err(Failure::Cut(came)) => assert_eq!(came, b"partial"),
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_slow_body_that_never_pauses_too_long_arrives() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await;
        for _ in 0..10 {
            sleep(Duration::from_millis(200)).await;
            peer.send("x").await;
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    let response = Request::get(&format!("{UP}/x")).send(app.addr).await;
    assert_eq!(response.text(), "xxxxxxxxxx");
}

#[tokio::test]
async fn a_client_that_stalls_while_it_sends_is_told_so() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request_head().await;
        peer.connection.rest().await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    let mut connection = Connection::open(app.addr).await;
    let request = Request::post(&format!("{UP}/x")).claiming(100);
    connection.send(request.head_bytes(app.addr)).await;
    connection.send("a piece").await;
    assert_problem(&connection.response().await, "request-timeout");
}

#[tokio::test]
async fn a_client_that_sends_slowly_but_steadily_is_waited_for() {
    let upstream = Upstream::ok().await;
    let app = before(&upstream.url("")).await;
    let mut connection = Connection::open(app.addr).await;
    let request = Request::post(&format!("{UP}/x")).claiming(10);
    connection.send(request.head_bytes(app.addr)).await;
    for _ in 0..10 {
        sleep(Duration::from_millis(200)).await;
        connection.send("x").await;
    }
    assert_eq!(connection.response().await.status, 200);
    assert_eq!(upstream.request().body, b"xxxxxxxxxx");
}
