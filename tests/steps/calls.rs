//! What services outside are asked about images, and what becomes of their answers.

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{IMAGES, picture, processed, record, results, upload};
use crate::events::{Stream, delete};
use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::http::{Request, Response};
use crate::harness::problem::assert_problem;
use crate::harness::scripts::Script;
use crate::harness::upstream::{Recorded, Upstream};

/// Of the specification's own example.
const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// An answer of this status, with this body.
pub fn answer(status: &str, body: &str) -> &'static str {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).leak()
}

/// Has this service asked about each image by the step `labels`, with these settings of it.
pub fn asking(service: &Upstream, more: &str) -> Builder {
    let url = service.url("/label?as=json");
    App::builder().file(&format!(
        "[consumers.steps.labels]\nkind = \"http\"\nurl = \"{url}\"\nsecret = \"whsec_{SECRET}\"\n{more}\n"
    ))
}

fn body(request: &Recorded) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

/// Sends a request to a link of the app's own.
async fn to_link(app: &App, method: &str, link: &Value, body: &[u8]) -> Response {
    let link = link["url"].as_str().expect("a link");
    let path = link.strip_prefix(&format!("http://{}", app.addr)).expect("a link to here");
    let request = Request::new(method, path);
    let request = if method == "GET" { request } else { request.body(body) };
    request.send(app.addr).await
}

#[tokio::test]
async fn a_service_is_told_of_an_image_and_its_answer_is_kept() {
    let labels = json!({"labels": ["cat", "Kätzchen"], "score": 0.5});
    let service = Upstream::answering(answer("200 OK", &labels.to_string())).await;
    for builder in [asking(&service, ""), asking(&service, "").minio().await.postgres().await] {
        let app = builder.start().await;
        let image = picture(64, 48, 255);
        let mut stream = Stream::open(app.addr, "acme", None).await;
        let id = upload(&app, "a.png", &image).await;
        let created = stream.next().await;
        assert_eq!(processed(&app, &id).await["labels"], json!({"state": "done"}));
        assert_eq!(results(&app, &id).await["labels"], labels);
        assert_eq!(stream.next().await.event, "image.processed");

        let request = service.requests().pop().expect("a request");
        assert_eq!((request.method(), request.target()), ("POST", "/label?as=json"));
        assert_eq!(request.header("content-type").as_deref(), Some("application/json"));
        let asked = body(&request);
        for name in ["id", "type", "tenantId", "data"] {
            assert_eq!(asked[name], created.data[name], "{name}");
        }
        assert_eq!(asked["step"], "labels");
        let content = to_link(&app, "GET", &asked["content"], &[]).await;
        assert_eq!((content.status, content.body), (200, image));

        // As Standard Webhooks has it.
        let header = |name| request.header(name).expect("a field");
        let message = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
        let mut signed = message.into_bytes();
        signed.extend(&request.body);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(SECRET).unwrap());
        let signature = BASE64_STANDARD.encode(hmac::sign(&key, &signed));
        assert_eq!(header("webhook-signature"), format!("v1,{signature}"));
    }
}

