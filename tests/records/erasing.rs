//! Erasing a customer, and a whole tenant: nothing is left, whatever comes between.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe};

use super::{both, put_object, refused, succeeded};
use crate::harness::App;
use crate::harness::http::{Connection, Request, Response};
use crate::harness::images::{jpeg, png};
use crate::harness::invariants::{assert_settled, connect};
use crate::harness::journal::Journal;
use crate::harness::problem::assert_problem;
use crate::harness::upload::UPLOAD;

const CUSTOMERS: &str = "/consumer-api/service/consumers/customer-images/customers";
const IMAGES: &str = "/consumer-api/service/consumers/customer-images/images";

/// Uploads an image, and tells the journal.
async fn upload(app: &App, journal: &Journal, key: &str, image: &[u8]) -> Option<Response> {
    let [tenant, _, customer, name] = key.splitn(4, '/').collect::<Vec<_>>()[..] else {
        panic!("no key: {key}");
    };
    app.tried(key);
    let under_way = journal.upload(key, image);
    let request = Request::put(&format!("{UPLOAD}/{customer}/{name}")).tenant(tenant).body(image);
    let response = request.try_send(app.addr).await.ok();
    under_way.answered(response.as_ref());
    response
}

async fn upload_all(app: &App, journal: &Journal, keys: impl IntoIterator<Item = String>) {
    let image = png(3, 2, 500);
    let image = &image;
    let uploads = keys.into_iter().map(|key| async move {
        let response = upload(app, journal, &key, image).await.expect("an answer");
        assert_eq!(response.status, 201, "{key}: {}", response.text());
    });
    stream::iter(uploads).buffer_unordered(16).collect::<Vec<_>>().await;
}

fn erasure(customer: &str) -> Request {
    Request::new("DELETE", &format!("{CUSTOMERS}/{customer}")).tenant("acme")
}

/// Erases a customer, and tells the journal.
async fn erase(app: &App, journal: &Journal, customer: &str) -> Value {
    let prefix = format!("acme/customer/{customer}/");
    let keys = journal.keys().into_iter().filter(|key| key.starts_with(&prefix));
    let under_way: Vec<_> = keys.map(|key| journal.delete(&key)).collect();
    let response = erasure(customer).send(app.addr).await;
    assert_eq!(response.status, 200, "{}\n{}", response.text(), app.log_text());
    under_way.into_iter().for_each(|act| act.acknowledged(None));
    response.json()
}

async fn settled(app: &App, journal: &Journal) {
    assert_settled(app, journal, Duration::from_secs(60)).await;
}

