//! `gatehouse check --storage`, over real stores that have what is needed, and over some that
//! have not.

use serde_json::{Value, json};

use crate::harness::builder::{Builder, Ended};
use crate::harness::minio::{Minio, minio};
use crate::harness::{App, port};

const PAGE: &str = "https://app.example.com";

/// What S3 can be asked for here, but for what is signed.
const CALLS: [&str; 12] = [
    "HeadBucket of ",
    "ListObjectsV2",
    "ListMultipartUploads",
    "PutObject",
    "HeadObject",
    "GetObject",
    "CopyObject",
    "CreateMultipartUpload",
    "UploadPart",
    "ListParts",
    "AbortMultipartUpload",
    "DeleteObject",
];

fn check(builder: &Builder) -> Ended {
    builder.run(&["check", "--storage"])
}

/// Fails unless exactly one thing is missing; its line.
fn the_missing(ended: &Ended) -> &str {
    assert_eq!(ended.status.code(), Some(1), "{} {}", ended.stdout, ended.stderr);
    let line = ended.stderr.trim_end();
    assert!(line.starts_with("missing: ") && line.lines().count() == 1, "{line}");
    line
}

/// The JSON of docs/bucket.md, in its order.
fn documented(number: usize) -> Value {
    let page = include_str!("../../docs/bucket.md");
    let block = page.split("```json").nth(number + 1).expect("a block of JSON");
    serde_json::from_str(block.split("```").next().unwrap()).expect("JSON")
}

/// The policy's statements for this bucket, but for the action `without`.
fn statements(policy: &Value, bucket: &str, without: &str) -> Value {
    let text = policy["Statement"].to_string();
    let text = text.replace("arn:aws:s3:::images", &format!("arn:aws:s3:::{bucket}"));
    let mut statements: Vec<Value> = serde_json::from_str(&text).unwrap();
    for statement in &mut statements {
        let actions = statement["Action"].as_array_mut().unwrap();
        actions.retain(|action| action != without);
    }
    json!(statements)
}

/// This process with a key that has the documented permissions but for `without`.
async fn permitted(store: &Minio, bucket: &str, without: &str) -> Builder {
    let statements = statements(&documented(0), bucket, without);
    let (key, secret) = store.restricted_key(&statements).await;
    App::builder().s3(&Minio::at(store.endpoint.clone(), key, secret), bucket)
}

/// The same, and this key for uploads.
fn signing(builder: Builder, key: &str, secret: &str) -> Builder {
    let builder = builder.set("STORAGE__S3__PRESIGN__ACCESS_KEY_ID", key);
    builder.set("STORAGE__S3__PRESIGN__SECRET_ACCESS_KEY", secret)
}

