//! Pages of other origins in a browser: preflights, and the fields by which answers are shared.

use std::net::SocketAddr;

use super::UP;
use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::http::{Request, Response};
use crate::harness::images;
use crate::harness::problem::assert_problem;
use crate::harness::upload;
use crate::harness::upstream::Upstream;

const ORIGIN: &str = "https://app.example.com";

/// A gateway that shares with `origins`, a list in TOML, before a service `up`.
fn sharing(origins: &str, upstream: &Upstream) -> Builder {
    App::builder().file(&format!("[server.cors]\nallowed_origins = [{origins}]")).service(
        "up",
        &upstream.url(""),
        "",
    )
}

async fn with_app_and_other(upstream: &Upstream) -> App {
    let origins = format!("\"http://localhost:5173\", \"{ORIGIN}\"");
    sharing(&origins, upstream).start().await
}

/// The preflight of a POST from this origin.
fn preflight(path: &str, origin: &str) -> Request {
    Request::new("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,x-tenant-id")
}

/// Sends it from the allowed origin; checks that the answer is shared.
#[track_caller]
fn assert_shared(response: &Response) {
    let origin = response.header("access-control-allow-origin");
    assert_eq!(origin.as_deref(), Some(ORIGIN), "{}", response.text());
    assert_eq!(response.header("access-control-allow-credentials"), None);
    let exposed = response.headers("access-control-expose-headers").join(", ");
    for name in ["x-request-id", "location", "etag", "retry-after", "ratelimit", "content-range"] {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{name} in {exposed}");
    }
    assert!(response.headers("vary").contains(&"Origin".to_owned()), "{:?}", response.fields);
}

#[track_caller]
fn assert_not_shared(response: &Response) {
    let fields = response.fields.iter().map(|field| field.0.as_str());
    let shared: Vec<_> = fields.filter(|name| name.starts_with("access-control")).collect();
    assert!(shared.is_empty(), "{shared:?}");
}

async fn from_app(request: Request, addr: SocketAddr) -> Response {
    request.header("Origin", ORIGIN).send(addr).await
}

