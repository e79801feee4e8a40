//! The document itself.

use std::collections::BTreeSet;

use super::{GATEWAY, described, is_relayed, operations};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::problem::TABLE;
use crate::harness::scripts;

#[tokio::test]
async fn it_is_valid_openapi() {
    let app = App::builder().consumers().start().await;
    for (name, addr) in [("gateway.json", app.addr), ("consumers.json", app.consumers_addr())] {
        let answer = Request::get("/openapi.json").send(addr).await;
        assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
        assert_eq!(answer.json()["openapi"], "3.1.0");
        let file = app.folder().join(name);
        std::fs::write(&file, &answer.body).unwrap();
        let mut validator = scripts::openapi_tool("openapi_spec_validator");
        let ended = validator.args(["--schema", "3.1"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{said} {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[tokio::test]
async fn the_command_prints_what_is_served() {
    let app = App::local().await;
    let served = Request::get("/openapi.json").send(app.addr).await;
    // Nothing of the settings is asked for.
    let printed = App::builder().file("[nothing]").run(&["openapi"]);
    assert!(printed.status.success(), "{}", printed.stderr);
    assert_eq!(printed.stdout, served.text());
}

#[tokio::test]
async fn each_listener_describes_its_own_paths() {
    let app = App::builder().consumers().start().await;
    let gateway = operations(&described(&app).await);
    let answer = Request::get("/openapi.json").send(app.consumers_addr()).await;
    let consumers = operations(&answer.json());
    let of = |all: &[(String, String, _)]| -> BTreeSet<_> {
        let paths = all.iter().filter(|(path, ..)| !is_relayed(path));
        paths.map(|(path, method, _)| format!("{method} {path}")).collect()
    };
    let below = of(&gateway).into_iter().map(|call| call.replace(GATEWAY, "")).collect();
    assert_eq!(of(&consumers), below);
    assert!(of(&consumers).contains("GET /consumers/customer-images/images"));
    assert!(!consumers.iter().any(|(path, ..)| is_relayed(path)));
}

#[tokio::test]
async fn every_type_of_problem_is_described_with_its_status() {
    let app = App::local().await;
    let document = described(&app).await;
    let mut described_slugs = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let problem = &response["content"]["application/problem+json"];
            for (slug, reference) in problem["examples"].as_object().into_iter().flatten() {
                let line = TABLE.iter().find(|line| line.0 == slug);
                let (_, right, title) = line.unwrap_or_else(|| panic!("{slug} is none"));
                assert_eq!(*status, right.to_string(), "{method} {path}: {slug}");
                assert_eq!(reference["$ref"], format!("#/components/examples/{slug}"));
                assert_eq!(document["components"]["examples"][slug]["value"]["title"], *title);
                described_slugs.insert(slug.clone());
            }
        }
        assert!(operation["responses"]["500"].is_object(), "{method} {path}");
    }
    let all: BTreeSet<_> = TABLE.iter().map(|(slug, ..)| (*slug).to_owned()).collect();
    assert_eq!(described_slugs, all);
}

#[tokio::test]
async fn every_operation_is_told_whole() {
    let app = App::local().await;
    let document = described(&app).await;
    let tags: BTreeSet<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].clone().to_string())
        .collect();
    for (path, method, operation) in operations(&document) {
        let call = format!("{method} {path}");
        for member in ["summary", "description", "operationId"] {
            let text = operation[member].as_str().unwrap_or_default();
            assert!(text.len() > 3, "{call} has no {member}");
        }
        assert!(tags.contains(&operation["tags"][0].to_string()), "{call}: {}", operation["tags"]);
        let needs = operation["security"].as_array();
        assert_eq!(needs.is_some(), path.starts_with(GATEWAY), "{call}");
        for response in operation["responses"].as_object().unwrap().values() {
            assert!(response["headers"]["x-request-id"].is_object(), "{call}");
            assert!(method != "HEAD" || response["content"].is_null(), "{call} has a body");
        }
    }
}

#[tokio::test]
async fn scopes_are_those_that_are_asked_for() {
    let app = App::builder().required().start().await;
    let document = described(&app).await;
    for (path, method, scope) in [
        ("/customer-images/images", "get", "images:read"),
        ("/customer-images/images/{id}", "delete", "images:write"),
        ("/customer-images/tus/{customerId}", "options", "images:write"),
        ("/customer-images/webhooks", "get", "webhooks:manage"),
        ("/customer-images/webhooks/{id}/test", "post", "webhooks:manage"),
    ] {
        let operation = &document["paths"][format!("{GATEWAY}/consumers{path}")][method];
        assert_eq!(
            operation["security"][0]["bearer"],
            serde_json::json!([scope]),
            "{method} {path}"
        );
        let key = app.key(&["--tenant", "acme", "--scope", "nothing:at-all"]);
        let asked = format!("{GATEWAY}/consumers{path}").replace(['{', '}'], "");
        let request = Request::new(&method.to_uppercase(), &asked).header("x-api-key", &key);
        let refused = request.send(app.addr).await;
        assert_eq!(refused.status, 403, "{method} {path}");
        assert!(refused.text().contains(scope), "{}", refused.text());
    }
}

#[tokio::test]
async fn who_has_it_gets_it_once() {
    let app = App::local().await;
    for path in ["/openapi.json", "/docs"] {
        let first = Request::get(path).send(app.addr).await;
        let tag = first.header("etag").expect("ETag");
        let again = Request::get(path).header("If-None-Match", &tag).send(app.addr).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("etag"), Some(tag));
        let other = Request::get(path).header("If-None-Match", "\"other\"").send(app.addr).await;
        assert_eq!((other.status, other.body == first.body), (200, true), "{path}");
    }
}
