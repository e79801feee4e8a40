//! Uploads that break off go on where they were.

use std::time::{Duration, Instant};

use super::{ask, assert_image, both, created, offset, patch, patched};
use crate::harness::App;
use crate::harness::http::Connection;
use crate::harness::images;
use crate::harness::problem::assert_problem;

/// Sends the head of a PATCH of all that is missing, and the bytes up to `until` of it.
async fn begun(app: &App, path: &str, from: usize, until: usize, image: &[u8]) -> Connection {
    let mut client = Connection::open(app.addr).await;
    let request = patch(path, from, &image[from..]);
    client.send(request.head_bytes(app.addr)).await;
    client.send(&image[from..until]).await;
    client
}

#[tokio::test]
async fn what_has_come_of_a_broken_request_is_kept() {
    for app in both().await {
        let image = images::jpeg(30, 20, (20 << 20) + 9);
        let path = created(&app, "a.jpg", image.len()).await;
        let mut from = 0;
        for until in [5, 1000, (8 << 20) + 1000, 16 << 20] {
            let client = begun(&app, &path, from, until, &image).await;
            while crate::gateway::leaving::waits(&client) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(client);
            assert_eq!(offset(app.addr, &path).await, until);
            from = until;
        }
        let finished = patched(app.addr, &path, from, &image[from..]).await;
        assert_image(&app, &finished, "a.jpg", &image).await;
        app.settles_to(&["acme/customer/42/a.jpg"]).await;
    }
}

#[tokio::test]
async fn a_second_request_makes_a_stalled_one_let_go() {
    for app in both().await {
        let image = images::jpeg(30, 20, (9 << 20) + 9);
        let path = created(&app, "a.jpg", image.len()).await;
        let mut stalled = begun(&app, &path, 0, 1 << 20, &image).await;
        // What was sent has to have arrived first.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let at = Instant::now();
        assert_eq!(offset(app.addr, &path).await, 1 << 20);
        assert!(at.elapsed() < Duration::from_secs(5), "{:?}", at.elapsed());
        assert_problem(&stalled.response().await, "upload-locked");
        let mut stalled = begun(&app, &path, 1 << 20, 2 << 20, &image).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        // One that comes with a right offset cannot know how far the other has come.
        let other = patch(&path, 1 << 20, &image[1 << 20..]).send(app.addr).await;
        assert_problem(&other, "upload-conflict");
        assert_problem(&stalled.response().await, "upload-locked");
        let finished = patched(app.addr, &path, 2 << 20, &image[2 << 20..]).await;
        assert_image(&app, &finished, "a.jpg", &image).await;
    }
}

#[tokio::test]
async fn a_stalled_upload_is_terminated() {
    for app in both().await {
        let image = images::jpeg(30, 20, 5000);
        let path = created(&app, "a.jpg", image.len()).await;
        let mut stalled = begun(&app, &path, 0, 1000, &image).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(ask("DELETE", &path).send(app.addr).await.status, 204);
        assert!(matches!(stalled.response().await.status, 404 | 423));
        app.settles_to(&[]).await;
    }
}

#[tokio::test]
async fn an_upload_goes_on_after_a_kill() {
    for builder in [App::builder(), App::builder().minio().await] {
        let mut app = builder.start().await;
        let image = images::jpeg(30, 20, (20 << 20) + 9);
        let path = created(&app, "a.jpg", image.len()).await;
        patched(app.addr, &path, 0, &image[..(8 << 20) + 77]).await;
        let mut client = begun(&app, &path, (8 << 20) + 77, 18 << 20, &image).await;
        // Long enough that some of it is made durable.
        for piece in image[18 << 20..19 << 20].chunks(100_000) {
            client.send(piece).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        app.kill();
        app.start().await;
        let from = free(&app, &path).await;
        assert!(from >= (8 << 20) + 77, "{from}");
        let finished = patched(app.addr, &path, from, &image[from..]).await;
        assert_image(&app, &finished, "a.jpg", &image).await;
        app.settles_to(&["acme/customer/42/a.jpg"]).await;
    }
}

#[tokio::test]
async fn a_stop_keeps_what_has_come() {
    for builder in [App::builder(), App::builder().minio().await] {
        let mut app = builder.set("SERVER__SHUTDOWN_TIMEOUT", "1s").start().await;
        let image = images::jpeg(30, 20, 5000);
        let path = created(&app, "a.jpg", image.len()).await;
        let _stalled = begun(&app, &path, 0, 3000, &image).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        app.signal("TERM");
        assert!(app.ended_within(Duration::from_secs(10)).await.success());
        app.start().await;
        assert_eq!(offset(app.addr, &path).await, 3000);
        let finished = patched(app.addr, &path, 3000, &image[3000..]).await;
        assert_image(&app, &finished, "a.jpg", &image).await;
    }
}

#[tokio::test]
async fn an_upload_whose_end_the_server_died_on_ends_all_the_same() {
    for point in ["session.saved", "commit.prepared", "commit.stored", "commit.recorded"] {
        for builder in [App::builder(), App::builder().minio().await] {
            let mut app = builder.start().await;
            let image = images::jpeg(30, 20, (9 << 20) + 9);
            let path = created(&app, "a.jpg", image.len()).await;
            patched(app.addr, &path, 0, &image[..(8 << 20) + 1]).await;
            app.kill();
            app.set_env("GATEHOUSE_FAULT", &format!("{point}:abort"));
            app.start().await;
            let from = free(&app, &path).await;
            let rest = match point {
                // Not at the end of all.
                "session.saved" => &image[from..from + 5],
                _ => &image[from..],
            };
            assert!(patch(&path, from, rest).try_send(app.addr).await.is_err(), "{point}");
            assert!(!app.ended_within(Duration::from_secs(5)).await.success());
            app.set_env("GATEHOUSE_FAULT", "");
            app.start().await;
            let from = free(&app, &path).await;
            let finished = patched(app.addr, &path, from, &image[from..]).await;
            assert_image(&app, &finished, "a.jpg", &image).await;
            app.settles_to(&["acme/customer/42/a.jpg"]).await;
        }
    }
}

/// How far an upload is, once nobody is taken to work on it any more.
async fn free(app: &App, path: &str) -> usize {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let head = ask("HEAD", path).send(app.addr).await;
        if head.status == 200 {
            return head.header("upload-offset").unwrap().parse().unwrap();
        }
        assert_eq!(head.status, 423);
        assert!(Instant::now() < until, "{}", app.log_text());
    }
}

#[tokio::test]
async fn what_was_begun_at_the_store_and_not_saved_is_ended() {
    let mut app =
        App::builder().minio().await.env("GATEHOUSE_FAULT", "upload.opened:abort").start().await;
    let image = images::jpeg(30, 20, (9 << 20) + 9);
    let path = created(&app, "a.jpg", image.len()).await;
    assert!(patch(&path, 0, &image).try_send(app.addr).await.is_err());
    assert!(!app.ended_within(Duration::from_secs(5)).await.success());
    let (bucket, store) = app.bucket().unwrap();
    assert_eq!(store.unfinished(bucket, "acme/customer/42/a.jpg").await, 1);
    app.set_env("GATEHOUSE_FAULT", "");
    app.start().await;
    assert_eq!(free(&app, &path).await, 0);
    let finished = patched(app.addr, &path, 0, &image).await;
    assert_image(&app, &finished, "a.jpg", &image).await;
    // The end of the test looks for what is left.
}
