//! `[auth]`, `[rate_limits]` and what services say of credentials: what cannot be meant stops the
//! start.

use super::refusals::refused;
use crate::harness::App;
use crate::harness::issuer::Key;

const SECRET: &str = "secret = \"0123456789abcdef0123456789abcdef\"\n";
const URL: &str = "jwks_url = \"https://issuer.example/jwks\"\n";

fn jwt_refused(jwt: &str, words: &[&str]) {
    refused(&App::builder().tokens(jwt), words);
}

#[test]
fn what_was_meant_to_be_required_is_never_taken_for_open() {
    let forgotten = format!("[auth.jwt]\n{SECRET}");
    refused(&App::builder().file(&forgotten), &["auth.jwt", "settings.toml", "required"]);
    for mode in ["Required", "closed", "require"] {
        refused(&App::builder().set("AUTH__MODE", mode), &["GATEHOUSE__AUTH__MODE", "required"]);
    }
    let both =
        format!("[auth]\nmode = \"required\"\nallow_open_network = true\n[auth.jwt]\n{SECRET}");
    refused(&App::builder().file(&both), &["auth.allow_open_network", "settings.toml"]);
}

#[test]
fn there_is_one_source_of_keys() {
    jwt_refused("", &["auth.jwt", "jwks_url", "public_key_file", "secret"]);
    jwt_refused(&format!("{SECRET}{URL}"), &["auth.jwt", "more than one"]);
}

#[test]
fn clocks_differ_by_whole_seconds_and_not_by_days() {
    for leeway in ["500ms", "11m", "60000000d"] {
        let settings = format!("{SECRET}leeway = \"{leeway}\"");
        jwt_refused(&settings, &["auth.jwt.leeway", "whole seconds", "10m"]);
    }
}

#[test]
fn algorithms_fit_the_keys() {
    jwt_refused(&format!("{SECRET}algorithms = [\"RS256\"]"), &["auth.jwt.algorithms", "RS256"]);
    jwt_refused(
        &format!("{SECRET}algorithms = [\"HS256\", \"ES256\"]"),
        &["auth.jwt.algorithms", "ES256"],
    );
    jwt_refused(
        &format!("{URL}algorithms = [\"RS256\", \"HS256\"]"),
        &["auth.jwt.algorithms", "HS256"],
    );
    for unknown in ["none", "HS512", "rs256", ""] {
        jwt_refused(
            &format!("{URL}algorithms = [\"{unknown}\"]"),
            &["auth.jwt.algorithms", "EdDSA"],
        );
    }
}

#[test]
fn the_key_file_holds_a_key_for_the_algorithms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let file = format!("public_key_file = \"{}\"\n", path.display());
    jwt_refused(&file, &["auth.jwt.public_key_file", "settings.toml", "key.pem", "cannot be read"]);
    for text in ["", "hello", "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n"] {
        std::fs::write(&path, text).unwrap();
        jwt_refused(&file, &["auth.jwt.public_key_file", "key.pem", "no public key"]);
    }
    std::fs::write(&path, Key::ec("k").pem()).unwrap();
    jwt_refused(&file, &["auth.jwt.public_key_file", "an EC key", "RS256"]);
    std::fs::write(&path, Key::ed("k").pem()).unwrap();
    let listed = format!("{file}algorithms = [\"EdDSA\", \"RS256\"]");
    jwt_refused(&listed, &["auth.jwt.public_key_file", "an Ed25519 key", "RS256"]);
}

#[test]
fn secrets_are_long_and_are_not_told() {
    for secret in ["", "hush-hush", "0123456789abcdef0123456789abcde"] {
        let ended = App::builder().tokens(&format!("secret = \"{secret}\"")).run(&["check"]);
        assert_eq!(ended.status.code(), Some(2));
        assert!(
            ended.stderr.contains("auth.jwt.secret") && ended.stderr.contains("32 bytes"),
            "{}",
            ended.stderr
        );
        assert!(secret.is_empty() || !ended.stderr.contains(secret), "{}", ended.stderr);
    }
}

