//! Requests that are signed for others, sent to a real MinIO by curl.

use std::time::{Duration, SystemTime};

use gatehouse::storage::{
    ErrorKind, GetTerms, ObjectKey, PresignSettings, Presigner, PutTerms, S3Settings, SignedForm,
    SignedRequest,
};
use tempfile::TempDir;
use uuid::Uuid;

use super::{PART, Subject, commit, pattern, s3::s3};
use crate::harness::{
    curl::{Outcome, curl},
    minio::minio,
};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_signed_put_brings_what_was_agreed_and_nothing_else() {
    let client = Client::new(|_| {}).await;
    let (right, key) = (b"right", key("acme/put/a b+ü"));
    let terms = terms(right);
    let request = client.signer().put(&key, &terms, HOUR).await.unwrap();
    assert_eq!(request.method, "PUT");
    let mut names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    // The last but one only where the store is not AWS.
    let [kind, hash] = ["content-type", "x-amz-checksum-sha256"];
    assert_eq!(names, [kind, hash, "x-amz-copy-source-if-match", "x-amz-meta-gatehouse-upload"]);
    for signed in ["content-length", "content-type", "host", "x-amz-checksum-sha256"] {
        assert!(signed_headers(&request).iter().any(|name| name == signed), "{signed}");
    }
    let left = request.expires_at.duration_since(SystemTime::now()).unwrap();
    assert!(left <= HOUR && left > HOUR - Duration::from_secs(5), "{left:?}");

    for (bytes, why) in [(&b"righ"[..], "short"), (b"right!", "long"), (b"wrong", "other bytes")] {
        assert!(client.send(&request, bytes, &[]).await.status >= 400, "{why}");
    }
    let other_type = changed(&request, "content-type", "text/html");
    assert_eq!(client.send(&other_type, right, &[]).await.status, 403);
    let other_hash = changed(&request, "x-amz-checksum-sha256", "AAAA");
    assert_eq!(client.send(&other_hash, right, &[]).await.status, 403);
    let other_key =
        SignedRequest { url: request.url.replace("/put/", "/elsewhere/"), ..request.clone() };
    assert_eq!(client.send(&other_key, right, &[]).await.status, 403);
    assert_eq!(client.subject.kind_of_get(key.as_str()).await, Some(ErrorKind::NotFound));

    assert_eq!(client.send(&request, right, &[]).await.status, 200);
    assert_eq!(client.subject.get(key.as_str()).await, &right[..]);
    let head = client.subject.head(key.as_str()).await.unwrap();
    assert_eq!(head.content_type.as_deref(), Some("image/png"));
}

#[tokio::test]
async fn a_signed_put_copies_and_unpacks_nothing() {
    let client = Client::new(|_| {}).await;
    client.subject.put("other/secret", b"secret").await.unwrap();
    let source = format!("x-amz-copy-source: /{}/other/secret", client.bucket);
    let key = key("acme/put/copied");
    for bytes in [&b"secret"[..], b""] {
        let terms = PutTerms { sha256: None, ..terms(bytes) };
        let request = client.signer().put(&key, &terms, HOUR).await.unwrap();
        let more = ["--header", &source, "--header", "x-amz-metadata-directive: REPLACE"];
        assert_eq!(client.send(&request, bytes, &more).await.status, 412);
        // Neither without what keeps it from copying.
        let mut bare = request.clone();
        bare.headers.retain(|(name, _)| name == "content-type");
        assert!(client.send(&bare, bytes, &more).await.status >= 400);
        assert_eq!(client.subject.kind_of_get(key.as_str()).await, Some(ErrorKind::NotFound));
        let unpack = ["--header", "x-amz-meta-snowball-auto-extract: true"];
        assert!(client.send(&request, bytes, &unpack).await.status >= 400);
    }
    let reference = client.signer().begin_parts(&key, "image/png", Uuid::nil()).await.unwrap();
    let request = client.signer().part(&key, &reference, 1, 0, HOUR).await.unwrap();
    assert_eq!(client.send(&request, b"", &["--header", &source]).await.status, 412);
    assert_eq!(client.signer().parts(&key, &reference).await.unwrap(), []);
    client.subject.storage.abort(&key, &reference).await.unwrap();
}

