//! The page, as a Chromium shows it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{described, operations};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::scripts::Script;

async fn look(url: String) -> Value {
    let seen = tokio::task::spawn_blocking(move || {
        let mut browser = Script::docs();
        browser.run(&json!({ "url": url }))
    });
    let seen = seen.await.unwrap();
    assert!(seen["error"].is_null(), "{}", seen["error"]);
    seen
}

fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn it_loads_nothing_and_can_be_read_anywhere() {
    let app = App::local().await;
    let url = app.url("/docs");
    let seen = look(url.clone()).await;
    assert_eq!(seen["requests"], json!([url]));
    assert_eq!((&seen["violations"], &seen["said"]), (&json!([]), &json!([])));
    assert_eq!(seen["heading"], format!("gatehouse {}", env!("CARGO_PKG_VERSION")));
    assert!(seen["width"].as_u64().unwrap() <= 375, "{} pixels wide", seen["width"]);
    assert_ne!(seen["light"], seen["dark"]);
}

#[tokio::test]
async fn all_operations_are_on_it_and_its_links_lead_somewhere() {
    let app = App::local().await;
    let seen = look(app.url("/docs")).await;
    let (links, places) = (texts(&seen["links"]), texts(&seen["places"]));
    for link in &links {
        let leads = match link.strip_prefix('#') {
            Some(place) => places.contains(place),
            None if link.starts_with("https://") => true,
            None => Request::get(&format!("/{link}")).send(app.addr).await.status == 200,
        };
        assert!(leads, "{link} leads nowhere");
    }
    for (path, method, operation) in operations(&described(&app).await) {
        let id = operation["operationId"].as_str().unwrap();
        let shown =
            places.contains(id) || id.strip_suffix("Head").is_some_and(|get| places.contains(get));
        assert!(shown, "{method} {path} is not on the page");
    }
    assert!(links.contains("problems/image-unsupported") && links.contains("openapi.json"));
}

/// A style or a script that came into the page by a mistake would not take effect.
#[tokio::test]
async fn its_policy_lets_nothing_in() {
    let app = App::local().await;
    let answer = Request::get("/docs").send(app.addr).await;
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert_eq!(policy.matches("-src").count(), 2, "{policy}");
    assert!(!answer.text().contains("<script") && !answer.text().contains(" style="));
}
