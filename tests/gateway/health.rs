//! Instances that are asked whether they are well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::watch;

use super::{UP, before_all, get, log_says, until};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::problem::assert_upstream_problem;
use crate::harness::upstream::{BUSY, OK, Upstream};

const CHECKED: &str = "health_path = \"/healthz?deep\"\nhealth_interval = \"400ms\"";

/// A service that answers 200 to all but its health check, which it answers as the sender says;
/// while that is empty, not at all.
async fn checked(answer: &'static str) -> (Upstream, watch::Sender<&'static str>) {
    let (switch, now) = watch::channel(answer);
    let upstream = Upstream::scripted(move |mut peer| {
        let mut now = now.clone();
        async move {
            while let Some(request) = peer.request().await {
                match request.target().starts_with("/healthz") {
                    true => peer.send_current(&mut now).await,
                    false => peer.send(OK).await,
                }
            }
        }
    });
    (upstream.await, switch)
}

/// How many requests came that are no health checks.
fn served(upstream: &Upstream) -> usize {
    upstream.requests().iter().filter(|request| !request.target().starts_with("/healthz")).count()
}

fn checks(upstream: &Upstream) -> usize {
    upstream.requests().len() - served(upstream)
}

#[tokio::test]
async fn an_instance_that_is_unwell_gets_no_requests_until_it_is_well() {
    let (a, switch) = checked(OK).await;
    let (b, _well) = checked(OK).await;
    let app = before_all(&[&a, &b], CHECKED).await;
    until("both are used", async || {
        get(&app).await;
        served(&a) > 0 && served(&b) > 0
    })
    .await;
    for round in 1..=2 {
        switch.send(BUSY).unwrap();
        log_says(&app, "an instance is unhealthy", round).await;
        let (before, others) = (served(&a), served(&b));
        for _ in 0..20 {
            assert_eq!(get(&app).await.status, 200);
        }
        assert_eq!((served(&a), served(&b)), (before, others + 20));
        switch.send(OK).unwrap();
        log_says(&app, "an instance is healthy again", round).await;
        until("it is used again", async || {
            get(&app).await;
            served(&a) > before
        })
        .await;
    }
}

#[tokio::test]
async fn one_failed_check_ejects_nobody() {
    let checked = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::scripted(move |mut peer| {
        let checked = Arc::clone(&checked);
        async move {
            while let Some(request) = peer.request().await {
                let check = request.target().starts_with("/healthz");
                let fails = check && checked.fetch_add(1, Relaxed).is_multiple_of(2);
                peer.send(if fails { BUSY } else { OK }).await;
            }
        }
    })
    .await;
    let app = before_all(&[&upstream], CHECKED).await;
    until("some checks", async || {
        assert_eq!(get(&app).await.status, 200);
        checks(&upstream) > 5
    })
    .await;
    assert!(!app.log_text().contains("unhealthy"));
}

#[tokio::test]
async fn a_service_without_a_healthy_instance_is_unavailable() {
    let (a, well) = checked(BUSY).await;
    // It does not answer in time.
    let (b, _well) = checked("").await;
    let app = before_all(&[&a, &b], CHECKED).await;
    until("both are ejected", async || get(&app).await.status == 503).await;
    assert_upstream_problem(&get(&app).await, "upstream-unavailable", "ejected");
    let post = Request::post(&format!("{UP}/x")).body("b").send(app.addr).await;
    assert_upstream_problem(&post, "upstream-unavailable", "ejected");
    let told = "\"reason\":\"ejected\"";
    until("the log tells", async || app.log_text().contains(told)).await;
    // It is told once, however often it is seen.
    let seen = checks(&a);
    until("more checks", async || checks(&a) > seen + 2).await;
    log_says(&app, "an instance is unhealthy", 2).await;
    well.send(OK).unwrap();
    until("one is back", async || get(&app).await.status == 200).await;
}

#[tokio::test]
async fn a_redirect_is_well_and_an_error_is_not() {
    let answers = [
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", true),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", false),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", false),
    ];
    for (answer, well) in answers {
        let (upstream, _switch) = checked(answer).await;
        let app = before_all(&[&upstream], CHECKED).await;
        match well {
            true => until("some checks", async || checks(&upstream) > 3).await,
            false => until(answer, async || get(&app).await.status == 503).await,
        }
        assert_eq!(get(&app).await.status == 200, well, "{answer:?}");
    }
}

#[tokio::test]
async fn a_check_asks_the_instances_host_whatever_its_base() {
    let (upstream, _well) = checked(OK).await;
    let table = format!("[services.up]\nurl = '{}'\n{CHECKED}", upstream.url("/base"));
    let app = App::builder().set("SERVER__WORKERS", "2").file(&table).start().await;
    assert_eq!(get(&app).await.status, 200);
    until("a check", async || checks(&upstream) > 0).await;
    let requests = upstream.requests();
    let check = requests.iter().find(|request| request.target() == "/healthz?deep").unwrap();
    assert_eq!(check.method(), "GET");
    assert_eq!(check.header("host"), Some(upstream.addr.to_string()));
    assert_eq!(check.header("connection").as_deref(), Some("close"));
}
