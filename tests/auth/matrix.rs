//! Every route of every module, with every kind of credential. The routes are read from the
//! sources: one that is added without an entry here fails.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::Guarded;
use crate::harness::builder::Builder;
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
    /// Of an image of the tenant `acme` with this id.
    request: fn(&str) -> Request,
    right: u16,
    /// The answer to who may do so for another tenant of its own.
    stranger: u16,
}

/// A receiver that is never there.
const RECEIVER: &str = r#"{"url": "http://127.0.0.1:9/", "events": ["image.deleted"]}"#;

const MANAGE: Access = Access::Tenant("webhooks:manage");
const READ: Access = Access::Tenant("images:read");
const WRITE: Access = Access::Tenant("images:write");

const fn public(route: &'static str, request: fn(&str) -> Request) -> Entry {
    Entry { route, access: Access::Public, request, right: 200, stranger: 200 }
}

/// A route that the listener of operations has, and not this one.
const fn elsewhere(route: &'static str, request: fn(&str) -> Request) -> Entry {
    Entry { route, access: Access::Public, request, right: 404, stranger: 404 }
}

/// A route for whoever holds a link to it, which nobody does here.
const fn linked(route: &'static str, request: fn(&str) -> Request) -> Entry {
    Entry { route, access: Access::Public, request, right: 403, stranger: 403 }
}

const fn entry(
    route: &'static str,
    access: Access,
    request: fn(&str) -> Request,
    right: u16,
) -> Entry {
    Entry { route, access, request, right, stranger: right }
}

/// A route of one image, which is not there for strangers.
const fn of_image(
    route: &'static str,
    access: Access,
    request: fn(&str) -> Request,
    right: u16,
) -> Entry {
    Entry { route, access, request, right, stranger: 404 }
}

