//! More uploads than the store gets done: their tenant is refused more, at once, and nobody else waits for it.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::App;
use crate::harness::http::{Connection, Request, Response};
use crate::harness::images;
use crate::harness::metrics::Metrics;
use crate::harness::minio;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::toxiproxy::Toxiproxy;
use crate::harness::upload::{self, UPLOAD};

/// Twice as many as a tenant may do at once at first.
const BACKLOG: usize = 48;

const IMAGES: &str = "/consumer-api/service/consumers/customer-images/images";
const WAITING: &str = "gatehouse_changes{state=\"waiting\"}";

/// A server whose store answers after three seconds.
async fn slow() -> (App, Toxiproxy) {
    let store = minio::minio().await;
    let address = store.endpoint.trim_start_matches("http://").parse().unwrap();
    let network = Toxiproxy::in_front_of(address).await;
    network.add("latency", "downstream", json!({"latency": 3000})).await;
    let app = App::builder().operations().minio().await;
    let app = app.env("AWS_ENDPOINT_URL_S3", &format!("http://{}", network.addr));
    (app.start().await, network)
}

fn put(tenant: &str, name: &str) -> Request {
    let image = images::jpeg(9, 9, 20_000);
    Request::put(&format!("{UPLOAD}/42/{name}")).tenant(tenant).body(image)
}

/// The answer, and when it came.
async fn timed(request: Request, addr: SocketAddr) -> (Response, Instant) {
    (request.send(addr).await, Instant::now())
}

#[tokio::test]
async fn who_brings_too_much_is_refused_more_and_others_are_not() {
    let (app, _network) = slow().await;
    let addr = app.addr;
    // How long it takes is to be known, or it would be looked at first.
    assert_eq!(put("busy", "a.jpg").send(addr).await.status, 201);
    let backlog: Vec<_> =
        (0..BACKLOG).map(|n| tokio::spawn(timed(put("busy", &format!("{n}.jpg")), addr))).collect();
    sleep(Duration::from_millis(800)).await;
    let metrics = Metrics::of(&app).await;
    assert!(metrics.value(WAITING) >= 1.0, "{}", metrics.text);

    let began = Instant::now();
    let quiet = tokio::spawn(timed(put("quiet", "a.jpg"), addr));
    let form = Form::new().file("b.jpg", &images::jpeg(9, 9, 20_000));
    let direct = json!({"fileName": "c.jpg", "size": 1000, "contentType": "image/jpeg"});
    let mut connection = Connection::open(addr).await;
    for more in [
        put("busy", "more.jpg"),
        form.post(&upload::path("42")).tenant("busy"),
        Request::post("/consumer-api/service/consumers/customer-images/direct-uploads/42")
            .tenant("busy")
            .header("content-type", "application/json")
            .body(direct.to_string()),
        Request::post("/consumer-api/service/consumers/customer-images/tus/42")
            .tenant("busy")
            .header("tus-resumable", "1.0.0")
            .header("upload-length", "1000")
            .header("upload-metadata", "filename ZC5qcGc="),
    ] {
        // On one connection: a short body is read, so that the client need not connect again.
        connection.send(more.head_bytes(addr)).await;
        connection.send(more.body_bytes()).await;
        assert_problem(&connection.response().await, "overloaded");
    }
    // What follows a body that nobody looks at is found behind it, however it comes.
    let refused = put("busy", "a.jpg");
    let (head, body) = (refused.head_bytes(addr), refused.body_bytes());
    let (first, rest) = body.split_at(9_000);
    let after = [rest, &Request::get("/healthz").head_bytes(addr)].concat();
    connection.send([&head, first].concat()).await;
    sleep(Duration::from_millis(50)).await;
    connection.send(after).await;
    assert_problem(&connection.response().await, "overloaded");
    assert_eq!(connection.response().await.status, 200);
    // What does not come within a second is not waited for.
    let mut slow = Connection::open(addr).await;
    slow.send([&head, first].concat()).await;
    // Who waits to be asked for the body is not.
    let asks = put("busy", "a.jpg").header("expect", "100-continue");
    let mut asking = Connection::open(addr).await;
    asking.send(asks.head_bytes(addr)).await;
    let refused = asking.response().await;
    assert_problem(&refused, "overloaded");
    assert!(refused.interim.is_empty(), "{:?}", refused.interim);
    // More than a little is not waited for.
    let mut large = Connection::open(addr).await;
    large.send(put("busy", "a.jpg").claiming(300_000).head_bytes(addr)).await;
    let refused = large.response().await;
    assert_problem(&refused, "overloaded");
    assert_eq!(refused.header("connection").as_deref(), Some("close"));
    assert!(began.elapsed() < Duration::from_secs(1), "they were kept waiting");
    let line = app.access_line("more.jpg").await;
    for (key, value) in [("service", "consumers"), ("tenant", "busy"), ("problem", "overloaded")] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!(line["received"], body.len(), "{line}");
    // Nothing of the next body on the connection is lost with the last one.
    connection.send([&*head, &body].concat()).await;
    assert_problem(&connection.response().await, "overloaded");
    let refused = slow.response().await;
    assert_problem(&refused, "overloaded");
    assert_eq!(refused.header("connection").as_deref(), Some("close"));
    let kept = put("other", "kept.jpg");
    connection.send(kept.head_bytes(addr)).await;
    sleep(Duration::from_millis(50)).await;
    connection.send(kept.body_bytes()).await;
    let stored = connection.response().await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let id = stored.json()["id"].as_str().unwrap().to_owned();
    let content = format!("{IMAGES}/{id}/content");
    let content = Request::get(&content).tenant("other").send(addr).await;
    assert!(content.body == kept.body_bytes(), "other bytes are kept");

    let (stored, quiet_ended) = quiet.await.unwrap();
    assert_eq!(stored.status, 201, "{}", stored.text());
    let mut behind_it = 0;
    for upload in backlog {
        let (stored, ended) = upload.await.unwrap();
        assert_eq!(stored.status, 201, "what was taken in is stored: {}", stored.text());
        behind_it += usize::from(ended > quiet_ended);
    }
    assert!(behind_it >= BACKLOG / 4, "the quiet tenant's waited: {behind_it} were behind it");
    let stored = put("busy", "a.jpg").send(addr).await;
    assert_eq!(stored.status, 201, "the backlog is gone: {}", stored.text());
    assert_eq!(Metrics::of(&app).await.value(WAITING), 0.0);
}
