//! Forged, stolen and stale tokens: each refused, whatever it is signed with.

use serde_json::{Value, json};

use super::{Guarded, UP, get};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::issuer::{Key, base64url, claims, claims_with, now, rsa_key};
use crate::harness::problem::assert_problem;
use crate::harness::upstream::Upstream;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A gateway with these lines of `[auth.jwt]` in front of a service.
async fn gateway(jwt: &str) -> (App, Upstream) {
    let upstream = Upstream::ok().await;
    let app = App::builder().tokens(jwt).service("up", &upstream.url(""), "").start().await;
    (app, upstream)
}

/// Fails unless all of these are refused and none of them gets through.
async fn all_refused(guarded: &Guarded, tokens: Vec<(&str, String)>) {
    assert_eq!(guarded.get(&super::token("acme")).await.status, 200);
    for (name, token) in tokens {
        let answer = guarded.get(&token).await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text());
        assert_problem(&answer, "unauthenticated");
    }
    assert_eq!(guarded.upstream.requests().len(), 1);
}

fn header() -> Value {
    json!({ "alg": "RS256", "typ": "JWT", "kid": "main" })
}

/// A token whose header has one more member, signed by the right key.
fn with_header(name: &str, value: Value) -> String {
    let mut header = header();
    header[name] = value;
    rsa_key().sign("RS256", &header, &claims("acme"))
}

#[tokio::test]
async fn each_algorithm_works_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let cases = [
        ("RS256", Key::rsa("k")),
        ("PS256", Key::rsa("k")),
        ("ES256", Key::ec("k")),
        ("EdDSA", Key::ed("k")),
    ];
    for (algorithm, key) in cases {
        std::fs::write(&path, key.pem()).unwrap();
        let jwt =
            format!("algorithms = [\"{algorithm}\"]\npublic_key_file = \"{}\"", path.display());
        let (app, _upstream) = gateway(&jwt).await;
        // A single key need not be named, and any name will do.
        for header in [json!({ "alg": algorithm }), json!({ "alg": algorithm, "kid": "other" })] {
            let token = key.sign(algorithm, &header, &claims("acme"));
            let answer = get(&token).send(app.addr).await;
            assert_eq!(answer.status, 200, "{algorithm}: {}", answer.text());
        }
        let mut forged = key.sign(algorithm, &json!({ "alg": algorithm }), &claims("acme"));
        let flipped = if forged.ends_with('A') { 'Q' } else { 'A' };
        forged.pop();
        forged.push(flipped);
        assert_problem(&get(&forged).send(app.addr).await, "unauthenticated");
    }
    let (app, _upstream) = gateway(&format!("secret = \"{SECRET}\"")).await;
    let token = Key::secret(SECRET.as_bytes()).token(&claims("acme"));
    assert_eq!(get(&token).send(app.addr).await.status, 200);
    let token = Key::secret(b"another secret of many characters").token(&claims("acme"));
    assert_problem(&get(&token).send(app.addr).await, "unauthenticated");
}

#[tokio::test]
async fn the_same_key_is_good_for_the_listed_algorithm_only() {
    let guarded = Guarded::start().await;
    let header = json!({ "alg": "PS256", "kid": "main" });
    let token = rsa_key().sign("PS256", &header, &claims("acme"));
    all_refused(&guarded, vec![("PS256 where RS256 is listed", token)]).await;
}

