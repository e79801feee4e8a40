//! What is refused, and changes nothing.

use super::{TUS, ask, assert_image, both, created, creation, metadata, offset, patch, patched};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images;
use crate::harness::problem::assert_problem;

#[tokio::test]
async fn a_wrong_creation_says_what_is_wrong() {
    let app = App::local().await;
    let (path, good) = (format!("{TUS}/42"), metadata("a.jpg"));
    let cases: [(&[(&str, &str)], &str); 12] = [
        (&[("Upload-Metadata", &good)], "upload-invalid"),
        (&[("Upload-Length", "5"), ("Upload-Defer-Length", "1")], "upload-invalid"),
        (&[("Upload-Defer-Length", "2")], "upload-invalid"),
        (&[("Upload-Length", "-5")], "upload-invalid"),
        (&[("Upload-Length", "5"), ("Upload-Length", "5")], "upload-invalid"),
        (&[("Upload-Length", "5"), ("Upload-Concat", "partial")], "upload-invalid"),
        (&[("Upload-Length", "5")], "file-name-invalid"),
        (&[("Upload-Length", "5"), ("Upload-Metadata", "filename !")], "upload-invalid"),
        (&[("Upload-Length", "5"), ("Upload-Metadata", "filename Li4=")], "file-name-invalid"),
        (&[("Upload-Length", "0"), ("Upload-Metadata", &good)], "file-missing"),
        (&[("Upload-Length", "33554433"), ("Upload-Metadata", &good)], "too-large"),
        (
            &[("Upload-Length", "5"), ("Upload-Metadata", "filename YQ==,displayName Li4=")],
            "file-name-invalid",
        ),
    ];
    for (fields, problem) in cases {
        let request =
            fields.iter().fold(ask("POST", &path), |r, (name, value)| r.header(name, value));
        let answer = request.send(app.addr).await;
        assert_problem(&answer, problem);
        assert_eq!(answer.header("tus-resumable").as_deref(), Some("1.0.0"), "{fields:?}");
    }
    let unversioned = Request::post(&path).tenant("acme").header("Upload-Length", "5");
    let answer = unversioned.send(app.addr).await;
    assert_problem(&answer, "precondition-failed");
    assert_eq!(answer.header("tus-version").as_deref(), Some("1.0.0"));
    let other =
        Request::post(&path).tenant("acme").header("Tus-Resumable", "0.2.2").send(app.addr).await;
    assert_problem(&other, "precondition-failed");
    assert_problem(&ask("GET", &path).send(app.addr).await, "method-not-allowed");
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_wrong_patch_changes_nothing() {
    for app in both().await {
        let image = images::jpeg(30, 20, 5000);
        let path = created(&app, "a.jpg", image.len()).await;
        patched(app.addr, &path, 0, &image[..1000]).await;
        for (request, problem) in [
            (patch(&path, 0, &image), "upload-conflict"),
            (patch(&path, 1001, &image[1001..]), "upload-conflict"),
            (
                ask("PATCH", &path).header("Upload-Offset", "1000").body("x"),
                "media-type-unsupported",
            ),
            (patch(&path, 1000, &image[999..]), "too-large"),
            (patch(&path, 1000, b"x").header("Upload-Checksum", "md5 AAAA"), "upload-invalid"),
            (patch(&path, 1000, b"x").header("Upload-Checksum", "sha1"), "upload-invalid"),
            (patch(&path, 1000, b"x").header("Upload-Offset", "1000"), "upload-invalid"),
            (patch(&path, 1000, b"x").header("Content-Encoding", "gzip"), "media-type-unsupported"),
            (
                Request::new("PATCH", &path).tenant("acme").header("Upload-Offset", "1000"),
                "precondition-failed",
            ),
            (patch(&path.replace("/42/", "/43/"), 1000, b"x"), "not-found"),
            (ask("DELETE", &path.replace("/42/", "/43/")), "not-found"),
            (ask("GET", &path), "method-not-allowed"),
        ] {
            assert_problem(&request.send(app.addr).await, problem);
            assert_eq!(offset(app.addr, &path).await, 1000);
        }
        for method in ["PATCH", "DELETE", "HEAD"] {
            let foreign = Request::new(method, &path)
                .tenant("other")
                .header("Tus-Resumable", "1.0.0")
                .header("Upload-Offset", "1000")
                .header("Content-Type", "application/offset+octet-stream");
            assert_eq!(foreign.send(app.addr).await.status, 404, "{method}");
        }
        let finished = patched(app.addr, &path, 1000, &image[1000..]).await;
        assert_image(&app, &finished, "a.jpg", &image).await;
        assert_problem(&patch(&path, 1000, &image[1000..]).send(app.addr).await, "upload-conflict");
        app.settles_to(&["acme/customer/42/a.jpg"]).await;
    }
}

#[tokio::test]
async fn one_byte_more_than_the_length_is_refused() {
    for app in both().await {
        let image = images::jpeg(30, 20, 5000);
        let path = created(&app, "a.jpg", image.len() - 1).await;
        // Of an unknown length, so that only the bytes tell.
        let refused = patch(&path, 0, &image).chunked(1000).send(app.addr).await;
        assert_problem(&refused, "too-large");
        assert_eq!(ask("HEAD", &path).send(app.addr).await.status, 404);
        app.settles_to(&[]).await;
    }
}

#[tokio::test]
async fn what_is_no_image_ends_the_upload() {
    for app in both().await {
        for (bytes, problem) in [
            (vec![b'x'; 5000], "image-unsupported"),
            (images::bmp(30, 20, 5000), "image-unsupported"),
            (images::png(30_000, 30_000, 5000), "image-invalid"),
            (vec![0xff, 0xd8, 0xff], "image-invalid"),
            (vec![0xff], "image-unsupported"),
        ] {
            for cut in [0, 1, 2] {
                let cut = cut.min(bytes.len() - 1);
                let path = created(&app, "a.jpg", bytes.len()).await;
                let response = patch(&path, 0, &bytes[..cut]).send(app.addr).await;
                // What is no image may be known that early.
                let answer = match response.status {
                    204 => patch(&path, cut, &bytes[cut..]).send(app.addr).await,
                    _ => response,
                };
                assert_problem(&answer, problem);
                assert_eq!(ask("HEAD", &path).send(app.addr).await.status, 404);
                app.settles_to(&[]).await;
            }
        }
    }
}

#[tokio::test]
async fn a_quota_and_a_taken_name_are_looked_at_when_it_begins() {
    let app = App::builder()
        .set("QUOTAS__BYTES", "9000")
        .set("CONSUMERS__IMAGES__ON_CONFLICT", "reject")
        .start()
        .await;
    let image = images::jpeg(30, 20, 5000);
    let path = created(&app, "a.jpg", image.len()).await;
    assert_problem(&creation("b.jpg", 5000).send(app.addr).await, "quota-exceeded");
    patched(app.addr, &path, 0, &image).await;
    assert_problem(&creation("a.jpg", 1000).send(app.addr).await, "already-exists");
}