#[tokio::test]
async fn nothing_of_a_customer_is_left() {
    for app in both().await {
        let journal = Journal::default();
        let keys = (0..30).map(|i| format!("acme/customer/42/{i}.png"));
        upload_all(&app, &journal, keys).await;
        let large = jpeg(9, 9, 9 << 20);
        upload(&app, &journal, "acme/customer/42/large.jpg", &large).await;
        let others =
            ["acme/customer/4/a.png", "acme/customer/421/a.png", "other/customer/42/a.png"];
        upload_all(&app, &journal, others.map(str::to_owned)).await;
        for stray in ["acme/customer/42/stray.bin", "acme/customer/42/deep/er/stray"] {
            put_object(&app, stray, b"left by others").await;
        }

        let told = erase(&app, &journal, "42").await;
        assert_eq!(told, json!({ "images": 31, "objects": 2 }));
        assert_eq!(app.keys().await, others);
        assert!(!app.root().join("acme/customer/42").exists(), "its folder");
        settled(&app, &journal).await;
        let list = Request::get(&format!("{IMAGES}?customerId=42")).tenant("acme");
        assert_eq!(list.send(app.addr).await.json()["images"], json!([]));

        assert_eq!(erase(&app, &journal, "42").await, json!({ "images": 0, "objects": 0 }));
        let until = Instant::now() + Duration::from_secs(10);
        let audit = loop {
            let log = app.log_text();
            let audit = log.lines().filter(|line| line.contains("customer-erased"));
            let audit: Vec<Value> = audit.map(|line| serde_json::from_str(line).unwrap()).collect();
            if audit.len() == 2 {
                break audit;
            }
            assert!(Instant::now() < until, "{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(audit[0]["target"], "gatehouse::audit");
        for (name, value) in [
            ("tenant", json!("acme")),
            ("customer", json!("42")),
            ("images", json!(31)),
            ("objects", json!(2)),
            ("whole", json!(true)),
        ] {
            assert_eq!(audit[0][name], value, "{}", audit[0]);
        }
    }
}

#[tokio::test]
async fn a_customer_that_never_was_is_erased_already() {
    let app = App::local().await;
    let none = erasure("nobody").send(app.addr).await;
    assert_eq!((none.status, none.json()), (200, json!({ "images": 0, "objects": 0 })));
    assert_problem(&erasure(".42").send(app.addr).await, "customer-invalid");
    assert_problem(&erasure("4%202").send(app.addr).await, "customer-invalid");
    assert_problem(&erasure("").send(app.addr).await, "not-found");
    let path = format!("{CUSTOMERS}/42");
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH"] {
        let refused = Request::new(method, &path).tenant("acme").send(app.addr).await;
        assert_eq!(refused.status, 405);
        assert_eq!(refused.header("allow").as_deref(), Some("DELETE"));
    }
    assert_problem(&Request::new("DELETE", &path).send(app.addr).await, "tenant-missing");
}

#[tokio::test]
async fn more_than_is_held_at_once_is_erased() {
    let app = App::local().await;
    let journal = Journal::default();
    upload_all(&app, &journal, (0..450).map(|i| format!("acme/customer/42/{i}.png"))).await;
    for i in 0..1100 {
        put_object(&app, &format!("acme/customer/42/{i}.stray"), b"x").await;
    }
    let told = erase(&app, &journal, "42").await;
    assert_eq!(told, json!({ "images": 450, "objects": 1100 }));
    app.assert_nothing_stored().await;
    settled(&app, &journal).await;
}

#[tokio::test]
async fn an_erasure_that_a_crash_cut_off_is_finished_by_the_next() {
    for point in ["delete.prepared", "delete.removed", "delete.recorded"] {
        let mut app =
            App::builder().env("GATEHOUSE_FAULT", &format!("{point}:abort")).start().await;
        let journal = Journal::default();
        upload_all(&app, &journal, (0..20).map(|i| format!("acme/customer/42/{i}.png"))).await;
        let deletions: Vec<_> = journal.keys().iter().map(|key| journal.delete(key)).collect();
        assert!(erasure("42").try_send(app.addr).await.is_err(), "{point}");
        drop(deletions);
        app.kill();
        app.set_env("GATEHOUSE_FAULT", "");
        app.start().await;
        let told = erase(&app, &journal, "42").await;
        assert!(told["images"].as_u64().unwrap() <= 20, "{point}: {told}");
        app.assert_nothing_stored().await;
        settled(&app, &journal).await;
    }
}

#[tokio::test]
async fn an_erasure_whose_client_left_is_finished_by_the_next() {
    for app in both().await {
        let journal = Journal::default();
        upload_all(&app, &journal, (0..200).map(|i| format!("acme/customer/42/{i}.png"))).await;
        let deletions: Vec<_> = journal.keys().iter().map(|key| journal.delete(key)).collect();
        let mut connection = Connection::open(app.addr).await;
        connection.send(erasure("42").head_bytes(app.addr)).await;
        let until = Instant::now() + Duration::from_secs(20);
        while app.keys().await.len() == 200 {
            assert!(Instant::now() < until, "nothing is erased");
        }
        drop(connection);
        drop(deletions);
        let told = erase(&app, &journal, "42").await;
        assert!(told["images"].as_u64().unwrap() < 200, "{told}");
        assert_eq!(app.keys().await, Vec::<String>::new());
        settled(&app, &journal).await;
    }
}

#[tokio::test]
async fn what_is_uploaded_meanwhile_is_erased_or_whole() {
    for app in both().await {
        let journal = Journal::default();
        let keys: Vec<_> = (0..60).map(|i| format!("acme/customer/42/{i}.png")).collect();
        upload_all(&app, &journal, keys.clone()).await;
        let clients = (0..4_usize).map(|client| {
            let (app, journal, keys) = (&app, &journal, &keys);
            async move {
                for i in 0..40 {
                    let image = png(1, 1, 300 + client * 100 + i);
                    let key = match i % 3 {
                        0 => format!("acme/customer/42/new-{client}-{i}.png"),
                        _ => keys[(client * 7 + i) % keys.len()].clone(),
                    };
                    upload(app, journal, &key, &image).await;
                }
            }
        });
        let erasures = async {
            for _ in 0..3 {
                erase(&app, &journal, "42").await;
            }
        };
        tokio::join!(join_all(clients), erasures);
        settled(&app, &journal).await;
        erase(&app, &journal, "42").await;
        assert_eq!(app.keys().await, Vec::<String>::new());
        settled(&app, &journal).await;
    }
}

#[tokio::test]
async fn what_a_dead_process_left_of_an_upload_is_erased() {
    let (large, small) = (jpeg(9, 9, 20 << 20), jpeg(9, 9, 20_000));
    for (point, image) in
        [("upload.opened", &large), ("commit.prepared", &small), ("commit.stored", &small)]
    {
        let builder = App::builder().minio().await;
        let mut app = builder.env("GATEHOUSE_FAULT", &format!("{point}:abort")).start().await;
        let journal = Journal::default();
        let key = "acme/customer/42/a.jpg";
        assert!(upload(&app, &journal, key, image).await.is_none(), "{point}");
        app.kill();
        app.set_env("GATEHOUSE_FAULT", "");
        app.start().await;
        let told = erase(&app, &journal, "42").await;
        let was_there = u64::from(point == "commit.stored");
        assert_eq!(told, json!({ "images": was_there, "objects": 0 }), "{point}");
        let (bucket, store) = app.bucket().unwrap();
        assert_eq!(store.unfinished(bucket, key).await, 0, "{point}");
        assert_eq!(app.keys().await, Vec::<String>::new(), "{point}");
        let mut database = connect(&app.database()).await;
        for table in ["images", "intents", "leases"] {
            assert_eq!(count(&mut database, table, "TRUE").await, 0, "{point} {table}");
        }
        settled(&app, &journal).await;
    }
}

/// How many rows of a table there are, of those for which this holds.
async fn count(database: &mut AnyConnection, table: &str, condition: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table} WHERE {condition}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(database).await.unwrap()
}

