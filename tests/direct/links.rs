//! Links to an image's bytes, for whoever has them.

use serde_json::{Value, json};

use super::{DIRECT, both, told, uploaded};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images;
use crate::harness::problem::assert_problem;

async fn link(app: &App, id: &Value, query: &str) -> crate::harness::http::Response {
    let images = DIRECT.replace("direct-uploads", "images");
    let path = format!("{images}/{}/link{query}", id.as_str().unwrap());
    Request::get(&path).tenant("acme").send(app.addr).await
}

#[tokio::test]
async fn a_link_leads_to_the_bytes_without_a_credential() {
    for app in both().await {
        let image = images::jpeg(30, 20, 5000);
        let record = uploaded(&app, "a b.jpg", &image).await;
        let answer = link(&app, &record["id"], "?expiresIn=60").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
        let answer = answer.json();
        assert!(answer["expiresAt"].as_str().unwrap().ends_with('Z'));
        let (request, addr) = told(&answer["url"], &json!("GET"), &json!({}));
        let bytes = request.send(addr).await;
        assert_eq!(bytes.status, 200, "{}", bytes.text());
        assert!(bytes.body == image);
        assert_eq!(bytes.header("content-type").as_deref(), Some("image/jpeg"));
        let named = bytes.header("content-disposition");
        assert_eq!(named.as_deref(), Some("inline; filename=\"a b.jpg\""));
        if app.bucket().is_none() {
            assert_eq!(bytes.header("x-content-type-options").as_deref(), Some("nosniff"));
            assert_eq!(bytes.header("content-security-policy").as_deref(), Some("sandbox"));
        }
        let (request, addr) = told(&answer["url"], &json!("GET"), &json!({"range": "bytes=0-9"}));
        let part = request.send(addr).await;
        assert_eq!((part.status, &part.body[..]), (206, &image[..10]));
        // It cannot be made another's.
        let url = answer["url"].as_str().unwrap();
        let other = json!(url.replace("a%20b", "b").replace("acme", "other"));
        let (request, addr) = told(&other, &json!("GET"), &json!({}));
        assert_eq!(request.send(addr).await.status, 403, "{other}");
    }
}

#[tokio::test]
async fn a_link_expires() {
    for app in both().await {
        let record = uploaded(&app, "a.jpg", &images::jpeg(30, 20, 5000)).await;
        let answer = link(&app, &record["id"], "?expiresIn=1").await.json();
        tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
        let (request, addr) = told(&answer["url"], &json!("GET"), &json!({}));
        assert_eq!(request.send(addr).await.status, 403);
    }
}

#[tokio::test]
async fn only_whose_image_it_is_gets_a_link() {
    let app = App::local().await;
    let record = uploaded(&app, "a.jpg", &images::jpeg(30, 20, 5000)).await;
    let images = DIRECT.replace("direct-uploads", "images");
    let path = format!("{images}/{}/link", record["id"].as_str().unwrap());
    assert_problem(&Request::get(&path).tenant("other").send(app.addr).await, "not-found");
    for query in ["?expiresIn=0", "?expiresIn=604801", "?expiresIn=x", "?a=b"] {
        assert_problem(&link(&app, &record["id"], query).await, "query-invalid");
    }
}
