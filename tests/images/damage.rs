//! What a reader is told when the store does not have what the record says, and what readers
//! leave behind that go away.

use std::fs;
use std::time::{Duration, Instant};

use super::{ask, content, record, upload};
use crate::harness::App;
use crate::harness::http::{Connection, Failure};
use crate::harness::images::jpeg;
use crate::harness::problem::assert_problem;

#[tokio::test]
async fn an_object_that_others_took_away_is_a_defect() {
    let app = App::local().await;
    let told = upload(&app, "42", "a.jpg", &jpeg(4, 4, 10)).await;
    let file = app.root().join("acme/customer/42/a.jpg");
    fs::remove_file(&file).unwrap();
    assert_problem(&ask("GET", &content(&told)).send(app.addr).await, "internal");
    assert_eq!(ask("HEAD", &content(&told)).send(app.addr).await.status, 500);
    logged(&app, "the record has no object").await;
    fs::write(&file, jpeg(5, 5, 10)).unwrap();
    assert_problem(&ask("GET", &content(&told)).send(app.addr).await, "internal");
    // It can still be removed.
    assert_eq!(ask("DELETE", &record(&told)).send(app.addr).await.status, 204);
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn an_object_that_was_restored_is_the_same() {
    let app = App::local().await;
    let image = jpeg(4, 4, 3000);
    let told = upload(&app, "42", "a.jpg", &image).await;
    let etag = ask("HEAD", &content(&told)).send(app.addr).await.header("etag");
    let file = app.root().join("acme/customer/42/a.jpg");
    fs::remove_file(&file).unwrap();
    fs::write(&file, &image).unwrap();
    for _ in 0..2 {
        let got = ask("GET", &content(&told)).send(app.addr).await;
        assert!(got.status == 200 && got.body == image, "{}", got.text());
        assert_eq!(got.header("etag"), etag, "the bytes are the same");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_to_its_end_is_cut() {
    let app = App::local().await;
    let image = jpeg(900, 900, 30_000_000);
    let told = upload(&app, "42", "a.jpg", &image).await;
    let mut connection = Connection::open(app.addr).await;
    connection.send(ask("GET", &content(&told)).head_bytes(app.addr)).await;
    let head = connection.head().await.unwrap();
    assert_eq!(head.header("content-length"), Some(image.len().to_string()));
    let file = app.root().join("acme/customer/42/a.jpg");
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(29_000_000).unwrap();
    match connection.body(&head.fields, false).await {
        Err(Failure::Cut(came)) => assert!(image.starts_with(&came) && came.len() <= 29_000_000),
        other => panic!("{:?} bytes", other.map(|body| body.len())),
    }
}

#[tokio::test]
async fn readers_that_stall_or_leave_hold_little_and_leave_nothing() {
    let app = App::local().await;
    let image = jpeg(900, 900, 30_000_000);
    let told = upload(&app, "42", "a.jpg", &image).await;
    let before = memory(&app);
    let mut readers = Vec::new();
    for _ in 0..40 {
        let mut connection = Connection::open(app.addr).await;
        connection.send(ask("GET", &content(&told)).head_bytes(app.addr)).await;
        assert_eq!(connection.head().await.unwrap().status, 200);
        readers.push(connection);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let grown = memory(&app).saturating_sub(before);
    assert!(grown < 60_000_000, "40 stalled readers hold {grown} bytes");
    assert_eq!(open_objects(&app), 40);
    drop(readers);
    let until = Instant::now() + Duration::from_secs(10);
    while open_objects(&app) > 0 {
        assert!(Instant::now() < until, "{} files are still open", open_objects(&app));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for a line of the log with this.
async fn logged(app: &App, what: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    while !app.log_text().contains(what) {
        assert!(Instant::now() < until, "not logged: {what}\n{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Bytes of memory that the server has.
fn memory(app: &App) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", app.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// How many files of objects the server has open.
fn open_objects(app: &App) -> usize {
    let root = app.root().join("acme");
    let files = fs::read_dir(format!("/proc/{}/fd", app.pid())).unwrap();
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(&root) && target.is_file()).count()
}
