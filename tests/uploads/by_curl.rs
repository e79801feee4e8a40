//! The commands of the README, run with the real curl.

use crate::harness::App;
use crate::harness::curl::{curl, help};
use crate::harness::images;

const UPLOAD: &str = "/consumer-api/service/consumers/customer-images/upload";

#[tokio::test]
async fn the_readmes_curl_uploads_an_image() {
    for app in [App::local().await, App::minio().await] {
        let image = images::jpeg(1200, 800, 300_000);
        std::fs::write(app.folder().join("image.jpg"), &image).unwrap();
        let url = app.url(&format!("{UPLOAD}/12345"));
        let arguments =
            ["-X", "POST", &url, "-H", "x-tenant-id: tenant-abc", "-F", "file=@./image.jpg"];
        let outcome = curl(app.folder(), &arguments).await;
        assert_eq!((outcome.code, outcome.status), (0, 201), "{}", outcome.body);
        let body: serde_json::Value = serde_json::from_str(&outcome.body).unwrap();
        assert_eq!(body["message"], "Image uploaded successfully");
        assert_eq!(body["storedName"], "tenant-abc/customer/12345/image.jpg");
        assert_eq!(body["customerId"], "12345");
        assert!(app.object("tenant-abc/customer/12345/image.jpg").await.0 == image);
    }
}

#[tokio::test]
async fn curl_minus_t_uploads_a_raw_body_under_its_name() {
    let app = App::local().await;
    // Over curl's own limit for Expect: 100-continue.
    let image = images::png(100, 100, 2 << 20);
    std::fs::write(app.folder().join("my.png"), &image).unwrap();
    let url = app.url(&format!("{UPLOAD}/7/"));
    let outcome = curl(app.folder(), &["-T", "my.png", &url, "-H", "x-tenant-id: acme"]).await;
    assert_eq!((outcome.code, outcome.status), (0, 201), "{}", outcome.body);
    assert!(app.object("acme/customer/7/my.png").await.0 == image);

    // From a pipe, and so in chunks.
    let url = app.url(&format!("{UPLOAD}/7/piped.png"));
    let chunked =
        ["-T", "my.png", &url, "-H", "x-tenant-id: acme", "-H", "Transfer-Encoding: chunked"];
    let outcome = curl(app.folder(), &chunked).await;
    assert_eq!((outcome.code, outcome.status), (0, 201), "{}", outcome.body);
    assert!(app.object("acme/customer/7/piped.png").await.0 == image);
}

#[tokio::test]
async fn a_name_given_to_curl_arrives_as_curl_escapes_it() {
    let app = App::local().await;
    std::fs::write(app.folder().join("a.gif"), images::gif(1, 1, 1)).unwrap();
    let url = app.url(&format!("{UPLOAD}/7"));
    let tenant = "x-tenant-id: acme";

    // %22 for a quote, a backslash as it is: then the base name is taken.
    let plain = ["-F", "file=@a.gif;filename=\"say \\\"hi\\\".gif\"", "-H", tenant, &url];
    let outcome = curl(app.folder(), &plain).await;
    assert_eq!(outcome.status, 201, "{}", outcome.body);
    assert_eq!(app.keys().await, ["acme/customer/7/say %22hi%22.gif"]);
    let windows = ["-F", "file=@a.gif;filename=\"C:\\\\me\\\\cat.gif\"", "-H", tenant, &url];
    let outcome = curl(app.folder(), &windows).await;
    assert_eq!(outcome.status, 201, "{}", outcome.body);
    assert!(app.keys().await.contains(&"acme/customer/7/cat.gif".to_owned()));

    // Older ones cannot escape with a backslash.
    if help(app.folder()).await.contains("--form-escape") {
        let escaped = ["--form-escape", "-F", plain[1], "-H", tenant, &url];
        let outcome = curl(app.folder(), &escaped).await;
        assert_eq!(outcome.status, 201, "{}", outcome.body);
        assert!(app.keys().await.contains(&"acme/customer/7/say \"hi\".gif".to_owned()));
    }
}

#[tokio::test]
async fn curl_shows_the_refusal_of_an_upload_that_it_is_still_sending() {
    let app = App::local().await;
    let image = images::jpeg(9, 9, 50 << 20);
    std::fs::write(app.folder().join("large.jpg"), &image).unwrap();
    let url = app.url(&format!("{UPLOAD}/7"));
    let kinds = [("x-other: 1", "tenant-missing"), ("x-tenant-id: acme", "too-large")];
    for (header, slug) in kinds.into_iter().cycle().take(6) {
        for expect in ["Expect: 100-continue", "Expect:"] {
            let arguments = ["-F", "file=@large.jpg", "-H", header, "-H", expect, &url];
            let outcome = curl(app.folder(), &arguments).await;
            assert!(outcome.body.contains(&format!("/problems/{slug}")), "{}", outcome.body);
        }
    }
    app.assert_nothing_stored().await;
}