#[tokio::test]
async fn a_signature_ends() {
    let client = Client::new(|_| {}).await;
    let key = key("acme/late");
    let request = client.signer().put(&key, &terms(b"late"), Duration::from_secs(1)).await.unwrap();
    let form = client.signer().form(&key, &terms(b"late"), Duration::from_secs(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert!(request.expires_at < SystemTime::now());
    assert_eq!(client.send(&request, b"late", &[]).await.status, 403);
    assert!(client.fill_in(&form, b"late", "image/png").await.status >= 400);
    assert_eq!(client.subject.kind_of_get(key.as_str()).await, Some(ErrorKind::NotFound));
    let long = client.signer().put(&key, &terms(b""), 100 * 24 * HOUR).await.unwrap();
    assert!(long.expires_at <= SystemTime::now() + 7 * 24 * HOUR);
}

#[tokio::test]
async fn a_signed_form_brings_what_was_agreed_and_nothing_else() {
    let client = Client::new(|_| {}).await;
    let (right, key) = (b"right", key("acme/form/a b+ü"));
    let form = client.signer().form(&key, &terms(right), HOUR).await.unwrap();
    for (bytes, why) in [(&b"righ"[..], "short"), (b"right!", "long"), (b"wrong", "other bytes")] {
        assert!(client.fill_in(&form, bytes, "image/png").await.status >= 400, "{why}");
    }
    for name in ["key", "Content-Type", "x-amz-checksum-sha256", "x-amz-date", "policy"] {
        let mut other = form.clone();
        let field = other.fields.iter_mut().find(|(n, _)| n == name).unwrap();
        field.1 = "acme/other".to_owned();
        assert!(client.fill_in(&other, right, "image/png").await.status >= 400, "{name}");
        other.fields.retain(|(n, _)| n != name);
        assert!(client.fill_in(&other, right, "image/png").await.status >= 400, "no {name}");
    }
    assert_eq!(minio().await.keys(&client.bucket).await, [""; 0]);
    let outcome = client.fill_in(&form, right, "image/png").await;
    assert_eq!(outcome.status, 204, "{}", outcome.body);
    assert_eq!(client.subject.get(key.as_str()).await, &right[..]);
    let head = client.subject.head(key.as_str()).await.unwrap();
    assert_eq!(head.content_type.as_deref(), Some("image/png"));
}

#[tokio::test]
async fn signed_parts_are_joined() {
    let client = Client::new(|_| {}).await;
    let (bytes, key) = (pattern(PART + 1000, 50), key("acme/parts/a b+ü"));
    let signer = client.signer();
    assert_eq!(signer.part_size(), PART as u64);
    let reference = signer.begin_parts(&key, "image/png", Uuid::nil()).await.unwrap();
    assert_eq!(signer.parts(&key, &reference).await.unwrap(), []);
    for (number, piece) in (1..).zip(bytes.chunks(PART)) {
        let size = piece.len() as u64;
        let request = signer.part(&key, &reference, number, size, HOUR).await.unwrap();
        assert!(signed_headers(&request).contains(&"content-length".to_owned()));
        assert_eq!(client.send(&request, &piece[1..], &[]).await.status, 403);
        assert_eq!(client.send(&request, piece, &[]).await.status, 200);
    }
    let parts = signer.parts(&key, &reference).await.unwrap();
    let sizes: Vec<_> = parts.iter().map(|part| (part.number, part.size)).collect();
    assert_eq!(sizes, [(1, PART as u64), (2, 1000)]);
    // The second time as if the first one's answer was lost.
    for _ in 0..2 {
        signer.join_parts(&key, &reference, &parts).await.unwrap();
    }
    assert!(client.subject.get(key.as_str()).await == bytes);
    let gone = signer.parts(&key, &reference).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    client.subject.storage.delete(&key).await.unwrap();
    let gone = signer.join_parts(&key, &reference, &parts).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);

    let reference = signer.begin_parts(&key, "image/png", Uuid::nil()).await.unwrap();
    client.subject.storage.abort(&key, &reference).await.unwrap();
    let gone = signer.parts(&key, &reference).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_signed_get_answers_as_was_agreed() {
    let client = Client::new(|_| {}).await;
    let key = key("acme/get/a b+ü");
    client.subject.put(key.as_str(), b"meow").await.unwrap();
    let terms = get_terms();
    let request = client.signer().get(&key, &terms, HOUR).await.unwrap();
    assert_eq!((request.method, request.headers.len()), ("GET", 0));
    let outcome = client.send(&request, b"", &["--include"]).await;
    assert_eq!(outcome.status, 200);
    let answer = outcome.body.replace('\r', "");
    for line in [
        format!("Content-Type: {}", terms.content_type),
        format!("Content-Disposition: {}", terms.disposition),
        format!("Cache-Control: {}", terms.cache_control),
    ] {
        assert!(answer.lines().any(|l| l.eq_ignore_ascii_case(&line)), "{line} in {answer}");
    }
    assert!(answer.ends_with("\n\nmeow"), "{answer}");
    let other = SignedRequest { url: request.url.replace("inline", "attachment"), ..request };
    assert_eq!(client.send(&other, b"", &[]).await.status, 403);
}

#[tokio::test]
async fn others_keys_and_addresses_sign_when_they_are_given() {
    let client = Client::new(|s| {
        s.presign = PresignSettings {
            access_key_id: Some("visitor".to_owned()),
            secret_access_key: Some("hush".into()),
            endpoint_url: Some("https://images.example:8443".to_owned()),
        };
    })
    .await;
    let key = key("acme/a");
    let request = client.signer().put(&key, &terms(b"x"), HOUR).await.unwrap();
    let begin = format!("https://images.example:8443/{}/acme/a?", client.bucket);
    assert!(request.url.starts_with(&begin), "{}", request.url);
    assert!(request.url.contains("X-Amz-Credential=visitor%2F"), "{}", request.url);
    let form = client.signer().form(&key, &terms(b"x"), HOUR).await.unwrap();
    assert_eq!(form.url, format!("https://images.example:8443/{}/", client.bucket));
    let credential = form.fields.iter().find(|(name, _)| name == "x-amz-credential").unwrap();
    assert!(credential.1.starts_with("visitor/"));
    // Links are signed by this process's own key, since the other need not be able to read.
    let link = client.signer().get(&key, &get_terms(), HOUR).await.unwrap();
    assert!(link.url.starts_with(&begin), "{}", link.url);
    assert!(!link.url.contains("visitor"), "{}", link.url);
    // This process's own requests are not theirs.
    client.subject.put("acme/a", b"x").await.unwrap();
}

#[tokio::test]
async fn encryption_is_signed_as_well() {
    let client = Client::new(|s| {
        s.server_side_encryption = Some(gatehouse::storage::Encryption::Kms);
        s.kms_key_id = Some("its-key".to_owned());
    })
    .await;
    let request = client.signer().put(&key("acme/a"), &terms(b"x"), HOUR).await.unwrap();
    let form = client.signer().form(&key("acme/a"), &terms(b"x"), HOUR).await.unwrap();
    for (name, value) in [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "its-key"),
    ] {
        let field = (name.to_owned(), value.to_owned());
        assert!(request.headers.contains(&field) && form.fields.contains(&field));
        assert!(signed_headers(&request).contains(&name.to_owned()));
    }
}

/// Somebody who has no key of the store, only what is signed.
struct Client {
    subject: Subject,
    bucket: String,
    folder: TempDir,
}

impl Client {
    async fn new(change: impl FnOnce(&mut S3Settings)) -> Self {
        let bucket = minio().await.fresh_bucket().await;
        let subject = s3(&bucket, change).await;
        Self { subject, bucket, folder: TempDir::new().unwrap() }
    }

    fn signer(&self) -> &dyn Presigner {
        self.subject.storage.presigner().unwrap()
    }

    async fn send(&self, request: &SignedRequest, body: &[u8], more: &[&str]) -> Outcome {
        std::fs::write(self.folder.path().join("body"), body).unwrap();
        let fields: Vec<_> = request.headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        let mut arguments = vec!["--globoff", "--request", request.method, &request.url];
        for field in &fields {
            arguments.extend(["--header", field]);
        }
        if request.method == "PUT" {
            arguments.extend(["--data-binary", "@body"]);
        }
        curl(self.folder.path(), &[&arguments, more].concat()).await
    }

    async fn fill_in(&self, form: &SignedForm, file: &[u8], kind: &str) -> Outcome {
        std::fs::write(self.folder.path().join("file"), file).unwrap();
        let fields: Vec<_> = form.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let file = format!("file=@file;type={kind}");
        let mut arguments = vec![form.url.as_str()];
        for field in &fields {
            arguments.extend(["--form-string", field]);
        }
        arguments.extend(["--form", &file]);
        curl(self.folder.path(), &arguments).await
    }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

fn terms(bytes: &[u8]) -> PutTerms {
    PutTerms {
        size: bytes.len() as u64,
        content_type: "image/png".to_owned(),
        sha256: commit(bytes).sha256,
        upload: Uuid::nil(),
    }
}

fn get_terms() -> GetTerms {
    GetTerms {
        content_type: "image/webp".to_owned(),
        disposition: "inline; filename=\"a b.webp\"; filename*=UTF-8''%C3%BC.webp".to_owned(),
        cache_control: "private, max-age=300".to_owned(),
    }
}

/// The same request with another field.
fn changed(request: &SignedRequest, name: &str, value: &str) -> SignedRequest {
    let mut changed = request.clone();
    changed.headers.iter_mut().find(|(n, _)| n == name).unwrap().1 = value.to_owned();
    changed
}

/// The fields that the signature covers.
fn signed_headers(request: &SignedRequest) -> Vec<String> {
    let named = request.url.split("X-Amz-SignedHeaders=").nth(1).unwrap();
    let named = named.split('&').next().unwrap();
    named.split("%3B").map(str::to_owned).collect()
}
