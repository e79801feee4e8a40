//! What is refused, and leaves nothing.

use serde_json::json;

use super::{DIRECT, ask, asking, both, complete, open, opened, send, sent};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images;
use crate::harness::problem::assert_problem;

#[tokio::test]
async fn a_wrong_request_says_what_is_wrong() {
    let app = App::local().await;
    let good = asking("a.jpg", &[0; 5000]);
    for (member, value, problem) in [
        ("fileName", json!(null), "upload-invalid"),
        ("fileName", json!(".."), "file-name-invalid"),
        ("fileName", json!("a\u{0}b"), "file-name-invalid"),
        ("displayName", json!("a\nb"), "file-name-invalid"),
        ("contentType", json!("text/html"), "image-unsupported"),
        ("contentType", json!("image/svg+xml"), "image-unsupported"),
        ("contentType", json!(7), "upload-invalid"),
        ("size", json!(0), "upload-invalid"),
        ("size", json!(-1), "upload-invalid"),
        ("size", json!("5"), "upload-invalid"),
        ("size", json!((32 << 20) + 1), "too-large"),
        ("sha256", json!("abc"), "upload-invalid"),
        ("sha256", json!("g".repeat(64)), "upload-invalid"),
        ("form", json!(true), "upload-invalid"),
    ] {
        let mut asked = good.clone();
        asked[member] = value;
        assert_problem(&open(&app, &asked).await, problem);
    }
    let post = |body: &str| ask("POST", "42").header("Content-Type", "application/json").body(body);
    // The members' values in their order are no object.
    let values = r#"["a.jpg", "image/jpeg", 5000, null, null, false]"#;
    for body in ["", "[]", values, "{", "\"a\"", &format!("\"{}\"", "a".repeat(20_000))] {
        assert_problem(&post(body).send(app.addr).await, "upload-invalid");
    }
    let other = ask("POST", "42").header("Content-Type", "text/plain").body(good.to_string());
    assert_problem(&other.send(app.addr).await, "media-type-unsupported");
    let other = ask("POST", ".bad").header("Content-Type", "application/json");
    assert_problem(&other.body(good.to_string()).send(app.addr).await, "customer-invalid");
    let nobody = Request::post(&format!("{DIRECT}/42")).header("Content-Type", "application/json");
    assert_problem(&nobody.body(good.to_string()).send(app.addr).await, "tenant-missing");
    assert_problem(&ask("PUT", "42").send(app.addr).await, "method-not-allowed");
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn what_is_no_image_ends_the_upload() {
    for app in both().await {
        let png = images::png(30_000, 30_000, 5000);
        let mut broken = images::jpeg(30, 20, 5000);
        broken[2] = 0;
        for (bytes, problem) in [
            (vec![b'x'; 5000], "image-unsupported"),
            (images::bmp(30, 20, 5000), "image-unsupported"),
            (png, "image-invalid"),
            (broken, "image-unsupported"),
            (vec![0xff, 0xd8, 0xff], "image-invalid"),
        ] {
            let answer = opened(&app, &asking("a.jpg", &bytes)).await;
            sent(&answer, &bytes).await;
            assert_problem(&complete(&app, &answer).await, problem);
            assert_eq!(complete(&app, &answer).await.status, 404);
            app.settles_to(&[]).await;
        }
    }
}

#[tokio::test]
async fn another_tenants_upload_is_not_there() {
    for app in both().await {
        let image = images::jpeg(30, 20, 5000);
        let answer = opened(&app, &asking("a.jpg", &image)).await;
        sent(&answer, &image).await;
        let id = answer["uploadId"].as_str().unwrap();
        for (method, rest) in [("GET", ""), ("DELETE", ""), ("POST", "/complete")] {
            for id in [id, "0199e0d5-0000-7000-8000-000000000000", "x"] {
                let path = format!("{DIRECT}/{id}{rest}");
                let foreign = Request::new(method, &path).tenant("other").send(app.addr).await;
                assert_problem(&foreign, "not-found");
            }
        }
        assert_eq!(complete(&app, &answer).await.status, 201);
        let foreign = Request::post(&format!("{DIRECT}/{id}/complete")).tenant("other");
        assert_problem(&foreign.send(app.addr).await, "not-found");
    }
}

#[tokio::test]
async fn a_quota_counts_what_has_begun() {
    for builder in [App::builder(), App::builder().minio().await] {
        let app = builder.set("QUOTAS__BYTES", "9000").start().await;
        let image = images::jpeg(30, 20, 5000);
        let answer = opened(&app, &asking("a.jpg", &image)).await;
        assert_problem(&open(&app, &asking("b.jpg", &image)).await, "quota-exceeded");
        let id = answer["uploadId"].as_str().unwrap();
        assert_eq!(ask("DELETE", id).send(app.addr).await.status, 204);
        let answer = opened(&app, &asking("b.jpg", &image)).await;
        sent(&answer, &image).await;
        assert_eq!(complete(&app, &answer).await.status, 201);
        assert_problem(&open(&app, &asking("c.jpg", &image)).await, "quota-exceeded");
        // It would take the place of as much.
        let answer = opened(&app, &asking("b.jpg", &image)).await;
        sent(&answer, &image).await;
        assert_eq!(complete(&app, &answer).await.status, 201);
    }
}

#[tokio::test]
async fn what_others_have_copied_there_is_no_upload() {
    let app = App::minio().await;
    let image = images::jpeg(30, 20, 5000);
    let put = crate::harness::upload::put("secret.jpg", &image).send(app.addr).await;
    assert_eq!(put.status, 201);
    let answer = opened(&app, &asking("a.jpg", &image)).await;
    let (bucket, store) = app.bucket().unwrap();
    let staged = format!("_staging/acme/{}", answer["uploadId"].as_str().unwrap());
    let copy = store.client().copy_object().bucket(bucket).key(&staged);
    copy.copy_source(format!("{bucket}/acme/customer/42/secret.jpg")).send().await.unwrap();
    assert_problem(&complete(&app, &answer).await, "upload-conflict");
    app.settles_to(&["acme/customer/42/secret.jpg"]).await;
    assert_eq!(complete(&app, &answer).await.status, 404);
}

#[tokio::test]
async fn what_is_sent_again_behind_the_completion_changes_nothing() {
    let app = App::minio().await;
    let image = images::jpeg(30, 20, 5000);
    let answer = opened(&app, &asking("a.jpg", &image)).await;
    sent(&answer, &image).await;
    let first = complete(&app, &answer).await;
    app.settles_to(&["acme/customer/42/a.jpg"]).await;
    // The store still takes it, since it is signed; nobody looks at it any more.
    let other = images::jpeg(31, 20, 5000);
    assert_eq!(send(&answer, &other).await.status, 200);
    assert_eq!(complete(&app, &answer).await.json()["id"], first.json()["id"]);
    assert!(app.object("acme/customer/42/a.jpg").await.0 == image);

    let app = App::local().await;
    let answer = opened(&app, &asking("a.jpg", &image)).await;
    sent(&answer, &image).await;
    assert_eq!(complete(&app, &answer).await.status, 201);
    assert_problem(&send(&answer, &other).await, "not-found");
    app.settles_to(&["acme/customer/42/a.jpg"]).await;
}
