//! Adopting objects that another system has put into the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{both, put_object, remove_object, succeeded};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images::{gif, jpeg, png};
use crate::harness::invariants::assert_settled;
use crate::harness::journal::Journal;
use crate::harness::text::{assert_fresh_time, sha256};
use crate::harness::upload::{UPLOAD, put};

const IMAGES: &str = "/consumer-api/service/consumers/customer-images/images";

async fn adopted(app: &App, journal: &Journal, key: &str, image: &[u8]) {
    put_object(app, key, image).await;
    journal.upload(key, image).acknowledged(None);
}

async fn record(app: &App, key: &str) -> Option<Value> {
    let (tenant, _) = key.split_once('/').unwrap();
    let found = Request::get(&format!("{IMAGES}?storedName={key}")).tenant(tenant);
    let mut found = found.send(app.addr).await.json();
    found["images"].as_array_mut().unwrap().pop()
}

fn sums(app: &App, arguments: &[&str]) -> Value {
    let ended = app.run(&[&["adopt", "--json"], arguments].concat());
    serde_json::from_str(succeeded(&ended)).unwrap()
}

#[tokio::test]
async fn what_is_in_the_store_gets_its_record() {
    for app in both().await {
        let journal = Journal::default();
        let (photo, icon) = (jpeg(40, 30, 9 << 20), gif(5, 6, 70));
        adopted(&app, &journal, "acme/customer/42/photo.jpg", &photo).await;
        adopted(&app, &journal, "other/customer/a@b/icon.bin", &icon).await;
        let strays = [
            ("acme/customer/42/readme.txt", &b"no image"[..], "image-unsupported"),
            ("acme/customer/42/page.html", b"<html>", "image-unsupported"),
            ("acme/customer/42/cut.png", &png(9, 9, 9)[..20], "image-invalid"),
            ("acme/customer/42/deep/a.jpg", &photo[..500], "key-invalid"),
            ("acme/b.jpg", &photo[..500], "key-invalid"),
        ];
        for (key, bytes, _) in strays {
            put_object(&app, key, bytes).await;
        }
        let uploaded = png(1, 2, 30);
        let under_way = journal.upload("acme/customer/42/new.png", &uploaded);
        under_way.answered(Some(&put("new.png", &uploaded).send(app.addr).await));

        let left = json!({ "image-invalid": 1, "image-unsupported": 2, "key-invalid": 2 });
        let bytes = photo.len() + icon.len();
        let wanted = |adopted: usize, bytes: usize, recorded: usize, dry: bool| json!({ "dryRun": dry, "adopted": adopted, "bytes": bytes, "recorded": recorded, "left": left });
        assert_eq!(sums(&app, &["--dry-run"]), wanted(2, bytes, 1, true));
        assert_eq!(record(&app, "acme/customer/42/photo.jpg").await, None);

        // No quota refuses what is there.
        succeeded(&app.run(&["tenants", "set-quota", "acme", "--images", "1"]));
        let ended = app.run(&["adopt", "--tenant", "acme"]);
        let said = succeeded(&ended);
        let all = "left alone: 1 image-invalid, 2 image-unsupported, 2 key-invalid.";
        assert!(said.starts_with("Adopted 1 image (9.0 MiB); 1 had a record already"), "{said}");
        assert!(said.ends_with(all), "{said}");
        for (key, _, _) in strays {
            assert!(ended.stderr.contains(&format!("left alone: \"{key}\": ")), "{}", ended.stderr);
        }
        assert_eq!(record(&app, "other/customer/a@b/icon.bin").await, None);
        assert_eq!(sums(&app, &[]), wanted(1, icon.len(), 2, false));
        assert_eq!(sums(&app, &[]), wanted(0, 0, 3, false));

        let told = record(&app, "acme/customer/42/photo.jpg").await.unwrap();
        for (name, value) in [
            ("customerId", json!("42")),
            ("fileName", json!("photo.jpg")),
            ("contentType", json!("image/jpeg")),
            ("size", json!(photo.len())),
            ("sha256", json!(sha256(&photo))),
            ("width", json!(40)),
            ("height", json!(30)),
            ("version", json!(1)),
        ] {
            assert_eq!(told[name], value, "{name}");
        }
        assert_fresh_time(told["createdAt"].as_str().unwrap());
        assert_eq!(told["createdAt"], told["updatedAt"]);
        let content = format!("{IMAGES}/{}/content", told["id"].as_str().unwrap());
        let got = Request::get(&content).tenant("acme").send(app.addr).await;
        assert!(got.status == 200 && got.body == photo, "{}", got.status);
        let usage = app.run(&["tenants", "usage", "acme", "--json"]);
        let usage: Value = serde_json::from_str(succeeded(&usage)).unwrap();
        assert_eq!((&usage["images"], &usage["maxImages"]), (&json!(2), &json!(1)));

        // It is an image as any other.
        let newer = jpeg(7, 7, 50);
        let under_way = journal.upload("acme/customer/42/photo.jpg", &newer);
        let response = put("photo.jpg", &newer).send(app.addr).await;
        under_way.answered(Some(&response));
        assert_eq!(response.json()["id"], told["id"]);
        for (key, _, _) in strays {
            remove_object(&app, key).await;
        }
        assert_settled(&app, &journal, Duration::from_secs(30)).await;
    }
}

