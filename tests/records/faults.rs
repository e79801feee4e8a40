//! The process dies at exactly one point of a change: what was not acknowledged is wholly there or
//! wholly absent afterwards, and at each point it is known which.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::harness::builder::Builder;
use crate::harness::http::Connection;
use crate::harness::invariants::{Violation, assert_settled, violations};
use crate::harness::journal::{Content, Journal};
use crate::harness::problem::assert_problem;
use crate::harness::{App, images, minio, upload};

use super::load;

/// The signal of an abort.
const ABORTED: i32 = 6;

/// What stands under the name once things are settled.
#[derive(Clone, Copy, PartialEq)]
enum After {
    /// What stood there before.
    Old,
    /// What was asked for.
    New,
}
use After::{New, Old};

/// Points of an upload that needs one part only, or none.
const SMALL: &[(&str, After)] =
    &[("commit.prepared", Old), ("commit.stored", New), ("commit.recorded", New)];

/// Points of an upload in parts.
const PARTS: &[(&str, After)] = &[
    ("upload.opening", Old),
    ("upload.created", Old),
    ("upload.opened", Old),
    ("commit.prepared", Old),
    ("commit.stored", New),
    ("commit.recorded", New),
];

/// Points of a deletion: once it is written down, it takes place.
const DELETION: &[(&str, After)] =
    &[("delete.prepared", New), ("delete.removed", New), ("delete.recorded", New)];

#[tokio::test]
async fn a_death_at_each_point_is_settled_on_files_and_sqlite() {
    die_at_each_point(App::builder(), false).await;
}

#[tokio::test]
async fn a_death_at_each_point_is_settled_on_minio_and_sqlite() {
    die_at_each_point(App::builder().minio().await, true).await;
}

#[tokio::test]
async fn a_death_at_each_point_is_settled_on_minio_and_postgres() {
    die_at_each_point(App::builder().minio().await.postgres().await, true).await;
}

#[tokio::test]
async fn deaths_before_two_references_to_one_name_are_written_down_are_settled() {
    let (journal, mut app) = (Journal::default(), App::builder().minio().await.prepare());
    let key = key("twice.jpg");
    app.set_env("GATEHOUSE_FAULT", "upload.created:abort");
    for width in 1..=2 {
        app.start().await;
        let image = images::jpeg(width, 1, 9 << 20);
        drop(journal.upload(&key, &image));
        let answer = load::send(&upload::main_job("twice.jpg", &image), app.addr).await;
        assert!(answer.is_none(), "{}", answer.unwrap().text());
        let ended = app.ended_within(Duration::from_secs(5)).await;
        assert_eq!(ended.signal(), Some(ABORTED), "{ended}");
    }
    let (bucket, store) = app.bucket().expect("a bucket");
    assert!(store.unfinished(bucket, &key).await > 0, "a multipart upload that is left");
    app.set_env("GATEHOUSE_FAULT", "");
    app.start().await;
    assert_settled(&app, &journal, Duration::from_secs(60)).await;
}