#[tokio::test]
async fn nothing_of_a_tenant_is_left() {
    for app in both().await {
        let journal = Journal::default();
        let keys = (0..20).map(|i| format!("acme/customer/{}/{i}.png", i % 3));
        upload_all(&app, &journal, keys).await;
        upload_all(&app, &journal, ["acme2/customer/1/a.png".to_owned()]).await;
        succeeded(&app.run(&["tenants", "set-quota", "acme", "--images", "100"]));
        put_object(&app, "acme/customer/1/stray", b"stray").await;
        put_object(&app, "acme/elsewhere", b"stray").await;
        let before = app.keys().await;

        let dry = app.run(&["tenants", "erase", "acme", "--dry-run"]);
        let said = succeeded(&dry);
        let bytes = journal_bytes(&app, "acme").await;
        assert!(bytes > 10_000, "{bytes}");
        assert!(said.contains("20 images (") && said.contains("2 objects"), "{said}");
        let asked = app.run(&["tenants", "erase", "acme"]);
        assert!(refused(&asked, 2).contains("--yes"), "{}", asked.stderr);
        assert_eq!(app.keys().await, before);

        let keys = journal.keys().into_iter().filter(|key| key.starts_with("acme/"));
        keys.for_each(|key| journal.delete(&key).acknowledged(None));
        let ended = app.run(&["tenants", "erase", "acme", "--yes"]);
        let said = succeeded(&ended);
        assert_eq!(said, "Erased 20 images and 2 objects without a record of acme.");
        assert!(ended.stderr.contains("tenant-erased"), "{}", ended.stderr);
        assert_eq!(app.keys().await, ["acme2/customer/1/a.png"]);
        assert!(!app.root().join("acme").exists(), "its folder");
        settled(&app, &journal).await;
        let mut database = connect(&app.database()).await;
        for table in ["images", "intents", "quotas", "events", "results", "jobs"] {
            let count = count(&mut database, table, "tenant = 'acme'").await;
            assert_eq!(count, 0, "{table}");
        }
        // Of its sums, only the number of its last event is left.
        let sums = "tenant = 'acme' AND (bytes <> 0 OR images <> 0)";
        assert_eq!(count(&mut database, "usage", sums).await, 0);
        let again = app.run(&["tenants", "erase", "acme", "--yes"]);
        assert_eq!(succeeded(&again), "Erased 0 images and 0 objects without a record of acme.");
    }
}

/// Bytes of a tenant's images, by the usage command.
async fn journal_bytes(app: &App, tenant: &str) -> u64 {
    let ended = app.run(&["tenants", "usage", tenant, "--json"]);
    let told: Value = serde_json::from_str(succeeded(&ended)).unwrap();
    told["bytes"].as_u64().unwrap()
}

#[tokio::test]
async fn a_command_that_died_is_finished_by_the_next() {
    let mut app = App::local().await;
    let journal = Journal::default();
    upload_all(&app, &journal, (0..30).map(|i| format!("acme/customer/42/{i}.png"))).await;
    journal.keys().iter().for_each(|key| journal.delete(key).acknowledged(None));
    app.set_env("GATEHOUSE_FAULT", "delete.removed:abort");
    let died = app.run(&["tenants", "erase", "acme", "--yes"]);
    assert_eq!(died.status.code(), None, "{}", died.stderr);
    app.set_env("GATEHOUSE_FAULT", "");
    // What the dead one was about has to be taken from it first.
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let ended = app.run(&["tenants", "erase", "acme", "--yes"]);
        if ended.status.success() {
            break;
        }
        assert!(Instant::now() < until, "{}", ended.stderr);
        assert!(ended.stderr.contains("run it again"), "{}", ended.stderr);
    }
    app.assert_nothing_stored().await;
    settled(&app, &journal).await;
}
