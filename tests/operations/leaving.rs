//! A client that disconnects leaves nothing behind.

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::upload;

const KEY: &str = "acme/customer/42/a.jpg";

/// Sends this much of a request's body and goes, with an end or with a reset.
async fn leave(app: &App, request: &Request, share: usize, reset: bool) {
    let body = request.body_bytes();
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    connection.send(&body[..body.len() * share / 100]).await;
    sleep(Duration::from_millis(200)).await;
    if reset {
        connection.stream.set_zero_linger().unwrap();
    }
}

#[tokio::test]
async fn a_client_that_leaves_leaves_nothing_in_the_local_store() {
    let app = App::local().await;
    let image = images::jpeg(9, 9, 3 << 20);
    for request in [upload::main_job("a.jpg", &image), upload::put("a.jpg", &image)] {
        for share in [1, 50, 99] {
            for reset in [false, true] {
                leave(&app, &request, share, reset).await;
                leave(&app, &request.clone().chunked(10_000), share, reset).await;
            }
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_client_that_leaves_leaves_no_multipart_upload_in_s3() {
    let app = App::minio().await;
    app.tried(KEY);
    let image = images::jpeg(9, 9, 20 << 20);
    for request in [upload::main_job("a.jpg", &image), upload::put("a.jpg", &image)] {
        for share in [50, 90] {
            leave(&app, &request, share, share == 90).await;
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_client_that_leaves_does_not_touch_the_version_before() {
    for app in [App::local().await, App::minio().await] {
        app.tried(KEY);
        let before = images::png(3, 3, 500);
        assert_eq!(upload::main_job("a.jpg", &before).send(app.addr).await.status, 201);
        let image = images::jpeg(9, 9, 20 << 20);
        leave(&app, &upload::main_job("a.jpg", &image), 90, false).await;
        app.assert_nothing_left_over().await;
        assert!(app.object(KEY).await.0 == before, "the version before has changed");
    }
}

#[tokio::test]
async fn many_clients_that_leave_leave_room_for_the_next() {
    // Half of the budget is one tenant's: whatever leaks would soon refuse it.
    let app = App::builder()
        .minio()
        .await
        .set("CONSUMERS__IMAGES__UPLOAD_MEMORY", "32MiB")
        .set("STORAGE__S3__PART_SIZE", "5MiB")
        .start()
        .await;
    app.tried(KEY);
    let request = upload::main_job("a.jpg", &images::jpeg(9, 9, 12 << 20));
    for _ in 0..12 {
        leave(&app, &request, 60, true).await;
    }
    app.assert_nothing_stored().await;
    let response = request.send(app.addr).await;
    assert_eq!(upload::stored_name(&response), KEY);
}
