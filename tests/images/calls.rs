//! Each call's answer, and that nothing tells of another tenant's images.

use super::{ask, both, content, json, record, upload};
use crate::harness::App;
use crate::harness::http::{Request, Response};
use crate::harness::images::{jpeg, png};
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::text::{assert_fresh_time, has_shape, sha256};
use crate::harness::upload::path;

#[tokio::test]
async fn a_record_is_told_as_the_upload_was() {
    for app in both().await {
        let image = png(30, 20, 5000);
        let form = Form::new().file("photo.png", &image).text("fileName", "Mein Büro.png");
        let uploaded = form.post(&path("42")).tenant("acme").send(app.addr).await;
        let etag = uploaded.header("etag").expect("ETag");
        let mut wanted = uploaded.json();

        let response = ask("GET", &record(&wanted)).send(app.addr).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("etag").as_ref(), Some(&etag));
        assert_eq!(response.header("cache-control").as_deref(), Some("private"));
        let told = response.json();
        assert!(has_shape(told["etag"].as_str().unwrap(), &"h".repeat(32)), "{told}");
        assert_eq!(etag, format!("\"{}\"", told["etag"].as_str().unwrap()));
        assert_fresh_time(told["updatedAt"].as_str().unwrap());
        wanted.as_object_mut().unwrap().remove("message");
        for (name, value) in [
            ("version", 1.into()),
            ("updatedAt", told["createdAt"].clone()),
            ("etag", told["etag"].clone()),
        ] {
            wanted[name] = value;
        }
        assert_eq!(told, wanted);
    }
}

#[tokio::test]
async fn a_content_is_the_bytes_that_were_sent() {
    for app in both().await {
        for (name, image) in
            [("small.jpg", jpeg(4, 4, 10)), ("large.jpg", jpeg(900, 900, 9_000_000))]
        {
            let told = upload(&app, "42", name, &image).await;
            let got = ask("GET", &content(&told)).send(app.addr).await;
            assert_eq!(got.status, 200, "{}", got.text());
            assert!(got.body == image, "{name}");
            let known = json(&app, &ask("GET", &record(&told))).await;
            for (field, value) in [
                ("content-type", "image/jpeg"),
                ("content-length", &image.len().to_string()),
                ("etag", &format!("\"{}\"", known["etag"].as_str().unwrap())),
                ("cache-control", "private"),
                ("accept-ranges", "bytes"),
                ("content-disposition", &format!("inline; filename=\"{name}\"")),
                ("x-content-type-options", "nosniff"),
                ("content-security-policy", "sandbox"),
            ] {
                assert_eq!(got.header(field).as_deref(), Some(value), "{field}");
            }
            let modified = got.header("last-modified").unwrap();
            assert!(modified.ends_with(" GMT") && modified.len() == 29, "{modified}");
        }
    }
}

#[tokio::test]
async fn a_head_tells_what_a_get_would() {
    for app in both().await {
        let told = upload(&app, "42", "a.jpg", &jpeg(40, 30, 70_000)).await;
        for path in [content(&told), record(&told), String::new()] {
            let get = ask("GET", &path).send(app.addr).await;
            // Nothing that is a range for HEAD (RFC 9110 14.2).
            let head = ask("HEAD", &path).header("range", "bytes=0-9").send(app.addr).await;
            assert_eq!(head.status, 200, "{path}");
            let fields = |response: Response| {
                let mut fields = response.fields;
                fields.retain(|(name, _)| !matches!(&name[..], "date" | "x-request-id"));
                fields.sort();
                fields
            };
            assert_eq!(fields(head), fields(get), "{path}");
        }
    }
}

#[tokio::test]
async fn a_name_is_told_in_any_script() {
    let app = App::local().await;
    let form = Form::new().file("a.jpg", &jpeg(4, 4, 10)).text("fileName", "漢 \"50%\".jpg");
    let told = form.post(&path("42")).tenant("acme").send(app.addr).await.json();
    let got = ask("GET", &content(&told)).send(app.addr).await;
    let wanted = "inline; filename=\"_ _50__.jpg\"; filename*=UTF-8''%E6%BC%A2%20%2250%25%22.jpg";
    assert_eq!(got.header("content-disposition").as_deref(), Some(wanted));
}

