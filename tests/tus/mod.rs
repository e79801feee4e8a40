//! Resumable uploads by tus 1.0.0, as its clients speak it.

mod protocol;
mod refusals;
mod replicas;
mod resuming;

use std::net::SocketAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::Value;

use crate::harness::App;
use crate::harness::http::{Request, Response};
use crate::harness::text::sha256;

/// Everything below this is the resumable uploads' API.
const TUS: &str = "/consumer-api/service/consumers/customer-images/tus";

/// A server with each store.
async fn both() -> [App; 2] {
    [App::local().await, App::minio().await]
}

/// A request of tenant `acme` that speaks the protocol.
fn ask(method: &str, path: &str) -> Request {
    Request::new(method, path).tenant("acme").header("Tus-Resumable", "1.0.0")
}

/// The request that begins an upload of customer 42.
fn creation(name: &str, length: usize) -> Request {
    ask("POST", &format!("{TUS}/42"))
        .header("Upload-Length", length.to_string())
        .header("Upload-Metadata", metadata(name))
}

fn metadata(name: &str) -> String {
    format!("filename {},filetype aW1hZ2UvanBlZw==", BASE64.encode(name))
}

/// Begins an upload; its path.
async fn created(app: &App, name: &str, length: usize) -> String {
    app.tried(&format!("acme/customer/42/{name}"));
    let response = creation(name, length).send(app.addr).await;
    assert_eq!(response.status, 201, "{}\n{}", response.text(), app.log_text());
    path_of(&response)
}

/// Where a new upload is.
#[track_caller]
fn path_of(response: &Response) -> String {
    let location = response.header("location").expect("location");
    assert!(!location.starts_with('/') && !location.contains("://"), "{location}");
    format!("{TUS}/{location}")
}

/// More bytes.
fn patch(path: &str, offset: usize, bytes: &[u8]) -> Request {
    ask("PATCH", path)
        .header("Upload-Offset", offset.to_string())
        .header("Content-Type", "application/offset+octet-stream")
        .body(bytes)
}

/// Sends more bytes, which must be taken.
async fn patched(addr: SocketAddr, path: &str, offset: usize, bytes: &[u8]) -> Response {
    let response = patch(path, offset, bytes).send(addr).await;
    assert_eq!(response.status, 204, "{}", response.text());
    let wanted = (offset + bytes.len()).to_string();
    assert_eq!(response.header("upload-offset"), Some(wanted));
    response
}

/// The whole way in three pieces, for whom the server may die on it: the last answer, as one to an
/// upload in one request, if one came to each request.
pub async fn try_upload(addr: SocketAddr, name: &str, bytes: &[u8]) -> Option<Response> {
    let cuts = [0, bytes.len() / 3, bytes.len() / 2, bytes.len()];
    let first = creation(name, bytes.len());
    let first = first.header("Content-Type", "application/offset+octet-stream");
    let created = crate::records::send(&first.body(&bytes[..cuts[1]]), addr).await?;
    if created.status != 201 {
        return Some(created);
    }
    let path = path_of(&created);
    for cut in cuts[1..].windows(2) {
        let answer =
            crate::records::send(&patch(&path, cut[0], &bytes[cut[0]..cut[1]]), addr).await?;
        if answer.status != 204 {
            return Some(answer);
        }
        if let Some(record) = answer.header("content-location") {
            let id = record.rsplit('/').next().unwrap();
            let told = serde_json::json!({
                "id": id, "storedName": format!("acme/customer/42/{name}"),
            });
            return Some(Response { status: 201, body: told.to_string().into(), ..answer });
        }
    }
    panic!("all was sent and no image is told");
}

/// How far an upload is.
async fn offset(addr: SocketAddr, path: &str) -> usize {
    let response = ask("HEAD", path).send(addr).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
    response.header("upload-offset").expect("upload-offset").parse().unwrap()
}

/// Fails unless the upload has become an image of exactly these bytes.
async fn assert_image(app: &App, finished: &Response, name: &str, bytes: &[u8]) {
    let record = finished.header("content-location").expect("content-location");
    let record = Request::get(&record).tenant("acme").send(app.addr).await;
    assert_eq!(record.status, 200, "{}", record.text());
    let record: Value = record.json();
    assert_eq!(record["storedName"], format!("acme/customer/42/{name}"));
    assert_eq!(record["size"], bytes.len());
    assert_eq!(record["sha256"], sha256(bytes));
    assert!(app.object(&format!("acme/customer/42/{name}")).await.0 == bytes);
}
