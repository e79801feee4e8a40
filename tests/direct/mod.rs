//! Direct uploads: the bytes go to the store by a signed request, and become an image once looked at.

mod answers;
mod ends;
mod links;
mod refusals;
mod terms;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::http::{Connection, Request, Response};
use crate::harness::multipart::Form;

/// Everything below this is the direct uploads' API.
const DIRECT: &str = "/consumer-api/service/consumers/customer-images/direct-uploads";

/// A server with each store.
async fn both() -> [App; 2] {
    [App::local().await, App::minio().await]
}

/// A request of tenant `acme` below the API's path.
fn ask(method: &str, path: &str) -> Request {
    Request::new(method, &format!("{DIRECT}/{path}")).tenant("acme")
}

/// Asks for an upload of customer 42.
async fn open(app: &App, asked: &Value) -> Response {
    let request = ask("POST", "42").header("Content-Type", "application/json");
    request.body(asked.to_string()).send(app.addr).await
}

/// What is asked for of these bytes.
fn asking(name: &str, bytes: &[u8]) -> Value {
    json!({ "fileName": name, "contentType": "image/jpeg", "size": bytes.len() })
}

/// Asks for an upload that must be granted; its answer.
async fn opened(app: &App, asked: &Value) -> Value {
    let response = open(app, asked).await;
    assert_eq!(response.status, 201, "{}\n{}", response.text(), app.log_text());
    response.json()
}

/// The request that an answer tells, to where it goes.
fn told(url: &Value, method: &Value, headers: &Value) -> (Request, SocketAddr) {
    let url = url.as_str().expect("url").strip_prefix("http://").unwrap_or_else(|| panic!("{url}"));
    let (host, target) = url.split_once('/').unwrap();
    let method = method.as_str().expect("method");
    let request = Request::new(method, &format!("/{target}")).header("Host", host);
    let headers = headers.as_object().expect("headers");
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap()));
    (request, host.parse().unwrap())
}

/// Sends the bytes as the answer tells.
async fn send(answer: &Value, bytes: &[u8]) -> Response {
    if let Some(fields) = answer["fields"].as_object() {
        let (request, addr) = told(&answer["url"], &answer["method"], &json!({}));
        let form = fields
            .iter()
            .fold(Form::new(), |form, (name, value)| form.text(name, value.as_str().unwrap()));
        let form = form.named_file("file", "x", bytes);
        let request = request.header("Content-Type", form.content_type()).body(form.body());
        return request.send(addr).await;
    }
    let (request, addr) = told(&answer["url"], &answer["method"], &answer["headers"]);
    request.body(bytes).send(addr).await
}

/// Sends the bytes as the answer tells, which must succeed.
async fn sent(answer: &Value, bytes: &[u8]) {
    let response = send(answer, bytes).await;
    assert!(matches!(response.status, 200 | 204), "{} {}", response.status, response.text());
}

/// Says that the bytes are there.
async fn complete(app: &App, answer: &Value) -> Response {
    let id = answer["uploadId"].as_str().expect("uploadId");
    ask("POST", &format!("{id}/complete")).send(app.addr).await
}

/// The whole way; the record.
async fn uploaded(app: &App, name: &str, bytes: &[u8]) -> Value {
    let answer = opened(app, &asking(name, bytes)).await;
    sent(&answer, bytes).await;
    let response = complete(app, &answer).await;
    assert_eq!(response.status, 201, "{}\n{}", response.text(), app.log_text());
    response.json()
}

/// The whole way, for whom the server may die on it: the last answer, if one came to each request.
pub async fn try_upload(addr: SocketAddr, name: &str, bytes: &[u8]) -> Option<Response> {
    let request = ask("POST", "42").header("Content-Type", "application/json");
    let opened = crate::records::send(&request.body(asking(name, bytes).to_string()), addr).await?;
    if opened.status != 201 {
        return Some(opened);
    }
    let answer = opened.json();
    let whole =
        [json!({ "url": answer["url"], "headers": answer["headers"], "size": bytes.len() })];
    let parts = answer["parts"].as_array().map_or(&whole[..], Vec::as_slice);
    let mut rest = bytes;
    for part in parts {
        let (piece, others) = rest.split_at(part["size"].as_u64().unwrap() as usize);
        rest = others;
        let (request, to) = told(&part["url"], &json!("PUT"), &part["headers"]);
        let sent = crate::records::send(&request.body(piece), to).await?;
        if sent.status != 200 {
            return Some(sent);
        }
    }
    let id = answer["uploadId"].as_str().expect("uploadId");
    crate::records::send(&ask("POST", &format!("{id}/complete")), addr).await
}

/// Waits until the image's SHA-256 is known; it.
async fn sha256_of(app: &App, id: &Value) -> String {
    let path = format!("{}/{}", DIRECT.replace("direct-uploads", "images"), id.as_str().unwrap());
    for _ in 0..400 {
        let record = Request::get(&path).tenant("acme").send(app.addr).await.json();
        if let Some(sha256) = record["sha256"].as_str() {
            return sha256.to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no SHA-256 is computed: {}", app.log_text());
}

/// Opens a connection to where a URL leads.
async fn connect(url: &Value) -> Connection {
    let (_, addr) = told(url, &json!("PUT"), &json!({}));
    Connection::open(addr).await
}
