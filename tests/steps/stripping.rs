//! Originals that are rewritten without what their cameras wrote down.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::calls::{answer, asking};
use super::{IMAGES, held, picture, processed, record, results, upload, variant};
use crate::events::{Stream, delete};
use crate::harness::App;
use crate::harness::http::{Request, find};
use crate::harness::images::avif;
use crate::harness::invariants;
use crate::harness::upstream::Upstream;

const STRIP: &str = "\
[consumers.steps.privacy]\nkind = \"strip_metadata\"\n\
[consumers.steps.camera]\nkind = \"exif\"\n\
[consumers.steps.thumb]\nwidth = 32\n";

/// A PNG in which a camera has written its maker down.
fn photo() -> Vec<u8> {
    // TIFF: one IFD, with the tag Make (0x010F) of ASCII, 8 bytes at offset 26.
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x08\0\0\0\x1a\0\0\0\0".to_vec();
    tiff.extend(b"Acme 42\0");
    let mut chunk = b"eXIf".to_vec();
    chunk.extend(&tiff);
    let crc = crc32fast::hash(&chunk);
    let mut whole = u32::try_from(tiff.len()).unwrap().to_be_bytes().to_vec();
    whole.extend(chunk);
    whole.extend(crc.to_be_bytes());
    let mut image = picture(64, 48, 255);
    // Behind IHDR.
    image.splice(33..33, whole);
    image
}

async fn content(app: &App, id: &str) -> Vec<u8> {
    let content = Request::get(&format!("{IMAGES}/{id}/content")).tenant("acme");
    let content = content.send(app.addr).await;
    assert_eq!(content.status, 200, "{}", content.text());
    content.body
}

/// The image has been rewritten, and all that is told of it is true.
async fn assert_stripped(app: &App, id: &str) {
    let (record, content) = (record(app, id).await, content(app, id).await);
    assert_eq!(content, picture(64, 48, 255));
    assert_eq!(record["size"], content.len());
    assert_eq!(record["sha256"], crate::harness::text::sha256(&content));
    assert_eq!(record["version"], 2);
    assert_eq!(results(app, id).await["camera"], json!({"make": "Acme 42"}));
    assert_eq!(results(app, id).await["privacy"], json!({"removed": 46}));
    assert_eq!(variant(app, id, "thumb").await.status, 200);
}

#[tokio::test]
async fn an_original_loses_what_its_camera_wrote_and_the_record_keeps_it() {
    let builders = [App::builder(), App::builder().minio().await.postgres().await];
    for builder in builders {
        let app = builder.file(STRIP).start().await;
        let mut stream = Stream::open(app.addr, "acme", None).await;
        let photo = photo();
        assert!(find(&photo, b"Acme 42").is_some());
        let id = upload(&app, "a.png", &photo).await;
        for event in ["image.created", "image.replaced", "image.processed"] {
            assert_eq!(stream.next().await.event, event);
        }
        let steps = processed(&app, &id).await;
        assert!(steps.as_object().unwrap().values().all(|step| step["state"] == "done"), "{steps}");
        assert_stripped(&app, &id).await;

        // What has nothing to lose stays as it is.
        let plain = upload(&app, "b.png", &picture(64, 48, 255)).await;
        processed(&app, &plain).await;
        assert_eq!(record(&app, &plain).await["version"], 1);
        assert_eq!(results(&app, &plain).await["privacy"], json!({"removed": 0}));
        assert_eq!(results(&app, &plain).await["camera"], json!({}));

        // Of what another upload has to tell, nothing is told of this one.
        upload(&app, "a.png", &picture(64, 48, 0)).await;
        processed(&app, &id).await;
        assert_eq!(results(&app, &id).await["camera"], json!({}));
        assert_eq!(record(&app, &id).await["version"], 3);
        app.assert_nothing_left_over().await;
    }
}

#[tokio::test]
async fn a_type_that_cannot_be_rewritten_is_told() {
    let app = App::builder().file(STRIP).start().await;
    let image = avif(64, 48, 500);
    let id = upload(&app, "a.avif", &image).await;
    let steps = processed(&app, &id).await;
    assert_eq!(steps["privacy"]["state"], "failed", "{steps}");
    assert!(!steps["privacy"]["error"].as_str().unwrap().is_empty());
    assert_eq!(content(&app, &id).await, image);
}

