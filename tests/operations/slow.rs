//! Clients that send too slowly.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::harness::App;
use crate::harness::http::Connection;
use crate::harness::images;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

/// A server that wants 1 KiB/s over every second.
async fn impatient() -> App {
    App::builder().set("CONSUMERS__IMAGES__MIN_RATE_WINDOW", "1s").start().await
}

#[tokio::test]
async fn an_upload_that_stalls_is_told_so() {
    let app = impatient().await;
    let image = images::jpeg(9, 9, 50_000);
    for request in [upload::main_job("a.jpg", &image), upload::put("a.jpg", &image)] {
        for sent in [0, 20_000] {
            let mut connection = Connection::open(app.addr).await;
            let started = Instant::now();
            connection.send(request.head_bytes(app.addr)).await;
            connection.send(&request.body_bytes()[..sent]).await;
            assert_problem(&connection.response().await, "request-timeout");
            assert!(started.elapsed() > Duration::from_millis(700), "told too soon");
            assert!(started.elapsed() < Duration::from_secs(25), "told too late");
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn an_upload_that_trickles_is_told_so() {
    let app = impatient().await;
    let request = upload::main_job("a.jpg", &images::jpeg(9, 9, 50_000));
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    let started = Instant::now();
    for piece in request.body_bytes().chunks(20) {
        if connection.try_send(piece).await.is_err() || started.elapsed() > Duration::from_secs(5) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_problem(&connection.response().await, "request-timeout");
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn an_upload_that_is_slow_but_fast_enough_is_waited_for() {
    let app = impatient().await;
    let image = images::jpeg(9, 9, 12_000);
    let request = upload::main_job("a.jpg", &image);
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    // About 4 KiB/s, for about three windows.
    for piece in request.body_bytes().chunks(400) {
        connection.send(piece).await;
        sleep(Duration::from_millis(100)).await;
    }
    let response = connection.response().await;
    assert_eq!(response.status, 201, "{}", response.text());
    assert!(app.object("acme/customer/42/a.jpg").await.0 == image);
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let app = App::builder().set("SERVER__HEADER_TIMEOUT", "1s").start().await;
    for sent in ["G", "GET /healthz HTTP/1.1\r\nHost: a\r\n"] {
        let mut connection = Connection::open(app.addr).await;
        connection.send(sent).await;
        let started = Instant::now();
        let answer = connection.rest().await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_head_that_trickles_is_not_waited_for_either() {
    let app = App::builder().set("SERVER__HEADER_TIMEOUT", "1s").start().await;
    let mut connection = Connection::open(app.addr).await;
    connection.send("GET /healthz HTTP/1.1\r\nHost: a\r\n").await;
    let started = Instant::now();
    while connection.try_send("X: y\r\n").await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
}
