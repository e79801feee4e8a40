//! A signed request is for exactly what it was signed for.

use serde_json::{Value, json};

use super::{ask, asking, both, complete, opened, send, sent, told};
use crate::harness::App;
use crate::harness::images;
use crate::harness::text::sha256;

/// Ends an upload that nothing came of.
async fn cancel(app: &App, answer: &Value) {
    let id = answer["uploadId"].as_str().unwrap();
    assert_eq!(ask("DELETE", id).send(app.addr).await.status, 204);
    assert_eq!(ask("DELETE", id).send(app.addr).await.status, 404);
    app.settles_to(&[]).await;
}

#[tokio::test]
async fn another_size_type_or_key_is_refused() {
    for app in both().await {
        let image = images::jpeg(30, 20, 5000);
        let answer = opened(&app, &asking("a.jpg", &image)).await;
        for bytes in [&image[1..], &[&image[..], b"x"].concat()[..]] {
            let refused = send(&answer, bytes).await;
            assert!((400..500).contains(&refused.status), "{}", refused.text());
        }
        let mut other = answer.clone();
        other["headers"]["content-type"] = json!("text/html");
        assert_eq!(send(&other, &image).await.status, 403);
        let mut other = answer.clone();
        let id = answer["uploadId"].as_str().unwrap();
        let foreign = "0199e0d5-0000-7000-8000-000000000000";
        other["url"] = json!(answer["url"].as_str().unwrap().replace(id, foreign));
        assert_eq!(send(&other, &image).await.status, 403);
        let refused = complete(&app, &answer).await;
        crate::harness::problem::assert_problem(&refused, "upload-conflict");
        cancel(&app, &answer).await;
    }
}

#[tokio::test]
async fn other_bytes_than_the_declared_are_refused_by_whoever_takes_them() {
    for app in both().await {
        let image = images::jpeg(30, 20, 5000);
        let mut asked = asking("a.jpg", &image);
        asked["sha256"] = json!(sha256(&image).to_uppercase());
        let answer = opened(&app, &asked).await;
        let other = images::jpeg(31, 20, 5000);
        let refused = send(&answer, &other).await;
        assert!((400..500).contains(&refused.status), "{}", refused.text());
        app.settles_to(&[]).await;
        sent(&answer, &image).await;
        let response = complete(&app, &answer).await;
        assert_eq!(response.json()["sha256"], sha256(&image), "{}", response.text());
    }
}

#[tokio::test]
async fn a_form_is_for_its_size_type_and_key() {
    let app = App::minio().await;
    let image = images::jpeg(30, 20, 5000);
    let mut asked = asking("a.jpg", &image);
    asked["form"] = json!(true);
    let answer = opened(&app, &asked).await;
    for bytes in [&image[1..], &[&image[..], b"x"].concat()[..]] {
        let refused = send(&answer, bytes).await;
        assert!((400..500).contains(&refused.status), "{}", refused.text());
    }
    let key = answer["fields"]["key"].clone();
    for (field, value) in [
        ("Content-Type", json!("text/html")),
        ("key", json!(format!("{}x", key.as_str().unwrap()))),
    ] {
        let mut other = answer.clone();
        other["fields"][field] = value;
        let refused = send(&other, &image).await;
        assert_eq!(refused.status, 403, "{field}: {}", refused.text());
    }
    cancel(&app, &answer).await;
}

#[tokio::test]
async fn what_has_expired_is_refused() {
    for builder in [App::builder(), App::builder().minio().await] {
        let app = builder.set("CONSUMERS__DIRECT_UPLOADS__EXPIRE_AFTER", "2s").start().await;
        let image = images::jpeg(30, 20, 5000);
        let (late, never) = (
            opened(&app, &asking("a.jpg", &image)).await,
            opened(&app, &asking("b.jpg", &image)).await,
        );
        sent(&never, &image).await;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert_eq!(send(&late, &image).await.status, 403);
        for answer in [&late, &never] {
            assert_eq!(complete(&app, answer).await.status, 404);
            let id = answer["uploadId"].as_str().unwrap();
            assert_eq!(ask("GET", id).send(app.addr).await.status, 404);
        }
        app.settles_to(&[]).await;
    }
}

#[tokio::test]
async fn a_link_of_the_servers_own_cannot_be_changed() {
    let app = App::local().await;
    let image = images::jpeg(30, 20, 5000);
    let answer = opened(&app, &asking("a.jpg", &image)).await;
    let url = answer["url"].as_str().unwrap();
    let (before, signature) = url.rsplit_once('=').unwrap();
    for other in [
        url.replace("acme", "other"),
        url.replace("expires=", "expires=9"),
        url.replace("/uploads/", "/images/"),
        format!("{before}={}", signature.chars().rev().collect::<String>()),
        format!("{before}="),
        before.to_owned(),
        url.split('?').next().unwrap().to_owned(),
        format!("{url}&x=y"),
    ] {
        let (request, addr) = told(&json!(other), &json!("PUT"), &answer["headers"]);
        let refused = request.body(image.clone()).send(addr).await;
        assert!(matches!(refused.status, 403 | 405), "{other}: {}", refused.text());
    }
    // The method is signed, too.
    let (request, addr) = told(&answer["url"], &json!("GET"), &json!({}));
    assert_eq!(request.send(addr).await.status, 405);
    cancel(&app, &answer).await;
}

#[tokio::test]
async fn other_bytes_than_the_declared_in_parts_are_found() {
    let app = App::minio().await;
    let image = images::jpeg(30, 20, 9 << 20);
    for right in [true, false] {
        let mut asked = asking("a.jpg", &image);
        asked["sha256"] = json!(sha256(if right { &image } else { b"other" }));
        let answer = opened(&app, &asked).await;
        let mut rest = &image[..];
        for part in answer["parts"].as_array().unwrap() {
            let (piece, others) = rest.split_at(part["size"].as_u64().unwrap() as usize);
            let (request, addr) = told(&part["url"], &json!("PUT"), &part["headers"]);
            assert_eq!(request.body(piece).send(addr).await.status, 200);
            rest = others;
        }
        let response = complete(&app, &answer).await;
        if right {
            assert_eq!(response.json()["sha256"], sha256(&image), "{}", response.text());
        } else {
            crate::harness::problem::assert_problem(&response, "upload-conflict");
        }
        app.settles_to(&["acme/customer/42/a.jpg"]).await;
    }
}
