//! curl, step by step, as a person would who reads the documentation.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{API, LARGE, Photo, SMALL, assert_leads_to, both};
use crate::harness::App;
use crate::harness::curl::{Outcome, curl};
use crate::harness::text::sha256;

const TENANT: [&str; 2] = ["-H", "x-tenant-id: acme"];
const TUS: [&str; 2] = ["-H", "Tus-Resumable: 1.0.0"];
const BYTES: [&str; 2] = ["-H", "Content-Type: application/offset+octet-stream"];

/// curl in the photo's folder; the head of the answer is then in `head`.
async fn step(photo: &Photo, arguments: &[&[&str]]) -> Outcome {
    curl(photo.folder.path(), &[&["-D", "head"], &arguments.concat()[..]].concat()).await
}

/// A field of the answer to the step before.
fn field(photo: &Photo, name: &str) -> Option<String> {
    let head = fs::read_to_string(photo.beside("head")).unwrap();
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1.trim().to_owned())
}

/// What is meant by a reference in an answer of this URL: RFC 3986, section 5.
fn resolved(app: &App, base: &str, reference: &str) -> String {
    match reference {
        absolute if absolute.starts_with("http://") => absolute.to_owned(),
        path if path.starts_with('/') => app.url(path),
        relative => format!("{}/{relative}", base.rsplit_once('/').unwrap().0),
    }
}

/// Asks for an upload of the photo; the URL that it is at.
async fn create(app: &App, customer: &str, photo: &Photo) -> String {
    let url = app.url(&format!("{API}/tus/{customer}"));
    let length = format!("Upload-Length: {}", photo.bytes.len());
    // "photo.jpg", in base64.
    let metadata = ["-H", "Upload-Metadata: filename cGhvdG8uanBn", "-H", &length];
    let outcome = step(photo, &[&["-X", "POST", &url], &TENANT, &TUS, &metadata]).await;
    assert_eq!(outcome.status, 201, "{}", outcome.body);
    resolved(app, &url, &field(photo, "location").expect("a Location"))
}

/// How much of an upload is there, once nothing is on its way any more.
async fn offset(photo: &Photo, upload: &str) -> usize {
    for _ in 0..50 {
        let outcome = step(photo, &[&["-I", upload], &TENANT, &TUS]).await;
        if outcome.status != 423 {
            assert_eq!(outcome.status, 200, "{}", outcome.body);
            return field(photo, "upload-offset").expect("an offset").parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{upload} is locked")
}

/// Sends what is missing, from this offset.
async fn send(photo: &Photo, upload: &str, from: usize, how: &[&str]) -> Outcome {
    fs::write(photo.beside("rest"), &photo.bytes[from..]).unwrap();
    let at = format!("Upload-Offset: {from}");
    let patch = ["-X", "PATCH", upload, "-H", &at, "--data-binary", "@rest"];
    step(photo, &[&patch, &TENANT, &TUS, &BYTES, how]).await
}

#[tokio::test]
async fn curl_uploads_by_tus() {
    for app in both(App::builder).await {
        let photo = Photo::of(SMALL);
        let upload = create(&app, "1", &photo).await;
        assert_eq!(offset(&photo, &upload).await, 0);
        let outcome = send(&photo, &upload, 0, &[]).await;
        assert_eq!(outcome.status, 204, "{}", outcome.body);
        let location = json!(field(&photo, "content-location"));
        assert_leads_to(&location, &photo.assert_stored(&app, "1").await);
    }
}

#[tokio::test]
async fn curl_goes_on_with_an_upload_that_was_cut() {
    for app in both(App::builder).await {
        let photo = Photo::of(LARGE);
        let upload = create(&app, "1", &photo).await;
        let cut = send(&photo, &upload, 0, &["--limit-rate", "8M", "--max-time", "2"]).await;
        assert_eq!(cut.code, 28, "curl gave up in time: {}", cut.body);
        let from = offset(&photo, &upload).await;
        assert!((1..LARGE).contains(&from), "it goes on from {from}");
        let outcome = send(&photo, &upload, from, &[]).await;
        assert_eq!(outcome.status, 204, "{}", outcome.body);
        photo.assert_stored(&app, "1").await;
    }
}

/// Asks for a direct upload; what it is to be sent by.
async fn begin(app: &App, customer: &str, photo: &Photo, more: &Value) -> Value {
    let url = app.url(&format!("{API}/direct-uploads/{customer}"));
    let size = photo.bytes.len();
    let asked = json!({"fileName": "photo.jpg", "contentType": "image/jpeg", "size": size});
    let body = super::with(asked, more).to_string();
    let json = ["-H", "Content-Type: application/json", "-d", &body, &url];
    let outcome = step(photo, &[&TENANT, &json]).await;
    assert_eq!(outcome.status, 201, "{}", outcome.body);
    serde_json::from_str(&outcome.body).unwrap()
}

async fn complete(app: &App, photo: &Photo, direct: &Value) -> Value {
    let id = direct["uploadId"].as_str().expect("an id");
    let url = app.url(&format!("{API}/direct-uploads/{id}/complete"));
    let outcome = step(photo, &[&["-X", "POST", &url], &TENANT]).await;
    assert_eq!(outcome.status, 201, "{}", outcome.body);
    serde_json::from_str(&outcome.body).unwrap()
}

/// Name and value of each member.
fn pairs(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    let members = object.as_object().expect("members");
    members.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("text")))
}

#[tokio::test]
async fn curl_puts_to_the_signed_url_with_its_headers() {
    for app in both(App::builder).await {
        let photo = Photo::of(SMALL);
        let digest = json!({"sha256": sha256(&photo.bytes)});
        for (customer, more) in [("1", &json!({})), ("2", &digest)] {
            let direct = begin(&app, customer, &photo, more).await;
            let headers: Vec<_> =
                pairs(&direct["headers"]).map(|(name, value)| format!("{name}: {value}")).collect();
            let headers: Vec<_> = headers.iter().flat_map(|header| ["-H", header]).collect();
            let put = ["-T", "photo.jpg", direct["url"].as_str().expect("a URL")];
            let outcome = step(&photo, &[&put, &headers]).await;
            assert!((200..300).contains(&outcome.status), "{} {}", outcome.status, outcome.body);
            let told = complete(&app, &photo, &direct).await;
            assert_eq!(told["id"], photo.assert_stored(&app, customer).await["id"]);
        }
    }
}

#[tokio::test]
async fn curl_posts_the_signed_form() {
    let app = App::minio().await;
    let photo = Photo::of(SMALL);
    let direct = begin(&app, "1", &photo, &json!({"form": true})).await;
    let fields: Vec<_> =
        pairs(&direct["fields"]).map(|(name, value)| format!("{name}={value}")).collect();
    // As text: in `-F` an @ or < at a value's beginning would mean a file.
    let fields: Vec<_> = fields.iter().flat_map(|field| ["--form-string", field]).collect();
    let url = direct["url"].as_str().expect("a URL");
    let outcome = step(&photo, &[&fields, &["-F", "file=@photo.jpg", url]]).await;
    assert!((200..300).contains(&outcome.status), "{} {}", outcome.status, outcome.body);
    let told = complete(&app, &photo, &direct).await;
    assert_eq!(told["id"], photo.assert_stored(&app, "1").await["id"]);
}
