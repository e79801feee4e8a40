//! What operators say about single tenants: suspension, and limits of their own.

use std::time::{Duration, Instant};

use super::{Guarded, get, token};
use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::problem::assert_problem;
use crate::harness::upload;
use crate::harness::upstream::Upstream;

fn run(app: &App, arguments: &[&str]) -> String {
    let ended = app.run(&[&["tenants"], arguments].concat());
    assert!(ended.status.success(), "{arguments:?}: {}", ended.stderr);
    ended.stdout
}

/// Waits until a request of this tenant is answered so.
async fn until_status(app: &App, tenant: &str, status: u16) {
    let begun = Instant::now();
    while get(&token(tenant)).send(app.addr).await.status != status {
        assert!(begun.elapsed() < Duration::from_secs(5), "{tenant} not {status} within 5 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn nobody_acts_for_a_suspended_tenant() {
    let guarded = Guarded::start().await;
    let app = &guarded.app;
    assert_eq!(guarded.get(&token("acme")).await.status, 200);
    run(app, &["suspend", "acme"]);
    until_status(app, "acme", 403).await;
    let answer = guarded.get(&token("acme")).await;
    assert_problem(&answer, "forbidden");
    assert!(answer.text().contains("suspended"), "{}", answer.text());
    // By an API key neither, nor by one for all; others are others.
    for (owner, tenant) in [("acme", None), ("*", Some("acme"))] {
        let key = app.key(&["--tenant", owner]);
        let request = Request::post(&upload::path("42")).header("x-api-key", &key);
        let request = tenant.iter().fold(request, |request, tenant| request.tenant(tenant));
        assert_problem(&request.send(app.addr).await, "forbidden");
    }
    assert_eq!(guarded.get(&token("other")).await.status, 200);
    run(app, &["resume", "acme"]);
    until_status(app, "acme", 200).await;
}

#[tokio::test]
async fn a_suspension_holds_from_the_start_and_in_open_mode() {
    let upstream = Upstream::ok().await;
    let mut app = App::builder().service("up", &upstream.url(""), "").prepare();
    run(&app, &["suspend", "acme"]);
    app.start().await;
    let request = |tenant| Request::get("/consumer-api/service/up/x").tenant(tenant);
    assert_problem(&request("acme").send(app.addr).await, "forbidden");
    assert_eq!(request("other").send(app.addr).await.status, 200);
    assert_eq!(run(&app, &["list"]).lines().count(), 1);
}

#[tokio::test]
async fn a_tenant_may_have_limits_of_its_own() {
    let guarded = Guarded::start().await;
    let app = &guarded.app;
    let policy =
        async |tenant: &str| guarded.get(&token(tenant)).await.header("ratelimit-policy").unwrap();
    let wait = async |wanted: &str| {
        let begun = Instant::now();
        while policy("acme").await != wanted {
            assert!(begun.elapsed() < Duration::from_secs(5), "{}", policy("acme").await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    run(app, &["set-limits", "acme", "--remote", "0.001/200", "--writes", "1/1"]);
    wait("\"remote\";q=200;w=200000").await;
    assert_eq!(policy("other").await, "\"remote\";q=1000;w=2");
    let write = Request::post(&upload::path("42")).bearer(&token("acme"));
    assert_eq!(
        write.send(app.addr).await.header("ratelimit-policy").unwrap(),
        "\"writes\";q=1;w=1"
    );
    // Other news of the table leave what was counted alone.
    let left = guarded.get(&token("acme")).await.header("ratelimit").unwrap();
    run(app, &["suspend", "other"]);
    until_status(app, "other", 403).await;
    let later = guarded.get(&token("acme")).await.header("ratelimit").unwrap();
    let number = |text: &str| text.split(['=', ';']).nth(2).unwrap().parse::<u32>().unwrap();
    assert!(number(&later) < number(&left), "{left} then {later}");
    run(app, &["set-limits", "acme"]);
    wait("\"remote\";q=1000;w=2").await;
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let app = App::builder().prepare();
    for arguments in [
        &["tenants", "suspend", "a/b"][..],
        &["tenants", "suspend"],
        &["tenants", "set-limits", "acme", "--reads", "0/1"],
        &["tenants", "set-limits", "acme", "--reads", "5"],
        &["tenants", "set-limits", "acme", "--reads", "5/1.5"],
    ] {
        let ended = app.run(arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", ended.stderr);
    }
}
