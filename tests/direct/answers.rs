//! What clients are told, and what becomes of what they send.

use serde_json::json;

use super::{DIRECT, ask, asking, both, complete, open, opened, send, sent, sha256_of, uploaded};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images;
use crate::harness::text::{assert_fresh_uuid_v7, sha256};
use crate::harness::upload::Expected;

#[tokio::test]
async fn an_image_goes_straight_to_the_store() {
    for app in both().await {
        let image = images::jpeg(1200, 800, 300_000);
        let mut asked = asking("photo.jpg", &image);
        asked["displayName"] = json!("A photo.jpg");
        let answer = opened(&app, &asked).await;
        assert_fresh_uuid_v7(answer["uploadId"].as_str().unwrap());
        let expires = answer["expiresAt"].as_str().unwrap();
        assert!(expires.ends_with('Z') && expires.len() == 24, "{expires}");
        assert_eq!(answer["method"], "PUT");
        assert_eq!(answer["headers"]["content-type"], "image/jpeg");
        sent(&answer, &image).await;
        // What is not checked is not there.
        let staged = app.keys().await;
        let id = answer["uploadId"].as_str().unwrap();
        assert_eq!(staged, [format!("_staging/acme/{id}")]);
        let list = Request::get(&DIRECT.replace("direct-uploads", "images")).tenant("acme");
        assert_eq!(list.send(app.addr).await.json()["images"], json!([]));

        let response = complete(&app, &answer).await;
        let mut body = response.json();
        body["sha256"] = json!(sha256_of(&app, &body["id"]).await);
        let told = crate::harness::http::Response { body: body.to_string().into(), ..response };
        let expected = Expected {
            stored_name: "acme/customer/42/photo.jpg",
            customer: "42",
            file_name: "A photo.jpg",
            content_type: "image/jpeg",
            image: &image,
            width: 1200,
            height: 800,
        };
        expected.check(&told);
        app.settles_to(&["acme/customer/42/photo.jpg"]).await;
        let (bytes, kind) = app.object("acme/customer/42/photo.jpg").await;
        assert!(bytes == image);
        assert!(kind.is_none_or(|kind| kind == "image/jpeg"));
    }
}

#[tokio::test]
async fn completing_again_answers_the_same() {
    for app in both().await {
        let image = images::png(30, 20, 5000);
        let mut asked = asking("a.png", &image);
        asked["contentType"] = json!("image/png");
        asked["sha256"] = json!(sha256(&image));
        let answer = opened(&app, &asked).await;
        sent(&answer, &image).await;
        let first = complete(&app, &answer).await;
        assert_eq!(first.status, 201, "{}", first.text());
        assert_eq!(first.json()["sha256"], sha256(&image), "{}", first.text());
        assert!(first.header("etag").is_some());
        for _ in 0..2 {
            let again = complete(&app, &answer).await;
            assert_eq!((again.status, again.json()), (201, first.json()));
            assert_eq!(again.header("etag"), first.header("etag"));
        }
        // It is told what it was, whatever became of the image since.
        uploaded(&app, "a.png", &images::jpeg(1, 1, 900)).await;
        assert_eq!(complete(&app, &answer).await.json(), first.json());
        let id = answer["uploadId"].as_str().unwrap();
        let shown = ask("GET", id).send(app.addr).await;
        assert_eq!(shown.json()["image"]["size"], image.len(), "{}", shown.text());
        assert_eq!(ask("DELETE", id).send(app.addr).await.status, 404);
    }
}

#[tokio::test]
async fn two_completions_at_once_make_one_image() {
    for app in both().await {
        let image = images::jpeg(40, 30, 100_000);
        let answer = opened(&app, &asking("a.jpg", &image)).await;
        sent(&answer, &image).await;
        let all = (0..8).map(|_| complete(&app, &answer));
        let all = futures_util::future::join_all(all).await;
        for response in &all {
            assert_eq!(response.status, 201, "{}", response.text());
            assert_eq!(response.json()["id"], all[0].json()["id"]);
        }
        let record = format!(
            "{}/{}",
            DIRECT.replace("direct-uploads", "images"),
            all[0].json()["id"].as_str().unwrap()
        );
        let record = Request::get(&record).tenant("acme").send(app.addr).await.json();
        assert_eq!(record["version"], 1);
    }
}

