//! SIGTERM: what runs is finished, nothing new begins, the process ends with status 0.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::upload;

const KEY: &str = "acme/customer/42/a.jpg";

/// Sends the first half of an upload.
async fn half(app: &App, request: &Request) -> (Connection, Vec<u8>) {
    let mut connection = Connection::open(app.addr).await;
    let body = request.body_bytes();
    connection.send(request.head_bytes(app.addr)).await;
    connection.send(&body[..body.len() / 2]).await;
    // The server has it, rather than the kernel.
    sleep(Duration::from_millis(300)).await;
    (connection, body[body.len() / 2..].to_vec())
}

#[tokio::test]
async fn an_idle_server_ends_at_once_with_status_0() {
    for signal in ["TERM", "INT"] {
        let mut app = App::local().await;
        let mut idle = Connection::open(app.addr).await;
        idle.exchange(&Request::get("/healthz"), app.addr).await.unwrap();
        app.signal(signal);
        let status = app.ended_within(Duration::from_secs(5)).await;
        assert_eq!(status.code(), Some(0), "{signal}: {}", app.log_text());
    }
}

#[tokio::test]
async fn a_running_upload_is_finished_after_sigterm() {
    for builder in [App::builder(), App::builder().minio().await] {
        let mut app = builder.start().await;
        app.tried(KEY);
        let image = images::jpeg(9, 9, 10 << 20);
        let (mut connection, rest) = half(&app, &upload::main_job("a.jpg", &image)).await;
        app.signal("TERM");
        sleep(Duration::from_millis(500)).await;
        assert!(app.runs(), "ended within an upload: {}", app.log_text());
        assert!(TcpStream::connect(app.addr).await.is_err(), "still accepts");
        connection.send(rest).await;
        let response = connection.response().await;
        assert_eq!(upload::stored_name(&response), KEY);
        // It began before the stop, and no other is to be sent behind it.
        assert_eq!(response.header("connection").as_deref(), Some("close"));
        let status = app.ended_within(Duration::from_secs(5)).await;
        assert_eq!(status.code(), Some(0), "{}", app.log_text());
        assert!(app.object(KEY).await.0 == image, "the stored bytes differ");
    }
}

#[tokio::test]
async fn an_upload_that_does_not_end_is_given_up_at_the_shutdown_timeout() {
    let local = App::builder();
    let minio = App::builder().minio().await;
    for builder in [local, minio] {
        let mut app = builder.set("SERVER__SHUTDOWN_TIMEOUT", "1s").start().await;
        app.tried(KEY);
        let image = images::jpeg(9, 9, 20 << 20);
        let (_connection, _rest) = half(&app, &upload::main_job("a.jpg", &image)).await;
        let started = Instant::now();
        app.signal("TERM");
        let status = app.ended_within(Duration::from_secs(6)).await;
        assert!(started.elapsed() > Duration::from_millis(800), "{:?}", started.elapsed());
        assert_eq!(status.code(), Some(0), "{}", app.log_text());
        app.assert_nothing_stored().await;
    }
}

#[tokio::test]
async fn readiness_turns_red_before_the_listener_closes() {
    let mut app = App::builder().set("SERVER__DRAIN_DELAY", "5s").start().await;
    app.signal("TERM");
    while Request::get("/readyz").send(app.addr).await.status != 503 {
        sleep(Duration::from_millis(20)).await;
    }
    // Everything else is as usual meanwhile.
    assert_eq!(Request::get("/healthz").send(app.addr).await.status, 200);
    let response = upload::main_job("a.gif", &images::gif(1, 1, 1)).send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
    // But that no connection is used again: one that a balancer keeps might be closed under a request.
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    let status = app.ended_within(Duration::from_secs(15)).await;
    assert_eq!(status.code(), Some(0), "{}", app.log_text());
}

#[tokio::test]
async fn who_is_connected_when_the_listener_closes_is_answered() {
    let mut app = App::builder().set("SERVER__DRAIN_DELAY", "500ms").start().await;
    let addr = app.addr;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..12 {
        clients.spawn(async move {
            let mut answers = 0;
            // Each request on a connection of its own, until there are no more.
            while let Ok(stream) = TcpStream::connect(addr).await {
                let mut connection = Connection::accepted(stream);
                let answer = connection.exchange(&Request::get("/healthz"), addr).await;
                assert_eq!(answer.expect("an answer").status, 200);
                answers += 1;
            }
            answers
        });
    }
    sleep(Duration::from_millis(500)).await;
    app.signal("TERM");
    let answers: u32 = clients.join_all().await.into_iter().sum();
    assert!(answers >= 12, "{answers} answers");
    let status = app.ended_within(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0), "{}", app.log_text());
}

/// A server that is killed within an upload, and what it leaves after its next start.
async fn killed_within_an_upload(builder: Builder) -> App {
    let mut app = builder.start().await;
    let image = images::jpeg(9, 9, 20 << 20);
    let (_connection, _rest) = half(&app, &upload::main_job("a.jpg", &image)).await;
    app.signal("KILL");
    app.ended_within(Duration::from_secs(5)).await;
    assert!(!app.root().join(KEY).exists(), "half an upload is visible");
    app
}

#[tokio::test]
async fn what_a_killed_server_left_is_gone_after_its_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("objects");
    let root = root.to_str().unwrap();
    let killed = killed_within_an_upload(App::builder().set("STORAGE__LOCAL__ROOT", root)).await;
    let mut again = App::builder().set("STORAGE__LOCAL__ROOT", root).start().await;
    let files = || walk(std::path::Path::new(root));
    let until = Instant::now() + Duration::from_secs(60);
    while files() > 0 {
        assert!(Instant::now() < until, "{} files are left", files());
        sleep(Duration::from_millis(200)).await;
    }
    assert!(again.runs());
    drop(killed);
}

/// How many files, with something in them, are below a folder.
fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => walk(&entry.path()),
            Ok(data) => usize::from(data.len() > 0),
            Err(_) => 0,
        })
        .sum()
}
