//! Remote services that fail.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{UP, before, log_says, until};
use crate::harness::http::{Connection, Failure, Request};
use crate::harness::problem::assert_upstream_problem;
use crate::harness::upstream::{Upstream, a_moment};
use crate::harness::{App, port};

/// An address where nothing listens.
pub(super) fn nobody() -> String {
    format!("http://{}", port::free())
}

#[tokio::test]
async fn an_upstream_that_refuses_is_unreachable() {
    let app = before(&nobody()).await;
    for request in [Request::get(&format!("{UP}/x")), Request::post(&format!("{UP}/x")).body("b")] {
        let response = request.send(app.addr).await;
        assert_upstream_problem(&response, "upstream-unreachable", "refused");
    }
}

#[tokio::test]
async fn an_upstream_without_an_address_is_unreachable() {
    let app = before("http://no-such-host.invalid:8080").await;
    let response = Request::get(&format!("{UP}/x")).send(app.addr).await;
    assert_upstream_problem(&response, "upstream-unreachable", "dns");
}

#[tokio::test]
async fn an_upstream_that_resets_is_unreachable() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.reset();
    })
    .await;
    let app = before(&upstream.url("")).await;
    let response = Request::post(&format!("{UP}/x")).body("b").send(app.addr).await;
    assert_upstream_problem(&response, "upstream-unreachable", "reset");
}

#[tokio::test]
async fn an_upstream_that_closes_before_its_answer_is_unreachable() {
    for part in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let upstream = Upstream::scripted(move |mut peer| async move {
            peer.request().await;
            peer.send(part).await;
        })
        .await;
        let app = before(&upstream.url("")).await;
        let response = Request::post(&format!("{UP}/x")).body("b").send(app.addr).await;
        assert_upstream_problem(&response, "upstream-unreachable", "closed");
    }
}

#[tokio::test]
async fn a_request_that_may_have_had_an_effect_is_never_sent_twice() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
    })
    .await;
    let app = before(&upstream.url("")).await;
    for (count, method) in ["POST", "PATCH", "PURGE"].into_iter().enumerate() {
        let response = Request::new(method, &format!("{UP}/x")).body("b").send(app.addr).await;
        assert_eq!(response.status, 502, "{method}");
        a_moment().await;
        assert_eq!(upstream.requests().len(), count + 1, "{method}");
    }
}

#[tokio::test]
async fn an_upstream_that_speaks_no_http_is_invalid() {
    let answers = [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "hello\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
    ];
    for answer in answers {
        let upstream = Upstream::answering(answer).await;
        let app = before(&upstream.url("")).await;
        let response = Request::get(&format!("{UP}/x")).send(app.addr).await;
        assert_eq!(response.status, 502, "{answer:?}: {}", response.text());
        assert_upstream_problem(&response, "upstream-invalid", "invalid");
    }
}

