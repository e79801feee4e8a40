//! What nginx passes on, and how: as it comes, unchanged, and in the name of the right client.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::cluster::Cluster;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::upload::{self, UPLOAD};

/// Everything below this is the images' API.
const API: &str = "/consumer-api/service/consumers/customer-images";

#[tokio::test]
async fn bodies_and_events_go_on_as_they_come() {
    let cluster = Cluster::start().await;
    let (addr, key) = (cluster.addr(), cluster.key("acme"));
    let events = Request::get(&format!("{API}/events")).header("x-api-key", &key);
    let mut stream = Connection::open(addr).await;
    stream.send(events.head_bytes(addr)).await;
    stream.read_until(b"retry: 2000").await;

    // A half of an upload is at a replica, and nowhere on nginx's disk.
    let image = images::jpeg(9, 9, 20 << 20);
    let request = Form::new().file("a.jpg", &image).post(&upload::path("42"));
    let request = request.header("x-api-key", &key);
    let body = request.body_bytes();
    let (half, rest) = body.split_at(body.len() / 2);
    let mut connection = Connection::open(addr).await;
    connection.send(request.head_bytes(addr)).await;
    connection.send(half).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(cluster.nginx.temporary_files(), 0);
    connection.send(rest).await;
    assert_eq!(upload::stored_name(&connection.response().await), "acme/customer/42/a.jpg");

    let began = Instant::now();
    stream.read_until(b"image.created").await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn addresses_that_clients_make_up_are_not_believed() {
    let cluster = Cluster::start().await;
    let request = Request::get(&format!("{API}/images"))
        .header("X-Forwarded-For", "203.0.113.9")
        .header("Forwarded", "for=203.0.113.9")
        .header("X-Forwarded-Host", "elsewhere.example")
        .header("x-request-id", "made-up");
    assert_eq!(request.send(cluster.addr()).await.status, 401);
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let logs: String = cluster.replicas.iter().map(|app| app.log_text()).collect();
        assert!(!logs.contains("203.0.113.9"), "{logs}");
        let mut lines = logs.lines();
        if lines.any(|line| line.contains("gatehouse::access") && line.contains("made-up")) {
            break;
        }
        assert!(Instant::now() < until, "no access line: {logs}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn paths_arrive_as_they_were_sent() {
    let cluster = Cluster::start().await;
    let (addr, key) = (cluster.addr(), cluster.key("acme"));
    let image = images::gif(3, 3, 30);
    for (sent, stored) in
        [("a%20b.gif", "a b.gif"), ("%C3%BC.gif", "ü.gif"), ("100%25.gif", "100%.gif")]
    {
        let put = Request::put(&format!("{UPLOAD}/42/{sent}")).header("x-api-key", &key);
        let answer = put.body(image.clone()).send(addr).await;
        assert_eq!(upload::stored_name(&answer), format!("acme/customer/42/{stored}"));
    }
    let climbing = Request::put(&format!("{UPLOAD}/42/%2e%2e%2fx.gif")).header("x-api-key", &key);
    let answer = climbing.body(image).send(addr).await;
    crate::harness::problem::assert_problem(&answer, "path-invalid");
}

#[tokio::test]
async fn where_no_replica_is_left_the_answer_is_a_problem() {
    let mut cluster = Cluster::start().await;
    for replica in &mut cluster.replicas {
        replica.kill();
    }
    let request = Request::get(&format!("{API}/images")).header("x-request-id", "nobody-there");
    let answer = request.send(cluster.addr()).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(answer.header("content-type").as_deref(), Some("application/problem+json"));
    assert_eq!(answer.header("x-request-id").as_deref(), Some("nobody-there"));
    assert_eq!(answer.json()["instance"], "nobody-there");
    assert_eq!(answer.json()["status"], 502);
}
