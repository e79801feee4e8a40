//! What a connection may wait for between requests, and how it ends.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

/// How long an answered client may go on sending.
const LINGER: Duration = Duration::from_secs(10);
/// The same, and what a busy machine takes.
const LINGER_AT_MOST: Duration = Duration::from_secs(16);

/// A server that wants each head within a second.
async fn impatient() -> App {
    App::builder().set("SERVER__HEADER_TIMEOUT", "1s").start().await
}

/// The head of an upload in chunks that is refused before its body: it names no tenant.
fn refused() -> Request {
    Request::post(&upload::path("42"))
        .header("Content-Type", "multipart/form-data; boundary=b")
        .chunked(1)
}

/// A connection whose chunked request has been refused.
async fn refused_on(app: &App, request: &Request) -> Connection {
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    let response = connection.response().await;
    assert_problem(&response, "tenant-missing");
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    connection
}

#[tokio::test]
async fn a_refused_client_that_falls_silent_is_not_held() {
    let app = impatient().await;
    let plain = refused();
    let expecting = refused().header("Expect", "100-continue");
    let silent = |request: Request| {
        let app = &app;
        async move {
            let mut connection = refused_on(app, &request).await;
            assert!(connection.ends_within(LINGER_AT_MOST).await, "still open");
        }
    };
    tokio::join!(silent(plain), silent(expecting));
}

#[tokio::test]
async fn a_client_that_actix_answers_for_us_is_not_held_either() {
    let app = impatient().await;
    let mut connection = Connection::open(app.addr).await;
    let connect = Request::new("CONNECT", "example.com:443").chunked(1);
    connection.send(connect.head_bytes(app.addr)).await;
    assert_problem(&connection.response().await, "method-not-allowed");
    assert!(connection.ends_within(LINGER_AT_MOST).await, "still open");
}

#[tokio::test]
async fn a_refused_client_that_sends_without_end_is_cut() {
    let app = impatient().await;
    let endless = |pause: Duration| {
        let app = &app;
        async move {
            let mut connection = refused_on(app, &refused()).await;
            let started = Instant::now();
            while connection.try_send("4\r\nabcd\r\n").await.is_ok() {
                assert!(started.elapsed() < LINGER_AT_MOST, "still open");
                sleep(pause).await;
            }
            assert!(started.elapsed() > LINGER / 2, "cut after {:?}", started.elapsed());
        }
    };
    tokio::join!(endless(Duration::from_millis(1)), endless(Duration::from_millis(700)));
}

#[tokio::test]
async fn a_refused_client_that_goes_on_sending_can_read_the_answer() {
    let app = impatient().await;
    let mut connection = Connection::open(app.addr).await;
    connection.send(refused().head_bytes(app.addr)).await;
    let piece = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    for _ in 0..40 {
        connection.send(&piece).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_problem(&connection.response().await, "tenant-missing");
}

#[tokio::test]
async fn a_later_head_that_does_not_come_ends_the_connection() {
    let app = impatient().await;
    for begun in ["G", "GET /healthz HTTP/1.1\r\nHost: a\r\n"] {
        let mut connection = Connection::open(app.addr).await;
        connection.exchange(&Request::get("/healthz"), app.addr).await.unwrap();
        connection.send(begun).await;
        assert!(connection.ends_within(Duration::from_secs(6)).await, "{begun:?} is held");
    }
}

#[tokio::test]
async fn a_later_head_that_trickles_is_not_waited_for_either() {
    let app = impatient().await;
    let mut connection = Connection::open(app.addr).await;
    connection.exchange(&Request::get("/healthz"), app.addr).await.unwrap();
    connection.send("GET /healthz HTTP/1.1\r\nHost: a\r\n").await;
    let started = Instant::now();
    while connection.try_send("X: y\r\n").await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_kept_whatever_it_carried_before() {
    let app = impatient().await;
    let image = images::jpeg(9, 9, 40_000);
    let requests = [
        Request::get("/healthz"),
        upload::main_job("a.jpg", &image),
        upload::main_job("b.jpg", &image).chunked(1000),
        upload::put("c.jpg", &image).chunked(1000),
    ];
    let mut idle = Vec::new();
    for request in requests {
        let mut connection = Connection::open(app.addr).await;
        let response = connection.exchange(&request, app.addr).await.unwrap();
        assert!(response.status < 300, "{}", response.text());
        idle.push(connection);
    }
    sleep(LINGER + Duration::from_secs(4)).await;
    for mut connection in idle {
        let again = connection.exchange(&Request::get("/healthz"), app.addr).await;
        assert_eq!(again.expect("a connection that is kept").status, 200);
    }
}

#[tokio::test]
async fn a_later_upload_may_take_longer_than_a_head() {
    let app = impatient().await;
    let image = images::jpeg(9, 9, 40_000);
    let mut connection = Connection::open(app.addr).await;
    connection.exchange(&Request::get("/healthz"), app.addr).await.unwrap();
    for request in [upload::put("a.jpg", &image), upload::put("b.jpg", &image).chunked(1000)] {
        connection.send(request.head_bytes(app.addr)).await;
        for piece in request.body_bytes().chunks(2000) {
            connection.send(piece).await;
            sleep(Duration::from_millis(150)).await;
        }
        upload::stored_name(&connection.response().await);
    }
}

#[tokio::test]
async fn what_follows_an_upload_that_asks_for_an_upgrade_is_not_stored() {
    let app = impatient().await;
    let image = images::jpeg(9, 9, 40_000);
    for request in [upload::put("a.jpg", &image), upload::main_job("a.jpg", &image)] {
        let request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
        for follows in ["", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut connection = Connection::open(app.addr).await;
            connection.send(request.head_bytes(app.addr)).await;
            connection.send([&request.body_bytes(), follows.as_bytes()].concat()).await;
            let key = upload::stored_name(&connection.response().await);
            assert!(app.object(&key).await.0 == image, "the stored bytes differ");
        }
    }
}

#[tokio::test]
async fn an_upload_that_stalls_is_waited_for_where_no_rate_is_asked_for() {
    let app = App::builder()
        .set("CONSUMERS__IMAGES__MIN_RATE", "0")
        .set("CONSUMERS__IMAGES__MIN_RATE_WINDOW", "1s")
        .start()
        .await;
    let request = upload::put("a.jpg", &images::jpeg(9, 9, 40_000));
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    let body = request.body_bytes();
    connection.send(&body[..100]).await;
    sleep(Duration::from_secs(3)).await;
    connection.send(&body[100..]).await;
    upload::stored_name(&connection.response().await);
}

#[tokio::test]
async fn a_client_that_lingers_does_not_keep_the_server_beyond_its_timeout() {
    let mut app = App::builder().set("SERVER__SHUTDOWN_TIMEOUT", "4s").start().await;
    let request = upload::put("a.jpg", &[b'x'; 40_000]);
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    sleep(Duration::from_millis(300)).await;
    app.signal("TERM");
    let started = Instant::now();
    sleep(Duration::from_secs(3)).await;
    // Refused now, so that the connection waits for the rest.
    connection.send(&request.body_bytes()[..20_000]).await;
    assert_problem(&connection.response().await, "image-unsupported");
    let status = app.ended_within(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", app.log_text());
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}