#[tokio::test]
async fn a_folder_that_has_all_is_left_as_it_was() {
    let app = App::builder().prepare();
    let ended = app.run(&["check", "--storage"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.matches("ok: storage.local.root: ").count(), 4, "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().count(), 4, "{}", ended.stdout);
    let left: Vec<_> =
        std::fs::read_dir(app.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".gatehouse"]);
}

#[tokio::test]
async fn a_bucket_that_has_all_is_left_as_it_was() {
    let store = minio().await;
    for prefix in ["", "some/prefix-"] {
        let bucket = store.fresh_bucket().await;
        let builder = App::builder().s3(store, &bucket).set("STORAGE__S3__PREFIX", prefix);
        let ended = check(&builder);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        for call in CALLS {
            let line = format!("ok: {call}");
            assert!(ended.stdout.lines().any(|l| l.starts_with(&line)), "{line}: {}", ended.stdout);
        }
        for line in
            ["ok: a signed PutObject", "ok: a signed GetObject", "advice: the key that signs"]
        {
            assert!(ended.stdout.contains(line), "{line}: {}", ended.stdout);
        }
        assert!(!ended.stdout.contains("CORS"), "no page is to upload");
        assert!(store.keys(&bucket).await.is_empty());
    }
}

#[tokio::test]
async fn all_that_the_documentation_names_is_enough() {
    let store = minio().await;
    let bucket = store.fresh_bucket().await;
    let (key, secret) = store.restricted_key(&statements(&documented(1), &bucket, "")).await;
    let builder = signing(permitted(store, &bucket, "").await, &key, &secret);
    let ended = builder.run(&["check", "--storage", "--origin", PAGE]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("ok: the key that signs uploads cannot read"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains(&format!("ok: CORS for pages of {PAGE}")), "{}", ended.stdout);
    assert!(!ended.stdout.contains("advice"), "{}", ended.stdout);
}

#[tokio::test]
async fn each_missing_permission_is_named() {
    let store = minio().await;
    for (action, calls) in [
        ("s3:ListBucket", &["HeadBucket", "ListObjectsV2"][..]),
        ("s3:ListBucketMultipartUploads", &["ListMultipartUploads"]),
        ("s3:PutObject", &["PutObject", "CreateMultipartUpload", "a signed PutObject"]),
        ("s3:GetObject", &["HeadObject", "GetObject", "CopyObject", "a signed GetObject"]),
        ("s3:DeleteObject", &["DeleteObject"]),
        ("s3:ListMultipartUploadParts", &["ListParts"]),
        ("s3:AbortMultipartUpload", &["AbortMultipartUpload"]),
    ] {
        let bucket = store.fresh_bucket().await;
        let ended = check(&permitted(store, &bucket, action).await);
        assert_eq!(ended.status.code(), Some(1), "{action}: {}", ended.stdout);
        let lines: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(lines.len(), calls.len(), "{action}: {}", ended.stderr);
        for (line, call) in lines.iter().zip(calls) {
            assert!(line.starts_with(&format!("missing: {call}")), "{line}");
            assert!(line.contains(action), "{line}");
            assert!(line.contains(&format!("on arn:aws:s3:::{bucket}")), "{line}");
        }
        if action != "s3:DeleteObject" {
            assert!(store.keys(&bucket).await.is_empty(), "{action}");
        }
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_all_that_is_told() {
    let ended = check(&App::builder().s3(minio().await, "no-such-bucket-here"));
    let line = the_missing(&ended);
    assert!(line.contains("make the bucket \"no-such-bucket-here\""), "{line}");
}

#[tokio::test]
async fn a_wrong_secret_is_all_that_is_told() {
    let store = minio().await;
    let bucket = store.fresh_bucket().await;
    let wrong = |key: &str| Minio::at(store.endpoint.clone(), key.into(), "hush-hush".into());
    let ended = check(&App::builder().s3(&wrong(&store.access_key), &bucket));
    let line = the_missing(&ended);
    assert!(line.contains("give AWS_SECRET_ACCESS_KEY the secret"), "{line}");
    assert!(!line.contains("hush-hush"), "{line}");
    let ended = check(&App::builder().s3(&wrong("nobody"), &bucket));
    assert!(the_missing(&ended).contains("give AWS_ACCESS_KEY_ID a key that it knows"));
}

#[tokio::test]
async fn a_store_that_is_down_is_all_that_is_told() {
    let nowhere = port::free();
    let store = Minio::at(format!("http://{nowhere}"), "key".into(), "secret".into());
    let ended = check(&App::builder().s3(&store, "images"));
    let line = the_missing(&ended);
    assert!(line.contains("Connection refused"), "{line}");
    assert!(line.contains("storage.s3.endpoint_url"), "{line}");
}

#[tokio::test]
async fn a_key_for_uploads_is_tried_by_itself() {
    let store = minio().await;
    let bucket = store.fresh_bucket().await;
    let builder = App::builder().s3(store, &bucket);
    let ended = check(&signing(builder.clone(), &store.access_key, "hush-hush"));
    let line = the_missing(&ended);
    assert!(line.starts_with("missing: a signed PutObject"), "{line}");
    assert!(line.contains("storage.s3.presign.secret_access_key"), "{line}");

    let elsewhere = json!([{
        "Effect": "Allow",
        "Action": ["s3:PutObject"],
        "Resource": [format!("arn:aws:s3:::{bucket}/other/*")],
    }]);
    let (key, secret) = store.restricted_key(&elsewhere).await;
    let ended = check(&signing(builder.clone(), &key, &secret));
    let needed = format!("allow s3:PutObject on arn:aws:s3:::{bucket}/_staging/*");
    assert!(the_missing(&ended).contains(&needed), "{}", ended.stderr);

    // It may do all that this process may.
    let ended = check(&signing(builder.clone(), &store.access_key, &store.secret_key));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let advice = "advice: the key that signs uploads: it can read objects";
    assert!(ended.stdout.contains(advice), "{}", ended.stdout);

    let nowhere = format!("http://{}", port::free());
    let ended = check(&builder.set("STORAGE__S3__PRESIGN__ENDPOINT_URL", &nowhere));
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.matches("set storage.s3.presign.endpoint_url").count(), 2);
    assert!(store.keys(&bucket).await.is_empty());
}

#[tokio::test]
async fn pages_that_the_store_does_not_let_in_are_named_with_the_rules_they_need() {
    let store = Minio::start_with(&[("MINIO_API_CORS_ALLOW_ORIGIN", PAGE)]).await;
    let bucket = store.fresh_bucket().await;
    let other = "https://other.example.com";
    let builder = App::builder().s3(&store, &bucket);
    let both = builder.clone().set("SERVER__CORS__ALLOWED_ORIGINS", &format!("{PAGE},{other}"));
    let ended = check(&both);
    assert!(ended.stdout.contains(&format!("ok: CORS for pages of {PAGE}")), "{}", ended.stdout);
    let line = the_missing(&ended);
    assert!(line.starts_with(&format!("missing: CORS for pages of {other}: ")), "{line}");
    let rules = line.split('\'').nth(1).expect("rules");
    let rules: Value = serde_json::from_str(rules).expect("JSON");
    let mut wanted = documented(2);
    wanted["CORSRules"][0]["AllowedOrigins"] = json!([PAGE, other]);
    assert_eq!(rules, wanted);

    let ended = builder.set("SERVER__CORS__ALLOWED_ORIGINS", "*").run(&["check", "--storage"]);
    assert!(the_missing(&ended).starts_with("missing: CORS for pages of *: "));
    let ended = both.run(&["check", "--storage", "--origin", PAGE]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn what_is_asked_for_must_be_right() {
    for arguments in
        [&["check", "--storage", "--origin", "app.example.com"][..], &["check", "--origin", PAGE]]
    {
        let ended = App::builder().run(arguments);
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    }
    let ended =
        App::builder().set("STORAGE__LOCAL__ROOT", "/proc/nowhere").run(&["check", "--storage"]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("storage.local.root"), "{}", ended.stderr);
}
