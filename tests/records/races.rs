//! Many who write one name at once, within one process and from two.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;

use super::load;
use crate::harness::builder::Builder;
use crate::harness::http::Response;
use crate::harness::invariants::assert_settled;
use crate::harness::journal::Journal;
use crate::harness::problem::assert_problem;
use crate::harness::{App, images, minio, upload};

const AT_ONCE: u16 = 50;
/// Bytes of an image's scan.
const SIZE: usize = 50_000;
const KEY: &str = "acme/customer/42/same";
const MINUTE: Duration = Duration::from_secs(60);

/// Two processes with one bucket and one database.
async fn two(builder: Builder) -> [App; 2] {
    let store = minio().await;
    let bucket = store.fresh_bucket().await;
    let builder = builder.s3(store, &bucket).postgres().await;
    [builder.clone().start().await, builder.start().await]
}

#[tokio::test]
async fn fifty_at_once_of_one_name_end_as_one_whole_image() {
    for app in [App::local().await, App::minio().await] {
        fifty_end_as_one(&[app]).await;
    }
    fifty_end_as_one(&two(App::builder()).await).await;
}

async fn fifty_end_as_one(apps: &[App]) {
    let journal = Journal::default();
    for response in fifty_at_once(apps, &journal, |_| "same".into()).await {
        assert_eq!(upload::stored_name(&response), KEY);
    }
    assert_settled(&apps[0], &journal, MINUTE).await;
    assert_eq!(apps[0].keys().await, [KEY]);
}

#[tokio::test]
async fn where_conflicts_are_rejected_one_of_fifty_at_once_gets_through() {
    let rejecting = || App::builder().set("CONSUMERS__IMAGES__ON_CONFLICT", "reject");
    for app in [rejecting().start().await, rejecting().minio().await.start().await] {
        one_gets_through(&[app]).await;
    }
    one_gets_through(&two(rejecting()).await).await;
}

async fn one_gets_through(apps: &[App]) {
    let journal = Journal::default();
    let (through, others): (Vec<_>, Vec<_>) = fifty_at_once(apps, &journal, |_| "same".into())
        .await
        .into_iter()
        .partition(|r| r.status == 201);
    assert_eq!(through.len(), 1);
    for response in others {
        assert_problem(&response, "already-exists");
    }
    assert_settled(&apps[0], &journal, MINUTE).await;
}

#[tokio::test]
async fn fifty_at_once_never_pass_a_quota_of_images() {
    let limited = || App::builder().file("[quotas]\nimages = 10");
    fifty_stay_within_ten(&[limited().start().await]).await;
    fifty_stay_within_ten(&two(limited()).await).await;
}

#[tokio::test]
async fn fifty_at_once_never_pass_a_quota_of_bytes() {
    let bytes = 10 * images::jpeg(1, 1, SIZE).len() + SIZE / 2;
    let limited = || App::builder().file(&format!("[quotas]\nbytes = \"{bytes}B\""));
    fifty_stay_within_ten(&[limited().start().await]).await;
    fifty_stay_within_ten(&two(limited()).await).await;
}

/// Ten of fifty fit, and all that were refused have given back what they had reserved.
async fn fifty_stay_within_ten(apps: &[App]) {
    let journal = Journal::default();
    let (through, others): (Vec<_>, Vec<_>) = fifty_at_once(apps, &journal, |n| format!("{n}"))
        .await
        .into_iter()
        .partition(|r| r.status == 201);
    assert_eq!(through.len(), 10);
    for response in others {
        assert_problem(&response, "quota-exceeded");
    }
    assert_settled(&apps[0], &journal, MINUTE).await;

    // One goes, so that one more fits; its replacement fits too, and no other does.
    let (id, addr) = (through[0].json()["id"].as_str().unwrap().to_owned(), apps[0].addr);
    assert_eq!(load::deletion(&id).send(addr).await.status, 204);
    let image = images::jpeg(1, 1, SIZE);
    for name in ["new", "new"] {
        upload::stored_name(&upload::main_job(name, &image).send(addr).await);
    }
    assert_problem(&upload::main_job("newer", &image).send(addr).await, "quota-exceeded");
}

/// Fifty different images under these names, by turns to each process.
async fn fifty_at_once(
    apps: &[App],
    journal: &Journal,
    name: impl Fn(u16) -> String,
) -> Vec<Response> {
    let addrs: Vec<SocketAddr> = apps.iter().map(|app| app.addr).collect();
    let mut clients = JoinSet::new();
    for number in 0..AT_ONCE {
        let (image, name) = (images::jpeg(number + 1, 1, SIZE), name(number));
        let (journal, addr) = (journal.clone(), addrs[usize::from(number) % addrs.len()]);
        clients.spawn(async move {
            let under_way = journal.upload(&format!("acme/customer/42/{name}"), &image);
            let response = upload::main_job(&name, &image).send(addr).await;
            under_way.answered(Some(&response));
            response
        });
    }
    clients.join_all().await
}
