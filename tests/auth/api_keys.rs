//! API keys: made, used, expired and revoked, on SQLite and on Postgres.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::UP;
use crate::harness::App;
use crate::harness::http::{Request, Response};
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::text::{assert_fresh_time, assert_fresh_uuid_v7};
use crate::harness::upload::{self, stored_name};
use crate::harness::upstream::Upstream;

/// A server that asks for API keys, in front of the service `up`.
async fn server() -> (App, Upstream) {
    let upstream = Upstream::ok().await;
    let app = App::builder().required().service("up", &upstream.url(""), "").start().await;
    (app, upstream)
}

async fn get(app: &App, key: &str) -> Response {
    Request::get(&format!("{UP}/x")).header("x-api-key", key).send(app.addr).await
}

fn list(app: &App) -> Vec<Value> {
    let ended = app.run(&["keys", "list", "--json"]);
    assert!(ended.status.success(), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Waits until a request by this key is answered so; gives the time that it took.
async fn until_status(app: &App, key: &str, status: u16) -> Duration {
    let begun = Instant::now();
    while get(app, key).await.status != status {
        assert!(begun.elapsed() < Duration::from_secs(20), "never {status}: {}", app.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn a_key_works_in_both_forms_for_its_tenant() {
    let (app, upstream) = server().await;
    let key = app.key(&["--tenant", "acme"]);
    let bearer = Request::get(&format!("{UP}/x")).bearer(&key);
    assert_eq!(bearer.send(app.addr).await.status, 200);
    assert_eq!(get(&app, &key).await.status, 200);
    let request = Request::get(&format!("{UP}/x")).bearer(&key).tenant("other");
    assert_problem(&request.send(app.addr).await, "forbidden");
    for request in upstream.requests() {
        assert_eq!(request.headers("x-tenant-id"), ["acme"]);
        assert!(request.headers("authorization").is_empty());
        assert!(request.headers("x-api-key").is_empty());
    }
    let form = Form::new().file("a.gif", &images::gif(1, 1, 100)).post(&upload::path("42"));
    let answer = form.header("x-api-key", &key).send(app.addr).await;
    assert_eq!(stored_name(&answer), "acme/customer/42/a.gif");
}

#[tokio::test]
async fn what_is_no_key_lets_nobody_in() {
    let (app, upstream) = server().await;
    let key = app.key(&["--tenant", "acme"]);
    let elsewhere = server().await.0.key(&["--tenant", "acme"]);
    let cut = &key[..key.len() - 1];
    for wrong in
        ["gh_", "nonsense", cut, &format!("{key}0"), &key.to_lowercase(), &elsewhere, &key[3..]]
    {
        assert_problem(&get(&app, wrong).await, "unauthenticated");
        let bearer = Request::get(&format!("{UP}/x")).bearer(wrong);
        assert_problem(&bearer.send(app.addr).await, "unauthenticated");
    }
    let query = Request::get(&format!("{UP}/x?x-api-key={key}"));
    assert_problem(&query.send(app.addr).await, "unauthenticated");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_key_is_shown_once_and_kept_as_a_hash() {
    let (app, _upstream) = server().await;
    let made = app.run(&["keys", "create", "--tenant", "acme", "--scope", "images:read", "--json"]);
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("gh_") && key.len() == 52, "{key}");
    assert_eq!(get(&app, key).await.status, 200);
    let keys = list(&app);
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_fresh_uuid_v7(keys[0]["id"].as_str().unwrap());
    assert_fresh_time(keys[0]["createdAt"].as_str().unwrap());
    assert_eq!(keys[0]["id"], made["id"]);
    assert_eq!((&keys[0]["tenant"], &keys[0]["scopes"]), (&"acme".into(), &"images:read".into()));
    let shown = app.run(&["keys", "list"]);
    assert!(shown.stdout.contains("acme") && shown.stdout.contains("good"), "{}", shown.stdout);
    // Neither the lists nor the log nor the database's files have it.
    app.access_line(UP).await;
    let mut texts = vec![shown.stdout, format!("{keys:?}"), app.log_text()];
    for entry in std::fs::read_dir(app.folder()).unwrap().flatten() {
        if entry.path().is_file() {
            texts.push(String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned());
        }
    }
    for text in texts {
        assert!(!text.contains(key) && !text.contains(&key[3..46]), "{text}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_5_s_on_every_replica() {
    let upstream = Upstream::ok().await;
    let builder = App::builder().required().service("up", &upstream.url(""), "").postgres().await;
    let replicas = [builder.clone().start().await, builder.start().await];
    let (key, other) =
        (replicas[0].key(&["--tenant", "acme"]), replicas[0].key(&["--tenant", "acme"]));
    for app in &replicas {
        assert_eq!((get(app, &key).await.status, get(app, &other).await.status), (200, 200));
    }
    let id = list(&replicas[0])[0]["id"].as_str().unwrap().to_owned();
    // It is in use all the time.
    let begun = Instant::now();
    let revoked = replicas[1].run(&["keys", "revoke", &id]);
    assert!(revoked.status.success(), "{}", revoked.stderr);
    for app in &replicas {
        until_status(app, &key, 401).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(get(app, &other).await.status, 200);
    }
    let keys = list(&replicas[0]);
    assert!(keys[0]["revokedAt"].is_string() && keys[1]["revokedAt"].is_null(), "{keys:?}");
    // For good.
    let again = replicas[1].run(&["keys", "revoke", &id]);
    assert!(again.status.success(), "{}", again.stderr);
    assert_eq!(list(&replicas[0])[0]["revokedAt"], keys[0]["revokedAt"]);
    let none = replicas[1].run(&["keys", "revoke", "nonsense"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(none.stderr.contains("there is no key nonsense"), "{}", none.stderr);
}

#[tokio::test]
async fn a_key_expires_by_itself() {
    let (app, _upstream) = server().await;
    let key = app.key(&["--tenant", "acme", "--expires-in", "2s"]);
    assert_eq!(get(&app, &key).await.status, 200);
    until_status(&app, &key, 401).await;
    let answer = get(&app, &key).await;
    assert!(answer.text().contains("has expired"), "{}", answer.text());
    assert!(app.run(&["keys", "list"]).stdout.contains("expired"));
}

#[tokio::test]
async fn the_last_use_is_known() {
    let (app, _upstream) = server().await;
    let key = app.key(&["--tenant", "acme"]);
    assert!(list(&app)[0]["lastUsedAt"].is_null());
    assert_eq!(get(&app, &key).await.status, 200);
    let until = Instant::now() + Duration::from_secs(10);
    while list(&app)[0]["lastUsedAt"].is_null() {
        assert!(Instant::now() < until, "never noted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_fresh_time(list(&app)[0]["lastUsedAt"].as_str().unwrap());
}

#[tokio::test]
async fn scopes_hold_for_keys_as_for_tokens() {
    let (app, _upstream) = server().await;
    for (scopes, read, write) in [
        (&["--scope", "images:read"][..], 405, 403),
        (&["--scope", "images:write"], 403, 400),
        (&["--scope", "images:read", "--scope", "images:write"], 405, 400),
        (&["--scope", "orders:read"], 403, 403),
        (&[], 405, 400),
    ] {
        let key = app.key(&[&["--tenant", "acme"], scopes].concat());
        for (method, status) in [("GET", read), ("POST", write)] {
            let request = Request::new(method, &upload::path("42")).header("x-api-key", &key);
            assert_eq!(request.send(app.addr).await.status, status, "{method} {scopes:?}");
        }
    }
}

#[tokio::test]
async fn a_key_for_all_acts_for_whom_the_request_names() {
    let (app, upstream) = server().await;
    let key = app.key(&["--tenant", "*"]);
    for tenant in ["acme", "other"] {
        let request = Request::get(&format!("{UP}/x")).header("x-api-key", &key).tenant(tenant);
        assert_eq!(request.send(app.addr).await.status, 200);
        assert_eq!(upstream.requests().pop().unwrap().headers("x-tenant-id"), [tenant]);
    }
    assert_eq!(get(&app, &key).await.status, 200, "a service that needs no tenant");
    assert!(upstream.requests().pop().unwrap().headers("x-tenant-id").is_empty());
    let request = Request::post(&upload::path("42")).header("x-api-key", &key);
    assert_problem(&request.clone().send(app.addr).await, "tenant-missing");
    assert_problem(&request.tenant("a b").send(app.addr).await, "tenant-invalid");
}

#[tokio::test]
async fn what_cannot_be_a_key_is_not_made() {
    let app = App::builder().prepare();
    for arguments in [
        &["keys", "create"][..],
        &["keys", "create", "--tenant", "a/b"],
        &["keys", "create", "--tenant", ""],
        &["keys", "create", "--tenant", "acme", "--expires-in", "soon"],
        &["keys", "create", "--tenant", "acme", "--scope", "a\"b"],
        &["keys", "revoke"],
    ] {
        let ended = app.run(arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    }
    assert!(list(&app).is_empty());
}

#[tokio::test]
async fn making_and_revoking_is_in_the_audit_log() {
    let app = App::builder().prepare();
    let made = app.run(&["keys", "create", "--tenant", "acme"]);
    let key = made.stdout.lines().next_back().unwrap();
    let id = list(&app)[0]["id"].as_str().unwrap().to_owned();
    let revoked = app.run(&["keys", "revoke", &id]);
    for (ended, event) in [(&made, "key-created"), (&revoked, "key-revoked")] {
        let line = ended.stderr.lines().find(|line| line.contains("gatehouse::audit"));
        let line: Value = serde_json::from_str(line.expect("an audit line")).unwrap();
        assert_eq!(
            (&line["event"], &line["subject"]),
            (&event.into(), &id.as_str().into()),
            "{line}"
        );
    }
    assert!(!made.stderr.contains(key));
}

#[tokio::test]
async fn while_the_database_is_away_nobody_is_believed_for_long() {
    let postgres = crate::harness::postgres::Postgres::start().await;
    let upstream = Upstream::ok().await;
    let url = postgres.fresh_database().await;
    let builder = App::builder().required().service("up", &upstream.url(""), "").database(&url);
    let app = builder.start().await;
    let (known, new) = (app.key(&["--tenant", "acme"]), app.key(&["--tenant", "acme"]));
    assert_eq!(get(&app, &known).await.status, 200);
    drop(postgres);
    let answer = get(&app, &new).await;
    assert_problem(&answer, "storage-unavailable");
    until_status(&app, &known, 503).await;
}
