//! The images API: records, listings, contents, deletions, asked of both stores.

mod by_curl;
mod calls;
mod conditional;
mod damage;
mod listing;
mod ranges;
mod versions;

use serde_json::Value;

use crate::harness::App;
use crate::harness::http::{Request, Response};
use crate::harness::upload::UPLOAD;

/// Everything below this is the images API.
const IMAGES: &str = "/consumer-api/service/consumers/customer-images/images";

/// A server with each store.
async fn both() -> [App; 2] {
    [App::local().await, App::minio().await]
}

/// A request of tenant `acme` below the API's path.
fn ask(method: &str, path: &str) -> Request {
    Request::new(method, &format!("{IMAGES}{path}")).tenant("acme")
}

/// The path of an image's content.
fn content(image: &Value) -> String {
    format!("/{}/content", image["id"].as_str().expect("an id"))
}

/// The path of an image's record.
fn record(image: &Value) -> String {
    format!("/{}", image["id"].as_str().expect("an id"))
}

/// A raw upload by tenant `acme`.
fn put(customer: &str, name: &str, image: &[u8]) -> Request {
    Request::put(&format!("{UPLOAD}/{customer}/{name}")).tenant("acme").body(image)
}

/// Uploads an image as tenant `acme`; its answer.
async fn upload(app: &App, customer: &str, name: &str, image: &[u8]) -> Value {
    app.tried(&format!("acme/customer/{customer}/{name}"));
    let response = put(customer, name, image).send(app.addr).await;
    assert_eq!(response.status, 201, "{}\n{}", response.text(), app.log_text());
    response.json()
}

/// The answer of an upload that succeeded.
#[track_caller]
fn uploaded(response: &Response) -> Value {
    assert_eq!(response.status, 201, "{}", response.text());
    response.json()
}

/// Sends a request; a JSON answer that must be 200.
async fn json(app: &App, request: &Request) -> Value {
    let response = request.send(app.addr).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    response.json()
}
