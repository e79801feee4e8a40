//! Scopes: what a credential may do, by the kind of method.

use serde_json::{Value, json};

use super::{Guarded, UP};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::issuer::{Issuer, claims_with, rsa_key};
use crate::harness::problem::assert_problem;
use crate::harness::upload;
use crate::harness::upstream::Upstream;

/// A token of the tenant `acme` with this claim for its scopes.
fn with(name: &str, scopes: Value) -> String {
    let mut claims = claims_with("acme", "scope", Value::Null);
    claims[name] = scopes;
    rsa_key().token(&claims)
}

#[tokio::test]
async fn images_are_read_and_written_by_scopes() {
    let guarded = Guarded::start().await;
    let reads = ["GET", "HEAD"];
    let writes = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    for (scopes, may_read, may_write) in [
        ("", false, false),
        ("images:read", true, false),
        ("images:write", false, true),
        ("images:read images:write", true, true),
        ("images", false, false),
        ("images:read:all IMAGES:WRITE", false, false),
    ] {
        let token = with("scope", json!(scopes));
        let all = reads.map(|method| (method, may_read)).into_iter();
        for (method, may) in all.chain(writes.map(|method| (method, may_write))) {
            let request = Request::new(method, &upload::path("42")).bearer(&token);
            let status = request.send(guarded.app.addr).await.status;
            // What is let in asks for something else that is wrong with it.
            assert_eq!(status != 403, may, "{method} with {scopes:?}: {status}");
            assert!(status >= 400, "{method} with {scopes:?}: {status}");
        }
    }
}

#[tokio::test]
async fn the_answer_says_which_scope_is_missing() {
    let guarded = Guarded::start().await;
    let request = Request::post(&upload::path("42")).bearer(&with("scope", json!("images:read")));
    let answer = request.send(guarded.app.addr).await;
    assert_problem(&answer, "forbidden");
    assert!(answer.text().contains("images:write"), "{}", answer.text());
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert!(challenge.contains("scope=\"images:write\""), "{challenge}");
}

#[tokio::test]
async fn scopes_come_in_either_claim_and_form() {
    let guarded = Guarded::start().await;
    for token in [
        with("scope", json!("a images:write")),
        with("scp", json!("images:write b")),
        with("scp", json!(["a", "images:write"])),
    ] {
        let answer = Request::post(&upload::path("42")).bearer(&token).send(guarded.app.addr).await;
        assert_problem(&answer, "file-missing");
    }
}

#[tokio::test]
async fn a_remote_service_asks_for_its_own() {
    let upstream = Upstream::ok().await;
    let issuer = Issuer::of(&[rsa_key()]).await;
    let scopes =
        "required_scopes = { read = \"orders:read\", write = \"orders:read orders:write\" }";
    let app = App::builder()
        .issuer(&issuer)
        .service("up", &upstream.url(""), scopes)
        .service("free", &upstream.url(""), "")
        .start()
        .await;
    for (scopes, read, write) in [
        ("", 403, 403),
        ("images:read images:write", 403, 403),
        ("orders:read", 200, 403),
        ("orders:write", 403, 403),
        ("orders:read orders:write", 200, 200),
    ] {
        let token = with("scope", json!(scopes));
        for (method, status) in [("GET", read), ("POST", write), ("DELETE", write)] {
            let request = Request::new(method, &format!("{UP}/x")).bearer(&token);
            assert_eq!(request.send(app.addr).await.status, status, "{method} with {scopes:?}");
            let free = Request::new(method, "/consumer-api/service/free/x").bearer(&token);
            assert_eq!(free.send(app.addr).await.status, 200, "{method} with {scopes:?}");
        }
    }
}

#[tokio::test]
async fn images_behind_another_process_ask_for_the_same() {
    let (upstream, issuer) = (Upstream::ok().await, Issuer::of(&[rsa_key()]).await);
    let app = App::builder()
        .issuer(&issuer)
        .env("TR_CONSUMER_SERVICE_BASE_URL", &upstream.url("/consumers"))
        .start()
        .await;
    for (scopes, read, write) in
        [("", 403, 403), ("images:read", 200, 403), ("images:write", 403, 200)]
    {
        let token = with("scope", json!(scopes));
        for (method, status) in [("GET", read), ("POST", write), ("PUT", write), ("DELETE", write)]
        {
            let request = Request::new(method, &upload::path("42")).bearer(&token);
            assert_eq!(request.send(app.addr).await.status, status, "{method} with {scopes:?}");
        }
    }
}

#[tokio::test]
async fn requests_that_write_are_signed_for_who_may_write() {
    let guarded = Guarded::start().await;
    let path = "/consumer-api/service/consumers/customer-images/direct-uploads";
    let asked = json!({ "fileName": "a.jpg", "contentType": "image/jpeg", "size": 5000 });
    let writer = with("scope", json!("images:read images:write"));
    let open = Request::post(&format!("{path}/42")).header("Content-Type", "application/json");
    let opened = open.body(asked.to_string()).bearer(&writer).send(guarded.app.addr).await;
    let one = format!("{path}/{}", opened.json()["uploadId"].as_str().unwrap());
    let reader = with("scope", json!("images:read"));
    let refused = Request::get(&one).bearer(&reader).send(guarded.app.addr).await;
    assert_problem(&refused, "forbidden");
    assert_eq!(Request::get(&one).bearer(&writer).send(guarded.app.addr).await.status, 200);
    let ended = Request::new("DELETE", &one).bearer(&writer).send(guarded.app.addr).await;
    assert_eq!(ended.status, 204);
}
