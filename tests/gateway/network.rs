//! A network between the gateway and a real service that is slow, breaks or goes dead: the right
//! word for it, and no cut answer that looks whole.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::UP;
use crate::harness::App;
use crate::harness::http::{Failure, Request, Response};
use crate::harness::httpbin::Httpbin;
use crate::harness::problem::assert_upstream_problem;
use crate::harness::toxiproxy::Toxiproxy;

const SHORT: &str = "connect_timeout = \"1s\"\nresponse_timeout = \"1s\"\nidle_timeout = \"1s\"";

/// A gateway, a network and a service behind it.
struct Path {
    app: App,
    network: Toxiproxy,
    httpbin: Httpbin,
}

impl Path {
    async fn with(kind: &str, stream: &str, attributes: Value) -> Self {
        let httpbin = Httpbin::start().await;
        let network = Toxiproxy::in_front_of(httpbin.addr).await;
        let url = format!("http://{}", network.addr);
        let app = App::builder().service("up", &url, SHORT).start().await;
        network.add(kind, stream, attributes).await;
        Self { app, network, httpbin }
    }

    async fn ask(&self, request: Request) -> Result<Response, Failure> {
        request.try_send(self.app.addr).await
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(Request::get(&format!("{UP}{path}"))).await.expect("an answer")
    }

    async fn assert_reason(&self, response: &Response, slug: &str, reason: &str) {
        assert_upstream_problem(response, slug, reason);
        let line = self.app.access_line(UP).await;
        assert_eq!((&line["problem"], &line["reason"]), (&slug.into(), &reason.into()));
    }
}

#[tokio::test]
async fn a_slow_network_is_waited_for() {
    let path = Path::with("latency", "downstream", json!({"latency": 300, "jitter": 100})).await;
    path.network.add("latency", "upstream", json!({"latency": 200})).await;
    let started = Instant::now();
    let body = "x".repeat(300_000);
    let post = Request::post(&format!("{UP}/post")).header("Content-Type", "text/plain");
    let echo = path.ask(post.body(&*body)).await.expect("an answer").json();
    assert!(echo["data"] == body, "something else was echoed");
    assert_eq!(path.get("/bytes/100000?seed=7").await.body.len(), 100_000);
    assert!(started.elapsed() > Duration::from_millis(700));
}

#[tokio::test]
async fn one_that_is_too_slow_is_a_timeout() {
    let path = Path::with("latency", "downstream", json!({"latency": 5000})).await;
    let answer = path.get("/get").await;
    path.assert_reason(&answer, "upstream-timeout", "timeout").await;
}

#[tokio::test]
async fn messages_in_tiny_pieces_are_whole() {
    let slices = json!({"average_size": 3, "size_variation": 2, "delay": 20});
    let path = Path::with("slicer", "downstream", slices.clone()).await;
    path.network.add("slicer", "upstream", slices).await;
    for target in ["/bytes/3000?seed=7", "/stream-bytes/3000?seed=7&chunk_size=99"] {
        let direct = Request::get(target).send(path.httpbin.addr).await;
        assert!(path.get(target).await.body == direct.body, "{target} came changed");
    }
    for request in [Request::post(&format!("{UP}/post")), Request::put(&format!("{UP}/put"))] {
        let body = "abcdefghij".repeat(200);
        let request = request.header("Content-Type", "text/plain");
        for request in [request.clone().body(&*body), request.body(&*body).chunked(77)] {
            let answer = path.ask(request).await.expect("an answer");
            assert_eq!(answer.json()["data"], body);
        }
    }
}

#[tokio::test]
async fn one_that_resets_before_an_answer_is_told() {
    let path = Path::with("reset_peer", "downstream", json!({"timeout": 100})).await;
    let post = Request::post(&format!("{UP}/post")).body("b");
    let answer = path.ask(post).await.expect("an answer");
    path.assert_reason(&answer, "upstream-unreachable", "reset").await;
}

#[tokio::test]
async fn one_that_closes_within_a_head_is_told() {
    let path = Path::with("limit_data", "downstream", json!({"bytes": 30})).await;
    let post = Request::post(&format!("{UP}/post")).body("b");
    let answer = path.ask(post).await.expect("an answer");
    path.assert_reason(&answer, "upstream-unreachable", "closed").await;
}

#[tokio::test]
async fn one_that_goes_dead_before_an_answer_is_told() {
    // It never closes, and closes after a while.
    for (timeout, slug, reason) in
        [(0, "upstream-timeout", "timeout"), (300, "upstream-unreachable", "closed")]
    {
        let path = Path::with("timeout", "downstream", json!({"timeout": timeout})).await;
        let post = Request::post(&format!("{UP}/post")).body("b");
        let answer = path.ask(post).await.expect("an answer");
        path.assert_reason(&answer, slug, reason).await;
    }
}

#[tokio::test]
async fn an_answer_that_the_network_cuts_is_no_whole_one() {
    let paths = ["/bytes/100000?seed=7", "/stream-bytes/100000?seed=7&chunk_size=999"];
    for (kind, attributes) in [
        ("limit_data", json!({"bytes": 50_000})),
        // What it has sent is lost with the connection, the head too perhaps.
        ("reset_peer", json!({"timeout": 100})),
    ] {
        for target in paths {
            let path = Path::with("noop", "downstream", json!({})).await;
            let whole = path.get(target).await;
            assert_eq!(whole.body.len(), 100_000);
            path.network.add(kind, "downstream", attributes.clone()).await;
            match path.ask(Request::get(&format!("{UP}{target}"))).await {
                Err(Failure::Cut(came)) => assert!(whole.body.starts_with(&came)),
                Err(Failure::Closed) => {}
                Ok(answer) if kind == "reset_peer" => {
                    assert_upstream_problem(&answer, "upstream-unreachable", "reset");
                }
                other => panic!("{kind} {target}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_the_network_stops_is_cut() {
    let path = Path::with("bandwidth", "downstream", json!({"rate": 40})).await;
    let started = Instant::now();
    // 40 KB/s: three seconds, without a second's pause.
    assert_eq!(path.get("/bytes/100000?seed=7").await.body.len(), 100_000);
    assert!(started.elapsed() > Duration::from_secs(2), "{:?}", started.elapsed());
    let ask = path.ask(Request::get(&format!("{UP}/drip?numbytes=10&duration=5s&delay=0s")));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        path.network.add("timeout", "downstream", json!({"timeout": 0})).await;
    };
    match tokio::join!(ask, stop).0 {
        Err(Failure::Cut(came)) => assert!(!came.is_empty() && came.len() < 10),
        other => panic!("{other:?}"),
    }
    assert_eq!(path.app.access_line("/drip").await["complete"], false);
}