const ENTRIES: &[Entry] = &[
    public("GET /healthz", |_| Request::get("/healthz")),
    public("HEAD /healthz", |_| Request::new("HEAD", "/healthz")),
    public("GET /readyz", |_| Request::get("/readyz")),
    elsewhere("GET /metrics", |_| Request::get("/metrics")),
    elsewhere("HEAD /metrics", |_| Request::new("HEAD", "/metrics")),
    public("HEAD /readyz", |_| Request::new("HEAD", "/readyz")),
    public("GET /openapi.json", |_| Request::get("/openapi.json")),
    public("HEAD /openapi.json", |_| Request::new("HEAD", "/openapi.json")),
    public("GET /docs", |_| Request::get("/docs")),
    public("HEAD /docs", |_| Request::new("HEAD", "/docs")),
    public("GET /problems/{slug}", |_| Request::get("/problems/forbidden")),
    public("HEAD /problems/{slug}", |_| Request::new("HEAD", "/problems/forbidden")),
    entry("POST /customer-images/upload/{customerId}", WRITE, |_| form("b.gif"), 201),
    entry("PUT /customer-images/upload/{customerId}/{fileName}", WRITE, |_| raw(), 201),
    entry("GET /customer-images/usage", READ, |_| Request::get(&at("usage")), 200),
    entry("HEAD /customer-images/usage", READ, |_| Request::new("HEAD", &at("usage")), 200),
    entry(
        "DELETE /customer-images/customers/{customerId}",
        WRITE,
        |_| Request::new("DELETE", &at("customers/7")),
        200,
    ),
    entry("GET /customer-images/images", READ, |_| Request::get(IMAGES), 200),
    entry("HEAD /customer-images/images", READ, |_| Request::new("HEAD", IMAGES), 200),
    of_image("GET /customer-images/images/{id}", READ, |id| image("GET", id, ""), 200),
    of_image("HEAD /customer-images/images/{id}", READ, |id| image("HEAD", id, ""), 200),
    of_image(
        "GET /customer-images/images/{id}/content",
        READ,
        |id| image("GET", id, "/content"),
        200,
    ),
    of_image(
        "HEAD /customer-images/images/{id}/content",
        READ,
        |id| image("HEAD", id, "/content"),
        200,
    ),
    of_image("GET /customer-images/images/{id}/link", READ, |id| image("GET", id, "/link"), 200),
    of_image("HEAD /customer-images/images/{id}/link", READ, |id| image("HEAD", id, "/link"), 200),
    of_image("DELETE /customer-images/images/{id}", WRITE, |id| image("DELETE", id, ""), 204),
    // A stream would not end: what it is to begin with is looked at last.
    entry(
        "GET /customer-images/events",
        READ,
        |_| Request::get(&at("events")).header("Last-Event-ID", "none"),
        400,
    ),
    entry("GET /customer-images/webhooks", MANAGE, |_| hook("GET", ""), 200),
    entry("HEAD /customer-images/webhooks", MANAGE, |_| hook("HEAD", ""), 200),
    entry("POST /customer-images/webhooks", MANAGE, |_| hook("POST", ""), 201),
    // Of webhooks that are not there.
    entry("GET /customer-images/webhooks/{id}", MANAGE, |id| hook("GET", id), 404),
    entry("HEAD /customer-images/webhooks/{id}", MANAGE, |id| hook("HEAD", id), 404),
    entry("PATCH /customer-images/webhooks/{id}", MANAGE, |id| hook("PATCH", id), 404),
    entry("DELETE /customer-images/webhooks/{id}", MANAGE, |id| hook("DELETE", id), 404),
    entry(
        "POST /customer-images/webhooks/{id}/rotate-secret",
        MANAGE,
        |id| hook("POST", &format!("{id}/rotate-secret")),
        404,
    ),
    entry(
        "POST /customer-images/webhooks/{id}/test",
        MANAGE,
        |id| hook("POST", &format!("{id}/test")),
        404,
    ),
    entry(
        "GET /customer-images/webhooks/{id}/deliveries",
        MANAGE,
        |id| hook("GET", &format!("{id}/deliveries")),
        404,
    ),
    entry(
        "HEAD /customer-images/webhooks/{id}/deliveries",
        MANAGE,
        |id| hook("HEAD", &format!("{id}/deliveries")),
        404,
    ),
    entry(
        "POST /customer-images/webhooks/{id}/deliveries/{delivery}/replay",
        MANAGE,
        |id| hook("POST", &format!("{id}/deliveries/{id}/replay")),
        404,
    ),
    // Uploads that are not there: whether one may ask is decided first.
    entry("POST /customer-images/direct-uploads/{id}", WRITE, |_| direct("POST", "42"), 400),
    // What these tell lets one write: who may only read gets no further.
    entry("GET /customer-images/direct-uploads/{id}", READ, |id| direct("GET", id), 403),
    entry("HEAD /customer-images/direct-uploads/{id}", READ, |id| direct("HEAD", id), 403),
    entry("DELETE /customer-images/direct-uploads/{id}", WRITE, |id| direct("DELETE", id), 404),
    entry(
        "POST /customer-images/direct-uploads/{id}/complete",
        WRITE,
        |id| direct("POST", &format!("{id}/complete")),
        404,
    ),
    entry("POST /customer-images/tus/{customerId}", WRITE, |_| tus("POST", "42"), 400),
    entry(
        "HEAD /customer-images/tus/{customerId}/{id}",
        READ,
        |id| tus("HEAD", &format!("42/{id}")),
        404,
    ),
    entry(
        "PATCH /customer-images/tus/{customerId}/{id}",
        WRITE,
        |id| {
            let bytes = tus("PATCH", &format!("42/{id}")).header("Upload-Offset", "0");
            bytes.header("Content-Type", "application/offset+octet-stream").body("x")
        },
        404,
    ),
    entry(
        "DELETE /customer-images/tus/{customerId}/{id}",
        WRITE,
        |id| tus("DELETE", &format!("42/{id}")),
        404,
    ),
    entry(
        "POST /customer-images/tus/{customerId}/{id}",
        WRITE,
        |id| tus("POST", &format!("42/{id}")).header("X-HTTP-Method-Override", "DELETE"),
        404,
    ),
    // Who holds the link may.
    linked("GET /signed/{tenant}/contents/{upload}/{id}", |id| {
        signed("GET", &format!("contents/{id}"), id)
    }),
    linked("HEAD /signed/{tenant}/contents/{upload}/{id}", |id| {
        signed("HEAD", &format!("contents/{id}"), id)
    }),
    linked("POST /signed/{tenant}/steps/{step}/{upload}/{id}", |id| {
        signed("POST", &format!("steps/labels/{id}"), id).body("{}")
    }),
    linked("PUT /signed/{tenant}/uploads/{id}", |id| signed("PUT", "uploads", id)),
    linked("GET /signed/{tenant}/images/{id}", |id| signed("GET", "images", id)),
    linked("HEAD /signed/{tenant}/images/{id}", |id| signed("HEAD", "images", id)),
];

/// What no route is for: whether one may read or write is asked first.
const ELSEWHERE: &[Entry] = &[
    entry("GET an upload", READ, |_| Request::get(&path("42")), 405),
    entry("HEAD an upload", READ, |_| Request::new("HEAD", &path("42")), 405),
    entry("DELETE an upload", WRITE, |_| Request::new("DELETE", &path("42")), 405),
    entry("PATCH an upload", WRITE, |_| Request::new("PATCH", &path("42")), 405),
    entry("OPTIONS of an upload", WRITE, |_| Request::new("OPTIONS", &path("42")), 405),
    entry("PUT an image", WRITE, |id| image("PUT", id, ""), 405),
    entry("GET nothing", READ, |_| Request::get(&UPLOAD.replace("upload", "nothing")), 404),
    entry("POST nothing", WRITE, |_| Request::post(&UPLOAD.replace("upload", "nothing")), 404),
];

const IMAGES: &str = "/consumer-api/service/consumers/customer-images/images";

/// A path of the module.
fn at(rest: &str) -> String {
    IMAGES.replace("images/images", &format!("images/{rest}"))
}

fn image(method: &str, id: &str, rest: &str) -> Request {
    Request::new(method, &format!("{IMAGES}/{id}{rest}"))
}

