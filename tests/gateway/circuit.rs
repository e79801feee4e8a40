//! Instances that fail, and are left alone for a while.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::failures::nobody;
use super::{UP, before_all, get, log_says, until};
use crate::harness::App;
use crate::harness::http::{Connection, Request, Response};
use crate::harness::problem::{assert_problem, assert_upstream_problem};
use crate::harness::upstream::{BUSY, OK, Upstream};

const FOR_LONG: &str = "circuit = { failures = 3, open_for = \"60s\" }";
const FOR_SHORT: &str = "circuit = { failures = 3, open_for = \"200ms\" }";

#[track_caller]
fn assert_open(response: &Response) {
    assert_upstream_problem(response, "upstream-unavailable", "circuit-open");
}

/// Makes an instance that answers 503 fail until its circuit opens.
async fn open(app: &App) {
    for _ in 0..3 {
        assert_eq!(get(app).await.text(), "busy");
    }
}

#[tokio::test]
async fn failures_in_a_row_open_the_circuit() {
    let upstream = Upstream::answering(BUSY).await;
    let app = before_all(&[&upstream], FOR_LONG).await;
    open(&app).await;
    let refused = Request::post(&format!("{UP}/x")).body("b").send(app.addr).await;
    assert_open(&refused);
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((30..=60).contains(&after), "{after}");
    assert_eq!(upstream.requests().len(), 3, "the others were not sent");
    // Only the access line tells of a request that was refused; the opening is told once.
    log_says(&app, "\"reason\":\"circuit-open\"", 1).await;
    log_says(&app, "a circuit opened", 1).await;
    let log = app.log_text();
    assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
    let opened = log.lines().find(|line| line.contains("a circuit opened")).unwrap();
    let instance = format!("\"instance\":\"{}\"", upstream.url(""));
    assert!(opened.contains("\"service\":\"up\"") && opened.contains(&instance), "{opened}");
}

#[tokio::test]
async fn what_is_logged_meanwhile_has_the_requests_span_where_spans_are_asked_for() {
    let upstream = Upstream::answering(BUSY).await;
    let app = App::builder()
        .set("TELEMETRY__LOG", "gatehouse=debug")
        .service("up", &upstream.url(""), FOR_LONG)
        .start()
        .await;
    open(&app).await;
    log_says(&app, "a circuit opened", 1).await;
    let log = app.log_text();
    let opened = log.lines().find(|line| line.contains("a circuit opened")).unwrap();
    let opened: serde_json::Value = serde_json::from_str(opened).unwrap();
    assert_eq!(opened["span"]["method"], "GET", "{opened}");
    let request_id = opened["span"]["request_id"].as_str().unwrap();
    assert!(log.matches(request_id).count() > 1, "an access line has it too: {log}");
}

#[tokio::test]
async fn only_failures_in_a_row_count() {
    let (upstream, switch) = Upstream::switched(OK).await;
    let app = before_all(&[&upstream], FOR_LONG).await;
    for answer in [BUSY, BUSY, OK, BUSY, BUSY, OK, BUSY] {
        switch.send(answer).unwrap();
        assert_ne!(get(&app).await.header("content-length"), None);
    }
    assert_eq!(upstream.requests().len(), 7);
}

#[tokio::test]
async fn an_error_of_the_application_is_no_failure() {
    for status in ["500 Internal Server Error", "501 Not Implemented", "429 Too Many Requests"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let upstream = Upstream::answering(answer).await;
        let app = before_all(&[&upstream], FOR_LONG).await;
        for _ in 0..6 {
            assert_eq!(get(&app).await.status.to_string(), status[..3]);
        }
    }
}

#[tokio::test]
async fn every_way_to_fail_counts() {
    let reset = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.reset();
    });
    let closed = Upstream::scripted(|mut peer| async move {
        peer.request().await;
    });
    let mut failing = vec![(reset.await, 502), (closed.await, 502)];
    for (answer, status) in [
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 502),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", 502),
        ("HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n", 504),
    ] {
        failing.push((Upstream::answering(answer).await, status));
    }
    let (silent, _switch) = Upstream::switched("").await;
    failing.push((silent, 504));
    let mut instances: Vec<_> =
        failing.iter().map(|(one, status)| (one.url(""), *status)).collect();
    instances.push((nobody(), 502));
    instances.push(("http://no-such-host.invalid:8080".to_owned(), 502));
    let more = "response_timeout = \"1s\"\ncircuit = { failures = 1, open_for = \"60s\" }";
    let mut app = App::builder();
    for (number, (url, _)) in instances.iter().enumerate() {
        app = app.service(&format!("s{number}"), url, more);
    }
    let app = app.start().await;
    for (number, (url, status)) in instances.iter().enumerate() {
        let request = Request::get(&format!("/consumer-api/service/s{number}/x"));
        assert_eq!(request.send(app.addr).await.status, *status, "{number} {url}");
        assert_open(&request.send(app.addr).await);
    }
    assert!(failing.iter().all(|(one, _)| one.requests().len() == 1));
}

#[tokio::test]
async fn exactly_one_request_tries_a_circuit_that_is_half_open() {
    let (upstream, switch) = Upstream::switched(BUSY).await;
    let app = before_all(&[&upstream], FOR_SHORT).await;
    open(&app).await;
    // The trial is to wait for its answer.
    switch.send("").unwrap();
    let addr = app.addr;
    let mut trial = None;
    until("a trial goes out", async || {
        let request = Request::get(&format!("{UP}/trial"));
        let sent = tokio::spawn(async move { request.send(addr).await });
        until("it arrives or is refused", async || {
            sent.is_finished() || upstream.requests().len() == 4
        })
        .await;
        trial = Some(sent);
        upstream.requests().len() == 4
    })
    .await;
    for _ in 0..10 {
        assert_open(&get(&app).await);
    }
    assert_eq!(upstream.requests().len(), 4);
    switch.send(OK).unwrap();
    assert_eq!(trial.unwrap().await.unwrap().text(), "ok");
    for _ in 0..10 {
        assert_eq!(get(&app).await.text(), "ok");
    }
    log_says(&app, "a circuit closed", 1).await;
}