#[tokio::test]
async fn a_large_image_goes_in_parts() {
    let app = App::minio().await;
    let image = images::jpeg(4000, 3000, (20 << 20) + 7);
    let answer = opened(&app, &asking("big.jpg", &image)).await;
    let parts = answer["parts"].as_array().expect("parts").clone();
    let sizes: Vec<_> = parts.iter().map(|part| part["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [8 << 20, 8 << 20, image.len() as u64 - (16 << 20)]);
    let id = answer["uploadId"].as_str().unwrap();
    app.tried(&format!("_staging/acme/{id}"));
    let mut begin = 0;
    for (part, size) in parts.iter().zip(&sizes) {
        let bytes = &image[begin..begin + *size as usize];
        let told = json!({ "url": part["url"], "method": "PUT", "headers": answer["headers"] });
        if begin == 0 {
            // Not all of it yet.
            assert_eq!(complete(&app, &answer).await.status, 409);
        }
        sent(&told, bytes).await;
        begin += bytes.len();
        let shown = ask("GET", id).send(app.addr).await.json();
        let done: Vec<_> =
            shown["parts"].as_array().unwrap().iter().map(|part| part["done"].as_bool()).collect();
        let wanted: Vec<_> = (0..3).map(|n| Some(part["number"].as_u64().unwrap() > n)).collect();
        assert_eq!(done, wanted);
    }
    let response = complete(&app, &answer).await;
    assert_eq!(response.status, 201, "{}", response.text());
    assert_eq!(response.json()["width"], 4000);
    assert_eq!(complete(&app, &answer).await.status, 201);
    assert_eq!(sha256_of(&app, &response.json()["id"]).await, sha256(&image));
    app.settles_to(&["acme/customer/42/big.jpg"]).await;
    assert!(app.object("acme/customer/42/big.jpg").await.0 == image);
}

#[tokio::test]
async fn a_form_takes_it_too() {
    let app = App::minio().await;
    let image = images::gif(30, 20, 5000);
    let asked = json!({ "fileName": "a.gif", "contentType": "image/gif", "size": image.len(), "form": true });
    let answer = opened(&app, &asked).await;
    assert_eq!(answer["method"], "POST");
    sent(&answer, &image).await;
    let response = complete(&app, &answer).await;
    assert_eq!(response.status, 201, "{}", response.text());
    assert_eq!(response.json()["contentType"], "image/gif");
    app.settles_to(&["acme/customer/42/a.gif"]).await;
}

#[tokio::test]
async fn the_bytes_decide_what_it_is() {
    for app in both().await {
        let image = images::webp(30, 20, 5000);
        let answer = opened(&app, &asking("a.jpg", &image)).await;
        sent(&answer, &image).await;
        let response = complete(&app, &answer).await;
        assert_eq!(response.json()["contentType"], "image/webp", "{}", response.text());
        app.settles_to(&["acme/customer/42/a.jpg"]).await;
        if let Some(kind) = app.object("acme/customer/42/a.jpg").await.1 {
            assert_eq!(kind, "image/webp");
        }
    }
}

#[tokio::test]
async fn dimensions_that_stand_late_are_found() {
    for app in both().await {
        let image = images::jpeg_behind(300, 200, 40, 3_000_000);
        let answer = opened(&app, &asking("late.jpg", &image)).await;
        sent(&answer, &image).await;
        let response = complete(&app, &answer).await;
        assert_eq!(response.json()["width"], 300, "{}", response.text());
    }
}

#[tokio::test]
async fn an_existing_image_is_replaced_or_not_as_the_settings_say() {
    for app in both().await {
        let first = uploaded(&app, "a.jpg", &images::jpeg(1, 1, 900)).await;
        let second = uploaded(&app, "a.jpg", &images::jpeg(2, 2, 900)).await;
        assert_eq!(first["id"], second["id"]);
        assert_eq!(second["width"], 2);
    }
    for builder in [App::builder(), App::builder().minio().await] {
        let app = builder.set("CONSUMERS__IMAGES__ON_CONFLICT", "reject").start().await;
        let image = images::jpeg(1, 1, 900);
        let [one, other] = [
            opened(&app, &asking("a.jpg", &image)).await,
            opened(&app, &asking("a.jpg", &image)).await,
        ];
        for answer in [&one, &other] {
            sent(answer, &image).await;
        }
        assert_eq!(complete(&app, &one).await.status, 201);
        let refused = complete(&app, &other).await;
        crate::harness::problem::assert_problem(&refused, "already-exists");
        crate::harness::problem::assert_problem(
            &open(&app, &asking("a.jpg", &image)).await,
            "already-exists",
        );
        let id = other["uploadId"].as_str().unwrap();
        assert_eq!(ask("DELETE", id).send(app.addr).await.status, 204);
        app.settles_to(&["acme/customer/42/a.jpg"]).await;
    }
}

#[tokio::test]
async fn a_page_may_ask_whether_it_may_use_a_link() {
    let app =
        App::builder().set("SERVER__CORS__ALLOWED_ORIGINS", "https://app.example").start().await;
    for (origin, status) in [("https://app.example", 204), ("https://other.example", 405)] {
        for what in ["uploads", "images"] {
            let path = format!("/signed/acme/{what}/0199e0d5-0000-7000-8000-000000000000");
            let asked = Request::new("OPTIONS", &path)
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "PUT");
            assert_eq!(asked.send(app.addr).await.status, status, "{origin} {what}");
        }
    }
}

#[tokio::test]
async fn urls_are_signed_anew_for_who_asks_again() {
    for app in both().await {
        let image = images::jpeg(30, 20, 5000);
        let answer = opened(&app, &asking("a.jpg", &image)).await;
        let id = answer["uploadId"].as_str().unwrap();
        let shown = ask("GET", id).send(app.addr).await;
        assert_eq!(shown.status, 200);
        assert_eq!(shown.json()["uploadId"], answer["uploadId"]);
        assert_eq!(shown.json()["expiresAt"], answer["expiresAt"]);
        assert_eq!(send(&shown.json(), &image).await.status, 200);
        assert_eq!(complete(&app, &answer).await.status, 201);
    }
}