fn direct(method: &str, rest: &str) -> Request {
    let request = Request::new(method, &at(&format!("direct-uploads/{rest}")));
    if rest == "42" {
        request.header("Content-Type", "application/json").body("{}")
    } else {
        request
    }
}

fn hook(method: &str, rest: &str) -> Request {
    let path = if rest.is_empty() { at("webhooks") } else { at(&format!("webhooks/{rest}")) };
    let request = Request::new(method, &path);
    match (method, rest) {
        ("POST", "") | ("PATCH", _) => {
            request.header("Content-Type", "application/json").body(RECEIVER)
        }
        _ => request,
    }
}

fn tus(method: &str, rest: &str) -> Request {
    Request::new(method, &at(&format!("tus/{rest}"))).header("Tus-Resumable", "1.0.0")
}

fn signed(method: &str, what: &str, id: &str) -> Request {
    Request::new(method, &format!("/signed/acme/{what}/{id}?expires=1&signature=AAAA"))
}

fn form(name: &str) -> Request {
    Form::new().file(name, &images::gif(1, 1, 100)).post(&path("42"))
}

fn raw() -> Request {
    Request::put(&format!("{UPLOAD}/42/c.gif")).body(images::gif(1, 1, 100))
}

/// The routes of a source text: each `resource("…")`, with the methods that follow it.
fn routes(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split("resource(\"").skip(1) {
        let (pattern, rest) = rest.split_once('"').unwrap();
        // A resource whose path is its scope's.
        let scope =
            if rest.contains("to(explain)") && pattern == "/{slug}" { "/problems" } else { "" };
        let mut methods = BTreeSet::new();
        for method in ["get", "head", "post", "put", "patch", "delete"] {
            let (route, guard) = (format!("web::{method}()"), format!("guard::{method}()"));
            if rest.contains(&route) || rest.to_lowercase().contains(&guard) {
                methods.insert(method.to_uppercase());
            }
        }
        if rest.contains(", read()") {
            methods.extend(["GET", "HEAD"].map(str::to_owned));
        }
        assert!(!methods.is_empty(), "{pattern} has no method that this test knows");
        found.extend(methods.into_iter().map(|method| format!("{method} {scope}{pattern}")));
    }
    found
}

/// The routes of all sources, each as its method and pattern.
pub(crate) fn all_routes() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    routes_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut routes);
    routes
}

fn routes_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            routes_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(routes(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_route_has_an_entry() {
    let routes = all_routes();
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
    let guarded = Guarded::with(|builder: Builder| {
        // So many wrong credentials are no guesses here.
        let builder =
            builder.file("[rate_limits]\nfailed_credentials = { per_second = 10, burst = 1000 }");
        builder.set("WEBHOOKS__ALLOWED_NETWORKS", "127.0.0.0/8")
    })
    .await;
    let all: Vec<_> = ELSEWHERE.iter().chain(ENTRIES).collect();
    let uploaded = form("a.gif").bearer(&super::token("acme")).send(guarded.app.addr).await;
    let id = uploaded.json()["id"].as_str().unwrap().to_owned();
    for Entry { route, access, request, right, stranger } in &all {
        let Access::Tenant(scope) = *access else {
            for token in [None, Some("nonsense"), Some(&*scoped(""))] {
                let answer = send(&guarded, request(&id), token, None).await;
                assert_eq!(answer.status, *right, "{route}");
            }
            continue;
        };
        for (name, token, tenant, problem) in wrong(scope) {
            let answer = send(&guarded, request(&id), token.as_deref(), tenant).await;
            let status = if problem == "forbidden" { 403 } else { 401 };
            assert_eq!(answer.status, status, "{route}, {name}: {}", answer.text());
            if !request(&id).is_head() {
                assert_problem(&answer, problem);
            }
        }
        let token = rsa_key().token(&claims_with("other", "scope", json!(scope)));
        let answer = send(&guarded, request(&id), Some(&token), None).await;
        assert_eq!(answer.status, *stranger, "{route}, a stranger: {}", answer.text());
    }
    guarded.app.assert_nothing_left_over().await;
    let keys = guarded.app.keys().await;
    let of_acme: Vec<_> = keys.iter().filter(|key| !key.starts_with("other/")).collect();
    assert_eq!(of_acme, ["acme/customer/42/a.gif"], "{keys:?}");
    for Entry { route, access, request, right, .. } in all {
        let Access::Tenant(scope) = *access else { continue };
        let tenants = if *right == 204 { &[Some("acme")][..] } else { &[None, Some("acme")] };
        for tenant in tenants {
            let answer = send(&guarded, request(&id), Some(&scoped(scope)), *tenant).await;
            assert_eq!(answer.status, *right, "{route}, right: {}", answer.text());
        }
    }
}

#[test]
fn routes_are_found_where_they_are_made() {
    let text = r#"
        web::resource("/a/{x}").route(web::post().to(h)).default_service(web::to(n)),
        web::resource("/b").route(web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(h)),
        .service(resource("/c", read().to(h)))
    "#;
    assert_eq!(routes(text), ["POST /a/{x}", "GET /b", "HEAD /b", "GET /c", "HEAD /c"]);
}
