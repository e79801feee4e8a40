//! The checker of the invariants, `harness::invariants`: that it finds each violation, so that a
//! test that finds none says something.

use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe};

use crate::harness::invariants::{Violation, assert_settled, connect, violations};
use crate::harness::journal::Journal;
use crate::harness::{App, images, upload};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn each_violation_is_found_in_files_and_sqlite() {
    each_violation_is_found(App::local().await).await;
}

#[tokio::test]
async fn each_violation_is_found_in_minio_and_postgres() {
    let builder = App::builder().minio().await.postgres().await;
    each_violation_is_found(builder.start().await).await;
}

async fn each_violation_is_found(mut app: App) {
    let journal = Journal::default();
    for name in ["gone", "etag", "sha256", "size", "owner", "unrecorded", "sums", "lost", "whole"] {
        let image = images::png(3, 3, 1000);
        let under_way = journal.upload(&key(name), &image);
        let answer = upload::main_job(name, &image).send(app.addr).await;
        assert_eq!(upload::stored_name(&answer), key(name));
        under_way.answered(Some(&answer));
    }
    assert_settled(&app, &journal, MINUTE).await;
    // A running server would settle some of it.
    app.kill();

    let mut database = connect(&app.database()).await;
    let mut seen = Vec::new();
    let mut found = async |app: &App, journal: &Journal| {
        let all = violations(app, journal).await;
        let new: Vec<_> = all.iter().filter(|v| !seen.contains(*v)).cloned().collect();
        seen = all;
        new
    };
    assert_eq!(found(&app, &journal).await, []);

    remove_object(&app, &key("gone")).await;
    assert_eq!(found(&app, &journal).await, [Violation::NoObject { key: key("gone") }]);

    put_object(&app, "acme/customer/42/stray", b"stray").await;
    let stray = Violation::NoRecord { key: key("stray") };
    assert_eq!(found(&app, &journal).await, [stray]);

    // Another tenant's, so that the sums of this one stay as they are.
    for (name, change) in [
        ("sha256", "sha256 = 'ab'"),
        ("size", "size = size + 1"),
        ("owner", "customer = '43'"),
        ("etag", "object_etag = 'ab'"),
    ] {
        execute(&mut database, &format!("UPDATE images SET {change} WHERE {}", is(name))).await;
        let new = found(&app, &journal).await;
        let differs = |v: &Violation| matches!(v, Violation::Differs { key: k, member, .. } if *k == key(name) && *member == name);
        // The etag of a file is the server's own business.
        let expected = name != "etag" || app.bucket().is_some();
        assert_eq!(new.iter().any(differs), expected, "{name}: {new:?}");
    }

    execute(&mut database, &format!("DELETE FROM images WHERE {}", is("lost"))).await;
    let new = found(&app, &journal).await;
    assert!(new.contains(&Violation::NoRecord { key: key("lost") }), "{new:?}");
    let lost =
        |v: &Violation| matches!(v, Violation::NotAsTold { key: k, .. } if *k == key("lost"));
    assert!(new.iter().any(lost), "{new:?}");

    execute(&mut database, "UPDATE usage SET images = 7").await;
    let new = found(&app, &journal).await;
    assert!(matches!(new.as_slice(), [Violation::Usage { row: (_, 7), .. }]), "{new:?}");

    let intent = "INSERT INTO intents (id, kind, tenant, stored_name, owner, reserved_bytes, \
         reserved_images, created_at) VALUES ('1', 'upload', 'acme', 'acme/customer/42/whole', \
         '2', 0, 0, 0)";
    execute(&mut database, intent).await;
    let intent = Violation::Intent { key: key("whole"), kind: "upload".into() };
    assert_eq!(found(&app, &journal).await, [intent]);

    let lease = "INSERT INTO leases (stored_name, intent) VALUES ('acme/customer/42/whole', '1')";
    execute(&mut database, lease).await;
    assert_eq!(found(&app, &journal).await, [Violation::Lease { key: key("whole") }]);

    let unfinished = leave_unfinished(&app, &key("whole")).await;
    assert_eq!(found(&app, &journal).await, [unfinished]);

    journal.upload(&key("never"), b"never stored").acknowledged(Some("1"));
    let new = found(&app, &journal).await;
    assert!(matches!(new.as_slice(), [Violation::NotAsTold { .. }]), "{new:?}");
}

#[tokio::test]
async fn an_image_that_nobody_asked_for_is_found() {
    let app = App::local().await;
    let (journal, image) = (Journal::default(), images::png(1, 1, 10));
    let known = journal.upload(&key("a"), &image);
    known.answered(Some(&upload::main_job("a", &image).send(app.addr).await));
    upload::stored_name(&upload::main_job("b", &image).send(app.addr).await);
    let found = violations(&app, &journal).await;
    let named = |v: &Violation| matches!(v, Violation::NotAsTold { key: k, .. } if *k == key("b"));
    assert!(found.len() == 1 && found.iter().all(named), "{found:?}");

    // Replaced by other bytes than those that were told to be there last.
    upload::stored_name(&upload::main_job("a", &images::png(2, 2, 10)).send(app.addr).await);
    let found = violations(&app, &journal).await;
    assert_eq!(found.len(), 2, "{found:?}");
}

fn key(name: &str) -> String {
    format!("acme/customer/42/{name}")
}

fn is(name: &str) -> String {
    format!("stored_name = '{}'", key(name))
}

async fn execute(database: &mut AnyConnection, sql: &str) {
    let changed = sqlx::query(AssertSqlSafe(sql)).execute(database).await.expect(sql);
    assert_eq!(changed.rows_affected(), 1, "{sql}");
}

async fn remove_object(app: &App, key: &str) {
    match app.bucket() {
        Some((bucket, store)) => {
            let client = store.client();
            client.delete_object().bucket(bucket).key(key).send().await.unwrap();
        }
        None => std::fs::remove_file(app.root().join(key)).unwrap(),
    }
}

async fn put_object(app: &App, key: &str, bytes: &'static [u8]) {
    match app.bucket() {
        Some((bucket, store)) => {
            let put = store.client().put_object().bucket(bucket).key(key);
            put.body(bytes.to_vec().into()).send().await.unwrap();
        }
        None => std::fs::write(app.root().join(key), bytes).unwrap(),
    }
}

/// Leaves what a process leaves that is killed within an upload.
async fn leave_unfinished(app: &App, key: &str) -> Violation {
    match app.bucket() {
        Some((bucket, store)) => {
            let create = store.client().create_multipart_upload().bucket(bucket).key(key);
            create.send().await.unwrap();
            Violation::Multipart { key: key.to_owned() }
        }
        None => {
            let file = ".gatehouse/dead/0";
            let path = app.root().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "half").unwrap();
            Violation::Temporary { file: file.into() }
        }
    }
}
