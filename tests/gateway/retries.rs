//! What goes out again, to another instance or on another connection, and what never does.

use std::collections::HashMap;
use std::time::Duration;

use super::failures::nobody;
use super::{UP, before, before_all, get};
use crate::harness::App;
use crate::harness::http::{Connection, Request, Response};
use crate::harness::upstream::{BUSY, OK, Upstream};

/// How many services there are in front of the same two instances: whichever instance each
/// goes to first, some go to the bad one.
const MANY: usize = 12;

/// A gateway with services `s0`, `s1`, …, which all have these instances and know nothing of
/// them yet.
async fn before_many(urls: &[String]) -> App {
    let mut app = App::builder();
    for number in 0..MANY {
        app = app.file(&format!("[services.s{number}]\nurls = {urls:?}"));
    }
    app.start().await
}

/// The answers of all these services to a request, whose target ends in the service's name.
async fn of_all(app: &App, request: impl Fn(&str) -> Request) -> Vec<Response> {
    let mut responses = Vec::new();
    for number in 0..MANY {
        let path = format!("/consumer-api/service/s{number}/{number}");
        responses.push(request(&path).send(app.addr).await);
    }
    responses
}

/// Remembers each request, and closes the connection instead of an answer.
async fn closing() -> Upstream {
    Upstream::scripted(|mut peer| async move {
        peer.request().await;
    })
    .await
}

#[tokio::test]
async fn what_was_not_sent_goes_to_another_instance() {
    for kind in ["GET", "POST", "chunked"] {
        let good = Upstream::ok().await;
        let app = before_many(&[nobody(), good.url("")]).await;
        let responses = of_all(&app, |path| match kind {
            "GET" => Request::get(path),
            "POST" => Request::post(path).body("the body"),
            _ => Request::post(path).body("the body").chunked(3),
        });
        assert!(responses.await.iter().all(|response| response.status == 200), "{kind}");
        let requests = good.requests();
        assert_eq!(requests.len(), MANY);
        let body: &[u8] = if kind == "GET" { b"" } else { b"the body" };
        assert!(requests.iter().all(|request| request.body == body), "{kind}");
    }
}

#[tokio::test]
async fn a_request_that_may_be_repeated_goes_to_another_instance() {
    for bad in [closing().await, Upstream::answering(BUSY).await] {
        for method in ["GET", "HEAD", "DELETE"] {
            let good = Upstream::ok().await;
            let app = before_many(&[bad.url(""), good.url("")]).await;
            let before = bad.requests().len();
            let responses = of_all(&app, |path| Request::new(method, path));
            for response in responses.await {
                assert_eq!(response.status, 200, "{method}: {}", response.text());
            }
            assert!(bad.requests().len() > before, "{method}");
        }
    }
}

#[tokio::test]
async fn a_request_that_may_have_had_an_effect_goes_out_once() {
    for (bad, status) in [(closing().await, 502), (Upstream::answering(BUSY).await, 503)] {
        let good = Upstream::ok().await;
        let app = before_many(&[bad.url(""), good.url("")]).await;
        for request in [Request::post as fn(&str) -> Request, |path| Request::put(path).body("b")] {
            let responses = of_all(&app, request).await;
            let failed = responses.iter().filter(|response| response.status == status).count();
            let done = responses.iter().filter(|response| response.status == 200).count();
            assert_eq!(failed + done, MANY);
        }
        let mut seen = HashMap::new();
        for request in bad.requests().into_iter().chain(good.requests()) {
            *seen.entry(request.line).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 2 * MANY);
        assert!(seen.values().all(|times| *times == 1), "{seen:?}");
        assert!(!bad.requests().is_empty());
    }
}

#[tokio::test]
async fn without_another_instance_nothing_is_retried() {
    for bad in [closing().await, Upstream::answering(BUSY).await] {
        let app = before(&bad.url("")).await;
        for count in 1..=5 {
            assert!(get(&app).await.status >= 502);
            assert_eq!(bad.requests().len(), count);
        }
    }
}

#[tokio::test]
async fn retries_add_a_fifth_to_the_load_at_most() {
    for closes in [true, false] {
        let one = async || if closes { closing().await } else { Upstream::answering(BUSY).await };
        let (a, b) = (one().await, one().await);
        let app = before_all(&[&a, &b], "").await;
        for _ in 0..300 {
            assert!(get(&app).await.status >= 502);
        }
        let load = a.requests().len() + b.requests().len();
        assert!((310..=360).contains(&load), "{load}");
    }
}

#[tokio::test]
async fn an_upstream_that_closes_idle_connections_at_any_moment_costs_no_request() {
    let upstream = Upstream::scripted(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.send(OK).await;
            if fastrand::u8(..4) == 0 {
                let while_idle = Duration::from_micros(fastrand::u64(..2_000));
                let mut byte = [0];
                let next = peer.connection.stream.peek(&mut byte);
                if tokio::time::timeout(while_idle, next).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let app = before_all(&[&upstream], "").await;
    let clients = [(); 4].map(|()| {
        let (request, addr) = (Request::get(&format!("{UP}/x")), app.addr);
        tokio::spawn(async move {
            let mut connection = Connection::open(addr).await;
            for _ in 0..2_500 {
                let response = connection.exchange(&request, addr).await.unwrap();
                assert_eq!(response.status, 200, "{}", response.text());
            }
        })
    });
    for client in clients {
        client.await.unwrap();
    }
}
