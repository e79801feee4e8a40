//! What dies, what is erased, and who does the work.

use std::time::{Duration, Instant};

use super::{STEPS, both, held, made, picture, processed, record, results, upload, variant};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::problem::assert_problem;

/// Waits until there are so many objects beside the images.
pub async fn settles_to(app: &App, objects: usize) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let made = made(app).await;
        if made.len() == objects {
            return;
        }
        assert!(Instant::now() < until, "{made:?}\n{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_a_dead_process_had_begun_is_done_by_the_next() {
    for point in ["steps.read", "steps.stored"] {
        let mut app = App::builder()
            .file(STEPS)
            .env("GATEHOUSE_FAULT", &format!("{point}:abort"))
            .start()
            .await;
        let request = Request::put(&format!("{}/42/a.png", crate::harness::upload::UPLOAD));
        let request = request.tenant("acme").body(picture(640, 480, 255));
        // The answer may or may not come before the end.
        let _ = request.try_send(app.addr).await;
        app.ended_within(Duration::from_secs(20)).await;
        app.set_env("GATEHOUSE_FAULT", "");
        app.start().await;
        let listed = Request::get(super::IMAGES).tenant("acme").send(app.addr).await.json();
        let id = listed["images"][0]["id"].as_str().expect("an image").to_owned();
        let steps = processed(&app, &id).await;
        assert_eq!(steps["thumb"]["state"], "done", "{steps}");
        assert_eq!(variant(&app, &id, "thumb").await.status, 200);
    }
}

#[tokio::test]
async fn what_was_made_of_content_that_is_gone_meanwhile_goes_too() {
    let app =
        App::builder().file(STEPS).env("GATEHOUSE_FAULT", "steps.stored:hold=held").start().await;
    let id = upload(&app, "a.png", &picture(640, 480, 255)).await;
    let held = held(&app).await;
    assert_eq!(made(&app).await.len(), 2);
    assert_eq!(upload(&app, "a.png", &picture(300, 500, 0)).await, id);
    std::fs::remove_file(&held).unwrap();
    processed(&app, &id).await;
    assert_eq!(results(&app, &id).await["thumb"]["height"], 500);
    settles_to(&app, 2).await;
    assert_eq!(variant(&app, &id, "thumb").await.status, 200);
}

#[tokio::test]
async fn a_process_without_workers_leaves_the_work_to_others() {
    let builder = App::builder().file(STEPS).minio().await.postgres().await;
    let idle = builder.clone().set("CONSUMERS__WORKERS__ENABLED", "false").start().await;
    let id = upload(&idle, "a.png", &picture(640, 480, 255)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let thumb = record(&idle, &id).await["processing"]["thumb"].clone();
    assert_eq!((&thumb["state"], &thumb["attempts"]), (&"pending".into(), &0.into()));
    let _working = builder.start().await;
    assert_eq!(processed(&idle, &id).await["thumb"]["state"], "done");
    assert_eq!(variant(&idle, &id, "thumb").await.status, 200);
    // From now on it is begun at once, not at the next look of every 5 s.
    let at = Instant::now();
    let id = upload(&idle, "b.png", &picture(64, 48, 255)).await;
    processed(&idle, &id).await;
    assert!(at.elapsed() < Duration::from_secs(4), "{:?}", at.elapsed());
}

#[tokio::test]
async fn a_process_of_workers_does_the_work_and_serves_nothing() {
    let builder = App::builder().file(STEPS).minio().await.postgres().await;
    let serving = builder.clone().set("CONSUMERS__WORKERS__ENABLED", "false").start().await;
    let working = builder.set("CONSUMERS__WORKERS__ONLY", "true").start().await;
    let id = upload(&serving, "a.png", &picture(640, 480, 255)).await;
    assert_eq!(processed(&serving, &id).await["thumb"]["state"], "done");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(Request::get(path).send(working.addr).await.status, 200, "{path}");
    }
    let image = Request::get(&format!("{}/{id}", super::IMAGES)).tenant("acme");
    assert_problem(&image.send(working.addr).await, "service-not-found");
    // Not even by a link that the others made.
    let link = Request::get(&format!("{}/{id}/link", super::IMAGES)).tenant("acme");
    assert_eq!(link.send(serving.addr).await.status, 200);
    let linked = Request::get(&format!("/signed/acme/images/{id}?expires=1&signature=AA"));
    assert_eq!(linked.send(working.addr).await.status, 404);
    working.signal("TERM");
    let mut working = working;
    assert!(working.ended_within(std::time::Duration::from_secs(20)).await.success());
}

#[tokio::test]
async fn nothing_that_was_made_outlives_an_erasure() {
    for app in both().await {
        for name in ["a.png", "b.png"] {
            let id = upload(&app, name, &picture(100, 80, 255)).await;
            processed(&app, &id).await;
        }
        assert_eq!(made(&app).await.len(), 4);
        let erased = app.run(&["tenants", "erase", "acme", "--yes"]);
        assert!(erased.status.success(), "{}", erased.stderr);
        assert!(app.keys().await.is_empty(), "{:?}", app.keys().await);
    }
}