#[tokio::test]
async fn a_preflight_is_answered_before_a_tenant_is_asked_for() {
    let upstream = Upstream::ok().await;
    let app = with_app_and_other(&upstream).await;
    let strange = format!("{UP}/x?y=z");
    for path in [upload::path("42").as_str(), "/consumer-api/service/consumers/nope", &strange] {
        let asked = preflight(path, ORIGIN).header("X-Request-Id", "mine");
        let response = asked.send(app.addr).await;
        assert_eq!(response.status, 204, "{path}: {}", response.text());
        assert_shared(&response);
        let header = |name: &str| response.header(name).unwrap_or_default();
        assert_eq!(header("access-control-allow-methods"), "POST");
        assert_eq!(header("access-control-allow-headers"), "content-type,x-tenant-id");
        assert_eq!(header("access-control-max-age"), "3600");
        assert_eq!(header("x-request-id"), "mine");
        assert!(response.headers("vary").iter().any(|v| v.contains("Request-Method")));
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_preflight_is_allowed_what_it_asks_for() {
    let upstream = Upstream::ok().await;
    let app = with_app_and_other(&upstream).await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "PROPFIND"] {
        let asked = Request::new("OPTIONS", &format!("{UP}/x"))
            .header("Access-Control-Request-Method", method);
        let response = from_app(asked, app.addr).await;
        assert_eq!(response.status, 204);
        assert_eq!(response.header("access-control-allow-methods").as_deref(), Some(method));
        assert_eq!(response.header("access-control-allow-headers"), None);
    }
}

#[tokio::test]
async fn path_and_service_are_checked_before_a_preflight() {
    let upstream = Upstream::ok().await;
    let app = with_app_and_other(&upstream).await;
    let rows = [
        (format!("{UP}/../x"), "path-invalid"),
        ("/consumer-api/service/nope/x".to_owned(), "service-not-found"),
        ("/nope".to_owned(), "not-found"),
    ];
    for (path, slug) in rows {
        let response = preflight(&path, ORIGIN).send(app.addr).await;
        assert_problem(&response, slug);
        assert_shared(&response);
    }
}

#[tokio::test]
async fn any_other_options_is_a_request_like_any_other() {
    let upstream = Upstream::ok().await;
    let app = with_app_and_other(&upstream).await;
    let path = format!("{UP}/x");
    let origins = [
        "https://other.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil",
        "https://APP.example.com",
        "https://app.example.com/",
        "null",
        "",
    ];
    for (number, origin) in origins.into_iter().enumerate() {
        let response = preflight(&path, origin).send(app.addr).await;
        assert_eq!(response.status, 200, "{origin}");
        assert_not_shared(&response);
        assert_eq!(response.headers("vary"), ["Origin"]);
        assert_eq!(upstream.requests().len(), number + 1);
        let refused = preflight(&upload::path("42"), origin).send(app.addr).await;
        assert_problem(&refused, "tenant-missing");
        assert_not_shared(&refused);
    }
    let before = upstream.requests().len();
    // No preflight: it asks for no method, or has another one, or two origins.
    let plain = Request::new("OPTIONS", &path);
    assert_shared(&from_app(plain, app.addr).await);
    let get = Request::get(&path).header("Access-Control-Request-Method", "POST");
    assert_shared(&from_app(get, app.addr).await);
    let twice = preflight(&path, ORIGIN).header("Origin", ORIGIN).send(app.addr).await;
    assert_not_shared(&twice);
    assert_eq!(upstream.requests().len(), before + 3);
}

#[tokio::test]
async fn every_answer_to_an_allowed_origin_is_shared() {
    let upstream = Upstream::ok().await;
    let gone = "[services.gone]\nurl = \"http://127.0.0.1:1\"";
    let app = sharing(&format!("\"{ORIGIN}\""), &upstream).file(gone).start().await;
    let stored = from_app(upload::put("a.gif", &images::gif(1, 1, 50)), app.addr).await;
    assert_eq!(stored.status, 201);
    assert_shared(&stored);
    let wrong = from_app(upload::put("a.gif", b"no image"), app.addr).await;
    assert_problem(&wrong, "image-unsupported");
    assert_shared(&wrong);
    let expecting = Request::put(&format!("{}/a.gif", upload::path("42")))
        .header("Expect", "100-continue")
        .claiming(5);
    let refused = from_app(expecting, app.addr).await;
    assert_problem(&refused, "tenant-missing");
    assert_shared(&refused);
    let failed = from_app(Request::get("/consumer-api/service/gone/x"), app.addr).await;
    assert_eq!(failed.status, 502);
    assert_shared(&failed);
    let proxied = from_app(Request::get(&format!("{UP}/x")), app.addr).await;
    assert_eq!((proxied.status, proxied.text().as_str()), (200, "ok"));
    assert_shared(&proxied);
    // A request that no page made is not, but caches are told.
    let plain = Request::get(&format!("{UP}/x")).send(app.addr).await;
    assert_not_shared(&plain);
    assert_eq!(plain.headers("vary"), ["Origin"]);
}

/// A service that shares its answers itself.
const SHARED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nVary: Accept\r\n\
    Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
    Access-Control-Expose-Headers: x-total\r\n\r\n";

#[tokio::test]
async fn what_a_service_says_itself_is_not_doubled() {
    let upstream = Upstream::answering(SHARED).await;
    let app = with_app_and_other(&upstream).await;
    let response = from_app(Request::get(&format!("{UP}/x")), app.addr).await;
    assert_shared(&response);
    let exposed = response.headers("access-control-expose-headers").join(", ");
    assert!(exposed.contains("x-total"), "{exposed}");
    assert_eq!(response.headers("vary"), ["Accept", "Origin"]);
    // What it says to others is its own affair.
    let other = Request::get(&format!("{UP}/x")).header("Origin", "https://other.example.com");
    let response = other.send(app.addr).await;
    assert_eq!(response.header("access-control-allow-origin").as_deref(), Some("*"));
    assert_eq!(response.headers("access-control-expose-headers"), ["x-total"]);
}

#[tokio::test]
async fn without_the_setting_nothing_is_done() {
    let upstream = Upstream::answering(SHARED).await;
    let app = super::before(&upstream.url("")).await;
    let response = preflight(&format!("{UP}/x"), ORIGIN).send(app.addr).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.headers("vary"), ["Accept"]);
    assert_eq!(response.headers("access-control-expose-headers"), ["x-total"]);
    assert_eq!(response.header("access-control-allow-origin").as_deref(), Some("*"));
    let refused = preflight(&upload::path("42"), ORIGIN).send(app.addr).await;
    assert_problem(&refused, "tenant-missing");
    assert_not_shared(&refused);
    assert_eq!(refused.headers("vary"), Vec::<String>::new());
}