#[tokio::test]
async fn a_service_may_answer_later() {
    let service = Upstream::answering(answer("202 Accepted", "")).await;
    let app = asking(&service, "").start().await;
    let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
    let callback = body(&service.received(1).await[0])["callback"].clone();
    let state = async || record(&app, &id).await["processing"]["labels"]["state"].clone();
    while state().await == "running" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(state().await, "pending");

    let post = |answer: Vec<u8>| {
        let (app, callback) = (&app, &callback);
        async move { to_link(app, "POST", callback, &answer).await }
    };
    assert_problem(&post(b"{".to_vec()).await, "body-invalid");
    assert_problem(&post(Vec::new()).await, "body-invalid");
    let large = format!("\"{}\"", "x".repeat(64 * 1024));
    assert_problem(&post(large.into_bytes()).await, "too-large");
    let mut forged = callback.clone();
    forged["url"] = callback["url"].as_str().unwrap().replace("/labels/", "/label/").into();
    assert_problem(&to_link(&app, "POST", &forged, b"{}").await, "forbidden");
    assert_problem(&to_link(&app, "PUT", &callback, b"{}").await, "method-not-allowed");
    assert_eq!(results(&app, &id).await, json!({}));

    assert_eq!(post(br#"{"labels":["cat"]}"#.to_vec()).await.status, 204);
    assert_eq!(processed(&app, &id).await["labels"], json!({"state": "done"}));
    // The first answer counts; one that was sent twice does no harm.
    assert_eq!(post(br#"{"labels":["dog"]}"#.to_vec()).await.status, 204);
    assert_eq!(results(&app, &id).await["labels"], json!({"labels": ["cat"]}));
    let jobs = app.run(&["jobs", "list"]);
    assert!(!jobs.stdout.contains("calls"), "{}", jobs.stdout);
    assert_eq!(service.requests().len(), 1);

    upload(&app, "a.png", &picture(48, 64, 255)).await;
    service.received(2).await;
    assert_problem(&post(b"{}".to_vec()).await, "not-found");
    let content = body(&service.requests()[0])["content"].clone();
    assert_problem(&to_link(&app, "GET", &content, &[]).await, "not-found");
}

#[tokio::test]
async fn who_does_not_call_back_is_asked_again() {
    let service = Upstream::answering(answer("202 Accepted", "")).await;
    let app = asking(&service, "answer_within = \"3s\"").start().await;
    upload(&app, "a.png", &picture(64, 48, 255)).await;
    let all = service.received(2).await;
    assert_eq!(all[0].header("webhook-id"), all[1].header("webhook-id"));
    // The link that came first has expired.
    let late = to_link(&app, "POST", &body(&all[0])["callback"], b"{}").await;
    assert_problem(&late, "forbidden");
}

#[tokio::test]
async fn an_answer_about_content_that_is_gone_is_not_kept() {
    let (service, switch) = Upstream::switched("").await;
    let app = asking(&service, "").start().await;
    let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
    service.received(1).await;
    upload(&app, "a.png", &picture(48, 64, 255)).await;
    let all = service.received(2).await;
    assert_eq!(body(&all[1])["type"], "image.replaced");
    assert_ne!(all[0].header("webhook-id"), all[1].header("webhook-id"));
    switch.send_replace(answer("200 OK", "{}"));
    processed(&app, &id).await;
    // One event for each change, and one for the answer that counts.
    let mut stream = Stream::open(app.addr, "acme", Some(0)).await;
    for event in ["image.created", "image.replaced", "image.processed"] {
        assert_eq!(stream.next().await.event, event);
    }
    assert_eq!(delete(&app, "acme", &id.as_str().into()).await.status, 204);
    assert_eq!(stream.next().await.event, "image.deleted");
}

#[tokio::test]
async fn a_service_in_trouble_is_asked_again() {
    let large = format!("\"{}\"", "x".repeat(64 * 1024));
    for (trouble, what) in [
        (answer("503 Service Unavailable\r\nRetry-After: 3", "{}"), "503"),
        (answer("302 Found\r\nLocation: /", ""), "302"),
        (answer("404 Not Found", "{}"), "404"),
        (answer("200 OK", "<html>"), "no JSON"),
        (answer("200 OK", &large), "too large"),
    ] {
        let (service, switch) = Upstream::switched(trouble).await;
        let app = asking(&service, "").start().await;
        let at = Instant::now();
        let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
        service.received(1).await;
        let error = || app.run(&["jobs", "list", "--json"]).stdout;
        let until = Instant::now() + Duration::from_secs(10);
        while !error().contains(what) {
            assert!(Instant::now() < until, "{what}: {}", error());
        }
        switch.send_replace(answer("200 OK", "[1]"));
        assert_eq!(processed(&app, &id).await["labels"]["state"], "done", "{what}");
        assert_eq!(results(&app, &id).await["labels"], json!([1]));
        assert!(what != "503" || at.elapsed() > Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_service_that_refuses_an_image_is_asked_once() {
    let service = Upstream::answering(answer("422 Unprocessable Content", "{}")).await;
    let app = asking(&service, "").start().await;
    let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
    let step = processed(&app, &id).await["labels"].clone();
    assert_eq!(step["state"], "failed");
    assert!(step["error"].as_str().unwrap().contains("422"), "{step}");
    assert!(results(&app, &id).await.get("labels").is_none());
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn a_service_that_hangs_is_given_up() {
    let (service, _switch) = Upstream::switched("").await;
    let app = asking(&service, "timeout = \"200ms\"").start().await;
    upload(&app, "a.png", &picture(64, 48, 255)).await;
    service.received(2).await;
}

#[tokio::test]
async fn what_a_dead_process_asked_is_asked_again() {
    let (service, switch) = Upstream::switched("").await;
    let mut app = asking(&service, "").start().await;
    let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
    service.received(1).await;
    app.kill();
    switch.send_replace(answer("200 OK", "{}"));
    app.start().await;
    assert_eq!(processed(&app, &id).await["labels"]["state"], "done");
    let all = service.requests();
    assert_eq!(all[0].header("webhook-id"), all[1].header("webhook-id"));
}

#[tokio::test]
async fn the_example_labels_images() {
    let mut example = Script::example("label.py", &["0", &format!("whsec_{SECRET}")]);
    let line = example.line();
    let port = line.trim().rsplit(' ').next().expect("a port");
    let step = |secret: &str| {
        format!(
            "[consumers.steps.labels]\nkind = \"http\"\nurl = \"http://127.0.0.1:{port}/\"\nsecret = \"{secret}\"\n"
        )
    };
    let app = App::builder().file(&step(&format!("whsec_{SECRET}"))).start().await;
    let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
    assert_eq!(processed(&app, &id).await["labels"]["state"], "done");
    let wanted = json!({"labels": ["bright", "reddish"], "format": "PNG"});
    assert_eq!(results(&app, &id).await["labels"], wanted);
    // Who does not know the secret is not listened to.
    let other = "whsec_bm90IHRoZSBzZWNyZXQgb2YgdGhlIGV4YW1wbGU=";
    let app = App::builder().file(&step(other)).start().await;
    upload(&app, "a.png", &picture(64, 48, 255)).await;
    let until = Instant::now() + Duration::from_secs(20);
    while !app.run(&["jobs", "list", "--json"]).stdout.contains("answered 401") {
        assert!(Instant::now() < until, "{}", app.log_text());
    }
}

#[tokio::test]
async fn links_lead_where_settings_say() {
    let service = Upstream::answering(answer("202 Accepted", "")).await;
    let app = asking(&service, "").set("SERVER__PUBLIC_URL", "https://images.example/api/");
    let app = app.start().await;
    let id = upload(&app, "a.png", &picture(64, 48, 255)).await;
    let asked = body(&service.received(1).await[0]);
    let link = Request::get(&format!("{IMAGES}/{id}/link")).tenant("acme").send(app.addr).await;
    for link in [&asked["content"], &asked["callback"], &link.json()] {
        let url = link["url"].as_str().unwrap();
        assert!(url.starts_with("https://images.example/api/signed/acme/"), "{url}");
    }
}
