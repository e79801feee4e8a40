//! Images that are held back until a service has let them pass.

use std::time::Duration;

use serde_json::json;

use super::calls::{answer, asking};
use super::{IMAGES, picture, processed, record, results, upload, variant};
use crate::events::Stream;
use crate::harness::App;
use crate::harness::http::{Request, Response};
use crate::harness::problem::assert_problem;
use crate::harness::upstream::Upstream;

const GATE: &str = "gate = true\n[consumers.steps.thumb]\nwidth = 32";

async fn content(app: &App, id: &str) -> Response {
    Request::get(&format!("{IMAGES}/{id}/content")).tenant("acme").send(app.addr).await
}

async fn link(app: &App, id: &str) -> Response {
    Request::get(&format!("{IMAGES}/{id}/link")).tenant("acme").send(app.addr).await
}

/// Nobody gets at the image's bytes, or at what was made of them.
async fn assert_hidden(app: &App, id: &str) {
    for response in [content(app, id).await, variant(app, id, "thumb").await, link(app, id).await] {
        assert_problem(&response, "not-found");
    }
    let head = Request::new("HEAD", &format!("{IMAGES}/{id}/content"));
    assert_eq!(head.tenant("acme").send(app.addr).await.status, 404);
    assert_eq!(record(app, id).await["quarantined"], true);
    let listed = Request::get(IMAGES).tenant("acme").send(app.addr).await.json();
    assert_eq!(listed["images"][0]["quarantined"], true);
}

async fn assert_visible(app: &App, id: &str, image: &[u8]) {
    let response = content(app, id).await;
    assert_eq!((response.status, &response.body[..]), (200, image));
    assert_eq!(variant(app, id, "thumb").await.status, 200);
    assert!(record(app, id).await.get("quarantined").is_none());
}

/// The way to an image by a link of the app's own.
fn path(app: &App, link: &Response) -> String {
    let url = link.json()["url"].as_str().expect("a link").to_owned();
    url.strip_prefix(&format!("http://{}", app.addr)).expect("a link to here").to_owned()
}

