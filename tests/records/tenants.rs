//! `gatehouse tenants set-quota` and `usage`, beside a running server.

use serde_json::{Value, json};

use super::{both, refused, succeeded};
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images::jpeg;
use crate::harness::invariants::connect;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{UPLOAD, put};

#[tokio::test]
async fn a_tenants_own_quota_holds_from_the_next_upload_on() {
    for app in both().await {
        let image = jpeg(4, 4, 3000);
        assert_eq!(put("a.jpg", &image).send(app.addr).await.status, 201);
        let told = app.run(&["tenants", "set-quota", "acme", "--bytes", "4KiB"]);
        assert!(succeeded(&told).starts_with("acme may have 4.0 KiB in any number of images"));
        let more = put("b.jpg", &image);
        assert_problem(&more.send(app.addr).await, "quota-exceeded");
        // Now that it is known, its length alone tells.
        let unread = Request::put(&format!("{UPLOAD}/42/b.jpg")).tenant("acme").claiming(5000);
        let mut connection = Connection::open(app.addr).await;
        connection.send(unread.head_bytes(app.addr)).await;
        assert_problem(&connection.response().await, "quota-exceeded");
        // Others have none.
        let other = Request::put(&format!("{UPLOAD}/42/b.jpg")).tenant("other").body(&*image);
        assert_eq!(other.send(app.addr).await.status, 201);

        // What is not named stays.
        let told = app.run(&["tenants", "set-quota", "acme", "--images", "1"]);
        assert!(succeeded(&told).starts_with("acme may have 4.0 KiB in 1 image; it has "));
        succeeded(&app.run(&["tenants", "set-quota", "acme", "--bytes", "unlimited"]));
        assert_problem(&more.send(app.addr).await, "quota-exceeded");
        succeeded(&app.run(&["tenants", "set-quota", "acme", "--none"]));
        assert_eq!(more.send(app.addr).await.status, 201);
    }
}

#[tokio::test]
async fn what_a_quota_does_not_name_is_the_settings() {
    let mut app = App::builder().set("QUOTAS__IMAGES", "1").start().await;
    let told = app.run(&["tenants", "set-quota", "acme", "--bytes", "1MiB"]);
    assert!(succeeded(&told).starts_with("acme may have 1.0 MiB in 1 image; it has "));
    app.kill();
    app.set_env("GATEHOUSE__QUOTAS__IMAGES", "2");
    app.start().await;
    let image = jpeg(4, 4, 100);
    for name in ["a.jpg", "b.jpg"] {
        assert_eq!(put(name, &image).send(app.addr).await.status, 201);
    }
    assert_problem(&put("c.jpg", &image).send(app.addr).await, "quota-exceeded");
}

#[tokio::test]
async fn a_tenants_own_quota_wins_over_the_settings() {
    let app = App::builder().set("QUOTAS__IMAGES", "1").start().await;
    let image = jpeg(4, 4, 100);
    for (quota, may) in [
        (vec!["--images", "2"], 2),
        (vec!["--images", "unlimited"], 3),
        (vec!["--none"], 1),
        (vec!["--images", "0"], 0),
    ] {
        succeeded(&app.run(&[&["tenants", "set-quota", "acme"], quota.as_slice()].concat()));
        for i in 0..3 {
            let name = format!("{}{i}.jpg", quota.join(""));
            let answer =
                Request::put(&format!("{UPLOAD}/{may}/{name}")).tenant("acme").body(&*image);
            let answer = answer.send(app.addr).await;
            match i < may {
                true => assert_eq!(answer.status, 201, "{quota:?} {i}"),
                false => assert_problem(&answer, "quota-exceeded"),
            }
        }
        let ended = app.run(&["tenants", "erase", "acme", "--yes"]);
        succeeded(&ended);
    }
}

#[tokio::test]
async fn usage_is_told_of_one_and_of_all() {
    for app in both().await {
        let image = jpeg(4, 4, 3000);
        assert_eq!(put("a.jpg", &image).send(app.addr).await.status, 201);
        succeeded(&app.run(&["tenants", "set-quota", "limited", "--images", "7"]));
        let one = app.run(&["tenants", "usage", "acme"]);
        assert!(succeeded(&one).starts_with("acme has 3.1 KiB in 1 image"), "{}", one.stdout);
        let one = app.run(&["tenants", "usage", "acme", "--json"]);
        let acme = json!({
            "tenant": "acme", "bytes": image.len(), "images": 1, "maxBytes": null, "maxImages": null,
        });
        assert_eq!(serde_json::from_str::<Value>(succeeded(&one)).unwrap(), acme);
        let all = app.run(&["tenants", "usage", "--json"]);
        let limited = json!({
            "tenant": "limited", "bytes": 0, "images": 0, "maxBytes": null, "maxImages": 7,
        });
        assert_eq!(serde_json::from_str::<Value>(succeeded(&all)).unwrap(), json!([acme, limited]));
        let all = app.run(&["tenants", "usage"]);
        assert_eq!(all.stdout.lines().count(), 2, "{}", all.stdout);

        // More than are looked up at once.
        let mut database = connect(&app.database()).await;
        for i in 0..1200 {
            let insert = sqlx::query("INSERT INTO usage (tenant, bytes, images) VALUES ($1, 5, 1)");
            insert.bind(format!("t{i}")).execute(&mut database).await.unwrap();
        }
        let all = app.run(&["tenants", "usage"]);
        succeeded(&all);
        assert_eq!(all.stdout.lines().count(), 1202);
        sqlx::query("DELETE FROM usage WHERE bytes = 5").execute(&mut database).await.unwrap();
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_sentence() {
    let builder = App::builder();
    for (arguments, said) in [
        (&["set-quota", "acme"][..], "--bytes"),
        (&["set-quota", "acme", "--bytes", "much"], "100GiB"),
        (&["set-quota", "acme", "--bytes", "-1"], "-1"),
        (&["set-quota", "acme", "--images", "1.5"], "whole number"),
        (&["set-quota", "acme", "--images", "99999999999999999999"], "whole number"),
        (&["set-quota", "acme", "--none", "--images", "1"], "--none"),
        (&["set-quota", ".acme", "--none"], "letter or digit"),
        (&["set-quota"], "TENANT"),
        (&["usage", "a/b"], "letter or digit"),
        (&["usage", "a", "b"], "'b'"),
        (&["erase"], "TENANT"),
        (&["nothing"], "nothing"),
    ] {
        let ended = builder.run(&[&["tenants"], arguments].concat());
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn help_has_examples() {
    for command in
        [&["tenants", "set-quota"][..], &["tenants", "usage"], &["tenants", "erase"], &["adopt"]]
    {
        let ended = App::builder().run(&[command, &["--help"]].concat());
        succeeded(&ended);
        let example = format!("gatehouse {}", command.join(" "));
        assert!(ended.stdout.contains("Examples:"), "{}", ended.stdout);
        assert!(ended.stdout.contains(&example), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_told() {
    let builder = App::builder().set("DATABASE__URL", "postgres://me:s3cret@127.0.0.1:1/images");
    for command in [&["tenants", "usage"][..], &["tenants", "erase", "acme", "--yes"], &["adopt"]] {
        let ended = builder.run(command);
        let said = refused(&ended, 1);
        assert!(said.contains("127.0.0.1:1/images cannot be used"), "{said}");
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}
