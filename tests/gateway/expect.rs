//! `Expect: 100-continue` in front of remote services: who is refused is never asked for a body.

use super::UP;
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::problem::assert_problem;
use crate::harness::upstream::{Upstream, a_moment};

/// A service with a small limit, one that needs a tenant, and where both lead to.
async fn gateway() -> (App, Upstream) {
    let upstream = Upstream::ok().await;
    let app = App::builder()
        .service("up", &upstream.url(""), "max_body_size = \"1000 B\"")
        .service("strict", &upstream.url(""), "tenant_required = true")
        .start()
        .await;
    (app, upstream)
}

#[tokio::test]
async fn a_refused_client_is_not_asked_for_its_body() {
    let (app, upstream) = gateway().await;
    let post = |path: &str| Request::post(path).header("Expect", "100-continue");
    let cases = [
        (post("/consumer-api/service/nobody/x").claiming(9), "service-not-found"),
        (post("/consumer-api/service/strict/x").claiming(9), "tenant-missing"),
        (post("/consumer-api/service/strict/x").tenant("a b").claiming(9), "tenant-invalid"),
        (post(&format!("{UP}/x")).tenant("../a").chunked(9), "tenant-invalid"),
        (post(&format!("{UP}/..%2fx")).chunked(9), "path-invalid"),
        (post(&format!("{UP}/x")).claiming(1001), "too-large"),
        (post(&format!("{UP}/x")).claiming(u64::MAX), "too-large"),
    ];
    for (request, problem) in cases {
        let mut client = Connection::open(app.addr).await;
        client.send(request.head_bytes(app.addr)).await;
        let answer = client.response().await;
        assert_problem(&answer, problem);
        assert_eq!(answer.interim, Vec::<u16>::new(), "{problem}");
    }
    a_moment().await;
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn others_are_asked_once() {
    let (app, upstream) = gateway().await;
    let request = Request::post(&format!("{UP}/x")).header("Expect", "100-continue");
    let request = request.body(vec![b'x'; 1000]);
    for request in [request.clone(), request.chunked(300)] {
        let mut client = Connection::open(app.addr).await;
        client.send(request.head_bytes(app.addr)).await;
        assert_eq!(client.read_until(b"\r\n\r\n").await, b"HTTP/1.1 100 Continue\r\n\r\n");
        client.send(request.body_bytes()).await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.interim), (200, vec![]));
    }
    assert_eq!(upstream.requests().len(), 2);
}
