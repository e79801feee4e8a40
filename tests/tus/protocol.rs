//! The protocol and its extensions.

use std::time::Duration;

use super::{
    TUS, ask, assert_image, both, created, creation, metadata, offset, patch, patched, path_of,
};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images;
use crate::harness::problem::assert_problem;

#[tokio::test]
async fn an_image_comes_in_one_request() {
    for app in both().await {
        for size in [900, 300_000, (9 << 20) + 3] {
            let (name, image) = (format!("{size}.jpg"), images::jpeg(30, 20, size));
            let size = image.len();
            let path = created(&app, &name, size).await;
            assert_eq!(offset(app.addr, &path).await, 0);
            let finished = patched(app.addr, &path, 0, &image).await;
            assert_image(&app, &finished, &name, &image).await;
            // Who has lost the answer is told again.
            assert_eq!(offset(app.addr, &path).await, size);
            assert_eq!(patched(app.addr, &path, size, b"").await.status, 204);
        }
        let keys: Vec<_> = app.keys().await;
        assert_eq!(keys.len(), 3, "{keys:?}");
    }
}

#[tokio::test]
async fn an_image_comes_in_pieces_of_any_size() {
    for app in both().await {
        let image = images::jpeg(30, 20, (17 << 20) + 11);
        let path = created(&app, "a.jpg", image.len()).await;
        let cuts = [1, 2, 5, 100, 8 << 20, (8 << 20) + 1, 9 << 20, 16 << 20, (17 << 20) + 10];
        let mut begin = 0;
        for cut in cuts {
            patched(app.addr, &path, begin, &image[begin..cut]).await;
            assert_eq!(offset(app.addr, &path).await, cut);
            assert_eq!(app.keys().await.iter().filter(|key| key.starts_with("acme")).count(), 0);
            begin = cut;
        }
        patched(app.addr, &path, begin, b"").await;
        let finished = patched(app.addr, &path, begin, &image[begin..]).await;
        assert_image(&app, &finished, "a.jpg", &image).await;
        app.settles_to(&["acme/customer/42/a.jpg"]).await;
    }
}

#[tokio::test]
async fn an_image_comes_with_its_creation() {
    for app in both().await {
        let image = images::jpeg(30, 20, 300_000);
        let all = creation("a.jpg", image.len())
            .header("Content-Type", "application/offset+octet-stream");
        let finished = all.body(image.clone()).send(app.addr).await;
        assert_eq!(finished.status, 201, "{}", finished.text());
        assert_eq!(finished.header("upload-offset").as_deref(), Some(&*image.len().to_string()));
        assert_image(&app, &finished, "a.jpg", &image).await;

        let part = creation("b.jpg", image.len())
            .header("Content-Type", "application/offset+octet-stream");
        let begun = part.body(&image[..100]).send(app.addr).await;
        assert_eq!(begun.header("upload-offset").as_deref(), Some("100"));
        let finished = patched(app.addr, &path_of(&begun), 100, &image[100..]).await;
        assert_image(&app, &finished, "b.jpg", &image).await;
        app.settles_to(&["acme/customer/42/a.jpg", "acme/customer/42/b.jpg"]).await;
    }
}

#[tokio::test]
async fn the_length_may_come_later() {
    for app in both().await {
        let image = images::jpeg(30, 20, 4000);
        let length = image.len().to_string();
        let begin = ask("POST", &format!("{TUS}/42")).header("Upload-Defer-Length", "1");
        let begun = begin.header("Upload-Metadata", metadata("a.jpg")).send(app.addr).await;
        assert_eq!(begun.status, 201, "{}", begun.text());
        let path = path_of(&begun);
        let head = ask("HEAD", &path).send(app.addr).await;
        assert_eq!(head.header("upload-defer-length").as_deref(), Some("1"));
        assert_eq!(head.header("upload-length"), None);
        patched(app.addr, &path, 0, &image[..1000]).await;
        let told = patch(&path, 1000, &image[1000..2000]).header("Upload-Length", &length);
        assert_eq!(told.send(app.addr).await.status, 204);
        let head = ask("HEAD", &path).send(app.addr).await;
        assert_eq!(head.header("upload-length"), Some(length));
        let changed = patch(&path, 2000, b"x").header("Upload-Length", "5001");
        assert_problem(&changed.send(app.addr).await, "upload-invalid");
        let finished = patched(app.addr, &path, 2000, &image[2000..]).await;
        assert_image(&app, &finished, "a.jpg", &image).await;
    }
}

#[tokio::test]
async fn what_is_known_is_told() {
    let app = App::local().await;
    for path in [format!("{TUS}/42"), format!("{TUS}/42/0199e0d5-0000-7000-8000-000000000000")] {
        let options = Request::new("OPTIONS", &path).tenant("acme").send(app.addr).await;
        assert_eq!(options.status, 204);
        let told = |name: &str| options.header(name).unwrap();
        assert_eq!(told("tus-resumable"), "1.0.0");
        assert_eq!(told("tus-version"), "1.0.0");
        assert_eq!(told("tus-max-size"), (32 << 20).to_string());
        assert_eq!(told("tus-checksum-algorithm"), "sha1,sha256");
        let extensions =
            "creation,creation-with-upload,creation-defer-length,expiration,termination,checksum";
        assert_eq!(told("tus-extension"), extensions);
    }
    let path = created(&app, "a.jpg", 5000).await;
    let head = ask("HEAD", &path).send(app.addr).await;
    assert_eq!(head.header("upload-length").as_deref(), Some("5000"));
    assert_eq!(head.header("upload-metadata"), Some(metadata("a.jpg")));
    assert!(head.header("upload-expires").unwrap().ends_with("GMT"));
    assert_eq!(head.header("tus-resumable").as_deref(), Some("1.0.0"));
    assert_eq!(ask("DELETE", &path).send(app.addr).await.status, 204);
}

