//! The process dies at exactly one point of a change: what was not acknowledged is wholly there or
//! wholly absent afterwards, and at each point it is known which.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::harness::builder::Builder;
use crate::harness::invariants::assert_settled;
use crate::harness::journal::{Content, Journal};
use crate::harness::{App, images, upload};

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
