//! Credentials on their way: in which form they are taken, and that they end at the gateway.

use super::{Guarded, UP, get, token};
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::issuer::Issuer;
use crate::harness::problem::assert_problem;
use crate::harness::upstream::Upstream;

#[tokio::test]
async fn without_a_credential_nobody_gets_in() {
    let guarded = Guarded::start().await;
    for request in [
        Request::get(&format!("{UP}/x")),
        Request::get(&format!("{UP}/x")).tenant("acme"),
        Request::get(&format!("{UP}/x?access_token={}", token("acme"))),
        Request::get(&format!("{UP}/x")).header("Cookie", format!("token={}", token("acme"))),
        Request::get(&format!("{UP}/x"))
            .header("X-Authorization", format!("Bearer {}", token("acme"))),
    ] {
        let answer = request.send(guarded.app.addr).await;
        assert_problem(&answer, "unauthenticated");
        assert_eq!(
            answer.header("www-authenticate").as_deref(),
            Some("Bearer realm=\"gatehouse\"")
        );
    }
    let wrong = guarded.get("nonsense").await;
    let challenge = wrong.header("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer realm=\"gatehouse\", error=\"invalid_token\"");
    assert!(guarded.upstream.requests().is_empty());
}

#[tokio::test]
async fn two_credentials_are_none() {
    let guarded = Guarded::start().await;
    let (one, other) = (token("acme"), token("other"));
    let heads = [
        format!("Authorization: Bearer {one}\r\nAuthorization: Bearer {other}"),
        format!("Authorization: Bearer {one}\r\nauthorization: Bearer {one}"),
        format!("Authorization: Bearer {one}\r\nx-api-key: {one}"),
        format!("x-api-key: a\r\nx-api-key: a\r\nAuthorization: Bearer {one}"),
        format!("Authorization:\r\nAuthorization: Bearer {one}"),
        format!("Authorization: Bearer {one}, Bearer {other}"),
        format!("Authorization: Basic YTpi\r\nAuthorization: Bearer {one}"),
        format!("Authorization: Bearer {one}\r\nx-api-key:"),
    ];
    for head in heads {
        let mut connection = Connection::open(guarded.app.addr).await;
        connection.send(format!("GET {UP}/x HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n")).await;
        let answer = connection.response().await;
        assert_eq!(answer.status, 401, "{head}");
        assert_problem(&answer, "unauthenticated");
    }
    assert!(guarded.upstream.requests().is_empty());
}

#[tokio::test]
async fn the_scheme_is_bearer_in_any_letters() {
    let guarded = Guarded::start().await;
    let token = token("acme");
    for (value, status) in [
        (format!("Bearer {token}"), 200),
        (format!("bearer {token}"), 200),
        (format!("BEARER   {token}"), 200),
        (format!("Bearer{token}"), 401),
        (format!("Token {token}"), 401),
        (format!("Basic {token}"), 401),
        (token.clone(), 401),
        ("Bearer".to_owned(), 401),
        (String::new(), 401),
    ] {
        let request = Request::get(&format!("{UP}/x")).header("Authorization", &value);
        assert_eq!(request.send(guarded.app.addr).await.status, status, "{value}");
    }
}

/// What a service with these lines gets of a client's credential fields, and the tenant.
async fn arrives(more: &str, fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let (issuer, upstream) =
        (Issuer::of(&[crate::harness::issuer::rsa_key()]).await, Upstream::ok().await);
    let app = App::builder().issuer(&issuer).service("up", &upstream.url(""), more).start().await;
    let request = get(&token("acme"));
    let request = fields.iter().fold(request, |request, (name, value)| request.header(name, value));
    assert_eq!(request.send(app.addr).await.status, 200);
    credentials(&upstream)
}

