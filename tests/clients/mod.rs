//! Clients that others made and people use: tus in node, Python, by curl and by Uppy, and direct
//! uploads by Uppy, `fetch`, a plain form and curl, from a page of another origin where it is a browser's.

mod browser;
mod by_curl;
mod by_tus;
mod direct;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::http::{Request, Response};
use crate::harness::images::jpeg;
use crate::harness::text::sha256;

/// Everything that has to do with images is below this.
const API: &str = "/consumer-api/service/consumers/customer-images";

/// Less than one part of a store.
const SMALL: usize = 5_000_000;
/// Three parts of 8 MiB, the last of them not full.
const LARGE: usize = 24_000_000;

/// An image in a file, as a client finds it.
struct Photo {
    bytes: Vec<u8>,
    folder: TempDir,
}

impl Photo {
    fn of(size: usize) -> Self {
        let (bytes, folder) = (jpeg(1200, 800, size), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("photo.jpg"), &bytes).unwrap();
        Self { bytes, folder }
    }

    fn path(&self) -> String {
        self.beside("photo.jpg")
    }

    /// The path of a file beside it.
    fn beside(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Fails unless it is an image of this customer of tenant `acme`, byte for byte; its record.
    async fn assert_stored(&self, app: &App, customer: &str) -> Value {
        let key = format!("acme/customer/{customer}/photo.jpg");
        app.tried(&key);
        let found = get(app, &format!("/images?storedName={key}")).await.json();
        let record = found["images"][0].clone();
        assert_eq!(record["sha256"], sha256(&self.bytes), "{found}\n{}", app.log_text());
        assert_eq!(record["size"], self.bytes.len());
        assert_eq!(record["contentType"], "image/jpeg");
        let id = record["id"].as_str().expect("an id");
        let content = get(app, &format!("/images/{id}/content")).await;
        assert!(content.body == self.bytes, "{customer}: the content differs");
        record
    }
}

/// What tenant `acme` reads.
async fn get(app: &App, path: &str) -> Response {
    Request::get(&format!("{API}{path}")).tenant("acme").send(app.addr).await
}

/// A job for a client that speaks tus, at an address that leads to the gateway.
fn tus(addr: SocketAddr, customer: &str, photo: &Photo) -> Value {
    json!({
        "endpoint": format!("http://{addr}{API}/tus/{customer}"),
        "headers": {"x-tenant-id": "acme"},
        "metadata": {"filename": "photo.jpg"},
        "file": photo.path(),
    })
}

/// The job with more in it.
fn with(mut job: Value, more: &Value) -> Value {
    let more = more.as_object().expect("members").clone();
    job.as_object_mut().expect("a job").extend(more);
    job
}

/// What became of a job that a client must have been able to do.
#[track_caller]
fn done(told: Value) -> Value {
    assert!(told["error"].is_null(), "{}", told["error"].as_str().unwrap_or_default());
    told
}

/// Fails unless this, a Content-Location, leads to the image of this record.
#[track_caller]
fn assert_leads_to(location: &Value, record: &Value) {
    let id = record["id"].as_str().expect("an id");
    let leads = location.as_str().is_some_and(|l| l.ends_with(&format!("{API}/images/{id}")));
    assert!(leads, "{location} does not lead to {id}");
}

/// A gateway in front of each store.
async fn both(builder: impl Fn() -> Builder) -> [App; 2] {
    [builder().start().await, builder().minio().await.start().await]
}
