//! The database: made and migrated at the start, refused when it is another's or a later
//! version's, and waited for when it is away. The same on SQLite and on Postgres.

use std::time::Duration;

use sqlx::{AnyConnection, Connection};

use crate::harness::builder::Builder;
use crate::harness::postgres::{Postgres, postgres};
use crate::harness::{App, images, request, upload};

/// Settings for each kind of database, and the URL to ask it by.
async fn each() -> Vec<(Builder, String)> {
    let folder = tempfile::Builder::new().prefix("gatehouse-db-").tempdir().unwrap().keep();
    let sqlite = format!("sqlite://{}/records.db", folder.display());
    let postgres = postgres().await.fresh_database().await;
    [sqlite, postgres]
        .into_iter()
        .map(|url| {
            let builder = App::builder().set("SERVER__LISTEN", "127.0.0.1:0");
            (builder.database(&url), url)
        })
        .collect()
}

async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(url).await.expect(url)
}

#[tokio::test]
async fn migrate_makes_the_schema_and_may_run_again() {
    for (builder, url) in each().await {
        for _ in 0..2 {
            let ended = builder.run(&["migrate"]);
            assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
            assert!(ended.stdout.contains("up to date"), "{}", ended.stdout);
        }
        let mut database = connect(&url).await;
        let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM images");
        assert_eq!(count.fetch_one(&mut database).await.unwrap(), 0, "{url}");
    }
}

#[tokio::test]
async fn a_schema_of_a_later_version_is_refused() {
    for (builder, url) in each().await {
        builder.run(&["migrate"]);
        let mut database = connect(&url).await;
        let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 999999999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
        sqlx::query(later).execute(&mut database).await.unwrap();
        for command in [&["migrate"][..], &[]] {
            let ended = builder.run(command);
            assert_eq!(ended.status.code(), Some(2), "{command:?} {url}");
            let said = ended.stderr.trim_end();
            assert!(said.contains("schema of a later gatehouse"), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

#[tokio::test]
async fn a_second_server_on_a_sqlite_file_is_refused() {
    let app = App::local().await;
    let file = app.database();
    let second = App::builder().database(&file).set("SERVER__LISTEN", "127.0.0.1:0");
    let ended = second.run(&[]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("another gatehouse is serving"), "{}", ended.stderr);
    // Commands work beside it.
    assert_eq!(second.run(&["migrate"]).status.code(), Some(0));
}

#[test]
fn what_cannot_be_a_database_stops_the_start() {
    for (url, said) in [
        ("mysql://h/d", "is no database"),
        ("sqlite:///proc/none/records.db", "cannot be used"),
        ("sqlite:///dev/null", "cannot be used"),
    ] {
        let ended = App::builder().set("DATABASE__URL", url).run(&[]);
        assert_eq!(ended.status.code(), Some(2), "{url}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{url}: {}", ended.stderr);
        assert!(ended.stderr.contains("database.url"), "{url}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_password_is_not_told() {
    let url = "postgres://me:s3cret-word@127.0.0.1:1/images";
    let builder = App::builder().set("DATABASE__URL", url);
    for command in ["check", "migrate"] {
        let ended = builder.run(&[command]);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("127.0.0.1:1/images"), "{said}");
        assert!(!said.contains("s3cret-word"), "{said}");
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for() {
    let mut postgres = Postgres::start().await;
    let url = postgres.fresh_database().await;
    postgres.stop();
    let app = App::builder().set("DATABASE__URL", &url).start().await;
    let send = async || upload::main_job("a.gif", &images::gif(1, 1, 9)).send(app.addr).await;
    for _ in 0..2 {
        assert_eq!(request::Request::get("/readyz").send(app.addr).await.status, 503);
        let refused = send().await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.text().contains("/problems/storage-unavailable"), "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
    }
    app.assert_nothing_stored().await;

    postgres.restart().await;
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while request::Request::get("/readyz").send(app.addr).await.status != 200 {
        assert!(std::time::Instant::now() < until, "stays red: {}", app.log_text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(send().await.status, 201, "{}", app.log_text());
}