#[tokio::test]
async fn any_origin_may_be_allowed_but_without_credentials() {
    let upstream = Upstream::answering(SHARED).await;
    let app = sharing("\"*\"", &upstream).start().await;
    for origin in [ORIGIN, "http://localhost:1", "null"] {
        let response = preflight(&format!("{UP}/x"), origin).send(app.addr).await;
        assert_eq!(response.status, 204);
        assert_eq!(response.header("access-control-allow-origin").as_deref(), Some("*"));
        let request = Request::get(&format!("{UP}/x")).header("Origin", origin);
        let response = request.send(app.addr).await;
        assert_eq!(response.header("access-control-allow-origin").as_deref(), Some("*"));
        assert_eq!(response.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn credentials_and_the_age_are_settings() {
    let upstream = Upstream::ok().await;
    let app = App::builder()
        .set("SERVER__CORS__ALLOWED_ORIGINS", &format!("{ORIGIN},capacitor://localhost"))
        .set("SERVER__CORS__ALLOW_CREDENTIALS", "true")
        .set("SERVER__CORS__MAX_AGE", "5m")
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    for origin in [ORIGIN, "capacitor://localhost"] {
        let asked = preflight(&format!("{UP}/x"), origin).send(app.addr).await;
        assert_eq!(asked.header("access-control-max-age").as_deref(), Some("300"));
        let request = Request::get(&format!("{UP}/x")).header("Origin", origin);
        for response in [asked, request.send(app.addr).await] {
            assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(origin));
            let credentials = response.header("access-control-allow-credentials");
            assert_eq!(credentials.as_deref(), Some("true"));
        }
    }
}

#[tokio::test]
async fn the_listener_for_gateways_shares_nothing() {
    let origins = format!("[server.cors]\nallowed_origins = [\"{ORIGIN}\"]");
    let app = App::builder().file(&origins).consumers().start().await;
    let path = "/consumers/customer-images/upload/42";
    let response = preflight(path, ORIGIN).send(app.consumers_addr()).await;
    assert_problem(&response, "tenant-missing");
    assert_not_shared(&response);
}

#[test]
fn an_origin_that_no_browser_sends_stops_the_start() {
    let origins = [
        "",
        "null",
        "app.example.com",
        "https://",
        "https://app.example.com/",
        "https://app.example.com/x",
        "https://app.example.com?x",
        "https://app.example.com#x",
        "https://app.example.com:443",
        "http://localhost:80",
        "http://localhost:0",
        "http://localhost:080",
        "http://localhost:",
        "http://localhost:x",
        "http://localhost:99999",
        "https://APP.example.com",
        "HTTPS://app.example.com",
        "https://*.example.com",
        "https://u@app.example.com",
        "https://app.example.com https://b.example.com",
        "https://caf\u{e9}.example.com",
        "http://[::1",
        "http://[x]",
        "//app.example.com",
        "https:app.example.com",
    ];
    for origin in origins {
        let toml = format!("[server.cors]\nallowed_origins = [\"{origin}\"]");
        let ended = App::builder().file(&toml).run(&["check"]);
        let told = ended.stderr.trim_end();
        assert_eq!(ended.status.code(), Some(2), "{origin}: {}", ended.stdout);
        for word in ["server.cors.allowed_origins", "settings.toml", "https://app.example.com"] {
            assert!(told.contains(word), "{origin}: no {word} in {told}");
        }
    }
    let both = "[server.cors]\nallowed_origins = [\"*\"]\nallow_credentials = true";
    let ended = App::builder().file(both).run(&["check"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("server.cors.allow_credentials"), "{}", ended.stderr);
}

#[test]
fn an_origin_that_browsers_send_is_taken_and_printed() {
    let origins = [
        "*",
        "https://app.example.com",
        "https://app.example.com:8443",
        "http://localhost:5173",
        "http://127.0.0.1:3000",
        "http://[::1]:3000",
        "http://[::1]",
        "https://xn--caf-dma.example",
        "http://my_host",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
    ];
    for origin in origins {
        let toml = format!("[server.cors]\nallowed_origins = [\"{origin}\"]");
        let ended = App::builder().file(&toml).run(&["check"]);
        assert_eq!(ended.status.code(), Some(0), "{origin}: {}", ended.stderr);
        assert!(ended.stdout.contains(&format!("\"{origin}\"")), "{origin}: {}", ended.stdout);
    }
}
