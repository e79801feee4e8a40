//! Uploads of many parts, and the limits of size.

use crate::harness::App;
use crate::harness::images;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{self, Expected};

const KEY: &str = "acme/customer/42/large.jpg";

#[tokio::test]
async fn a_file_of_many_parts_is_stored_whole_in_s3() {
    let app = App::minio().await;
    app.tried(KEY);
    a_large_file_is_stored_whole(&app).await;
}

#[tokio::test]
async fn a_large_file_is_stored_whole_locally() {
    a_large_file_is_stored_whole(&App::local().await).await;
}

async fn a_large_file_is_stored_whole(app: &App) {
    let image = images::jpeg(6000, 4000, 21 << 20);
    let expected = Expected {
        stored_name: KEY,
        customer: "42",
        file_name: "large.jpg",
        content_type: "image/jpeg",
        image: &image,
        width: 6000,
        height: 4000,
    };
    expected.check(&upload::main_job("large.jpg", &image).send(app.addr).await);
    let (bytes, kind) = app.object(KEY).await;
    assert!(bytes == image, "the stored bytes differ");
    assert!(kind.is_none_or(|kind| kind == "image/jpeg"));
    // And over what is there, raw and chunked.
    expected.check(&upload::put("large.jpg", &image).chunked(100_000).send(app.addr).await);
    assert_eq!(app.keys().await, [KEY]);
}

#[tokio::test]
async fn sizes_around_a_part_are_stored_whole_in_s3() {
    let builder = App::builder().minio().await.set("STORAGE__S3__PART_SIZE", "5MiB");
    let app = builder.start().await;
    app.tried(KEY);
    let part = 5 << 20;
    let head = images::jpeg(9, 9, 0).len();
    for size in [part - 1, part, part + 1, 2 * part, 2 * part + 1] {
        let image = images::jpeg(9, 9, size - head);
        assert_eq!(image.len(), size);
        let response = upload::main_job("large.jpg", &image).send(app.addr).await;
        assert_eq!(response.status, 201, "{size}: {}", response.text());
        let (bytes, kind) = app.object(KEY).await;
        assert!(bytes == image, "{size}: the stored bytes differ");
        assert_eq!(kind.as_deref(), Some("image/jpeg"), "{size}");
    }
}

#[tokio::test]
async fn a_file_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
    let app = App::builder().set("CONSUMERS__IMAGES__MAX_FILE_SIZE", "100KiB").start().await;
    let limit = 100 << 10;
    let head = images::jpeg(9, 9, 0).len();
    let (most, more) = (images::jpeg(9, 9, limit - head), images::jpeg(9, 9, limit - head + 1));
    assert_eq!(most.len(), limit);
    for request in [upload::main_job("no.jpg", &more), upload::put("no.jpg", &more)] {
        assert_problem(&request.send(app.addr).await, "too-large");
        assert_problem(&request.chunked(10_000).send(app.addr).await, "too-large");
    }
    app.assert_nothing_stored().await;
    for request in [upload::main_job("yes.jpg", &most), upload::put("yes.jpg", &most)] {
        assert_eq!(request.send(app.addr).await.status, 201);
        assert_eq!(request.chunked(10_000).send(app.addr).await.status, 201);
    }
}

#[tokio::test]
async fn a_file_over_the_default_limit_leaves_nothing_in_either_store() {
    for app in [App::local().await, App::minio().await] {
        app.tried(KEY);
        let image = images::jpeg(9, 9, 33 << 20);
        let request = upload::main_job("large.jpg", &image);
        assert_problem(&request.chunked(1 << 20).send(app.addr).await, "too-large");
        app.assert_nothing_stored().await;
    }
}

#[tokio::test]
async fn a_refused_upload_leaves_the_version_before_as_it_was() {
    for app in [App::local().await, App::minio().await] {
        app.tried(KEY);
        let before = images::png(7, 7, 700);
        let response = upload::main_job("large.jpg", &before).send(app.addr).await;
        assert_eq!(response.status, 201, "{}", response.text());
        let image = images::jpeg(9, 9, 33 << 20);
        let request = upload::put("large.jpg", &image).chunked(1 << 20);
        assert_problem(&request.send(app.addr).await, "too-large");
        assert!(app.object(KEY).await.0 == before, "the version before has changed");
    }
}
