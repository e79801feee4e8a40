//! What comes of the steps.

use super::{IMAGES, both, made, picture, processed, record, results, upload, variant};
use crate::events::{Stream, delete};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images::png;
use crate::harness::problem::assert_problem;

#[tokio::test]
async fn an_upload_gets_its_variants_and_what_is_seen_in_it() {
    for app in both().await {
        let id = upload(&app, "a.png", &picture(640, 480, 255)).await;
        let steps = processed(&app, &id).await;
        assert_eq!(steps["thumb"]["state"], "done", "{steps}");
        let results = results(&app, &id).await;
        let result = &results["thumb"];
        assert_eq!(result["contentType"], "image/webp");
        assert_eq!((&result["width"], &result["height"]), (&320.into(), &240.into()));

        let answer = variant(&app, &id, "thumb").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type").as_deref(), Some("image/webp"));
        assert_eq!(answer.body.len() as u64, result["size"].as_u64().unwrap());
        let disposition = answer.header("content-disposition").unwrap();
        assert!(disposition.contains("a.webp"), "{disposition}");
        let pixels = webp::Decoder::new(&answer.body).decode().expect("a WebP");
        assert_eq!((pixels.width(), pixels.height()), (320, 240));
        let (left, right) = (&pixels[..3], &pixels[319 * 3..320 * 3]);
        assert!(left[0] > 200 && left[1] < 60, "{left:?}");
        assert!(right.iter().all(|value| *value > 200), "{right:?}");

        let avatar = variant(&app, &id, "avatar").await;
        assert_eq!(avatar.header("content-type").as_deref(), Some("image/jpeg"));
        assert_eq!(avatar.body[..3], [0xFF, 0xD8, 0xFF]);
        let size = &results["avatar"];
        assert_eq!((&size["width"], &size["height"]), (&64.into(), &64.into()));

        let look = &results["look"];
        assert!(look["thumbHash"].as_str().unwrap().len() > 10, "{look}");
        assert!(look["dominantColor"].as_str().unwrap().starts_with('#'), "{look}");
        assert_eq!(results["camera"], serde_json::json!({}));
        assert_eq!(made(&app).await.len(), 2);
    }
}

#[tokio::test]
async fn a_variant_is_served_as_its_image_is() {
    let [app, _] = both().await;
    let id = upload(&app, "a.png", &picture(640, 480, 255)).await;
    processed(&app, &id).await;
    let whole = variant(&app, &id, "thumb").await;
    let etag = whole.header("etag").unwrap();
    let image = Request::get(&format!("{IMAGES}/{id}/content")).tenant("acme");
    assert_ne!(image.send(app.addr).await.header("etag").unwrap(), etag);
    assert_eq!(whole.header("x-content-type-options").as_deref(), Some("nosniff"));

    let path = format!("{IMAGES}/{id}/content?variant=thumb");
    let known = Request::get(&path).tenant("acme").header("If-None-Match", &etag);
    assert_eq!(known.send(app.addr).await.status, 304);
    let part = Request::get(&path).tenant("acme").header("Range", "bytes=4-9").send(app.addr).await;
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[4..10]));
    let head = Request::new("HEAD", &path).tenant("acme").send(app.addr).await;
    assert_eq!(head.header("content-length"), whole.header("content-length"));

    let none = variant(&app, &id, "nothing").await;
    assert_problem(&none, "not-found");
    assert!(none.text().contains("no such variant"), "{}", none.text());
    // What is no image has no variant, whatever has come of it.
    assert_problem(&variant(&app, &id, "look").await, "not-found");
    let twice = Request::get(&format!("{path}&variant=avatar")).tenant("acme");
    assert_problem(&twice.send(app.addr).await, "query-invalid");
    let stranger = Request::get(&path).tenant("globex").send(app.addr).await;
    assert_problem(&stranger, "not-found");
}

#[tokio::test]
async fn the_record_tells_of_the_steps_whatever_the_client_knows() {
    let [app, _] = both().await;
    let id = upload(&app, "a.png", &picture(640, 480, 255)).await;
    let etag = record(&app, &id).await["etag"].as_str().unwrap().to_owned();
    processed(&app, &id).await;
    let path = format!("{IMAGES}/{id}");
    let known = Request::get(&path).tenant("acme").header("If-None-Match", format!("\"{etag}\""));
    let told = known.send(app.addr).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.json()["processing"]["thumb"]["state"], "done");
    // Where there are none, there is nothing to tell.
    let plain = App::local().await;
    let id = upload(&plain, "a.png", &picture(64, 48, 255)).await;
    assert_eq!(record(&plain, &id).await.get("processing"), None);
}

#[tokio::test]
async fn an_event_tells_that_the_steps_have_run() {
    let [app, _] = both().await;
    let mut stream = Stream::open(app.addr, "acme", None).await;
    let id = upload(&app, "a.png", &picture(640, 480, 255)).await;
    for (number, kind) in [(1, "image.created"), (2, "image.processed")] {
        let told = stream.next().await;
        assert_eq!((told.id, told.event.as_str()), (Some(number), kind));
        assert_eq!(told.data["data"]["id"], id.as_str());
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_fails_with_a_sentence_and_stays() {
    let [app, _] = both().await;
    let broken = png(640, 480, 5000);
    let mut stream = Stream::open(app.addr, "acme", None).await;
    let id = upload(&app, "a.png", &broken).await;
    let steps = processed(&app, &id).await;
    for step in ["thumb", "avatar", "look"] {
        assert_eq!(steps[step]["state"], "failed", "{steps}");
        let why = steps[step]["error"].as_str().unwrap();
        assert!(why.contains("PNG") && why.ends_with('.'), "{why}");
    }
    assert_eq!(steps["camera"]["state"], "done");
    assert_problem(&variant(&app, &id, "thumb").await, "not-found");
    let content = Request::get(&format!("{IMAGES}/{id}/content")).tenant("acme");
    assert_eq!(content.send(app.addr).await.body, broken);
    assert_eq!(stream.next().await.event, "image.created");
    assert_eq!(stream.next().await.event, "image.processed");
    assert!(made(&app).await.is_empty());
}

#[tokio::test]
async fn other_content_gets_other_variants_and_the_old_ones_go() {
    for app in both().await {
        let id = upload(&app, "a.png", &picture(640, 480, 255)).await;
        processed(&app, &id).await;
        let old = variant(&app, &id, "thumb").await;
        assert_eq!(upload(&app, "a.png", &picture(300, 500, 0)).await, id);
        // Never the old one's for the new content.
        let between = variant(&app, &id, "thumb").await;
        assert!(between.status == 404 || between.body != old.body);
        processed(&app, &id).await;
        assert_eq!(results(&app, &id).await["thumb"]["height"], 500, "never enlarged");
        let new = variant(&app, &id, "thumb").await;
        assert_ne!(new.header("etag"), old.header("etag"));
        super::ends::settles_to(&app, 2).await;
        assert_eq!(variant(&app, &id, "thumb").await.body, new.body);

        assert_eq!(delete(&app, "acme", &id.as_str().into()).await.status, 204);
        assert_problem(&variant(&app, &id, "thumb").await, "not-found");
        super::ends::settles_to(&app, 0).await;
    }
}
