//! That every image has a record, and that nothing is ever lost, whatever fails.

mod adopting;
mod checker;
mod erasing;
mod faults;
mod kills;
mod load;
mod outages;
mod quotas;
mod races;
mod tenants;

use crate::harness::App;
use crate::harness::builder::{Builder, Ended};
use crate::harness::minio::Minio;

pub use load::send;

/// A server on files and SQLite, and one on MinIO and Postgres.
async fn both() -> [App; 2] {
    [App::local().await, App::builder().minio().await.postgres().await.start().await]
}

/// Puts an object into the server's store as another program would.
async fn put_object(app: &App, key: &str, bytes: &[u8]) {
    match app.bucket() {
        Some((bucket, store)) => put_into(store, bucket, key, bytes).await,
        None => {
            let file = app.root().join(key);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
    }
}

async fn put_into(store: &Minio, bucket: &str, key: &str, bytes: &[u8]) {
    let put = store.client().put_object().bucket(bucket).key(key).body(bytes.to_vec().into());
    put.send().await.expect("put an object");
}

/// Removes one so.
async fn remove_object(app: &App, key: &str) {
    match app.bucket() {
        Some((bucket, store)) => {
            let delete = store.client().delete_object().bucket(bucket).key(key);
            delete.send().await.expect("delete an object");
        }
        None => std::fs::remove_file(app.root().join(key)).unwrap(),
    }
}

/// What a command that must succeed prints last.
#[track_caller]
fn succeeded(ended: &Ended) -> &str {
    assert_eq!(ended.status.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    ended.stdout.trim_end().lines().next_back().unwrap_or_default()
}

/// The one sentence of a command that must fail with this status.
#[track_caller]
fn refused(ended: &Ended, status: i32) -> &str {
    assert_eq!(ended.status.code(), Some(status), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stdout, "");
    ended.stderr.trim_end().lines().next_back().unwrap_or_default()
}

/// What is begun and not finished is to be gone, too, once everything is settled.
fn expiring_soon(builder: Builder) -> Builder {
    builder
        .set("CONSUMERS__DIRECT_UPLOADS__EXPIRE_AFTER", "10s")
        .set("CONSUMERS__RESUMABLE_UPLOADS__EXPIRE_AFTER", "10s")
}

/// How many rows a table of the server's database has.
pub async fn count(app: &App, table: &str) -> i64 {
    let mut connection = crate::harness::invariants::connect(&app.database()).await;
    let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
}
