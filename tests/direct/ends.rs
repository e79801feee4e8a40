//! Uploads that come to no end by themselves leave nothing.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::{asking, complete, connect, open, opened, sent};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images;
use crate::records::count;

#[tokio::test]
async fn ten_thousand_abandoned_uploads_are_swept() {
    let app = App::builder()
        .minio()
        .await
        .set("CONSUMERS__DIRECT_UPLOADS__EXPIRE_AFTER", "15s")
        .start()
        .await;
    let image = images::jpeg(30, 20, 5000);
    let begun = stream::iter(0..10_000).map(|n| {
        let (app, image) = (&app, &image);
        async move {
            let answer = opened(app, &asking(&format!("{n}.jpg"), image)).await;
            if n % 50 == 0 {
                sent(&answer, image).await;
            }
        }
    });
    begun.buffer_unordered(16).collect::<Vec<_>>().await;
    let until = Instant::now() + Duration::from_secs(300);
    loop {
        let rows = (count(&app, "sessions").await, count(&app, "intents").await);
        let keys = app.keys().await;
        if keys.is_empty() && rows == (0, 0) {
            break;
        }
        assert!(Instant::now() < until, "still {rows:?} and {}: {}", keys.len(), app.log_text());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_customers_erasure_ends_its_uploads() {
    for app in super::both().await {
        let image = images::jpeg(30, 20, 5000);
        let answer = opened(&app, &asking("a.jpg", &image)).await;
        sent(&answer, &image).await;
        let path = super::DIRECT.replace("direct-uploads", "customers/42");
        let erased = Request::new("DELETE", &path).tenant("acme").send(app.addr).await;
        assert_eq!(erased.status, 200, "{}", erased.text());
        assert_eq!(complete(&app, &answer).await.status, 404);
        app.settles_to(&[]).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_sends_leaves_nothing() {
    let app = App::local().await;
    let image = images::jpeg(30, 20, 500_000);
    let answer = opened(&app, &asking("a.jpg", &image)).await;
    let mut client = connect(&answer["url"]).await;
    let (request, addr) = super::told(&answer["url"], &answer["method"], &answer["headers"]);
    let request = request.body(image.clone());
    client.send(request.head_bytes(addr)).await;
    client.send(&request.body_bytes()[..200_000]).await;
    drop(client);
    assert_eq!(complete(&app, &answer).await.status, 409);
    sent(&answer, &image).await;
    assert_eq!(complete(&app, &answer).await.status, 201);
    app.settles_to(&["acme/customer/42/a.jpg"]).await;
    assert_eq!(open(&app, &asking("b.jpg", &[])).await.status, 400);
}

#[tokio::test]
async fn a_completion_that_the_server_died_on_is_asked_for_again() {
    for point in ["commit.prepared", "commit.stored", "commit.recorded"] {
        let [files, bucket, replicas] = [
            App::builder(),
            App::builder().minio().await,
            App::builder().minio().await.postgres().await,
        ];
        for builder in [files, bucket, replicas] {
            let fault = format!("{point}:abort");
            let mut app = builder.env("GATEHOUSE_FAULT", &fault).start().await;
            let image = images::jpeg(30, 20, 50_000);
            let answer = opened(&app, &asking("a.jpg", &image)).await;
            sent(&answer, &image).await;
            let id = answer["uploadId"].as_str().unwrap();
            let completion = super::ask("POST", &format!("{id}/complete"));
            assert!(completion.try_send(app.addr).await.is_err(), "{point}");
            assert!(!app.ended_within(Duration::from_secs(5)).await.success());
            app.set_env("GATEHOUSE_FAULT", "");
            app.start().await;
            let until = Instant::now() + Duration::from_secs(60);
            let completed = loop {
                let again = complete(&app, &answer).await;
                if again.status == 201 {
                    break again.json();
                }
                // The other's turn has to be settled first.
                assert_eq!(again.status, 503, "{point}: {}", again.text());
                assert!(Instant::now() < until, "{point}: {}", app.log_text());
            };
            let images = super::DIRECT.replace("direct-uploads", "images");
            let path = format!("{images}/{}", completed["id"].as_str().unwrap());
            let record = Request::get(&path).tenant("acme").send(app.addr).await.json();
            assert_eq!((&record["version"], &record["size"]), (&1.into(), &image.len().into()));
            app.settles_to(&["acme/customer/42/a.jpg"]).await;
            assert!(app.object("acme/customer/42/a.jpg").await.0 == image);
        }
    }
}

#[tokio::test]
async fn a_completion_that_the_database_fails_on_is_settled() {
    for builder in [App::builder(), App::builder().minio().await] {
        let app = builder.env("GATEHOUSE_FAULT", "commit.stored:hold=held").start().await;
        let image = images::jpeg(30, 20, 50_000);
        let answer = opened(&app, &asking("a.jpg", &image)).await;
        sent(&answer, &image).await;
        let held = app.folder().join("held");
        let mut database = crate::harness::invariants::connect(&app.database()).await;
        let completion = complete(&app, &answer);
        let locked = async {
            while !held.exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            sqlx::query("BEGIN IMMEDIATE").execute(&mut database).await.unwrap();
            std::fs::remove_file(&held).unwrap();
        };
        let (answered, ()) = tokio::join!(completion, locked);
        assert_eq!(answered.status, 503, "{}", answered.text());
        sqlx::query("ROLLBACK").execute(&mut database).await.unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while complete(&app, &answer).await.status != 201 {
            assert!(Instant::now() < until, "{}", app.log_text());
        }
        // Its name is free.
        super::uploaded(&app, "a.jpg", &images::jpeg(31, 20, 60_000)).await;
        app.settles_to(&["acme/customer/42/a.jpg"]).await;
    }
}

#[tokio::test]
async fn one_that_cannot_be_ended_does_not_keep_the_others() {
    let app = App::builder().set("CONSUMERS__DIRECT_UPLOADS__EXPIRE_AFTER", "5s").start().await;
    let image = images::jpeg(30, 20, 5000);
    let mut answers = Vec::new();
    for n in 0..40 {
        answers.push(opened(&app, &asking(&format!("{n}.jpg"), &image)).await);
    }
    // No file can be removed there.
    let staged = app.root().join("_staging/acme").join(answers[0]["uploadId"].as_str().unwrap());
    std::fs::create_dir_all(staged.join("x")).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while super::super::records::count(&app, "sessions").await > 1 {
        assert!(Instant::now() < until, "{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
