//! Uploads at the same time.

use crate::harness::App;
use crate::harness::images;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{self, stored_name};

#[tokio::test]
async fn two_at_once_of_one_name_both_succeed_and_one_wins_whole() {
    for app in [App::local().await, App::minio().await] {
        let large = images::jpeg(11, 11, 9 << 20);
        let small = images::png(22, 22, 400_000);
        app.tried("acme/customer/42/same");
        for _ in 0..3 {
            let (one, two) = (upload::main_job("same", &large), upload::main_job("same", &small));
            let (one, two) = tokio::join!(one.send(app.addr), two.send(app.addr));
            assert_eq!(stored_name(&one), "acme/customer/42/same");
            assert_eq!(stored_name(&two), "acme/customer/42/same");
            let (bytes, kind) = app.object("acme/customer/42/same").await;
            let (winner, wanted) =
                if bytes == large { (&one, "image/jpeg") } else { (&two, "image/png") };
            assert!(bytes == large || bytes == small, "a mixture is stored");
            assert_eq!(winner.json()["contentType"], wanted);
            assert!(kind.is_none_or(|kind| kind == wanted), "the type is the other one's");
        }
        assert_eq!(app.keys().await, ["acme/customer/42/same"]);
    }
}

#[tokio::test]
async fn where_conflicts_are_rejected_the_first_upload_stays() {
    let rejecting = || App::builder().set("CONSUMERS__IMAGES__ON_CONFLICT", "reject");
    for app in [rejecting().start().await, rejecting().minio().await.start().await] {
        let (first, large) = (images::png(1, 1, 900), images::jpeg(2, 2, 9 << 20));
        app.tried("acme/customer/42/same");
        let response = upload::main_job("same", &first).send(app.addr).await;
        assert_eq!(stored_name(&response), "acme/customer/42/same");
        for request in [
            upload::main_job("same", &first),
            upload::main_job("same", &large),
            upload::put("same", &images::gif(3, 3, 3)),
        ] {
            assert_problem(&request.send(app.addr).await, "already-exists");
        }
        assert!(app.object("acme/customer/42/same").await.0 == first);
        let other = upload::main_job("other", &first).send(app.addr).await;
        assert_eq!(stored_name(&other), "acme/customer/42/other");
    }
}

#[tokio::test]
async fn where_conflicts_are_rejected_one_of_two_at_once_wins() {
    let rejecting = || App::builder().set("CONSUMERS__IMAGES__ON_CONFLICT", "reject");
    for app in [rejecting().start().await, rejecting().minio().await.start().await] {
        for round in 0..5 {
            let name = format!("{round}.png");
            let (one, two) = (images::png(1, 1, 90_000), images::png(2, 2, 90_000));
            let (a, b) = (upload::main_job(&name, &one), upload::main_job(&name, &two));
            let (a, b) = tokio::join!(a.send(app.addr), b.send(app.addr));
            let (winner, loser, bytes) = if a.status == 201 { (a, b, one) } else { (b, a, two) };
            let key = stored_name(&winner);
            assert_problem(&loser, "already-exists");
            assert!(app.object(&key).await.0 == bytes, "the loser's bytes are stored");
        }
    }
}

#[tokio::test]
async fn many_at_once_all_arrive() {
    for app in [App::local().await, App::minio().await] {
        let mut tasks = Vec::new();
        for number in 0..24u16 {
            let addr = app.addr;
            tasks.push(tokio::spawn(async move {
                let image = images::jpeg(100 + number, 1, 20_000);
                let name = format!("{number:02}.jpg");
                let response = upload::main_job(&name, &image).send(addr).await;
                (stored_name(&response), image)
            }));
        }
        let mut keys = Vec::new();
        for task in tasks {
            let (key, image) = task.await.unwrap();
            assert!(app.object(&key).await.0 == image, "{key} differs");
            keys.push(key);
        }
        assert_eq!(app.keys().await, keys);
    }
}
