//! Every route of every module, with every kind of credential. The routes are read from the
//! sources: one that is added without an entry here fails.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::Guarded;
use crate::harness::http::{Request, Response};
use crate::harness::images;
use crate::harness::issuer::{Key, claims, claims_with, now, rsa_key};
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{UPLOAD, path};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Access {
    /// Anybody.
    Public,
    /// Who has this scope, for the tenant that the credential is for.
    Tenant(&'static str),
}

/// A route, a good request to it but for the credential, and what that is answered with one.
struct Entry {
    route: &'static str,
    access: Access,
    request: fn() -> Request,
    right: u16,
}

const READ: Access = Access::Tenant("images:read");
const WRITE: Access = Access::Tenant("images:write");

const fn public(route: &'static str, request: fn() -> Request) -> Entry {
    Entry { route, access: Access::Public, request, right: 200 }
}

const fn entry(route: &'static str, access: Access, request: fn() -> Request, right: u16) -> Entry {
    Entry { route, access, request, right }
}

const ENTRIES: &[Entry] = &[
    public("GET /healthz", || Request::get("/healthz")),
    public("GET /readyz", || Request::get("/readyz")),
    public("GET /problems/{slug}", || Request::get("/problems/forbidden")),
    entry("POST /customer-images/upload/{customerId}", WRITE, form, 201),
    entry("PUT /customer-images/upload/{customerId}/{fileName}", WRITE, raw, 201),
];

/// Methods that no route of uploads has: whether one may read or write is asked first.
const ELSEWHERE: &[Entry] = &[
    entry("GET an upload", READ, || Request::get(&path("42")), 405),
    entry("HEAD an upload", READ, || Request::new("HEAD", &path("42")), 405),
    entry("DELETE an upload", WRITE, || Request::new("DELETE", &path("42")), 405),
    entry("PATCH an upload", WRITE, || Request::new("PATCH", &path("42")), 405),
    entry("OPTIONS of an upload", WRITE, || Request::new("OPTIONS", &path("42")), 405),
    entry("GET nothing", READ, || Request::get(&UPLOAD.replace("upload", "nothing")), 404),
    entry("POST nothing", WRITE, || Request::post(&UPLOAD.replace("upload", "nothing")), 404),
];

fn form() -> Request {
    Form::new().file("a.gif", &images::gif(1, 1, 100)).post(&path("42"))
}

fn raw() -> Request {
    Request::put(&format!("{UPLOAD}/42/b.gif")).body(images::gif(1, 1, 100))
}

/// The routes of a source text: each `resource("…")`, with the methods that follow it.
fn routes(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split("resource(\"").skip(1) {
        let (pattern, rest) = rest.split_once('"').unwrap();
        // A resource whose path is its scope's.
        let scope =
            if rest.contains("fn explain") && pattern == "/{slug}" { "/problems" } else { "" };
        let mut methods = BTreeSet::new();
        for method in ["get", "head", "post", "put", "patch", "delete"] {
            let (route, guard) = (format!("web::{method}()"), format!("guard::{method}()"));
            if rest.contains(&route) || rest.to_lowercase().contains(&guard) {
                methods.insert(method.to_uppercase());
            }
        }
        if rest.contains(", read()") {
            methods.insert("GET".to_owned());
        }
        assert!(!methods.is_empty(), "{pattern} has no method that this test knows");
        found.extend(methods.into_iter().map(|method| format!("{method} {scope}{pattern}")));
    }
    found
}

fn all_routes(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_routes(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(routes(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_route_has_an_entry() {
    let mut routes = BTreeSet::new();
    all_routes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut routes);
    let entries: BTreeSet<_> = ENTRIES.iter().map(|entry| entry.route.to_owned()).collect();
    assert_eq!(routes, entries, "tests/auth/matrix.rs needs an entry for each route, and no other");
}

/// A token of the tenant `acme` with these scopes.
fn scoped(scopes: &str) -> String {
    rsa_key().token(&claims_with("acme", "scope", json!(scopes)))
}

/// What is wrong with a credential, with what it is answered.
fn wrong(
    scope: &'static str,
) -> Vec<(&'static str, Option<String>, Option<&'static str>, &'static str)> {
    let other = if scope == "images:read" { "images:write" } else { "images:read" };
    let expired = claims_with("acme", "exp", json!(now() - 3600));
    vec![
        ("none", None, Some("acme"), "unauthenticated"),
        ("nonsense", Some("nonsense".to_owned()), Some("acme"), "unauthenticated"),
        ("forged", Some(Key::rsa("main").token(&claims("acme"))), Some("acme"), "unauthenticated"),
        ("expired", Some(rsa_key().token(&expired)), Some("acme"), "unauthenticated"),
        ("another tenant's", Some(rsa_key().token(&claims("other"))), Some("acme"), "forbidden"),
        ("without a tenant", Some(rsa_key().token(&claims("*"))), Some("acme"), "forbidden"),
        ("without scopes", Some(scoped("")), None, "forbidden"),
        ("without the scope", Some(scoped(other)), None, "forbidden"),
    ]
}

async fn send(
    guarded: &Guarded,
    request: Request,
    token: Option<&str>,
    tenant: Option<&str>,
) -> Response {
    let request = match token {
        Some(token) => request.bearer(token),
        None => request,
    };
    let request = match tenant {
        Some(tenant) => request.tenant(tenant),
        None => request,
    };
    request.send(guarded.app.addr).await
}

#[tokio::test]
async fn every_route_is_for_whom_it_is_for() {
    let guarded = Guarded::start().await;
    for Entry { route, access, request, right } in ENTRIES.iter().chain(ELSEWHERE) {
        let Access::Tenant(scope) = *access else {
            for token in [None, Some("nonsense"), Some(&*scoped(""))] {
                let answer = send(&guarded, request(), token, None).await;
                assert_eq!(answer.status, *right, "{route}");
            }
            continue;
        };
        for (name, token, tenant, problem) in wrong(scope) {
            let answer = send(&guarded, request(), token.as_deref(), tenant).await;
            let status = if problem == "forbidden" { 403 } else { 401 };
            assert_eq!(answer.status, status, "{route}, {name}: {}", answer.text());
            if !request().is_head() {
                assert_problem(&answer, problem);
            }
        }
        guarded.app.assert_nothing_left_over().await;
    }
    guarded.app.assert_nothing_stored().await;
    for Entry { route, access, request, right } in ENTRIES.iter().chain(ELSEWHERE) {
        let Access::Tenant(scope) = *access else { continue };
        for tenant in [None, Some("acme")] {
            let answer = send(&guarded, request(), Some(&scoped(scope)), tenant).await;
            assert_eq!(answer.status, *right, "{route}, right: {}", answer.text());
        }
    }
    let keys = guarded.app.keys().await;
    assert!(!keys.is_empty() && keys.iter().all(|key| key.starts_with("acme/")), "{keys:?}");
}

#[test]
fn routes_are_found_where_they_are_made() {
    let text = r#"
        web::resource("/a/{x}").route(web::post().to(h)).default_service(web::to(n)),
        web::resource("/b").route(web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(h)),
        .service(resource("/c", read().to(h)))
    "#;
    assert_eq!(routes(text), ["POST /a/{x}", "GET /b", "HEAD /b", "GET /c"]);
}
