//! tus-js-client in node, and tuspy: in one piece, in chunks, and on with what was broken off.

use serde_json::{Value, json};

use super::{API, LARGE, Photo, SMALL, assert_leads_to, both, done, tus, with};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::scripts::Script;
use crate::harness::toxiproxy::Toxiproxy;

/// The methods that a client used, in order.
fn methods(told: &Value) -> Vec<&str> {
    answers(told).iter().map(|answer| answer["method"].as_str().unwrap()).collect()
}

fn answers(told: &Value) -> &[Value] {
    told["answers"].as_array().unwrap()
}

fn last(told: &Value) -> &Value {
    answers(told).last().unwrap()
}

#[tokio::test]
async fn a_file_goes_up_by_tus_js() {
    for app in both(App::builder).await {
        let (photo, mut node) = (Photo::of(SMALL), Script::node("tus.mjs"));
        let told = done(node.run(&tus(app.addr, "1", &photo)));
        assert_eq!(methods(&told), ["POST", "PATCH"]);
        assert_leads_to(&last(&told)["image"], &photo.assert_stored(&app, "1").await);

        let told =
            done(node.run(&with(tus(app.addr, "2", &photo), &json!({"withCreation": true}))));
        assert_eq!(methods(&told), ["POST"]);
        assert_leads_to(&last(&told)["image"], &photo.assert_stored(&app, "2").await);
    }
}

#[tokio::test]
async fn a_file_goes_up_by_tus_js_in_chunks() {
    for app in both(App::builder).await {
        let (photo, mut node) = (Photo::of(LARGE), Script::node("tus.mjs"));
        // Of a size that no store has parts of, and of one that it has.
        for (customer, chunk) in [("1", 3_000_000), ("2", 8 << 20)] {
            let chunks = json!({"chunkSize": chunk});
            let told = done(node.run(&with(tus(app.addr, customer, &photo), &chunks)));
            assert_eq!(answers(&told).len(), 1 + photo.bytes.len().div_ceil(chunk));
            assert_leads_to(&last(&told)["image"], &photo.assert_stored(&app, customer).await);
        }
    }
}

#[tokio::test]
async fn a_stream_of_unknown_length_goes_up_by_tus_js() {
    for app in both(App::builder).await {
        let (photo, mut node) = (Photo::of(SMALL), Script::node("tus.mjs"));
        let stream = json!({"deferred": true, "chunkSize": 2_000_000});
        done(node.run(&with(tus(app.addr, "1", &photo), &stream)));
        photo.assert_stored(&app, "1").await;
    }
}

#[tokio::test]
async fn an_upload_that_broke_off_is_gone_on_with_by_another_tus_js() {
    for app in both(App::builder).await {
        let photo = Photo::of(LARGE);
        let network = Toxiproxy::in_front_of(app.addr).await;
        network.add("bandwidth", "upstream", json!({"rate": 8000})).await;
        let stored = json!({"storage": photo.beside("uploads.json")});
        let job = with(tus(network.addr, "1", &photo), &stored);
        let cut = with(job.clone(), &json!({"abortAt": 18_000_000}));
        let told = done(Script::node("tus.mjs").run(&cut));
        assert_eq!(methods(&told), ["POST"], "it was cut in its PATCH");

        let told = done(Script::node("tus.mjs").run(&job));
        assert_eq!(told["resumed"], true);
        let asked = answers(&told).iter().find(|answer| answer["status"] == 200);
        let offset = asked.expect("a HEAD")["offset"].as_str().unwrap().parse::<usize>().unwrap();
        assert!((1..LARGE).contains(&offset), "it went on from {offset}");
        assert_leads_to(&last(&told)["image"], &photo.assert_stored(&app, "1").await);
    }
}

#[tokio::test]
async fn an_upload_that_is_called_off_by_tus_js_leaves_nothing() {
    for app in both(App::builder).await {
        let photo = Photo::of(LARGE);
        let network = Toxiproxy::in_front_of(app.addr).await;
        network.add("bandwidth", "upstream", json!({"rate": 8000})).await;
        let off = json!({"abortAt": 12_000_000, "terminate": true});
        let told = done(Script::node("tus.mjs").run(&with(tus(network.addr, "1", &photo), &off)));
        assert_eq!(last(&told)["method"], "DELETE");
        let url = told["url"].as_str().unwrap();
        let head = Request::new("HEAD", &url[url.find(API).unwrap()..]).tenant("acme");
        let gone = head.header("Tus-Resumable", "1.0.0").send(app.addr).await;
        assert!([404, 410].contains(&gone.status), "{url}: {}", gone.status);
        app.tried("acme/customer/1/photo.jpg");
        app.assert_nothing_stored().await;
    }
}

#[tokio::test]
async fn a_file_goes_up_by_tuspy() {
    for app in both(App::builder).await {
        let (photo, mut python) = (Photo::of(SMALL), Script::python("tus.py"));
        for (customer, how) in [
            ("1", json!({})),
            ("2", json!({"chunkSize": 1_000_000})),
            ("3", json!({"chunkSize": 1_000_000, "checksum": true})),
        ] {
            let told = done(python.run(&with(tus(app.addr, customer, &photo), &how)));
            assert_eq!(told["offset"], photo.bytes.len());
            assert_leads_to(&told["image"], &photo.assert_stored(&app, customer).await);
        }
    }
}

#[tokio::test]
async fn an_upload_that_stopped_is_gone_on_with_by_another_tuspy() {
    for app in both(App::builder).await {
        let photo = Photo::of(LARGE);
        let stored = json!({"storage": photo.beside("uploads.json"), "chunkSize": 5_000_000});
        let job = with(tus(app.addr, "1", &photo), &stored);
        let part = with(job.clone(), &json!({"stopAt": 12_345_678}));
        assert_eq!(done(Script::python("tus.py").run(&part))["offset"], 12_345_678);
        let told = done(Script::python("tus.py").run(&job));
        assert_eq!(told["from"], 12_345_678);
        assert_leads_to(&told["image"], &photo.assert_stored(&app, "1").await);
    }
}
