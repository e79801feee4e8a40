//! That nothing is missing from the document, and nothing in it that is not there.

use std::collections::BTreeSet;

use super::{GATEWAY, described, is_relayed, operations};
use crate::auth::matrix::all_routes;
use crate::harness::App;
use crate::harness::http::Request;

/// Routes as the sources make them, those of modules from the module's path on.
fn without_gateway(method: &str, path: &str) -> String {
    let path = path.strip_prefix(&format!("{GATEWAY}/consumers")).unwrap_or(path);
    format!("{method} {path}")
}

/// The path with something in place of each parameter.
fn asked(path: &str) -> String {
    let id = "01a2064a-6d5e-7381-bda1-893f193e44ac";
    let values = [
        ("{customerId}", "12345"),
        ("{fileName}", "a.gif"),
        ("{tenant}", "acme"),
        ("{step}", "labels"),
        ("{slug}", "not-found"),
        ("{upload}", id),
        ("{delivery}", id),
        ("{id}", id),
    ];
    let asked =
        values.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    assert!(!asked.contains('{'), "{path}: give its parameters values here");
    asked
}

#[tokio::test]
async fn every_route_is_described() {
    let app = App::local().await;
    let described: BTreeSet<_> = operations(&described(&app).await)
        .iter()
        .filter(|(path, method, _)| !is_relayed(path) && method != "OPTIONS")
        .map(|(path, method, _)| without_gateway(method, path))
        .collect();
    let mut routes = all_routes();
    // No part of the API: the listener of operations alone has it.
    routes.retain(|route| !route.ends_with(" /metrics"));
    assert_eq!(
        described, routes,
        "describe each route at its handler, and list it in its module's Described"
    );
}

#[tokio::test]
async fn what_is_described_is_there_and_nothing_beside_it() {
    let app = App::local().await;
    let operations = operations(&described(&app).await);
    let paths: BTreeSet<_> = operations.iter().map(|(path, ..)| path).collect();
    for path in paths.into_iter().filter(|path| !is_relayed(path)) {
        let refused = Request::new("PROPFIND", &asked(path)).tenant("acme").send(app.addr).await;
        assert_eq!(refused.status, 405, "{path}: {}", refused.text());
        let allow = refused.header("allow").expect("Allow");
        let allowed: BTreeSet<_> = allow.split(", ").collect();
        let of_path = operations.iter().filter(|(of, ..)| of == path);
        let mut described: BTreeSet<_> = of_path.map(|(_, method, _)| method.as_str()).collect();
        // A POST there stands for one of the others.
        if path.ends_with("/tus/{customerId}/{id}") {
            assert!(described.remove("POST"));
        }
        assert_eq!(allowed, described, "{path}");
    }
}

#[tokio::test]
async fn every_described_operation_is_answered_as_described() {
    let app = App::local().await;
    for (path, method, operation) in operations(&described(&app).await) {
        if is_relayed(&path) || path.ends_with("/events") {
            continue;
        }
        let answer = Request::new(&method, &asked(&path)).tenant("acme").send(app.addr).await;
        let statuses = operation["responses"].as_object().unwrap();
        assert!(
            statuses.contains_key(&answer.status.to_string()),
            "{method} {path}: {} {}",
            answer.status,
            answer.text()
        );
    }
}

#[tokio::test]
async fn where_no_page_may_come_options_tells_what_there_is() {
    let app = App::local().await;
    for (path, allow) in [
        ("/signed/acme/images/01a2064a-6d5e-7381-bda1-893f193e44ac", "GET, HEAD"),
        ("/signed/acme/uploads/01a2064a-6d5e-7381-bda1-893f193e44ac", "PUT"),
    ] {
        let refused = Request::new("OPTIONS", path).send(app.addr).await;
        assert_eq!(
            (refused.status, refused.header("allow").as_deref()),
            (405, Some(allow)),
            "{path}"
        );
    }
}