#[tokio::test]
async fn a_rewriting_that_is_killed_is_taken_up_again() {
    let fault = "rewrite.foretold:abort";
    let mut app = App::builder().file(STRIP).env("GATEHOUSE_FAULT", fault).start().await;
    let id = upload(&app, "a.png", &photo()).await;
    app.ended_within(Duration::from_secs(20)).await;
    app.set_env("GATEHOUSE_FAULT", "");
    app.start().await;
    processed(&app, &id).await;
    assert_stripped(&app, &id).await;
}

#[tokio::test]
async fn an_upload_in_between_is_not_lost() {
    let fault = "steps.read:hold=held";
    let app = App::builder().file(STRIP).env("GATEHOUSE_FAULT", fault).start().await;
    let id = upload(&app, "a.png", &photo()).await;
    let held = held(&app).await;
    let other = picture(300, 500, 0);
    assert_eq!(upload(&app, "a.png", &other).await, id);
    std::fs::remove_file(&held).unwrap();
    processed(&app, &id).await;
    assert_eq!(content(&app, &id).await, other);
    assert_eq!(results(&app, &id).await["camera"], json!({}));
    app.assert_nothing_left_over().await;
}

#[tokio::test]
async fn services_are_asked_also_where_stripping_was_turned_off_meanwhile() {
    let service = Upstream::answering(answer("200 OK", r#"{"pass":true}"#)).await;
    let settings = |strip: &str| asking(&service, &format!("gate = true\n{strip}"));
    let fault = "steps.read:abort";
    let builder = settings(STRIP).minio().await.postgres().await;
    let mut app = builder.clone().env("GATEHOUSE_FAULT", fault).start().await;
    let id = upload(&app, "a.png", &photo()).await;
    app.ended_within(Duration::from_secs(20)).await;
    let (bucket, store) = app.bucket().expect("a bucket");
    let without = settings("[consumers.steps.thumb]\nwidth = 32").s3(store, bucket);
    let app = without.database(&app.database()).start().await;
    // Its job is taken once the lease of the one that died has run out.
    let until = Instant::now() + Duration::from_secs(60);
    while record(&app, &id).await["quarantined"] == true {
        assert!(Instant::now() < until, "{}", record(&app, &id).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(content(&app, &id).await, photo());
}

#[tokio::test]
async fn nothing_is_written_down_of_an_image_that_is_gone() {
    let fault = "steps.read:hold=held";
    let app = App::builder().file(STRIP).env("GATEHOUSE_FAULT", fault).start().await;
    let id = upload(&app, "a.png", &photo()).await;
    let held = held(&app).await;
    assert_eq!(delete(&app, "acme", &id.as_str().into()).await.status, 204);
    std::fs::remove_file(&held).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while app.run(&["jobs", "list", "--json"]).stdout.contains("images") {
        assert!(Instant::now() < until, "{}", app.log_text());
    }
    app.assert_nothing_left_over().await;
    let mut database = invariants::connect(&app.database()).await;
    let kept: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM results")
        .fetch_one(&mut database)
        .await
        .expect("a count");
    assert_eq!(kept.0, 0);
}

#[tokio::test]
async fn services_and_readers_see_only_what_was_rewritten() {
    let service = Upstream::answering(answer("200 OK", r#"{"pass":true}"#)).await;
    let app = asking(&service, &format!("gate = true\n{STRIP}")).start().await;
    let id = upload(&app, "a.png", &photo()).await;
    let asked = service.received(1).await;
    processed(&app, &id).await;
    assert_stripped(&app, &id).await;
    assert_eq!(service.requests().len(), 1);
    let asked: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!((&asked["type"], &asked["data"]["version"]), (&"image.replaced".into(), &2.into()));
    let mut all = Stream::open(app.addr, "acme", Some(0)).await;
    for (event, quarantined) in
        [("image.created", true), ("image.replaced", true), ("image.processed", true)]
    {
        let told = all.next().await;
        assert_eq!(
            (told.event.as_str(), &told.data["data"]["quarantined"]),
            (event, &quarantined.into())
        );
    }
    assert_eq!(all.next().await.data["data"].get("quarantined"), None);
}
