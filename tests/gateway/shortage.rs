//! A gateway that has no file descriptor left for a connection: nobody behind it is to blame.

use std::process::Command;

use super::{UP, until};
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::problem::assert_problem;
use crate::harness::upstream::Upstream;

/// Lets the process have so many open files.
fn limit(app: &App, files: usize) {
    let limit = format!("--nofile={files}:");
    let pid = app.pid().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
}

fn open_files(app: &App) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", app.pid())).unwrap().count()
}

#[tokio::test]
async fn a_shortage_here_is_not_counted_against_the_instance() {
    let upstream = Upstream::ok().await;
    let by_name = format!("http://localhost:{}", upstream.addr.port());
    let checked = "circuit = { failures = 1, open_for = \"60s\" }\n\
                   health_path = \"/healthz\"\nhealth_interval = \"100ms\"";
    let app = App::builder()
        .set("SERVER__WORKERS", "1")
        .service("up", &upstream.url(""), checked)
        .service("named", &by_name, checked)
        .start()
        .await;
    let mut client = Connection::open(app.addr).await;
    let healthz = Request::get("/healthz");
    assert_eq!(client.exchange(&healthz, app.addr).await.unwrap().status, 200);
    until("both are checked", async || upstream.requests().len() >= 2).await;

    limit(&app, 3);
    assert!(open_files(&app) > 3);
    for path in [UP, "/consumer-api/service/named"] {
        let get = Request::get(&format!("{path}/x"));
        let answer = client.exchange(&get, app.addr).await.expect("an answer");
        assert_problem(&answer, "overloaded");
        let line = app.access_line(&format!("{path}/x")).await;
        assert_eq!((&line["status"], &line["problem"]), (&503.into(), &"overloaded".into()));
    }
    let told = "this host lacks file descriptors";
    until("it is logged", async || app.log_text().contains(told)).await;
    // Long enough for checks that fail to tell.
    let checks = "an instance cannot be checked";
    until("checks fail", async || app.log_text().matches(checks).count() >= 6).await;

    limit(&app, 1000);
    for path in [UP, "/consumer-api/service/named"] {
        let get = Request::get(&format!("{path}/x"));
        assert_eq!(client.exchange(&get, app.addr).await.expect("an answer").status, 200);
    }
    let log = app.log_text();
    assert!(!log.contains("unhealthy") && !log.contains("a circuit opened"), "{log}");
}
