//! What answers tell of a limit.

use std::time::{Duration, Instant};

use super::{UP, get, get_by_token, guarded, left, limited, open, policy};
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::problem::assert_problem;
use crate::harness::upload;
use crate::harness::upstream::Upstream;

#[tokio::test]
async fn answers_count_down_to_a_refusal() {
    let (app, upstream) = open(0.25, 3).await;
    for remaining in [2, 1, 0] {
        let answer = get("acme").send(app.addr).await;
        assert_eq!(answer.status, 200);
        assert_eq!(policy(&answer, "remote"), [3, 12]);
        assert_eq!(left(&answer, "remote"), [remaining, (3 - remaining) * 4]);
    }
    let refused = get("acme").send(app.addr).await;
    assert_problem(&refused, "rate-limited");
    assert_eq!(policy(&refused, "remote"), [3, 12]);
    assert_eq!(left(&refused, "remote"), [0, 12]);
    assert_eq!(refused.header("retry-after").as_deref(), Some("4"));
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn retry_after_is_right_to_the_second() {
    let (app, _upstream) = open(0.4, 1).await;
    assert_eq!(get("acme").send(app.addr).await.status, 200);
    let begun = Instant::now();
    let refused = get("acme").send(app.addr).await;
    assert_eq!(refused.header("retry-after").as_deref(), Some("3"), "2.5 s, rounded up");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let refused = get("acme").send(app.addr).await;
    assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
    // Refusals do not count.
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(begun.elapsed())).await;
    assert_eq!(get("acme").send(app.addr).await.status, 200);
}

#[tokio::test]
async fn every_answer_that_a_limit_covered_tells_of_it() {
    let upstream = Upstream::ok().await;
    let app = limited(1.0, 100)
        .service("up", &upstream.url(""), "max_body_size = \"10B\"")
        .service("down", "http://127.0.0.1:1", "")
        .start()
        .await;
    // An upstream's answer, an upstream's failure, a module's problem, a 404 and a 405 of a module's.
    let cases = [
        (get("acme"), 200, "remote"),
        (Request::get("/consumer-api/service/down/x"), 502, "remote"),
        (Request::post(&format!("{UP}/x")).body("more than ten bytes"), 413, "remote"),
        (Request::post(&upload::path("42")).tenant("acme"), 400, "writes"),
        (Request::get("/consumer-api/service/consumers/nothing").tenant("acme"), 404, "reads"),
        (Request::new("DELETE", &upload::path("42")).tenant("acme"), 405, "writes"),
    ];
    for (request, status, class) in cases {
        let answer = request.send(app.addr).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(left(&answer, class)[0] < policy(&answer, class)[0]);
    }
    // What is refused before counts against none.
    for request in
        [get("a b"), Request::get("/consumer-api/service/none/x"), Request::get("/healthz")]
    {
        assert_eq!(request.send(app.addr).await.header("ratelimit"), None);
    }
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_counts_once() {
    let upstream = Upstream::ok().await;
    let app =
        limited(0.01, 3).service("up", &upstream.url(""), "max_body_size = \"10B\"").start().await;
    let waiting = Request::post(&format!("{UP}/x")).tenant("acme").header("Expect", "100-continue");
    let mut client = Connection::open(app.addr).await;
    let request = waiting.clone().body("hello");
    client.send(request.head_bytes(app.addr)).await;
    client.read_until(b"\r\n\r\n").await;
    client.send(request.body_bytes()).await;
    assert_eq!(left(&client.response().await, "remote")[0], 2);
    for (length, problem, remaining) in
        [(11, "too-large", 1), (12, "too-large", 0), (9, "rate-limited", 0)]
    {
        let mut client = Connection::open(app.addr).await;
        client.send(waiting.clone().claiming(length).head_bytes(app.addr)).await;
        let answer = client.response().await;
        assert_problem(&answer, problem);
        assert_eq!(answer.interim, Vec::<u16>::new());
        assert_eq!(left(&answer, "remote")[0], remaining);
    }
}

#[tokio::test]
async fn limits_are_on_once_authentication_is() {
    let (app, _issuer, _upstream) = guarded(App::builder()).await;
    let answer = get_by_token("acme").send(app.addr).await;
    assert_eq!((policy(&answer, "remote"), left(&answer, "remote")), ([1000, 2], [999, 1]));
    let (app, _issuer, _upstream) =
        guarded(App::builder().file("[rate_limits]\nenabled = false")).await;
    assert_eq!(get_by_token("acme").send(app.addr).await.header("ratelimit"), None);
    let upstream = Upstream::ok().await;
    let app = App::builder().service("up", &upstream.url(""), "").start().await;
    assert_eq!(get("acme").send(app.addr).await.header("ratelimit"), None);
}

#[tokio::test]
async fn what_a_service_says_of_limits_of_its_own_is_replaced() {
    let own = "HTTP/1.1 200 OK\r\nRateLimit: \"remote\";r=9;t=9\r\nRateLimit-Policy: \"x\";q=1;w=1\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::answering(own).await;
    let app = limited(1.0, 5).service("up", &upstream.url(""), "").start().await;
    let answer = get("acme").send(app.addr).await;
    assert_eq!((policy(&answer, "remote"), left(&answer, "remote")), ([5, 5], [4, 1]));
}
