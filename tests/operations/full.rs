//! A server that has as many clients as it may have.

use std::time::Duration;

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::upstream::Upstream;

/// A server for two connections, one for each worker.
async fn for_two(upstream: &Upstream) -> App {
    App::builder()
        .set("SERVER__WORKERS", "2")
        .set("SERVER__MAX_CONNECTIONS", "2")
        .service("up", &upstream.url(""), "")
        .start()
        .await
}

/// A connection that has had an answer, so it counts.
async fn served(app: &App) -> Connection {
    let mut connection = Connection::open(app.addr).await;
    let response = connection.exchange(&Request::get("/healthz"), app.addr).await;
    assert_eq!(response.expect("an answer").status, 200);
    connection
}

/// A connection that has sent a request and gets no answer.
async fn waiting(app: &App) -> Connection {
    let mut connection = Connection::open(app.addr).await;
    connection.send(Request::get("/healthz").head_bytes(app.addr)).await;
    assert!(connection.is_silent_for(Duration::from_millis(500)).await, "one too many is served");
    connection
}

#[tokio::test]
async fn one_client_too_many_waits_until_another_leaves() {
    let app = for_two(&Upstream::ok().await).await;
    let (first, mut second) = (served(&app).await, served(&app).await);
    let (mut third, mut fourth) = (waiting(&app).await, waiting(&app).await);
    drop(first);
    assert_eq!(third.response().await.status, 200);
    assert!(fourth.is_silent_for(Duration::from_millis(500)).await, "one too many is served");
    // Who is there is served as ever.
    let response = second.exchange(&Request::get("/healthz"), app.addr).await;
    assert_eq!(response.expect("an answer").status, 200);
    drop(second);
    assert_eq!(fourth.response().await.status, 200);
}

#[tokio::test]
async fn a_tunnel_counts_as_long_as_it_lasts() {
    let upstream = Upstream::scripted(|mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
        peer.connection.rest().await;
    })
    .await;
    let app = for_two(&upstream).await;
    let mut tunnel = Connection::open(app.addr).await;
    let asking = Request::get("/consumer-api/service/up/x").header("Connection", "upgrade");
    tunnel.send(asking.header("Upgrade", "x").head_bytes(app.addr)).await;
    tunnel.read_until(b"\r\n\r\n").await;
    let _second = served(&app).await;
    let mut third = waiting(&app).await;
    drop(tunnel);
    assert_eq!(third.response().await.status, 200);
}
