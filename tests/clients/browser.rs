//! Uppy's tus in a real Chromium, in a page of another origin than the gateway's.

use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::{Value, json};

use super::{LARGE, Photo, SMALL, assert_leads_to, both, done, tus, with};
use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::scripts::Script;

/// The browser that all tests share, one upload at a time, and where its page is from.
static BROWSER: LazyLock<(Mutex<Script>, String)> = LazyLock::new(|| {
    let mut browser = Script::browser();
    let origin = browser.told()["origin"].as_str().expect("an origin").to_owned();
    (Mutex::new(browser), origin)
});

/// A gateway that lets the browser's page in.
pub(super) fn sharing() -> Builder {
    App::builder().set("SERVER__CORS__ALLOWED_ORIGINS", &BROWSER.1)
}

/// Lets the page upload, in a session of its own.
pub(super) async fn run(job: Value) -> Value {
    let run = move || BROWSER.0.lock().unwrap_or_else(PoisonError::into_inner).run(&job);
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A job for Uppy's tus.
fn uppy(app: &App, customer: &str, photo: &Photo) -> Value {
    with(tus(app.addr, customer, photo), &json!({"client": "tus"}))
}

/// What was last answered.
fn last(told: &Value) -> &Value {
    told["answers"].as_array().unwrap().last().unwrap()
}

/// Where the upload was gone on with.
fn resumed_at(told: &Value) -> usize {
    let answers = told["answers"].as_array().unwrap();
    let asked = answers.iter().find(|a| a["method"] == "HEAD" && a["status"] == 200);
    asked.expect("a HEAD")["offset"].as_str().expect("an offset").parse().unwrap()
}

#[tokio::test]
async fn a_page_uploads_by_uppys_tus() {
    for app in both(sharing).await {
        let photo = Photo::of(SMALL);
        for (customer, how) in [
            ("1", json!({})),
            ("2", json!({"chunkSize": 1_000_000})),
            ("3", json!({"withCreation": true})),
        ] {
            let told = done(run(with(uppy(&app, customer, &photo), &how)).await);
            let record = photo.assert_stored(&app, customer).await;
            assert_leads_to(&last(&told)["image"], &record);
        }
    }
}

#[tokio::test]
async fn a_page_pauses_an_upload_and_goes_on_with_it() {
    for app in both(sharing).await {
        let photo = Photo::of(LARGE);
        let slowly = json!({"bytesPerSecond": 8_000_000, "pauseAt": 12_000_000});
        let told = done(run(with(uppy(&app, "1", &photo), &slowly)).await);
        assert_eq!(told["paused"], true);
        assert!((1..LARGE).contains(&resumed_at(&told)), "{told}");
        assert_leads_to(&last(&told)["image"], &photo.assert_stored(&app, "1").await);
    }
}

#[tokio::test]
async fn a_page_that_was_reloaded_goes_on_with_its_upload() {
    for app in both(sharing).await {
        let photo = Photo::of(LARGE);
        let slowly = json!({"bytesPerSecond": 8_000_000, "reloadAt": 12_000_000});
        let told = done(run(with(uppy(&app, "1", &photo), &slowly)).await);
        assert!((1..LARGE).contains(&resumed_at(&told)), "{told}");
        assert_leads_to(&last(&told)["image"], &photo.assert_stored(&app, "1").await);
    }
}