#[tokio::test]
async fn a_deletion_that_is_settled_late_spares_what_came_since() {
    let mut app = App::builder().env("GATEHOUSE_FAULT", "delete.prepared:abort").start().await;
    let stored = upload::main_job("a.jpg", &images::jpeg(1, 1, 700)).send(app.addr).await;
    let request = load::deletion(stored.json()["id"].as_str().expect("id"));
    assert!(load::send(&request, app.addr).await.is_none());
    app.ended_within(Duration::from_secs(5)).await;
    // As after a restore: the store is newer than the database.
    let newer = images::jpeg(2, 2, 800);
    std::fs::write(app.root().join(key("a.jpg")), &newer).unwrap();
    app.set_env("GATEHOUSE_FAULT", "");
    app.start().await;
    let until = Instant::now() + Duration::from_secs(60);
    let stray = [Violation::NoRecord { key: key("a.jpg") }];
    while violations(&app, &Journal::default()).await != stray {
        assert!(Instant::now() < until, "the deletion is not settled: {}", app.log_text());
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(std::fs::read(app.root().join(key("a.jpg"))).unwrap(), newer);
}

#[tokio::test]
async fn who_was_taken_for_dead_changes_nothing_any_more() {
    let store = minio().await;
    let bucket = store.fresh_bucket().await;
    let builder = App::builder().s3(store, &bucket).postgres().await;
    let journal = Journal::default();
    for point in ["commit.prepared", "delete.prepared"] {
        let name = format!("{point}.jpg");
        let under_way = journal.upload(&key(&name), &images::jpeg(1, 1, 700));
        let fault = format!("{point}:hold=held");
        let stopped = builder.clone().env("GATEHOUSE_FAULT", &fault).start().await;
        let other = builder.clone().start().await;
        let first = upload::main_job(&name, &images::jpeg(1, 1, 700)).send(other.addr).await;
        under_way.answered(Some(&first));

        let id = first.json()["id"].as_str().expect("id").to_owned();
        let request = match point {
            "delete.prepared" => load::deletion(&id),
            _ => upload::main_job(&name, &images::jpeg(2, 2, 800)),
        };
        let mut asking = Connection::open(stopped.addr).await;
        asking.send([request.head_bytes(stopped.addr), request.body_bytes()].concat()).await;
        let held = stopped.folder().join("held");
        while !held.exists() {
            assert!(asking.is_silent_for(Duration::from_millis(5)).await, "it is not held");
        }
        stopped.signal("STOP");
        let under_way = journal.upload(&key(&name), &images::jpeg(3, 3, 900));
        // So long it takes until the other takes it for dead. Before that, uploads would wait.
        sleep(Duration::from_secs(26)).await;
        let until = Instant::now() + Duration::from_secs(60);
        let last = loop {
            let last = upload::main_job(&name, &images::jpeg(3, 3, 900)).send(other.addr).await;
            if last.status == 201 || Instant::now() > until {
                break last;
            }
            sleep(Duration::from_millis(200)).await;
        };
        assert_eq!(last.status, 201, "{point}: {}", last.text());
        under_way.answered(Some(&last));
        std::fs::remove_file(held).unwrap();
        stopped.signal("CONT");
        assert_problem(&asking.response().await, "storage-unavailable");
        assert_settled(&other, &journal, Duration::from_secs(60)).await;
    }
}

/// A change that is asked for, and what has to come of it.
struct Case {
    point: &'static str,
    name: String,
    /// What stands under the name before.
    old: Option<Vec<u8>>,
    /// What is to replace it; nothing is a deletion.
    new: Option<Vec<u8>>,
    after: After,
}

/// One process after another dies, each at another point and within a change of a name of its own.
async fn die_at_each_point(builder: Builder, has_parts: bool) {
    let (journal, mut app) = (Journal::default(), builder.prepare());
    let cases = cases(has_parts);
    app.start().await;
    let mut ids = BTreeMap::new();
    for Case { name, old, .. } in &cases {
        if let Some(old) = old {
            let under_way = journal.upload(&key(name), old);
            let answer = upload::main_job(name, old).send(app.addr).await;
            under_way.answered(Some(&answer));
            ids.insert(name, answer.json()["id"].as_str().expect("id").to_owned());
        }
    }
    app.kill();
    for Case { point, name, new, .. } in &cases {
        app.set_env("GATEHOUSE_FAULT", &format!("{point}:abort"));
        app.start().await;
        let (request, under_way) = match new {
            Some(new) => (upload::main_job(name, new), journal.upload(&key(name), new)),
            None => (load::deletion(&ids[name]), journal.delete(&key(name))),
        };
        let answer = load::send(&request, app.addr).await;
        assert!(answer.is_none(), "{name} was answered: {}", answer.unwrap().text());
        drop(under_way);
        let ended = app.ended_within(Duration::from_secs(5)).await;
        assert_eq!(ended.signal(), Some(ABORTED), "{name}: {ended}");
    }

    app.set_env("GATEHOUSE_FAULT", "");
    app.start().await;
    assert_settled(&app, &journal, Duration::from_secs(60)).await;
    for Case { name, old, new, after, .. } in cases {
        let found: Vec<_> = journal.possible(&key(&name)).into_iter().map(|(c, _)| c).collect();
        let stands = if after == New { new } else { old };
        let wanted = stands.map_or(Content::Absent, |image| Content::of(&image));
        assert!(found == [wanted], "{name}: {found:?}");
    }
}

fn cases(has_parts: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut sizes = vec![(1000, SMALL)];
    if has_parts {
        sizes.push((9 << 20, PARTS));
    }
    for (size, points) in sizes {
        for (point, after) in points {
            for old in [None, Some(images::jpeg(1, 1, 500))] {
                let replaces = if old.is_some() { "old" } else { "new" };
                let name = format!("{point}-{size}-{replaces}");
                let new = Some(images::jpeg(2, 2, size));
                cases.push(Case { point, name, old, new, after: *after });
            }
        }
    }
    for (point, after) in DELETION {
        let (name, old) = ((*point).to_owned(), Some(images::jpeg(3, 3, 700)));
        cases.push(Case { point, name, old, new: None, after: *after });
    }
    cases
}

fn key(name: &str) -> String {
    format!("acme/customer/42/{name}")
}