#[tokio::test]
async fn what_is_deleted_is_gone_from_both() {
    for app in both().await {
        let told = upload(&app, "42", "a.jpg", &jpeg(4, 4, 10)).await;
        let other = upload(&app, "42", "b.jpg", &jpeg(4, 4, 10)).await;
        let gone = ask("DELETE", &record(&told)).send(app.addr).await;
        assert_eq!((gone.status, gone.body.len()), (204, 0));
        for (method, path) in
            [("DELETE", record(&told)), ("GET", record(&told)), ("GET", content(&told))]
        {
            assert_problem(&ask(method, &path).send(app.addr).await, "not-found");
        }
        assert_eq!(app.keys().await, ["acme/customer/42/b.jpg"]);
        let all = json(&app, &ask("GET", "")).await;
        assert_eq!(all["images"].as_array().unwrap().len(), 1);
        assert_eq!(all["images"][0]["id"], other["id"]);

        let again = upload(&app, "42", "a.jpg", &jpeg(5, 4, 10)).await;
        assert_ne!(again["id"], told["id"], "a new image");
    }
}

#[tokio::test]
async fn another_tenants_image_is_not_there() {
    for app in both().await {
        let image = jpeg(4, 4, 10);
        let told = upload(&app, "42", "a.jpg", &image).await;
        let random = serde_json::json!({ "id": uuid::Uuid::now_v7().to_string() });
        let upper = serde_json::json!({ "id": told["id"].as_str().unwrap().replace('-', "") });
        for id in [&told, &random, &upper] {
            let tenant = if id == &upper { "acme" } else { "other" };
            for (method, path) in
                [("GET", record(id)), ("GET", content(id)), ("DELETE", record(id))]
            {
                let path = format!("{}{path}", super::IMAGES);
                // Conditions and ranges tell nothing either.
                for (name, value) in [
                    ("x-a", "b"),
                    ("if-match", "\"a\""),
                    ("if-none-match", "*"),
                    ("range", "bytes=9999-"),
                ] {
                    let request = Request::new(method, &path).tenant(tenant).header(name, value);
                    assert_problem(&request.send(app.addr).await, "not-found");
                }
                let head = Request::new("HEAD", &path).tenant(tenant);
                assert_eq!(head.send(app.addr).await.status, 404);
            }
        }
        let others = Request::get(super::IMAGES).tenant("other");
        let all = json(&app, &others).await;
        assert_eq!(all, serde_json::json!({ "images": [], "nextCursor": null }));
        let named = format!("{}?storedName=acme/customer/42/a.jpg", super::IMAGES);
        assert_eq!(json(&app, &Request::get(&named).tenant("other")).await, all);
        let got = ask("GET", &content(&told)).send(app.addr).await;
        assert_eq!(sha256(&got.body), sha256(&image), "it is still there");
    }
}

#[tokio::test]
async fn no_tenant_means_no_images() {
    let app = App::local().await;
    let told = upload(&app, "42", "a.jpg", &jpeg(4, 4, 10)).await;
    for (method, path) in [
        ("GET", String::new()),
        ("GET", record(&told)),
        ("GET", content(&told)),
        ("DELETE", record(&told)),
    ] {
        let request = Request::new(method, &format!("{}{path}", super::IMAGES));
        assert_problem(&request.send(app.addr).await, "tenant-missing");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_told() {
    let app = App::local().await;
    let told = upload(&app, "42", "a.jpg", &jpeg(4, 4, 10)).await;
    for (path, allowed) in [
        (String::new(), "GET, HEAD"),
        (record(&told), "GET, HEAD, DELETE"),
        (content(&told), "GET, HEAD"),
    ] {
        for method in ["POST", "PUT", "PATCH", "OPTIONS", "DELETE"] {
            if allowed.contains(method) {
                continue;
            }
            let refused = ask(method, &path).send(app.addr).await;
            assert_problem(&refused, "method-not-allowed");
            assert_eq!(refused.header("allow").as_deref(), Some(allowed), "{method} {path}");
        }
    }
    let id = record(&told);
    for path in [
        "/".to_owned(),
        "/x".to_owned(),
        format!("{id}/"),
        format!("{id}/contents"),
        format!("{id}%20"),
    ] {
        assert_problem(&ask("GET", &path).send(app.addr).await, "not-found");
    }
}

#[tokio::test]
async fn the_module_alone_serves_images_too() {
    let app = App::builder().consumers().start().await;
    let told = upload(&app, "42", "a.jpg", &jpeg(4, 4, 10)).await;
    let path = format!("/consumers/customer-images/images{}", content(&told));
    let got = Request::get(&path).tenant("acme").send(app.consumers_addr()).await;
    assert_eq!(got.status, 200, "{}", got.text());
}
