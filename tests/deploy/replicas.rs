//! Replicas that are killed and replaced under load.
//!
//! `GATEHOUSE_TEST_SEED` repeats a run's choices, not the machine's timing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;
use tokio::time::sleep;

use super::cluster::Cluster;
use super::load::{Failed, Load};
use crate::harness::builder::Builder;
use crate::harness::invariants::assert_settled;
use crate::harness::journal::Journal;

/// What is left by a process that is gone, and what was begun and not finished, is settled by then.
const SETTLED: Duration = Duration::from_secs(60);
/// How long after a replica's end nginx may still send into a connection to it, having not seen yet
/// that it has ended.
const UNSEEN: Duration = Duration::from_millis(250);

fn rng() -> Rng {
    let seed = std::env::var("GATEHOUSE_TEST_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u64(..), |text| text.parse().expect("a number"));
    eprintln!("GATEHOUSE_TEST_SEED={seed}");
    Rng::with_seed(seed)
}

/// Uploads that are not gone on with are to be gone, too, once everything is settled.
fn expiring_soon(builder: Builder) -> Builder {
    builder.set("CONSUMERS__RESUMABLE_UPLOADS__EXPIRE_AFTER", "10s")
}

/// Two tenants, each with its key.
fn tenants(cluster: &Cluster) -> [(&'static str, String); 2] {
    ["acme", "umbra"].map(|tenant| (tenant, cluster.key(tenant)))
}

/// Fails unless each of the replicas has answered requests.
fn assert_all_answered(cluster: &Cluster) {
    let requests = cluster.nginx.requests();
    let asked: BTreeSet<_> =
        requests.iter().map(|line| line["replica"].as_str().unwrap()).collect();
    for app in &cluster.replicas {
        assert!(asked.contains(&*app.addr.to_string()), "{} is not in {asked:?}", app.addr);
    }
}

#[tokio::test]
async fn a_killed_replica_takes_nothing_along_but_what_it_was_at() {
    let mut rng = rng();
    let mut cluster = Cluster::with(expiring_soon).await;
    let journal = Journal::default();
    let load = Load::start(cluster.addr(), &journal, &mut rng, &tenants(&cluster));
    load.answered(rng.u64(50..250)).await;
    sleep(Duration::from_millis(rng.u64(..200))).await;
    let at = rng.usize(..3);
    let killed = cluster.replicas[at].addr;
    cluster.replicas[at].kill();
    let gone = Instant::now();
    load.answered(150).await;
    cluster.replicas[at].start().await;
    assert_eq!(cluster.replicas[at].addr, killed);
    sleep(Duration::from_secs(1)).await;
    load.answered(150).await;
    let (answers, failed) = load.end().await;

    eprintln!("{killed} was killed; {answers} answers, {} failed", failed.len());
    for failed in &failed {
        let line = cluster.nginx.request(&failed.id).await;
        assert_was_in_flight(failed, &line, killed, gone);
    }
    assert_all_answered(&cluster);
    assert_settled(&cluster.replicas[(at + 1) % 3], &journal, SETTLED).await;
}

/// Fails unless nginx had sent the request to the replica that was killed, before that, and was not
/// allowed to send it to another, or did so.
fn assert_was_in_flight(failed: &Failed, line: &Value, killed: SocketAddr, gone: Instant) {
    let replicas = line["replica"].as_str().unwrap();
    let was_there = replicas.split(", ").any(|replica| replica == killed.to_string());
    assert!(was_there, "another replica failed: {failed:?} {line}");
    assert!(failed.began < gone + UNSEEN, "it came later: {failed:?} {line}");
    // Of these, nothing may be sent again that another replica could answer.
    let is_read = failed.what.starts_with("GET ");
    assert!(!is_read || failed.status.is_none(), "a read was not asked again: {failed:?} {line}");
    let is_once = failed.what.starts_with("POST ") || failed.what.starts_with("PATCH ");
    assert!(!is_once || !replicas.contains(", "), "it was sent twice: {failed:?} {line}");
}

#[tokio::test]
async fn replicas_that_are_replaced_one_by_one_fail_nobody() {
    let mut rng = rng();
    let mut cluster = Cluster::with(expiring_soon).await;
    let journal = Journal::default();
    let load = Load::start(cluster.addr(), &journal, &mut rng, &tenants(&cluster));
    for at in 0..3 {
        load.answered(rng.u64(30..100)).await;
        let replica = &mut cluster.replicas[at];
        replica.signal("TERM");
        let ended = replica.ended_within(Duration::from_secs(15)).await;
        assert_eq!(ended.code(), Some(0), "{}", replica.log_text());
        load.answered(30).await;
        replica.start().await;
    }
    sleep(Duration::from_secs(1)).await;
    load.answered(100).await;
    let (answers, failed) = load.end().await;
    eprintln!("{answers} answers");
    assert!(failed.is_empty(), "{failed:#?}\n{}", cluster.nginx.errors());
    assert_all_answered(&cluster);
    assert_settled(&cluster.replicas[0], &journal, SETTLED).await;
}