#[test]
fn keys_come_by_tls() {
    for url in [
        "http://issuer.example/jwks",
        "ftp://issuer.example/",
        "issuer.example",
        "",
        "http://10.0.0.1/",
    ] {
        jwt_refused(&format!("jwks_url = \"{url}\""), &["auth.jwt.jwks_url", "https"]);
    }
    let ended =
        App::builder().tokens("jwks_url = \"https://me:hush@issuer.example/\"").run(&["check"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        ended.stderr.contains("auth.jwt.jwks_url") && !ended.stderr.contains("hush"),
        "{}",
        ended.stderr
    );
}

#[test]
fn empty_texts_are_no_settings() {
    for key in ["issuer", "audience", "tenant_claim"] {
        jwt_refused(&format!("{SECRET}{key} = \"\""), &[&format!("auth.jwt.{key}"), "empty"]);
    }
    jwt_refused(&format!("{SECRET}leeway = 30"), &["auth.jwt.leeway", "\"30s\""]);
    jwt_refused(&format!("{SECRET}algorithm = \"HS256\""), &["auth.jwt", "algorithms"]);
}

#[test]
fn credentials_are_a_remote_services() {
    let service = |line: &str| App::builder().file(&format!("[services.x]\n{line}"));
    refused(
        &service("module = \"consumers\"\nforward_credentials = true"),
        &["services.x.forward_credentials", "remote"],
    );
    refused(
        &service("module = \"consumers\"\nupstream_api_key = \"k\""),
        &["services.x.upstream_api_key", "remote"],
    );
    let remote = |line: &str| service(&format!("url = \"http://x\"\n{line}"));
    refused(&remote("upstream_api_key = \"a b\""), &["services.x.upstream_api_key", "blanks"]);
    refused(
        &remote("required_scopes = { read = \"a\\\"b\" }"),
        &["services.x.required_scopes.read", "orders:read"],
    );
    refused(&remote("required_scopes = \"a\""), &["services.x.required_scopes", "section"]);
    refused(
        &remote("required_scopes = { delete = \"a\" }"),
        &["services.x.required_scopes", "delete", "write"],
    );
}

#[test]
fn limits_let_something_through() {
    let limits = |line: &str| App::builder().file(&format!("[rate_limits]\n{line}"));
    for (line, words) in [
        ("enabled = \"sometimes\"", ["rate_limits.enabled", "\"auto\", true or false"]),
        ("enabled = 1", ["rate_limits.enabled", "\"auto\", true or false"]),
        ("reads = { per_second = 0, burst = 1 }", ["rate_limits.reads.per_second", "such as"]),
        ("reads = { per_second = -1, burst = 1 }", ["rate_limits.reads.per_second", "such as"]),
        ("writes = { per_second = 1, burst = 0 }", ["rate_limits.writes.burst", "at least 1"]),
        ("writes = { per_second = 1, burst = 1.5 }", ["rate_limits.writes.burst", "whole number"]),
        ("remote = { per_second = 1 }", ["rate_limits.remote", "burst"]),
        ("remote = { per_second = 0.000001, burst = 9 }", ["rate_limits.remote.burst", "30 days"]),
        ("remote = { per_second = 1e12, burst = 9 }", ["rate_limits.remote.per_second", "at most"]),
        ("redis_url = \"http://127.0.0.1/\"", ["rate_limits.redis_url", "redis://"]),
    ] {
        refused(&limits(line), &words);
    }
    refused(
        &App::builder().set("RATE_LIMITS__ENABLED", "maybe"),
        &["GATEHOUSE__RATE_LIMITS__ENABLED"],
    );
}

#[test]
fn a_redis_password_is_never_printed() {
    let url = "redis://:hush@127.0.0.1:1/";
    let ended = App::builder().set("RATE_LIMITS__REDIS_URL", url).run(&["check"]);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(!ended.stdout.contains("hush"), "{}", ended.stdout);
    let ended = App::builder().set("RATE_LIMITS__REDIS_URL", "nonsense://:hush@x").run(&["check"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
}

#[test]
fn what_is_printed_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    std::fs::write(&key, Key::rsa("k").pem()).unwrap();
    let jwt = format!("public_key_file = \"{}\"\naudience = \"gatehouse\"", key.display());
    let printed = App::builder()
        .file("[rate_limits]\nenabled = true\nreads = { per_second = 0.25, burst = 7 }")
        .tokens(&jwt)
        .run(&["check"]);
    assert!(printed.status.success(), "{}", printed.stderr);
    let again = App::builder().file(&printed.stdout).run(&["check"]);
    assert!(again.status.success(), "{}", again.stderr);
    assert_eq!(printed.stdout, again.stdout);
}
