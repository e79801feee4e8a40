//! A store that is down: 503 and nothing half-visible, and it recovers by itself.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::minio::Minio;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

const KEY: &str = "acme/customer/42/a.jpg";

/// A store that this test can stop, and a server that uses it.
async fn with_own_store() -> (Minio, String, App) {
    let store = Minio::start().await;
    let bucket = store.fresh_bucket().await;
    let app = App::builder().s3(&store, &bucket).start().await;
    (store, bucket, app)
}

/// Waits until readiness has this status.
async fn ready_is(app: &App, status: u16) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let response = Request::get("/readyz").send(app.addr).await;
        if response.status == status {
            return;
        }
        assert!(Instant::now() < until, "still {}", response.status);
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_store_that_goes_down_is_told_and_found_again() {
    let (mut store, bucket, app) = with_own_store().await;
    let image = images::jpeg(9, 9, 100_000);
    let large = images::jpeg(9, 9, 12 << 20);
    ready_is(&app, 200).await;
    store.stop();
    for request in [
        upload::main_job("a.jpg", &image),
        upload::put("a.jpg", &image),
        upload::main_job("a.jpg", &large),
    ] {
        let started = Instant::now();
        assert_problem(&request.send(app.addr).await, "storage-unavailable");
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    }
    ready_is(&app, 503).await;
    assert_eq!(Request::get("/healthz").send(app.addr).await.status, 200);

    store.restart().await;
    assert_eq!(store.keys(&bucket).await, Vec::<String>::new());
    ready_is(&app, 200).await;
    let response = upload::main_job("a.jpg", &image).send(app.addr).await;
    assert_eq!(upload::stored_name(&response), KEY);
    assert!(store.object(&bucket, KEY).await.0 == image);
    drop(app);
}

#[tokio::test]
async fn a_store_that_goes_down_within_an_upload_shows_nothing_of_it() {
    let (mut store, bucket, app) = with_own_store().await;
    let request = upload::main_job("a.jpg", &images::jpeg(9, 9, 25 << 20));
    let body = request.body_bytes();
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    connection.send(&body[..18 << 20]).await;
    sleep(Duration::from_millis(500)).await;
    store.stop();
    let _ = connection.try_send(&body[18 << 20..]).await;
    assert_problem(&connection.response().await, "storage-unavailable");
    store.restart().await;
    assert_eq!(store.keys(&bucket).await, Vec::<String>::new());
    let response = request.send(app.addr).await;
    assert_eq!(upload::stored_name(&response), KEY);
}

#[tokio::test]
async fn a_server_starts_though_its_store_is_down() {
    let mut store = Minio::start().await;
    let bucket = store.fresh_bucket().await;
    store.stop();
    let app = App::builder().s3(&store, &bucket).start().await;
    ready_is(&app, 503).await;
    let request = upload::main_job("a.gif", &images::gif(1, 1, 1));
    assert_problem(&request.send(app.addr).await, "storage-unavailable");
    store.restart().await;
    ready_is(&app, 200).await;
    assert_eq!(request.send(app.addr).await.status, 201);
}

#[tokio::test]
async fn healthcheck_fails_while_the_store_is_down() {
    let (mut store, _, app) = with_own_store().await;
    let addr = app.addr.to_string();
    let healthcheck = || App::builder().set("SERVER__LISTEN", &addr).run(&["healthcheck"]);
    assert_eq!(healthcheck().status.code(), Some(0));
    store.stop();
    ready_is(&app, 503).await;
    assert_eq!(healthcheck().status.code(), Some(1));
    store.restart().await;
}

#[tokio::test]
async fn a_folder_that_is_gone_is_a_store_that_is_down() {
    let app = App::local().await;
    let image = images::jpeg(9, 9, 1000);
    let stored = upload::put("a.jpg", &image).send(app.addr).await;
    assert_eq!(stored.status, 201);
    let id = stored.json()["id"].as_str().unwrap().to_owned();
    std::fs::remove_dir_all(app.root()).unwrap();
    let record = format!("/consumer-api/service/consumers/customer-images/images/{id}");
    for request in [
        upload::put("b.jpg", &image),
        upload::put("a.jpg", &image),
        upload::main_job("b.jpg", &image),
        Request::get(&format!("{record}/content")).tenant("acme"),
        Request::new("DELETE", &record).tenant("acme"),
    ] {
        let response = request.send(app.addr).await;
        assert_problem(&response, "storage-unavailable");
        assert!(response.header("retry-after").is_some(), "{response:?}");
    }
    ready_is(&app, 503).await;
}
