//! Limits that replicas share in Redis, and what happens while it is away.

use std::time::{Duration, Instant};

use super::{get, left, limited, logged};
use crate::harness::App;
use crate::harness::problem::assert_problem;
use crate::harness::redis::Redis;
use crate::harness::upstream::Upstream;

const AWAY: &str = "Redis cannot be reached";
const LOST: &str = "Redis does not answer";
const BACK: &str = "Redis is back";

/// A replica with this limit, in front of a service.
async fn replica(redis: &Redis, upstream: &Upstream, per_second: f64, burst: u32) -> App {
    let app = limited(per_second, burst)
        .set("RATE_LIMITS__REDIS_URL", &redis.url())
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    logged(&app, "rate limits are shared").await;
    app
}

#[tokio::test]
async fn replicas_share_a_limit() {
    let (redis, upstream) = (Redis::start().await, Upstream::ok().await);
    let replicas =
        [replica(&redis, &upstream, 0.25, 3).await, replica(&redis, &upstream, 0.25, 3).await];
    for (at, remaining) in [(0, 2), (1, 1), (0, 0)] {
        let answer = get("acme").send(replicas[at].addr).await;
        assert_eq!(answer.status, 200);
        assert_eq!(left(&answer, "remote"), [remaining, (3 - remaining) * 4]);
    }
    for app in &replicas {
        let refused = get("acme").send(app.addr).await;
        assert_problem(&refused, "rate-limited");
        assert_eq!(left(&refused, "remote"), [0, 12]);
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((3..=4).contains(&seconds), "{seconds}");
        assert_eq!(get("other").send(app.addr).await.status, 200);
    }
}

#[tokio::test]
async fn redis_counts_as_the_process_does() {
    let (redis, upstream) = (Redis::start().await, Upstream::ok().await);
    let app = replica(&redis, &upstream, 0.4, 1).await;
    assert_eq!(get("acme").send(app.addr).await.status, 200);
    let refused = get("acme").send(app.addr).await;
    assert_eq!(refused.header("retry-after").as_deref(), Some("3"), "2.5 s, rounded up");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(get("acme").send(app.addr).await.status, 200);
    let uneven = replica(&redis, &upstream, 0.3, 7).await;
    for remaining in (0..7).rev() {
        assert_eq!(left(&get("uneven").send(uneven.addr).await, "remote")[0], remaining);
    }
    assert_eq!(get("uneven").send(uneven.addr).await.status, 429);
}

#[tokio::test]
async fn what_is_full_again_leaves_nothing_in_redis() {
    let (redis, upstream) = (Redis::start().await, Upstream::ok().await);
    let app = replica(&redis, &upstream, 10.0, 5).await;
    for number in 0..20 {
        assert_eq!(get(&format!("t{number}")).send(app.addr).await.status, 200);
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(redis.ask(&["DBSIZE"]).await, redis::Value::Int(0));
}

#[tokio::test]
async fn while_redis_is_gone_each_process_counts_by_itself() {
    let (mut redis, upstream) = (Redis::start().await, Upstream::ok().await);
    let app = replica(&redis, &upstream, 0.01, 2).await;
    assert_eq!(left(&get("acme").send(app.addr).await, "remote")[0], 1);
    redis.stop();
    for status in [200, 200, 429, 429] {
        let begun = Instant::now();
        assert_eq!(get("acme").send(app.addr).await.status, status);
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    }
    logged(&app, LOST).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    redis.restart().await;
    logged(&app, BACK).await;
    let again = get("acme").send(app.addr).await;
    assert_eq!((again.status, left(&again, "remote")[0]), (200, 1));
    let log = app.log_text();
    let told = log.matches(LOST).count() + log.matches(AWAY).count();
    assert_eq!((told, log.matches(BACK).count()), (1, 1), "{log}");
}

#[tokio::test]
async fn a_redis_that_hangs_holds_up_nobody_for_long() {
    let (redis, upstream) = (Redis::start().await, Upstream::ok().await);
    let app = replica(&redis, &upstream, 100.0, 1000).await;
    redis.signal("STOP");
    let begun = Instant::now();
    assert_eq!(get("acme").send(app.addr).await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(get("acme").send(app.addr).await.status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    redis.signal("CONT");
    logged(&app, BACK).await;
}

#[tokio::test]
async fn a_redis_that_is_away_does_not_stop_the_start() {
    let (mut redis, upstream) = (Redis::start().await, Upstream::ok().await);
    redis.stop();
    let app = limited(0.01, 1)
        .set("RATE_LIMITS__REDIS_URL", &redis.url())
        .service("up", &upstream.url(""), "")
        .start()
        .await;
    logged(&app, AWAY).await;
    for status in [200, 429] {
        assert_eq!(get("acme").send(app.addr).await.status, status);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(app.log_text().matches(AWAY).count(), 1, "{}", app.log_text());
    redis.restart().await;
    logged(&app, BACK).await;
}
