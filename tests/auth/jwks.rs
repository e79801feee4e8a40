//! An issuer's published keys: how often it is asked, and what happens when it is away.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Guarded, UP, get};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::issuer::{self, Issuer, Key, claims, rsa_key};
use crate::harness::problem::assert_problem;
use crate::harness::tls::Authority;
use crate::harness::upstream::{Upstream, a_moment};

/// A gateway of this issuer, in front of the service `up`.
async fn of(issuer: &Issuer) -> (App, Upstream) {
    let upstream = Upstream::ok().await;
    let app = App::builder().issuer(issuer).service("up", &upstream.url(""), "").start().await;
    (app, upstream)
}

/// A token by a key of another name.
fn named(key: &Key, kid: &str) -> String {
    key.sign("RS256", &json!({ "alg": "RS256", "kid": kid }), &claims("acme"))
}

/// Waits until the issuer was asked so often.
async fn asked(issuer: &Issuer, times: usize, within: Duration) {
    let until = Instant::now() + within;
    while issuer.fetches() < times {
        assert!(Instant::now() < until, "asked {} times", issuer.fetches());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn keys_are_fetched_once_for_all_who_wait() {
    let issuer = Issuer::answering(String::new()).await;
    let (app, _upstream) = of(&issuer).await;
    asked(&issuer, 1, Duration::from_secs(5)).await;
    let token = super::token("acme");
    let requests = (0..50).map(|_| {
        let (request, addr) = (get(&token), app.addr);
        tokio::spawn(async move { request.send(addr).await.status })
    });
    let requests: Vec<_> = requests.collect();
    a_moment().await;
    issuer.publish(&[rsa_key()], "max-age=3600");
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn a_thousand_unknown_keys_have_the_issuer_asked_once() {
    let upstream = Upstream::ok().await;
    let issuer = Issuer::of(&[rsa_key()]).await;
    // Without the limit on guesses, which would come first.
    let app = App::builder()
        .issuer(&issuer)
        .file("[rate_limits]\nenabled = false")
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    assert_eq!(get(&super::token("acme")).send(app.addr).await.status, 200);
    assert_eq!(issuer.fetches(), 1);
    let requests = (0..1000).map(|number| {
        let (request, addr) = (get(&named(rsa_key(), &format!("bogus-{number}"))), app.addr);
        tokio::spawn(async move { request.send(addr).await.status })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap(), 401);
    }
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_later_ones_every_30_s() {
    let issuer = Issuer::of(&[rsa_key()]).await;
    let (app, _upstream) = of(&issuer).await;
    assert_eq!(get(&super::token("acme")).send(app.addr).await.status, 200);
    let (second, third) = (Key::rsa("second"), Key::rsa("third"));
    issuer.publish(&[rsa_key(), &second], "max-age=3600");
    let begun = Instant::now();
    assert_eq!(get(&second.token(&claims("acme"))).send(app.addr).await.status, 200);
    // The old one still is one.
    assert_eq!(get(&super::token("acme")).send(app.addr).await.status, 200);
    issuer.publish(&[&second, &third], "max-age=3600");
    let token = third.token(&claims("acme"));
    while get(&token).send(app.addr).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(60), "never found");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(29), "{:?}", begun.elapsed());
    assert_eq!(issuer.fetches(), 3);
    // And a key that is gone has never been: not even for a token that is remembered.
    assert_problem(&get(&super::token("acme")).send(app.addr).await, "unauthenticated");
}

#[tokio::test]
async fn keys_are_fetched_again_before_they_are_stale() {
    let issuer = Issuer::answering(issuer::jwks(&[rsa_key()], "max-age=1")).await;
    let (app, _upstream) = of(&issuer).await;
    let begun = Instant::now();
    assert_eq!(get(&super::token("acme")).send(app.addr).await.status, 200);
    asked(&issuer, 2, Duration::from_secs(30)).await;
    assert!(begun.elapsed() > Duration::from_secs(8), "more often than within bounds");
    a_moment().await;
    // Nobody waits for it.
    issuer.stall();
    asked(&issuer, 3, Duration::from_secs(30)).await;
    let begun = Instant::now();
    assert_eq!(get(&super::token("acme")).send(app.addr).await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn known_keys_serve_on_while_the_issuer_is_down() {
    let issuer = Issuer::answering(issuer::jwks(&[rsa_key()], "no-store")).await;
    let (app, _upstream) = of(&issuer).await;
    assert_eq!(get(&super::token("acme")).send(app.addr).await.status, 200);
    issuer.go_down();
    assert_problem(&get(&named(rsa_key(), "unknown")).send(app.addr).await, "unauthenticated");
    asked(&issuer, 4, Duration::from_secs(30)).await;
    for tenant in ["acme", "other"] {
        assert_eq!(get(&super::token(tenant)).send(app.addr).await.status, 200);
    }
    let told = app.log_text().matches("keys cannot be fetched").count();
    assert_eq!(told, 1, "{}", app.log_text());
    issuer.publish(&[rsa_key()], "no-store");
    let until = Instant::now() + Duration::from_secs(30);
    while !app.log_text().contains("keys can be fetched again") {
        assert!(Instant::now() < until, "{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn without_any_key_nobody_gets_in_and_is_told_to_come_again() {
    let issuer = Issuer::of(&[]).await;
    issuer.go_down();
    let (app, upstream) = of(&issuer).await;
    let answer = get(&super::token("acme")).send(app.addr).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["type"], "/problems/upstream-unavailable");
    assert!(answer.header("retry-after").is_some());
    assert!(upstream.requests().is_empty());
    // What can be no token is known for one without keys.
    assert_problem(&get("nonsense").send(app.addr).await, "unauthenticated");
    issuer.publish(&[rsa_key()], "max-age=60");
    let until = Instant::now() + Duration::from_secs(20);
    while get(&super::token("acme")).send(app.addr).await.status != 200 {
        assert!(Instant::now() < until, "{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn answers_that_are_no_keys_change_nothing() {
    let good = issuer::jwks(&[rsa_key()], "no-store");
    let evil = Issuer::of(&[&Key::rsa("evil")]).await;
    let redirect =
        format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", evil.url());
    let large =
        issuer::answer(&format!("{{\"keys\":[],\"pad\":\"{}\"}}", "x".repeat(1 << 20)), "no-store");
    let bad = [
        redirect,
        large,
        issuer::answer("{\"keys\":[]}", "no-store"),
        issuer::answer("not JSON", "no-store"),
        issuer::answer("[]", "no-store"),
        "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"keys\":".to_owned(),
    ];
    for answer in bad {
        let issuer = Issuer::answering(good.clone()).await;
        let (app, _upstream) = of(&issuer).await;
        assert_eq!(get(&super::token("acme")).send(app.addr).await.status, 200);
        issuer.answer(answer.clone());
        assert_problem(&get(&named(rsa_key(), "unknown")).send(app.addr).await, "unauthenticated");
        assert!(issuer.fetches() >= 2, "{answer}");
        assert_eq!(get(&super::token("other")).send(app.addr).await.status, 200, "{answer}");
    }
    assert_eq!(evil.fetches(), 0);
}

#[tokio::test]
async fn keys_for_something_else_are_none() {
    let key = |change: &dyn Fn(&mut Value)| {
        let mut jwk = rsa_key().jwk();
        change(&mut jwk);
        jwk
    };
    let secret = b"0123456789abcdef0123456789abcdef";
    let cases = [
        key(&|jwk| jwk["use"] = "enc".into()),
        key(&|jwk| jwk["key_ops"] = json!(["encrypt"])),
        key(&|jwk| jwk["alg"] = "RSA-OAEP".into()),
        key(&|jwk| jwk["alg"] = "PS256".into()),
        key(&|jwk| jwk["kid"] = "another".into()),
        key(&|jwk| jwk["kty"] = "EC".into()),
        key(&|jwk| drop(jwk.as_object_mut().unwrap().remove("n"))),
        Key::secret(secret).jwk(),
    ];
    // Beside a key that is one, so that the set is.
    let other = Key::rsa("other").jwk();
    for jwk in cases {
        let set = json!({ "keys": [jwk, other, { "kty": "future" }, 7] }).to_string();
        let issuer = Issuer::answering(issuer::answer(&set, "max-age=60")).await;
        let (app, _upstream) = of(&issuer).await;
        let forged = Key::secret(secret).sign(
            "HS256",
            &json!({ "alg": "HS256", "kid": "main" }),
            &claims("acme"),
        );
        for token in [super::token("acme"), forged] {
            assert_problem(&get(&token).send(app.addr).await, "unauthenticated");
        }
    }
    for usual in [
        key(&|jwk| jwk["use"] = "sig".into()),
        key(&|jwk| jwk["key_ops"] = json!(["verify"])),
        key(&|jwk| jwk["alg"] = "RS256".into()),
        key(&|jwk| jwk["x5t"] = "AAAA".into()),
    ] {
        let set = json!({ "keys": [usual, other] }).to_string();
        let issuer = Issuer::answering(issuer::answer(&set, "max-age=60")).await;
        let (app, _upstream) = of(&issuer).await;
        assert_eq!(get(&super::token("acme")).send(app.addr).await.status, 200, "{set}");
    }
}

#[tokio::test]
async fn a_token_need_not_name_the_only_key() {
    let (only, second) = (Key::rsa("only"), Key::rsa("second"));
    let nameless = only.sign("RS256", &json!({ "alg": "RS256" }), &claims("acme"));
    for (keys, status) in [(vec![&only], 200), (vec![&only, &second], 401)] {
        let issuer = Issuer::of(&keys).await;
        let (app, _upstream) = of(&issuer).await;
        assert_eq!(get(&nameless).send(app.addr).await.status, status);
    }
}

#[tokio::test]
async fn keys_are_fetched_by_tls_from_whom_the_system_trusts() {
    let (issuer, authority) = (Issuer::of(&[rsa_key()]).await, Authority::new("ours"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let addr = issuer.url().split('/').nth(2).unwrap().parse().unwrap();
    let front = authority.in_front_of(addr, "localhost").await;
    let upstream = Upstream::ok().await;
    for (trusted, status) in [(authority, 200), (Authority::new("others"), 503)] {
        std::fs::write(&path, trusted.pem()).unwrap();
        let app = App::builder()
            .tokens(&format!("jwks_url = \"https://localhost:{}/jwks\"", front.addr.port()))
            .env("SSL_CERT_FILE", path.to_str().unwrap())
            .service("up", &upstream.url(""), "")
            .start()
            .await;
        assert_eq!(get(&super::token("acme")).send(app.addr).await.status, status);
    }
}

#[tokio::test]
async fn keys_are_asked_for_without_anything_of_the_client() {
    let guarded = Guarded::start().await;
    let request = Request::get(&format!("{UP}/x?q")).bearer(&super::token("acme")).tenant("acme");
    assert_eq!(request.send(guarded.app.addr).await.status, 200);
    let request = guarded.issuer.request();
    assert_eq!(request.line, "GET /.well-known/jwks.json HTTP/1.1");
    let mut names: Vec<_> = request.fields.into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["accept", "host", "user-agent"]);
}