#[tokio::test]
async fn unsigned_tokens_are_refused() {
    let guarded = Guarded::start().await;
    let body = base64url(claims("acme").to_string().as_bytes());
    let mut tokens = Vec::new();
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let header = base64url(json!({ "alg": algorithm, "kid": "main" }).to_string().as_bytes());
        tokens.push(("none", format!("{header}.{body}.")));
        tokens.push(("none with a signature", format!("{header}.{body}.AAAA")));
    }
    let signed = super::token("acme");
    let (message, _) = signed.rsplit_once('.').unwrap();
    tokens.push(("a signature that was cut off", format!("{message}.")));
    tokens.push(("no third part", message.to_owned()));
    let header = base64url(json!({ "typ": "JWT" }).to_string().as_bytes());
    tokens.push(("no algorithm", format!("{header}.{body}.AAAA")));
    all_refused(&guarded, tokens).await;
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let pem = rsa_key().pem();
    std::fs::write(&path, &pem).unwrap();
    let (app, upstream) = gateway(&format!("public_key_file = \"{}\"", path.display())).await;
    // What an attacker may take for the HMAC secret.
    let jwk = rsa_key().jwk().to_string();
    for secret in [&*pem, pem.trim_end(), &*jwk, ""] {
        let key = Key::secret(secret.as_bytes());
        for header in [json!({ "alg": "HS256" }), json!({ "alg": "HS256", "kid": "main" })] {
            let token = key.sign("HS256", &header, &claims("acme"));
            assert_problem(&get(&token).send(app.addr).await, "unauthenticated");
        }
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn keys_that_a_token_brings_are_not_used() {
    let guarded = Guarded::start().await;
    let evil = Key::rsa("evil");
    let place = crate::harness::issuer::Issuer::of(&[&evil]).await;
    let mut tokens = Vec::new();
    for (name, value) in [
        ("jwk", evil.jwk()),
        ("jku", place.url().into()),
        ("x5u", place.url().into()),
        ("x5c", json!([base64url(b"no certificate")])),
    ] {
        let mut forged = header();
        forged[name] = value.clone();
        tokens.push((name, evil.sign("RS256", &forged, &claims("acme"))));
        forged["kid"] = "evil".into();
        tokens.push((name, evil.sign("RS256", &forged, &claims("acme"))));
        tokens.push((name, with_header(name, value)));
    }
    all_refused(&guarded, tokens).await;
    assert_eq!(place.fetches(), 0);
}

#[tokio::test]
async fn extensions_that_are_not_understood_are_refused() {
    let guarded = Guarded::start().await;
    let tokens = vec![
        ("crit", with_header("crit", json!(["exp"]))),
        ("crit of b64", with_header("crit", json!(["b64"]))),
        ("empty crit", with_header("crit", json!([]))),
        ("crit that is no list", with_header("crit", json!("exp"))),
    ];
    all_refused(&guarded, tokens).await;
}

#[tokio::test]
async fn times_are_checked() {
    let guarded = Guarded::start().await;
    let sign = |name: &str, value: Value| rsa_key().token(&claims_with("acme", name, value));
    let tokens = vec![
        ("no exp", sign("exp", Value::Null)),
        ("exp as text", sign("exp", json!((now() + 3600).to_string()))),
        ("exp as a list", sign("exp", json!([now() + 3600]))),
        ("exp as an object", sign("exp", json!({}))),
        ("exp as a bool", sign("exp", json!(true))),
        ("a negative exp", sign("exp", json!(-1))),
        ("long expired", sign("exp", json!(1))),
        ("expired", sign("exp", json!(now() - 31))),
        ("expired by a fraction", sign("exp", json!(now() as f64 - 31.5))),
        ("ahead of its time", sign("nbf", json!(now() + 60))),
        ("nbf as text", sign("nbf", json!("0"))),
    ];
    all_refused(&guarded, tokens).await;
    for (name, value) in [
        ("exp", json!(now() - 10)),
        ("exp", json!(now() as f64 + 3600.25)),
        ("exp", json!(1e18)),
        ("nbf", json!(now() - 1)),
        ("nbf", json!(now() + 10)),
    ] {
        let answer = guarded.get(&sign(name, value.clone())).await;
        assert_eq!(answer.status, 200, "{name} {value}: {}", answer.text());
    }
    let expired = guarded.get(&sign("exp", json!(now() - 31))).await;
    assert!(expired.text().contains("has expired"), "{}", expired.text());
}

#[tokio::test]
async fn a_remembered_token_expires_all_the_same() {
    let upstream = Upstream::ok().await;
    let app = App::builder()
        .tokens(&format!("secret = \"{SECRET}\"\nleeway = \"0s\""))
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    let key = Key::secret(SECRET.as_bytes());
    let token = key.token(&claims_with("acme", "exp", json!(now() + 2)));
    assert_eq!(get(&token).send(app.addr).await.status, 200);
    assert_eq!(get(&token).send(app.addr).await.status, 200);
    let until = now() + 4;
    while now() < until {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_problem(&get(&token).send(app.addr).await, "unauthenticated");
}

#[tokio::test]
async fn tokens_of_others_are_refused() {
    let guarded = Guarded::start().await;
    let sign = |name: &str, value: Value| rsa_key().token(&claims_with("acme", name, value));
    let tokens = vec![
        ("no issuer", sign("iss", Value::Null)),
        ("another issuer", sign("iss", json!("https://evil.example/"))),
        ("almost the issuer", sign("iss", json!("https://issuer.example"))),
        ("no text", sign("iss", json!(7))),
        ("no audience", sign("aud", Value::Null)),
        ("another audience", sign("aud", json!("billing"))),
        ("other audiences", sign("aud", json!(["billing", "orders"]))),
        ("no audience at all", sign("aud", json!([]))),
        ("almost the audience", sign("aud", json!("gatehouse2"))),
    ];
    all_refused(&guarded, tokens).await;
    let among = sign("aud", json!(["billing", "gatehouse"]));
    assert_eq!(guarded.get(&among).await.status, 200);
}

#[tokio::test]
async fn the_name_of_a_key_is_only_a_name() {
    let guarded = Guarded::start().await;
    let names = [
        json!("../../etc/passwd"),
        json!("/dev/null"),
        json!("main' OR '1'='1"),
        json!("main\u{0}"),
        json!("MAIN"),
        json!("main "),
        json!(""),
        json!("*"),
        json!("http://127.0.0.1/"),
        json!("a".repeat(4000)),
    ];
    let mut tokens: Vec<_> =
        names.into_iter().map(|name| ("a name", with_header("kid", name))).collect();
    for name in [json!(7), json!(["main"]), json!({ "main": 1 })] {
        tokens.push(("no name", with_header("kid", name)));
    }
    all_refused(&guarded, tokens).await;
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let guarded = Guarded::start().await;
    let good = super::token("acme");
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = message.split_once('.').unwrap();
    let twice = r#"{"alg":"RS256","alg":"none","kid":"main"}"#;
    let tokens = vec![
        ("a word", "token".to_owned()),
        ("dots", "...".to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("a JWE", format!("{head}.{body}.{body}.{body}.{signature}")),
        ("padding", format!("{good}==")),
        ("another alphabet", format!("{head}.{body}.{}", signature.replace(['-', '_'], "+")) + "+"),
        (
            "claims of another",
            format!("{head}.{}.{signature}", base64url(claims("evil").to_string().as_bytes())),
        ),
        (
            "a header that is no object",
            rsa_key().sign_text("RS256", "[]", &claims("acme").to_string()),
        ),
        ("claims that are no object", rsa_key().sign_text("RS256", &header().to_string(), "[]")),
        ("an algorithm twice", rsa_key().sign_text("RS256", twice, &claims("acme").to_string())),
    ];
    all_refused(&guarded, tokens).await;
}

#[tokio::test]
async fn tokens_over_8_kib_are_refused() {
    let guarded = Guarded::start().await;
    let of_length = |length: usize| {
        let padded =
            |pad: usize| rsa_key().token(&claims_with("acme", "pad", json!("x".repeat(pad))));
        let mut pad = length * 3 / 4 - 600;
        while padded(pad + 1).len() <= length {
            pad += 1;
        }
        padded(pad)
    };
    let fits = of_length(8 * 1024);
    assert!(fits.len() > 8 * 1024 - 4);
    assert_eq!(guarded.get(&fits).await.status, 200);
    let too_long = rsa_key().token(&claims_with("acme", "pad", json!("x".repeat(6 * 1024))));
    assert!(too_long.len() > 8 * 1024);
    let answer = guarded.get(&too_long).await;
    assert_problem(&answer, "unauthenticated");
    assert!(answer.text().contains("8192 bytes"), "{}", answer.text());
}

#[tokio::test]
async fn a_token_without_a_tenant_is_forbidden() {
    let guarded = Guarded::start().await;
    for value in [json!(null), json!(""), json!("*"), json!("a/b"), json!(["acme"]), json!(7)] {
        let token = rsa_key().token(&claims_with("acme", "tenant_id", value.clone()));
        for tenant in [None, Some("acme")] {
            let request = get(&token);
            let request = match tenant {
                Some(tenant) => request.tenant(tenant),
                None => request,
            };
            assert_problem(&request.send(guarded.app.addr).await, "forbidden");
        }
    }
    assert!(guarded.upstream.requests().is_empty());
}

#[tokio::test]
async fn the_tenant_may_stand_deeper() {
    let (app, upstream) =
        gateway(&format!("secret = \"{SECRET}\"\ntenant_claim = \"app.org.id\"")).await;
    let mut claims = claims("wrong");
    claims["app"] = json!({ "org": { "id": "deep" } });
    let token = Key::secret(SECRET.as_bytes()).token(&claims);
    assert_eq!(get(&token).send(app.addr).await.status, 200);
    assert_eq!(upstream.request().header("x-tenant-id").as_deref(), Some("deep"));
}

#[tokio::test]
async fn the_first_line_of_the_log_says_the_mode_and_no_line_has_a_token() {
    let guarded = Guarded::start().await;
    let (good, bad) = (super::token("acme"), Key::rsa("main").token(&claims("acme")));
    assert_eq!(guarded.get(&good).await.status, 200);
    assert_eq!(guarded.get(&bad).await.status, 401);
    guarded.app.access_line(UP).await;
    let log = guarded.app.log_text();
    assert!(log.lines().next().unwrap().contains("required mode"), "{log}");
    for token in [good, bad] {
        let (message, signature) = token.rsplit_once('.').unwrap();
        assert!(!log.contains(message) && !log.contains(signature), "{log}");
    }
}

#[tokio::test]
async fn a_refused_credential_is_in_the_audit_log() {
    let guarded = Guarded::start().await;
    let token = Key::rsa("main").token(&claims("acme"));
    let request = get(&token).header("x-request-id", "find-me");
    assert_eq!(request.send(guarded.app.addr).await.status, 401);
    guarded.app.access_line(UP).await;
    let log = guarded.app.log_text();
    let line = log.lines().find(|line| line.contains("gatehouse::audit")).expect("an audit line");
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["event"], "credential-refused", "{line}");
    assert_eq!(line["reason"], "signature", "{line}");
    assert_eq!(line["request_id"], "find-me", "{line}");
    assert_eq!(line["client"], "127.0.0.1", "{line}");
    assert_eq!(line["service"], "up", "{line}");
}

#[tokio::test]
async fn paths_that_are_nobodys_need_no_credential() {
    let guarded = Guarded::start().await;
    for path in ["/healthz", "/readyz", "/problems/not-found"] {
        assert_eq!(Request::get(path).send(guarded.app.addr).await.status, 200, "{path}");
    }
    let none = Request::get("/consumer-api/service/none/x").send(guarded.app.addr).await;
    assert_problem(&none, "service-not-found");
    let climbing = Request::get(&format!("{UP}/%2e%2e/x")).send(guarded.app.addr).await;
    assert_problem(&climbing, "path-invalid");
}
