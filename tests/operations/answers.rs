//! Health, readiness, request ids and the pages that explain problems.

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::problem::{TABLE, assert_problem};
use crate::harness::text::assert_fresh_uuid_v7;
use crate::harness::upload;

#[tokio::test]
async fn a_running_server_is_alive_and_ready() {
    for app in [App::local().await, App::minio().await] {
        for path in ["/healthz", "/readyz"] {
            let response = Request::get(path).send(app.addr).await;
            assert_eq!(response.status, 200, "{path}: {}", response.text());
            assert_fresh_uuid_v7(&response.header("x-request-id").expect("x-request-id"));
        }
    }
}

#[tokio::test]
async fn head_is_answered_where_get_is() {
    let app = App::local().await;
    for path in ["/healthz", "/readyz", "/problems/not-found"] {
        let mut connection = Connection::open(app.addr).await;
        let response = connection.exchange(&Request::new("HEAD", path), app.addr).await.unwrap();
        assert_eq!(response.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_good_request_id_comes_back_on_every_answer() {
    let app = App::local().await;
    let longest = "x".repeat(128);
    for id in ["a", "0199-abc_DEF", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", longest.as_str()] {
        let requests = [
            Request::get("/healthz"),
            Request::get("/nope"),
            Request::post("/healthz"),
            Request::get("/consumer-api/service/nope/x"),
            Request::get("/consumer-api/service/consumers/%2e%2e"),
            upload::main_job("a", b"no image"),
            upload::main_job("a.gif", &crate::harness::images::gif(1, 1, 1)),
        ];
        for request in requests {
            let response = request.header("X-Request-Id", id).send(app.addr).await;
            assert_eq!(response.header("x-request-id").as_deref(), Some(id));
            if response.status >= 400 {
                assert_eq!(response.json()["instance"], id);
            }
        }
    }
}

#[tokio::test]
async fn any_other_request_id_is_replaced() {
    let app = App::local().await;
    let long = "x".repeat(129);
    let ids: [&[u8]; 6] = [b"", b"a b", b"a\tb", b"caf\xc3\xa9", b"\xff", long.as_bytes()];
    for id in ids {
        for path in ["/healthz", "/nope"] {
            let response = Request::get(path).header("X-Request-Id", id).send(app.addr).await;
            assert_fresh_uuid_v7(&response.header("x-request-id").expect("x-request-id"));
        }
    }
}

#[tokio::test]
async fn every_problem_has_a_page_for_people() {
    let app = App::local().await;
    for (slug, status, title) in TABLE {
        let response = Request::get(&format!("/problems/{slug}")).send(app.addr).await;
        assert_eq!(response.status, 200, "{slug}");
        let kind = response.header("content-type").expect("content-type");
        assert!(kind.starts_with("text/"), "{slug}: {kind}");
        let page = response.text();
        assert!(page.contains(title), "{slug}: {page}");
        assert!(page.contains(&status.to_string()), "{slug}: {page}");
        assert!(!page.contains("unknown"), "{slug}: {page}");
        assert!(page.len() > 60, "{slug} explains nothing: {page}");
    }
    assert_problem(&Request::get("/problems/nope").send(app.addr).await, "not-found");
}

#[tokio::test]
async fn one_line_is_logged_for_a_request_with_what_it_was() {
    let app = App::local().await;
    let image = crate::harness::images::gif(1, 1, 1000);
    let request = upload::main_job("a.gif", &image).header("X-Request-Id", "find-me");
    assert_eq!(request.send(app.addr).await.status, 201);
    app.access_line(upload::UPLOAD).await;
    let log = app.log_text();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("find-me")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    for part in ["acme", "consumers", "201"] {
        assert!(lines[0].contains(part), "no {part} in {}", lines[0]);
    }
    assert!(serde_json::from_str::<serde_json::Value>(lines[0]).is_ok(), "{}", lines[0]);
}
