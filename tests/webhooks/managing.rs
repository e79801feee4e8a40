//! What tenants do with their webhooks.

use serde_json::json;

use super::*;
use crate::harness::problem::assert_problem;

const URL: &str = "https://example.com/hook";

#[tokio::test]
async fn a_webhook_is_made_shown_changed_and_deleted() {
    for app in both().await {
        let asked = json!({ "url": URL, "events": ["image.deleted", "image.created"], "description": "mine" });
        let made = call(&app, "POST", "", Some(&asked)).await;
        assert_eq!(made.status, 201, "{}", made.text());
        assert_eq!(made.header("cache-control").as_deref(), Some("no-store"));
        let mut made = made.json();
        let secret = made.as_object_mut().unwrap().remove("secret").expect("a secret");
        assert!(secret.as_str().unwrap().starts_with("whsec_"));
        assert_eq!(made["url"], URL);
        assert_eq!(made["events"], json!(["image.created", "image.deleted"]));
        assert_eq!((&made["description"], &made["disabled"]), (&json!("mine"), &json!(false)));
        let id = format!("/{}", made["id"].as_str().unwrap());
        assert_eq!(done(&app, "GET", &id, None).await, made);
        assert_eq!(done(&app, "GET", "", None).await, json!({ "webhooks": [made] }));
        let head = call(&app, "HEAD", &id, None).await;
        assert_eq!((head.status, head.body.len()), (200, 0));

        let change = json!({ "url": "https://example.org/", "events": ["*"], "disabled": true });
        let changed = done(&app, "PATCH", &id, Some(&change)).await;
        assert_eq!(changed["url"], "https://example.org/");
        assert_eq!((&changed["events"], &changed["disabled"]), (&json!(["*"]), &json!(true)));
        assert_eq!(changed["disabledReason"], "It was disabled by its owner.");
        assert_eq!(
            (&changed["description"], &changed["createdAt"]),
            (&json!("mine"), &made["createdAt"])
        );
        let change = json!({ "disabled": false, "description": "" });
        let changed = done(&app, "PATCH", &id, Some(&change)).await;
        assert_eq!((&changed["disabled"], &changed["disabledAt"]), (&json!(false), &json!(null)));
        assert_eq!(changed["description"], json!(null));

        assert_eq!(call(&app, "DELETE", &id, None).await.status, 204);
        assert_problem(&call(&app, "GET", &id, None).await, "not-found");
        assert_eq!(done(&app, "GET", "", None).await, json!({ "webhooks": [] }));
    }
}

#[tokio::test]
async fn another_tenants_webhook_is_not_there() {
    let app = builder().start().await;
    let hook = Hook::at(&app, URL).await;
    for (method, rest) in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate-secret"),
        ("POST", "/test"),
        ("GET", "/deliveries"),
        ("POST", "/deliveries/0197b0a0-0000-7000-8000-000000000000/replay"),
    ] {
        let request = Request::new(method, &format!("{HOOKS}/{}{rest}", hook.id)).tenant("other");
        let request = match method {
            "PATCH" => request.header("Content-Type", "application/json").body("{}"),
            _ => request,
        };
        assert_problem(&request.send(app.addr).await, "not-found");
    }
    let others = Request::get(HOOKS).tenant("other").send(app.addr).await;
    assert_eq!(others.json(), json!({ "webhooks": [] }));
    assert_eq!(hook.shown(&app).await["disabled"], false);
}

#[tokio::test]
async fn a_tenant_has_at_most_twenty() {
    for app in both().await {
        let asked = json!({ "url": URL });
        let all = (0..25).map(|_| call(&app, "POST", "", Some(&asked)));
        let all = futures_util::future::join_all(all).await;
        assert_eq!(all.iter().filter(|answer| answer.status == 201).count(), 20);
        for refused in all.iter().filter(|answer| answer.status != 201) {
            assert_problem(refused, "webhook-conflict");
        }
        let others = Request::post(HOOKS).tenant("other").body(asked.to_string());
        let others = others.header("Content-Type", "application/json").send(app.addr).await;
        assert_eq!(others.status, 201);
        let one = all.iter().find(|answer| answer.status == 201).unwrap().json();
        let path = format!("/{}", one["id"].as_str().unwrap());
        assert_eq!(call(&app, "DELETE", &path, None).await.status, 204);
        assert_eq!(call(&app, "POST", "", Some(&asked)).await.status, 201);
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let app = builder().start().await;
    for (asked, word) in [
        (json!({}), "url"),
        (json!({ "url": URL, "disabled": true }), "enabled"),
        (json!({ "url": 7 }), "JSON"),
        (json!([URL]), "JSON"),
        (json!({ "url": URL, "secret": "mine" }), "JSON"),
        (json!({ "url": URL, "events": [] }), "events"),
        (json!({ "url": URL, "events": ["image.painted"] }), "events"),
        (json!({ "url": URL, "events": ["webhook.test"] }), "events"),
        (json!({ "url": URL, "events": ["*", "image.created"] }), "events"),
        (json!({ "url": URL, "description": "a\nb" }), "description"),
        (json!({ "url": URL, "description": "a".repeat(501) }), "description"),
        (json!({ "url": URL, "description": "a".repeat(17_000) }), "16 KiB"),
    ] {
        let refused = call(&app, "POST", "", Some(&asked)).await;
        assert_problem(&refused, "webhook-invalid");
        assert!(refused.text().contains(word), "{asked}: {}", refused.text());
    }
    let empty = request("POST", "", None).header("Content-Type", "application/json");
    assert_problem(&empty.send(app.addr).await, "webhook-invalid");
    let plain = request("POST", "", None).body("{}").send(app.addr).await;
    assert_problem(&plain, "media-type-unsupported");
    for (method, path, allow) in [
        ("PUT", "", "GET, HEAD, POST"),
        ("POST", "/0197b0a0-0000-7000-8000-000000000000", "GET, HEAD, PATCH, DELETE"),
        ("GET", "/0197b0a0-0000-7000-8000-000000000000/test", "POST"),
    ] {
        let refused = call(&app, method, path, None).await;
        assert_problem(&refused, "method-not-allowed");
        assert_eq!(refused.header("allow").as_deref(), Some(allow));
    }
    let hook = Hook::at(&app, URL).await;
    let page = call(&app, "GET", &hook.path("/deliveries?limit=0"), None).await;
    assert_problem(&page, "query-invalid");
}

#[tokio::test]
async fn there_are_none_where_they_are_switched_off() {
    let app = builder().set("WEBHOOKS__ENABLED", "false").start().await;
    let refused = call(&app, "POST", "", Some(&json!({ "url": URL }))).await;
    assert_problem(&refused, "not-found");
    upload(&app, "acme", "a.gif").await;
}

#[test]
fn settings_that_cannot_be_right_are_named() {
    for (key, value, word) in [
        ("WEBHOOKS__TIMEOUT", "0s", "webhooks.timeout"),
        ("WEBHOOKS__TIMEOUT", "2m", "webhooks.timeout"),
        ("WEBHOOKS__GIVE_UP_AFTER", "8days", "webhooks.give_up_after"),
        ("WEBHOOKS__ALLOWED_NETWORKS", "10.0.0.0/99", "webhooks.allowed_networks"),
    ] {
        let ended = App::builder().set(key, value).run(&["check"]);
        assert!(!ended.status.success() && ended.stderr.contains(word), "{}", ended.stderr);
    }
}
