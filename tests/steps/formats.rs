//! Variants in several formats, of which a reader gets what it accepts.

use super::{IMAGES, made, picture, processed, upload, variant};
use crate::harness::App;
use crate::harness::http::{Request, Response};
use crate::harness::images::avif;
use crate::harness::problem::assert_problem;

async fn accepting(app: &App, id: &str, accept: &str) -> Response {
    let path = format!("{IMAGES}/{id}/content?variant=thumb");
    Request::get(&path).tenant("acme").header("accept", accept).send(app.addr).await
}

fn media_type(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    response.header("content-type").expect("a type")
}

#[tokio::test]
async fn a_reader_gets_the_format_that_it_prefers() {
    let thumb = "[consumers.steps.thumb]\nwidth = 32\nformats = [\"webp\", \"jpeg\"]\n";
    for builder in [App::builder(), App::builder().minio().await] {
        let app = builder.file(thumb).start().await;
        let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
        let steps = processed(&app, &id).await;
        assert_eq!(steps["thumb.webp"]["state"], "done", "{steps}");
        assert_eq!(steps["thumb.jpeg"]["state"], "done", "{steps}");
        assert_eq!(made(&app).await.len(), 2);

        let webp = accepting(&app, &id, "image/avif,image/webp,*/*;q=0.8").await;
        assert_eq!(media_type(&webp), "image/webp");
        let jpeg = accepting(&app, &id, "image/jpeg,image/*;q=0.1").await;
        assert_eq!(media_type(&jpeg), "image/jpeg");
        assert_eq!(media_type(&accepting(&app, &id, "text/html").await), "image/webp");
        for response in [&webp, &jpeg] {
            let vary = response.headers("vary").join(",").to_ascii_lowercase();
            assert!(vary.contains("accept"), "{vary}");
        }
        // Each is a thing of its own, with a name of its own.
        assert_ne!(webp.header("etag"), jpeg.header("etag"));
        assert_eq!(variant(&app, &id, "thumb.jpeg").await.body, jpeg.body);
        let same = Request::get(&format!("{IMAGES}/{id}/content?variant=thumb")).tenant("acme");
        let same = same.header("if-none-match", webp.header("etag").unwrap());
        let not_modified = same.send(app.addr).await;
        assert_eq!(not_modified.status, 304);
        assert!(not_modified.header("vary").is_some());
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_has_no_format() {
    let thumb = "[consumers.steps.thumb]\nwidth = 32\nformats = [\"webp\", \"jpeg\"]\n";
    let app = App::builder().file(thumb).start().await;
    let id = upload(&app, "a.avif", &avif(64, 48, 500)).await;
    processed(&app, &id).await;
    assert_problem(&accepting(&app, &id, "image/webp").await, "not-found");
}

#[cfg(feature = "avif")]
#[tokio::test]
async fn a_variant_can_be_avif() {
    let thumb = "[consumers.steps.thumb]\nwidth = 32\nformats = [\"avif\", \"jpeg\"]\n";
    let app = App::builder().file(thumb).start().await;
    let id = upload(&app, "a.png", &picture(640, 480, 255)).await;
    processed(&app, &id).await;
    let variant = accepting(&app, &id, "image/avif,image/webp,*/*;q=0.8").await;
    assert_eq!(media_type(&variant), "image/avif");
    // It is taken in as what it says to be.
    let again = upload(&app, "b.avif", &variant.body).await;
    let record = super::record(&app, &again).await;
    assert_eq!(record["contentType"], "image/avif");
    assert_eq!((&record["width"], &record["height"]), (&32.into(), &24.into()));
}

#[cfg(not(feature = "avif"))]
#[test]
fn a_build_without_avif_says_so() {
    let thumb = "[consumers.steps.thumb]\nwidth = 32\nformat = \"avif\"\n";
    let ended = App::builder().file(thumb).run(&["check"]);
    assert!(
        !ended.status.success() && ended.stderr.contains("--features avif"),
        "{}",
        ended.stderr
    );
}