#[tokio::test]
async fn a_trial_that_fails_opens_the_circuit_again() {
    let upstream = Upstream::answering(BUSY).await;
    let app = before_all(&[&upstream], "circuit = { failures = 3, open_for = \"2s\" }").await;
    open(&app).await;
    until("a trial goes out", async || get(&app).await.text() == "busy").await;
    assert_open(&get(&app).await);
    assert_eq!(upstream.requests().len(), 4);
    log_says(&app, "a circuit opened", 1).await;
}

#[tokio::test]
async fn a_trial_whose_client_leaves_is_left_to_the_next() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (switch, answer) = watch::channel(BUSY);
    let upstream = Upstream::scripted(move |mut peer| {
        let (tell, mut answer) = (tell.clone(), answer.clone());
        async move {
            while let Some(request) = peer.request().await {
                if request.target() == "/trial" {
                    peer.connection.rest().await;
                    tell.send("gone").unwrap();
                    return;
                }
                peer.send_current(&mut answer).await;
            }
        }
    })
    .await;
    let app = before_all(&[&upstream], FOR_SHORT).await;
    open(&app).await;
    switch.send(OK).unwrap();
    until("a trial goes out", async || {
        let mut client = Connection::open(app.addr).await;
        client.send(Request::get(&format!("{UP}/trial")).head_bytes(app.addr)).await;
        // Only a refusal is answered.
        client.is_silent_for(Duration::from_millis(300)).await && upstream.requests().len() == 4
    })
    .await;
    assert_eq!(told.recv().await, Some("gone"));
    until("it is tried again", async || get(&app).await.text() == "ok").await;
}

#[tokio::test]
async fn the_others_take_over_for_an_instance_that_fails() {
    let bad = Upstream::answering(BUSY).await;
    let good = Upstream::ok().await;
    let more = "circuit = { failures = 1, open_for = \"60s\" }";
    let app = before_all(&[&bad, &good], more).await;
    let post = Request::post(&format!("{UP}/x")).body("b");
    until("it fails", async || post.send(app.addr).await.status == 503).await;
    for _ in 0..20 {
        assert_eq!(post.send(app.addr).await.status, 200);
    }
    assert_eq!(bad.requests().len(), 1);
}

#[tokio::test]
async fn an_instance_that_recovers_is_used_again_beside_others() {
    let (bad, switch) = Upstream::switched(BUSY).await;
    let good = Upstream::ok().await;
    let more = "circuit = { failures = 1, open_for = \"100ms\" }";
    let app = before_all(&[&bad, &good], more).await;
    let post = Request::post(&format!("{UP}/x")).body("b");
    until("it fails", async || post.send(app.addr).await.status == 503).await;
    switch.send(OK).unwrap();
    let before = bad.requests().len();
    until("it is used", async || {
        get(&app).await;
        bad.requests().len() > before + 5
    })
    .await;
}

#[tokio::test]
async fn no_client_can_open_a_circuit() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut peer| {
        let tell = tell.clone();
        async move {
            while let Some(head) = peer.request_head().await {
                tell.send("came").unwrap();
                match (head.method(), head.target()) {
                    ("GET", "/x") => peer.send(OK).await,
                    // One that sends too slowly or too much for it.
                    (_, "/close") => {
                        peer.connection.read_until(b"piece").await;
                        return;
                    }
                    _ => {
                        peer.connection.rest().await;
                        tell.send("gone").unwrap();
                        return;
                    }
                }
            }
        }
    })
    .await;
    let more = "idle_timeout = \"800ms\"\nmax_body_size = \"64B\"\ncircuit = { failures = 1 }";
    let app = before_all(&[&upstream], more).await;
    let addr = app.addr;
    let post = |path: &str| Request::post(&format!("{UP}/{path}"));

    // It leaves while it waits, or while it sends.
    for request in [Request::get(&format!("{UP}/wait")), post("x").claiming(9)] {
        let mut client = Connection::open(addr).await;
        client.send(request.head_bytes(addr)).await;
        assert_eq!(told.recv().await, Some("came"));
        drop(client);
        assert_eq!(told.recv().await, Some("gone"));
    }
    assert_eq!(get(&app).await.text(), "ok");

    // It stalls, and one side or the other gives up.
    for (path, problem) in [("x", "request-timeout"), ("close", "upstream-unreachable")] {
        let mut client = Connection::open(addr).await;
        client.send(post(path).claiming(60).head_bytes(addr)).await;
        client.send("a piece").await;
        assert_problem(&client.response().await, problem);
        assert_eq!(get(&app).await.text(), "ok", "{path}");
    }

    // What it sends is too much, or no chunks.
    let much = post("x").body(vec![b'x'; 100]).chunked(10).send(addr).await;
    assert_problem(&much, "too-large");
    assert_eq!(get(&app).await.text(), "ok");
    let mut client = Connection::open(addr).await;
    client.send(post("x").chunked(1).head_bytes(addr)).await;
    client.send("1\r\nx\r\nzz\r\n").await;
    assert_eq!(client.response().await.status, 400);
    assert_eq!(get(&app).await.text(), "ok");
}