#[tokio::test]
async fn a_body_cut_by_the_upstream_is_never_a_clean_end() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\npartial",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\nzz\r\n",
    ];
    for answer in answers {
        for reset in [false, true] {
            let upstream = Upstream::scripted(move |mut peer| async move {
                peer.request().await;
                peer.send(answer).await;
                a_moment().await;
                if reset {
                    peer.reset();
                }
            })
            .await;
            let app = before(&upstream.url("")).await;
            match Request::get(&format!("{UP}/x")).try_send(app.addr).await {
                Err(Failure::Cut(came)) => assert!(came.len() <= 7),
                // The head can be lost with what comes right behind it.
                Err(Failure::Closed) => {}
                other => panic!("{answer:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_upstreams_request() {
    let (gone, mut seen) = mpsc::channel(1);
    let upstream = Upstream::scripted(move |mut peer| {
        let gone = gone.clone();
        async move {
            peer.request().await;
            let rest = peer.connection.rest().await;
            gone.send(rest.len()).await.unwrap();
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    let mut connection = Connection::open(app.addr).await;
    connection.send(Request::get(&format!("{UP}/x")).head_bytes(app.addr)).await;
    while upstream.requests().is_empty() {
        a_moment().await;
    }
    drop(connection);
    let told = timeout(Duration::from_secs(5), seen.recv()).await;
    assert_eq!(told.expect("the upstream works on for nobody"), Some(0));
}

#[tokio::test]
async fn a_client_that_goes_away_within_a_body_cancels_it_both_ways() {
    let (tell, mut seen) = mpsc::channel(1);
    let upstream = Upstream::scripted(move |mut peer| {
        let tell = tell.clone();
        async move {
            let head = peer.request_head().await.unwrap();
            if head.method() == "GET" {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst").await;
            }
            tell.send("here").await.unwrap();
            peer.connection.rest().await;
            tell.send("gone").await.unwrap();
        }
    })
    .await;
    let app = before(&upstream.url("")).await;
    let (get, post) = (Request::get(&format!("{UP}/x")), Request::post(&format!("{UP}/x")));
    for request in [get, post.claiming(9)] {
        let mut connection = Connection::open(app.addr).await;
        connection.send(request.head_bytes(app.addr)).await;
        assert_eq!(seen.recv().await, Some("here"));
        a_moment().await;
        drop(connection);
        let told = timeout(Duration::from_secs(5), seen.recv()).await;
        assert_eq!(told.expect("the upstream works on for nobody"), Some("gone"));
    }
}

#[tokio::test]
async fn every_reason_is_in_the_access_line() {
    let reset = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.reset();
    })
    .await;
    let closed = Upstream::scripted(|mut peer| async move {
        peer.request().await;
    })
    .await;
    let invalid = Upstream::answering("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    let (silent, _switch) = Upstream::switched("").await;
    let greeting = Upstream::scripted(|mut peer| async move {
        peer.send("SSH-2.0-OpenSSH_9.2\r\n").await;
        peer.connection.rest().await;
    })
    .await;
    let no_tls = greeting.url("").replace("http:", "https:");
    let dns = "http://no-such-host.invalid:8080".to_owned();
    let health = "health_path = \"/healthz\"\nhealth_interval = \"100ms\"";
    let app = App::builder()
        .service("refused", &nobody(), "")
        .service("reset", &reset.url(""), "")
        .service("closed", &closed.url(""), "")
        .service("dns", &dns, "")
        .service("tls", &no_tls, "")
        .service("timeout", &silent.url(""), "response_timeout = \"300ms\"")
        .service("invalid", &invalid.url(""), "")
        .service("ejected", &nobody(), health)
        .service("circuit-open", &nobody(), "circuit = { failures = 1, open_for = \"60s\" }")
        .service("over-limit", &silent.url(""), "max_requests = 1")
        .start()
        .await;
    let first = |service: &str| Request::get(&format!("/consumer-api/service/{service}/first"));
    log_says(&app, "an instance is unhealthy", 1).await;
    first("circuit-open").send(app.addr).await;
    let mut under_way = Connection::open(app.addr).await;
    under_way.send(first("over-limit").head_bytes(app.addr)).await;
    until("it is under way", async || !silent.requests().is_empty()).await;
    for (reason, status) in [
        ("refused", 502),
        ("reset", 502),
        ("closed", 502),
        ("dns", 502),
        ("tls", 502),
        ("timeout", 504),
        ("invalid", 502),
        ("ejected", 503),
        ("circuit-open", 503),
        ("over-limit", 503),
    ] {
        let path = format!("/consumer-api/service/{reason}/x");
        let response = Request::post(&path).body("b").send(app.addr).await;
        assert_eq!((response.status, &response.json()["reason"]), (status, &reason.into()));
        let line = app.access_line(&path).await;
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["status"], status, "{line}");
    }
}

#[tokio::test]
async fn a_failing_service_does_not_touch_the_others() {
    let upstream = Upstream::ok().await;
    let app = App::builder()
        .service("bad", &nobody(), "")
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    for _ in 0..10 {
        let bad = Request::get("/consumer-api/service/bad/x").send(app.addr).await;
        assert_eq!(bad.status, 502);
        assert_eq!(Request::get(&format!("{UP}/x")).send(app.addr).await.status, 200);
    }
}