#[tokio::test]
async fn an_image_is_as_old_as_its_object() {
    let app = App::local().await;
    let key = "acme/customer/42/old.gif";
    put_object(&app, key, &gif(1, 1, 9)).await;
    let written = std::time::UNIX_EPOCH + Duration::from_millis(1_234_567_890_123);
    let file = std::fs::File::options().write(true).open(app.root().join(key)).unwrap();
    file.set_modified(written).unwrap();
    assert_eq!(sums(&app, &[])["adopted"], 1);
    let told = record(&app, key).await.unwrap();
    assert_eq!(told["createdAt"], "2009-02-13T23:31:30.123Z");
    assert_eq!(told["updatedAt"], "2009-02-13T23:31:30.123Z");
}

#[tokio::test]
async fn more_than_a_page_of_the_store_is_adopted() {
    let app = App::local().await;
    let journal = Journal::default();
    for i in 0..1100 {
        let key = format!("acme/customer/{}/{i}.gif", i % 7);
        adopted(&app, &journal, &key, &gif(1, 1, 5 + i % 11)).await;
    }
    assert_eq!(sums(&app, &[])["adopted"], 1100);
    assert_settled(&app, &journal, Duration::from_secs(30)).await;
}

#[tokio::test]
async fn an_upload_at_the_same_time_wins() {
    for app in both().await.map(Arc::new) {
        let journal = Journal::default();
        let keys: Vec<_> = (0..40).map(|i| format!("acme/customer/42/{i}.gif")).collect();
        for key in &keys {
            adopted(&app, &journal, key, &gif(1, 1, 5000)).await;
        }
        let adopting = Arc::clone(&app);
        let adopting = tokio::task::spawn_blocking(move || sums(&adopting, &[]));
        for (i, key) in keys.iter().enumerate() {
            let image = gif(2, 2, 300 + i);
            let under_way = journal.upload(key, &image);
            let path = format!("{UPLOAD}/42/{i}.gif");
            let answer = Request::put(&path).tenant("acme").body(image).send(app.addr).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            under_way.answered(Some(&answer));
        }
        let told = adopting.await.unwrap();
        let looked_at = ["adopted", "recorded"].map(|name| told[name].as_u64().unwrap());
        assert!(looked_at.iter().sum::<u64>() <= 40, "{told}");
        assert_settled(&app, &journal, Duration::from_secs(30)).await;
    }
}

#[tokio::test]
async fn an_adoption_whose_command_died_is_finished() {
    let mut app = App::builder().minio().await.postgres().await.start().await;
    let journal = Journal::default();
    let key = "acme/customer/42/a.gif";
    adopted(&app, &journal, key, &gif(1, 1, 5000)).await;
    app.set_env("GATEHOUSE_FAULT", "adopt.prepared:abort");
    let died = app.run(&["adopt"]);
    assert_eq!(died.status.code(), None, "{}", died.stderr);
    app.set_env("GATEHOUSE_FAULT", "");
    let until = Instant::now() + Duration::from_secs(60);
    while record(&app, key).await.is_none() {
        assert!(Instant::now() < until, "{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_settled(&app, &journal, Duration::from_secs(30)).await;
    assert_eq!(sums(&app, &[])["recorded"], 1);
}
