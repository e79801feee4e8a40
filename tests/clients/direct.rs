//! Direct uploads by the page in Chromium, to the store itself: by Uppy 6 and 5, by `fetch` and
//! by a plain form.

use serde_json::{Value, json};

use super::browser::{run, sharing};
use super::{API, LARGE, Photo, SMALL, both, done, with};
use crate::harness::App;
use crate::harness::text::sha256;

/// A job for one of the page's clients.
fn job(app: &App, client: &str, customer: &str, photo: &Photo) -> Value {
    json!({
        "client": client,
        "customer": customer,
        "direct": app.url(&format!("{API}/direct-uploads")),
        "headers": {"x-tenant-id": "acme"},
        "file": photo.path(),
    })
}

async fn assert_stored(app: &App, customer: &str, photo: &Photo, told: &Value) {
    assert_eq!(told["image"]["id"], photo.assert_stored(app, customer).await["id"]);
    assert_eq!(told["image"]["sha256"], sha256(&photo.bytes));
}

#[tokio::test]
async fn a_page_puts_a_file_to_its_signed_url() {
    for app in both(sharing).await {
        let photo = Photo::of(SMALL);
        let digest = json!({"declared": {"sha256": sha256(&photo.bytes)}});
        for client in ["signed", "parameters", "fetch"] {
            let told = done(run(job(&app, client, client, &photo)).await);
            assert_stored(&app, client, &photo, &told).await;
            let customer = format!("{client}-sha256");
            let told = done(run(with(job(&app, client, &customer, &photo), &digest)).await);
            assert_stored(&app, &customer, &photo, &told).await;
        }
    }
}

#[tokio::test]
async fn a_page_posts_a_file_by_a_signed_form() {
    let app = sharing().minio().await.start().await;
    let photo = Photo::of(SMALL);
    for client in ["signed", "parameters", "form"] {
        let form = json!({"form": true});
        let told = done(run(with(job(&app, client, client, &photo), &form)).await);
        assert_stored(&app, client, &photo, &told).await;
    }
}

#[tokio::test]
async fn a_page_uploads_parts_by_uppy() {
    let app = sharing().minio().await.start().await;
    let photo = Photo::of(LARGE);
    let told = done(run(job(&app, "parts", "1", &photo)).await);
    assert_eq!(told["sent"], json!([1, 2, 3]));
    assert_stored(&app, "1", &photo, &told).await;
}

#[tokio::test]
async fn a_page_pauses_parts_and_goes_on_with_those_that_are_missing() {
    let app = sharing().minio().await.start().await;
    let photo = Photo::of(LARGE);
    let slowly = json!({"bytesPerSecond": 8_000_000, "pauseAt": 12_000_000});
    let told = done(run(with(job(&app, "parts", "1", &photo), &slowly)).await);
    assert_eq!(told["paused"], true);
    assert_eq!(told["sent"], json!([1, 2, 2, 3]), "the first part was there");
    assert_stored(&app, "1", &photo, &told).await;
}

#[tokio::test]
async fn a_page_of_an_origin_that_is_not_named_cannot_upload() {
    let app = App::builder().set("SERVER__CORS__ALLOWED_ORIGINS", "https://app.example.com");
    let app = app.start().await;
    let told = run(job(&app, "fetch", "1", &Photo::of(SMALL))).await;
    assert!(told["error"].as_str().is_some_and(|e| e.contains("CORS policy")), "{told}");
    app.assert_nothing_stored().await;
}