#[tokio::test]
async fn an_image_is_hidden_until_its_gate_lets_it_pass() {
    for s3 in [false, true] {
        // Nothing answers there yet.
        let (closed, switch) = Upstream::switched("").await;
        let builder = asking(&closed, GATE);
        let builder = if s3 { builder.minio().await.postgres().await } else { builder };
        let app = builder.start().await;
        let mut stream = Stream::open(app.addr, "acme", None).await;
        let (first, second) = (picture(64, 48, 255), picture(48, 64, 255));
        let id = upload(&app, "a.png", &first).await;
        closed.received(1).await;
        assert_eq!(stream.next().await.data["data"]["quarantined"], true);
        assert_hidden(&app, &id).await;

        switch.send_replace(answer("200 OK", r#"{"pass":true}"#));
        processed(&app, &id).await;
        assert_visible(&app, &id, &first).await;
        assert_eq!(results(&app, &id).await["labels"], json!({"pass": true}));
        let link = path(&app, &link(&app, &id).await);
        assert_eq!(Request::get(&link).send(app.addr).await.status, 200);

        // Other content has to pass anew, whatever was given out for the old.
        switch.send_replace(answer("200 OK", r#"{"pass":false}"#));
        assert_eq!(upload(&app, "a.png", &second).await, id);
        let step = processed(&app, &id).await["labels"].clone();
        assert_eq!(step["state"], "done");
        assert_hidden(&app, &id).await;
        assert_problem(&Request::get(&link).send(app.addr).await, "not-found");
        assert_eq!(results(&app, &id).await["labels"], json!({"pass": false}));
        let released = |told: &crate::events::Told| {
            told.event == "image.processed" && told.data["data"].get("quarantined").is_none()
        };
        let mut all = Stream::open(app.addr, "acme", Some(0)).await;
        let mut count = 0;
        for _ in 0..6 {
            count += usize::from(released(&all.next().await));
        }
        assert!((1..=2).contains(&count), "of the first content only: {count}");
    }
}

#[tokio::test]
async fn a_gate_that_says_nothing_clear_stays_closed() {
    for said in ["{}", "null", r#"{"pass":"true"}"#, r#"{"pass":1}"#, "[true]"] {
        let service = Upstream::answering(answer("200 OK", said)).await;
        let app = asking(&service, GATE).start().await;
        let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
        service.received(2).await;
        assert_hidden(&app, &id).await;
        assert_eq!(results(&app, &id).await.get("labels"), None);
    }
    // One that refuses the image does not let it pass either.
    let service = Upstream::answering(answer("415 Unsupported Media Type", "")).await;
    let app = asking(&service, GATE).start().await;
    let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
    assert_eq!(processed(&app, &id).await["labels"]["state"], "failed");
    assert_hidden(&app, &id).await;
}

#[tokio::test]
async fn all_gates_have_to_let_an_image_pass() {
    let (slow, switch) = Upstream::switched("").await;
    let fast = Upstream::answering(answer("200 OK", r#"{"pass":true}"#)).await;
    let url = fast.url("/");
    let second = format!(
        "{GATE}\n[consumers.steps.scan]\nkind = \"http\"\nurl = \"{url}\"\ngate = true\n\
         secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n"
    );
    let app = asking(&slow, &second).start().await;
    let image = picture(64, 48, 255);
    let id = upload(&app, "a.png", &image).await;
    fast.received(1).await;
    slow.received(1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(record(&app, &id).await["processing"]["scan"]["state"], "done");
    assert_hidden(&app, &id).await;
    switch.send_replace(answer("200 OK", r#"{"pass":true}"#));
    processed(&app, &id).await;
    assert_visible(&app, &id, &image).await;
}

#[tokio::test]
async fn a_slow_service_keeps_no_other_gate_closed() {
    let (slow, _switch) = Upstream::switched("").await;
    let gate = Upstream::answering(answer("200 OK", r#"{"pass":true}"#)).await;
    let url = gate.url("/");
    let both = format!(
        "[consumers.steps.scan]\nkind = \"http\"\nurl = \"{url}\"\ngate = true\n\
         secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n"
    );
    let app = asking(&slow, &both).start().await;
    let mut last = String::new();
    for n in 0..20 {
        last = upload(&app, &format!("{n}.png"), &picture(64, 48, 255)).await;
    }
    gate.received(20).await;
    slow.received(8).await;
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while content(&app, &last).await.status != 200 {
        assert!(std::time::Instant::now() < until, "{}", record(&app, &last).await);
    }
    assert_eq!(slow.requests().len(), 8, "its own share");
}

#[tokio::test]
async fn a_no_is_not_taken_back_by_a_later_yes() {
    let service = Upstream::answering(answer("202 Accepted", "")).await;
    let app = asking(&service, GATE).start().await;
    let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
    let request = service.received(1).await.remove(0);
    let asked: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let url = asked["callback"]["url"].as_str().unwrap();
    let path = url.strip_prefix(&format!("http://{}", app.addr)).unwrap();
    for said in ["false", "true"] {
        let said = format!("{{\"pass\":{said}}}");
        assert_eq!(Request::post(path).body(said).send(app.addr).await.status, 204);
    }
    processed(&app, &id).await;
    assert_hidden(&app, &id).await;
    assert_eq!(results(&app, &id).await["labels"], json!({"pass": false}));
}

#[tokio::test]
async fn a_gate_may_answer_later() {
    let service = Upstream::answering(answer("202 Accepted", "")).await;
    let app = asking(&service, GATE).start().await;
    let image = picture(64, 48, 255);
    let id = upload(&app, "a.png", &image).await;
    let request = service.received(1).await.remove(0);
    let asked: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let path = |name: &str| {
        let url = asked[name]["url"].as_str().unwrap();
        url.strip_prefix(&format!("http://{}", app.addr)).unwrap().to_owned()
    };
    // The service sees what nobody else does.
    assert_eq!(Request::get(&path("content")).send(app.addr).await.body, image);
    assert_hidden(&app, &id).await;
    let unclear = Request::post(&path("callback")).body("{}").send(app.addr).await;
    assert_problem(&unclear, "body-invalid");
    assert_hidden(&app, &id).await;
    let passed = Request::post(&path("callback")).body(r#"{"pass":true}"#).send(app.addr).await;
    assert_eq!(passed.status, 204);
    processed(&app, &id).await;
    assert_visible(&app, &id, &image).await;
}
