//! The budget of memory for uploads: what does not fit is told so, and nothing waits for ever.

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

/// A server with room for four parts of 8 MiB.
async fn small() -> App {
    App::builder()
        .minio()
        .await
        .set("CONSUMERS__IMAGES__UPLOAD_MEMORY", "32MiB")
        .set("STORAGE__S3__PART_SIZE", "8MiB")
        .start()
        .await
}

fn by(tenant: &str, name: &str, size: usize) -> Request {
    let form = Form::new().file(name, &images::jpeg(9, 9, size));
    form.post(&upload::path("1")).tenant(tenant)
}

/// Sends most of a part and no more: the server has to hold it.
async fn hold(app: &App, tenant: &str, name: &str) -> (Connection, Vec<u8>) {
    let request = by(tenant, name, 8_350_000);
    let mut body = request.body_bytes();
    let rest = body.split_off(8_300_000);
    let mut connection = Connection::open(app.addr).await;
    connection.send(request.head_bytes(app.addr)).await;
    connection.send(body).await;
    sleep(Duration::from_millis(300)).await;
    (connection, rest)
}

#[tokio::test]
async fn an_upload_that_finds_no_room_is_told_so_and_the_others_go_on() {
    let app = small().await;
    let mut held = Vec::new();
    for (tenant, name) in [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")] {
        held.push(hold(&app, tenant, name).await);
    }
    let request = by("three", "c", 4_000_000);
    assert_problem(&request.send(app.addr).await, "overloaded");
    for (connection, rest) in &mut held {
        connection.send(rest).await;
        let response = connection.response().await;
        assert_eq!(response.status, 201, "{}", response.text());
    }
    assert_eq!(request.send(app.addr).await.status, 201, "the room has not come back");
}

/// The most memory that a process has held.
fn peak_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn of_uploads_that_wait_for_room_little_is_read() {
    let app = small().await;
    let mut held = Vec::new();
    for (tenant, name) in [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")] {
        held.push(hold(&app, tenant, name).await);
    }
    let before = peak_memory(app.pid());
    let request = by("three", "c", 1_000_000);
    let addr = app.addr;
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let request = request.clone();
            tokio::spawn(async move { request.send(addr).await })
        })
        .collect();
    for task in waiting {
        assert_problem(&task.await.unwrap(), "overloaded");
    }
    let grown = peak_memory(app.pid()) - before;
    assert!(grown < 30 << 20, "{grown} bytes are held beside the budget");
}

#[tokio::test]
async fn one_tenant_cannot_take_the_room_of_the_others() {
    let app = small().await;
    let mut held = Vec::new();
    for name in ["a", "b"] {
        held.push(hold(&app, "greedy", name).await);
    }
    assert_problem(&by("greedy", "c", 4_000_000).send(app.addr).await, "overloaded");
    let response = by("modest", "c", 4_000_000).send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
    for (connection, rest) in &mut held {
        connection.send(rest).await;
        assert_eq!(connection.response().await.status, 201);
    }
}

#[tokio::test]
async fn many_large_uploads_at_once_succeed_or_are_told_so() {
    let app = small().await;
    let mut tasks = Vec::new();
    for number in 0..16 {
        let addr = app.addr;
        let tenant = format!("tenant{}", number % 4);
        let name = format!("{number}.jpg");
        app.tried(&format!("{tenant}/customer/1/{name}"));
        // Made here: a task that makes it would keep the connections of the others waiting.
        let request = by(&tenant, &name, 20 << 20);
        tasks.push(tokio::spawn(async move { request.send(addr).await }));
    }
    let mut stored = Vec::new();
    for task in tasks {
        let response = task.await.unwrap();
        match response.status {
            201 => stored.push(upload::stored_name(&response)),
            _ => assert_problem(&response, "overloaded"),
        }
    }
    assert!(!stored.is_empty(), "none succeeded");
    stored.sort();
    app.assert_nothing_left_over().await;
    assert_eq!(app.keys().await, stored);
}
