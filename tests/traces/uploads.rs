//! An upload is one trace, through its steps to what its receivers are told.

use serde_json::json;

use super::*;
use crate::harness::App;
use crate::harness::collector::{Collector, Span, only};
use crate::harness::upload::put;
use crate::harness::upstream::Upstream;
use crate::steps::{calls::answer, picture};
use crate::webhooks::Hook;

/// With a variant, a service that is asked, and webhooks.
fn steps(service: &Upstream) -> String {
    let url = service.url("/label");
    format!(
        "[consumers.steps.thumb]\nkind = \"variant\"\nwidth = 32\n\
         [consumers.steps.labels]\nkind = \"http\"\nurl = \"{url}\"\nsecret = \"whsec_{}\"\n\
         [webhooks]\nallowed_networks = [\"127.0.0.0/8\"]\n",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )
}

/// Whether `span` is below `root`, by way of the others.
fn is_below(span: &Span, root: &Span, all: &[Span]) -> bool {
    let parent = all.iter().find(|other| other.id == span.parent);
    parent.is_some_and(|parent| parent.id == root.id || is_below(parent, root, all))
}

async fn one_trace(collector: &Collector, app: &App, service: &Upstream, in_s3: bool) {
    let receiver = Upstream::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    Hook::of(app, &json!({ "url": receiver.url("/hook?key=secret") })).await;
    let request = within(put("a.png", &picture(64, 48, 255)), true).header("tracestate", "rojo=1");
    let response = request.send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
    // Of the upload, and of what was made of it: of the variant and of the labels, or of both at once.
    receiver.received(2).await;
    service.received(1).await;

    let route = "/consumer-api/service/{service}/customer-images/upload/{customerId}/{fileName}";
    let names = ["process images", "process calls", "process webhooks", "steps.make", "POST"];
    let mut spans = collector.trace_of("/upload/42/a.png", &names).await;
    // All that is told has been told within a span.
    let told: Vec<_> = [service.requests(), receiver.requests()].concat();
    for request in &told {
        let parent = request.header("traceparent").expect("a traceparent");
        assert_eq!(parts(&parent)[0], TRACE);
        assert_eq!(request.header("tracestate").as_deref(), Some("rojo=1"));
        let id = &parts(&parent)[1];
        let is_its = |span: &Span| span.id == *id;
        spans = collector.until(|spans| spans.iter().any(is_its)).await;
        let call = spans.iter().find(|span| is_its(span)).expect("a span");
        assert_eq!((call.kind, call.name.as_str(), call.trace.as_str()), ("client", "POST", TRACE));
    }
    spans.retain(|span| span.trace == TRACE);

    let root = only(&spans, &format!("PUT {route}"));
    assert_eq!((root.kind, root.parent.as_str()), ("server", PARENT));
    assert_eq!(root.get("http.response.status_code"), "201");
    assert_eq!(root.get("gatehouse.tenant"), "acme");
    let job = |queue: &str| {
        spans.iter().find(|span| span.name == format!("process {queue}")).expect(queue)
    };
    for name in ["records.prepare", "storage.finish", "records.complete"] {
        assert_eq!(only(&spans, name).parent, root.id, "{name}");
    }
    let complete = only(&spans, "records.complete");
    for queue in ["images", "webhooks"] {
        let added = spans.iter().filter(|span| span.name == format!("process {queue}"));
        assert!(added.clone().any(|span| span.parent == complete.id), "{queue}: {spans:#?}");
        assert!(added.clone().all(|span| span.kind == "consumer" && is_below(span, root, &spans)));
    }
    assert_eq!(job("images").get("messaging.destination.name"), "images");
    assert_eq!(job("images").get("gatehouse.job.outcome"), "done");
    assert_eq!(only(&spans, "steps.make").parent, job("images").id);
    if in_s3 {
        let stored: Vec<_> = spans.iter().filter(|span| span.name == "S3.PutObject").collect();
        assert_eq!(stored.len(), 2, "the image and its variant: {spans:#?}");
        assert!(stored.iter().any(|put| put.parent == only(&spans, "storage.finish").id));
        assert!(stored.iter().any(|put| put.parent == job("images").id));
        assert_eq!(only(&spans, "S3.GetObject").parent, job("images").id);
        for put in stored {
            assert_eq!((put.kind, put.get("rpc.method")), ("client", "PutObject"));
            assert_eq!(put.get("aws.s3.bucket"), app.bucket().unwrap().0);
            assert_eq!(put.get("http.response.status_code"), "200");
        }
    }
    // Paths and queries of others are theirs.
    let all = format!("{spans:?}");
    assert!(!all.contains("/hook") && !all.contains("key=secret") && !all.contains("/label"));
}

#[tokio::test]
async fn an_upload_is_one_trace_through_to_its_webhook() {
    let (collector, service) =
        (Collector::grpc().await, Upstream::answering(answer("200 OK", "{}")).await);
    let app = collector.builder().file(&steps(&service)).start().await;
    one_trace(&collector, &app, &service, false).await;
}

#[tokio::test]
async fn an_upload_is_one_trace_through_s3_and_postgres_too() {
    let (collector, service) =
        (Collector::http().await, Upstream::answering(answer("200 OK", "{}")).await);
    let builder = collector.builder().minio().await.postgres().await;
    let app = builder.file(&steps(&service)).start().await;
    one_trace(&collector, &app, &service, true).await;
}

#[tokio::test]
async fn the_parts_of_a_large_upload_are_of_its_trace() {
    let collector = Collector::grpc().await;
    let app = collector.builder().minio().await.start().await;
    let image = crate::harness::images::jpeg(9, 9, 12 << 20);
    app.tried("acme/customer/42/a.jpg");
    assert_eq!(within(put("a.jpg", &image), true).send(app.addr).await.status, 201);
    let names = ["S3.CreateMultipartUpload", "S3.UploadPart", "S3.CompleteMultipartUpload"];
    let spans = collector.trace_of("/upload/42/a.jpg", &names).await;
    let root = spans.iter().find(|span| span.kind == "server").expect("a root");
    assert_eq!(spans.iter().filter(|span| span.name == "S3.UploadPart").count(), 2);
    for span in spans.iter().filter(|span| span.name.starts_with("S3.")) {
        assert!(!span.is_error && is_below(span, root, &spans), "{span:?}");
    }
}

#[tokio::test]
async fn a_signed_request_has_nothing_of_the_trace_in_it() {
    let collector = Collector::grpc().await;
    let app = collector.builder().minio().await.start().await;
    let path = "/consumer-api/service/consumers/customer-images/direct-uploads/42";
    let asked = json!({ "fileName": "a.png", "contentType": "image/png", "size": 10 }).to_string();
    let request = Request::post(path).tenant("acme").header("content-type", "application/json");
    let answer = within(request.body(asked), true).send(app.addr).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(!answer.text().contains("trace"), "{}", answer.text());
    let spans = collector.until(|spans| spans.iter().any(|span| span.kind == "server")).await;
    assert!(spans.iter().all(|span| span.name != "S3.PutObject"), "{spans:#?}");
    // What is signed are secrets.
    let signature = answer.text();
    let (_, signature) = signature.split_once("X-Amz-Signature=").expect("a signed URL");
    assert!(!format!("{spans:?}").contains(&signature[..32]));
}