#[tokio::test]
async fn an_upload_is_terminated() {
    for app in both().await {
        let image = images::jpeg(30, 20, 17 << 20);
        let path = created(&app, "a.jpg", image.len()).await;
        patched(app.addr, &path, 0, &image[..9 << 20]).await;
        assert_eq!(ask("DELETE", &path).send(app.addr).await.status, 204);
        for method in ["HEAD", "DELETE"] {
            assert_eq!(ask(method, &path).send(app.addr).await.status, 404);
        }
        assert_problem(&patch(&path, 0, b"x").send(app.addr).await, "not-found");
        app.settles_to(&[]).await;
    }
}

#[tokio::test]
async fn an_upload_expires_when_nothing_comes() {
    for builder in [App::builder(), App::builder().minio().await] {
        let app = builder.set("CONSUMERS__RESUMABLE_UPLOADS__EXPIRE_AFTER", "4s").start().await;
        let image = images::jpeg(30, 20, 9 << 20);
        let path = created(&app, "a.jpg", image.len()).await;
        let never = created(&app, "b.jpg", image.len()).await;
        patched(app.addr, &never, 0, &image[..(8 << 20) + 5]).await;
        for part in 0..3 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            patched(app.addr, &path, part * 1000, &image[part * 1000..(part + 1) * 1000]).await;
        }
        assert_eq!(ask("HEAD", &never).send(app.addr).await.status, 404);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(ask("HEAD", &path).send(app.addr).await.status, 404);
        app.settles_to(&[]).await;
    }
}

#[tokio::test]
async fn a_checksum_is_looked_at() {
    for app in both().await {
        let image = images::jpeg(30, 20, (9 << 20) + 5);
        let path = created(&app, "a.jpg", image.len()).await;
        let mut begin = 0;
        for end in [100, 8 << 20, (8 << 20) + 77, image.len()] {
            let bytes = &image[begin..end];
            let mut other = bytes.to_vec();
            *other.last_mut().unwrap() ^= 1;
            for algorithm in ["sha1", "sha256"] {
                let refused = patch(&path, begin, &other)
                    .header("Upload-Checksum", checksum(algorithm, bytes));
                assert_problem(&refused.send(app.addr).await, "checksum-mismatch");
                assert_eq!(offset(app.addr, &path).await, begin);
            }
            let right =
                patch(&path, begin, bytes).header("Upload-Checksum", checksum("sha1", bytes));
            let response = right.send(app.addr).await;
            assert_eq!(response.status, 204, "{}", response.text());
            begin = end;
            if end == image.len() {
                assert_image(&app, &response, "a.jpg", &image).await;
            }
        }
        app.settles_to(&["acme/customer/42/a.jpg"]).await;
    }
}

#[tokio::test]
async fn bytes_that_were_damaged_on_their_way_are_not_taken_for_no_image() {
    for app in both().await {
        let image = images::png(30, 20, 5000);
        let path = created(&app, "a.png", image.len()).await;
        patched(app.addr, &path, 0, &image[..12]).await;
        let mut damaged = image[12..].to_vec();
        damaged[0] ^= 1;
        let right = checksum("sha1", &image[12..]);
        let refused = patch(&path, 12, &damaged).header("Upload-Checksum", right);
        assert_problem(&refused.send(app.addr).await, "checksum-mismatch");
        assert_eq!(offset(app.addr, &path).await, 12);
        // What is sent as it was meant is told for what it is.
        let meant =
            patch(&path, 12, &damaged).header("Upload-Checksum", checksum("sha1", &damaged));
        assert_problem(&meant.send(app.addr).await, "image-invalid");
        assert_eq!(ask("HEAD", &path).send(app.addr).await.status, 404);
        app.settles_to(&[]).await;
    }
}

fn checksum(algorithm: &str, bytes: &[u8]) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let of = if algorithm == "sha1" { &SHA1_FOR_LEGACY_USE_ONLY } else { &SHA256 };
    format!("{algorithm} {}", BASE64_STANDARD.encode(digest(of, bytes)))
}

#[tokio::test]
async fn clients_without_patch_name_it_in_a_field() {
    let app = App::local().await;
    let image = images::jpeg(30, 20, 5000);
    let path = created(&app, "a.jpg", image.len()).await;
    let post = ask("POST", &path)
        .header("X-HTTP-Method-Override", "PATCH")
        .header("Upload-Offset", "0")
        .header("Content-Type", "application/offset+octet-stream");
    assert_eq!(post.body(image.clone()).send(app.addr).await.status, 204);
    assert_eq!(app.keys().await, ["acme/customer/42/a.jpg"]);
}

#[tokio::test]
async fn a_trusted_proxy_says_where_uploads_are() {
    let app = App::builder().set("SERVER__TRUSTED_PROXIES", "127.0.0.0/8").start().await;
    let asked = creation("a.jpg", 5000)
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "images.example.com")
        .header("X-Forwarded-Prefix", "/api/v1/");
    let response = asked.send(app.addr).await;
    let location = response.header("location").unwrap();
    let id = location.strip_prefix(&format!("https://images.example.com/api/v1{TUS}/42/"));
    let path = format!("{TUS}/42/{}", id.unwrap_or_else(|| panic!("{location}")));
    assert_eq!(ask("DELETE", &path).send(app.addr).await.status, 204);

    let app = App::local().await;
    let response =
        creation("a.jpg", 5000).header("X-Forwarded-Host", "evil.example").send(app.addr).await;
    let path = path_of(&response);
    assert_eq!(ask("DELETE", &path).send(app.addr).await.status, 204);
}