/// The fields of the only request so far that say who it comes from.
fn credentials(upstream: &Upstream) -> Vec<(String, String)> {
    let mut found = upstream.request().fields;
    found.retain(|(name, _)| {
        ["authorization", "x-api-key", "x-tenant-id"].contains(&name.replace('_', "-").as_str())
    });
    found.sort();
    found.into_iter().map(|(name, value)| (name, String::from_utf8(value).unwrap())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_credential_ends_at_the_gateway() {
    let forged = [("x_api_key", "evil"), ("X_Tenant_Id", "evil")];
    assert_eq!(arrives("", &forged).await, pairs(&[("x-tenant-id", "acme")]));
}

#[tokio::test]
async fn a_credential_travels_on_where_the_service_wants_it() {
    let token = token("acme");
    let arrived = arrives("forward_credentials = true", &[]).await;
    assert_eq!(arrived.len(), 2, "{arrived:?}");
    assert!(arrived[0].0 == "authorization" && arrived[0].1.starts_with("Bearer "));
    assert_eq!(arrived[0].1.split('.').count(), token.split('.').count());
    assert_eq!(arrived[1], ("x-tenant-id".to_owned(), "acme".to_owned()));
}

#[tokio::test]
async fn the_service_gets_its_own_key() {
    let wanted = pairs(&[("x-api-key", "gh_theirs"), ("x-tenant-id", "acme")]);
    assert_eq!(arrives("upstream_api_key = \"gh_theirs\"", &[("x_api_key", "evil")]).await, wanted);
}

#[tokio::test]
async fn in_open_mode_credentials_are_the_services_business() {
    let upstream = Upstream::ok().await;
    let app = App::builder()
        .service("up", &upstream.url(""), "")
        .service("keyed", &upstream.url(""), "upstream_api_key = \"ours\"")
        .start()
        .await;
    let request = |service: &str| {
        Request::get(&format!("/consumer-api/service/{service}/x"))
            .header("Authorization", "Basic YTpi")
            .header("x-api-key", "mine")
    };
    assert_eq!(request("up").send(app.addr).await.status, 200);
    assert_eq!(
        credentials(&upstream),
        pairs(&[("authorization", "Basic YTpi"), ("x-api-key", "mine")])
    );
    assert_eq!(request("keyed").send(app.addr).await.status, 200);
    let last = upstream.requests().pop().unwrap();
    assert_eq!(last.headers("x-api-key"), ["ours"]);
    assert_eq!(last.headers("authorization"), ["Basic YTpi"]);
}

#[tokio::test]
async fn the_key_for_a_service_is_never_printed() {
    let secret = "gh_0123456789abcdef0123456789abcdef";
    let ended = App::builder()
        .service("up", "http://127.0.0.1:1", &format!("upstream_api_key = \"{secret}\""))
        .tokens(&format!("secret = \"{secret}\""))
        .run(&["check"]);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stdout.contains("[auth.jwt]"), "{}", ended.stdout);
    assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret), "{}", ended.stdout);
}

#[tokio::test]
async fn pages_may_ask_before_they_have_a_credential_and_read_the_refusal() {
    let origin = "https://app.example";
    let guarded = Guarded::with(|builder| {
        builder.file(&format!("[server.cors]\nallowed_origins = [\"{origin}\"]"))
    })
    .await;
    let preflight = |origin: &str| {
        Request::new("OPTIONS", &format!("{UP}/x"))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "PUT")
            .header("Access-Control-Request-Headers", "authorization")
    };
    let answer = preflight(origin).send(guarded.app.addr).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-headers").as_deref(), Some("authorization"));
    // Of an unknown page it is a request like any other.
    let other = preflight("https://evil.example").send(guarded.app.addr).await;
    assert_problem(&other, "unauthenticated");
    let refused = Request::get(&format!("{UP}/x")).header("Origin", origin);
    let refused = refused.send(guarded.app.addr).await;
    assert_problem(&refused, "unauthenticated");
    assert_eq!(refused.header("access-control-allow-origin").as_deref(), Some(origin));
    let exposed = refused.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("www-authenticate") && exposed.contains("ratelimit"), "{exposed}");
    assert!(guarded.upstream.requests().is_empty());
}

#[tokio::test]
async fn an_upgrade_needs_a_credential_too() {
    let guarded = Guarded::start().await;
    let upgrade =
        |request: Request| request.header("Connection", "Upgrade").header("Upgrade", "websocket");
    let none = upgrade(Request::get(&format!("{UP}/x"))).send(guarded.app.addr).await;
    assert_problem(&none, "unauthenticated");
    assert!(guarded.upstream.requests().is_empty());
    assert_eq!(upgrade(get(&token("acme"))).send(guarded.app.addr).await.status, 200);
    let arrived = guarded.upstream.request();
    assert_eq!(arrived.header("upgrade").as_deref(), Some("websocket"));
    assert_eq!(credentials(&guarded.upstream), pairs(&[("x-tenant-id", "acme")]));
}

#[tokio::test]
async fn the_access_line_names_the_principal_and_its_tenant() {
    let guarded = Guarded::start().await;
    assert_eq!(guarded.get(&token("acme")).await.status, 200);
    assert_eq!(guarded.get("nonsense").await.status, 401);
    let line = guarded.app.access_line(&format!("{UP}/x")).await;
    assert_eq!(line["principal"], "jwt:tester", "{line}");
    assert_eq!(line["tenant"], "acme", "{line}");
    // Also of who is not let in, as far as it is known.
    let other = Request::get(&format!("{UP}/other")).bearer(&token("acme")).tenant("other");
    assert_problem(&other.send(guarded.app.addr).await, "forbidden");
    let line = guarded.app.access_line(&format!("{UP}/other")).await;
    assert_eq!(line["service"], "up", "{line}");
    assert_eq!(line["principal"], "jwt:tester", "{line}");
}
