//! Receivers that do not take what they are sent, and what comes of it.

use super::*;
use crate::harness::problem::assert_problem;

const OOPS: &str = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";

/// Whether a delivery has failed so many times, and is to be tried again.
fn waits(delivery: &Value, attempts: u64) -> bool {
    delivery["attempts"] == attempts && delivery["nextAttemptAt"].is_string()
}

/// An answer with this status and fields.
fn answer(status: &str, fields: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{fields}\r\n")
}

#[tokio::test]
async fn what_failed_is_sent_again_and_told_in_between() {
    for app in both().await {
        let (receiver, now) = Upstream::switched(OOPS).await;
        let hook = Hook::at(&app, &receiver.url("/")).await;
        upload(&app, "acme", "a.gif").await;
        let failing = hook.until(&app, |all| all.len() == 1 && waits(&all[0], 2)).await;
        assert_eq!(failing[0]["state"], "pending");
        assert_eq!(failing[0]["error"], "The receiver answered 500.");
        now.send_replace(NO_CONTENT);
        let delivered = hook.all_are(&app, 1, "delivered").await;
        let attempts = delivered[0]["attempts"].as_u64().unwrap();
        assert!(attempts >= 3 && delivered[0]["error"].is_null(), "{delivered:?}");
        let requests = receiver.requests();
        assert_eq!(requests.len() as u64, attempts);
        assert_eq!(events(&requests).len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_never_followed() {
    let elsewhere = Upstream::answering(NO_CONTENT).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent", "304 Not Modified"] {
        let app = builder().start().await;
        let fields = format!("Location: {}\r\n", elsewhere.url("/"));
        let receiver = Upstream::answering(answer(status, &fields)).await;
        let hook = Hook::at(&app, &receiver.url("/")).await;
        upload(&app, "acme", "a.gif").await;
        let failed = hook.until(&app, |all| all.len() == 1 && all[0]["error"].is_string()).await;
        let error = failed[0]["error"].as_str().unwrap();
        assert!(error.contains(&status[..3]) && error.contains("not followed"), "{error}");
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_sent_nothing_more() {
    for app in both().await {
        let (receiver, now) = Upstream::switched(OOPS).await;
        let hook = Hook::at(&app, &receiver.url("/")).await;
        for name in ["a.gif", "b.gif", "c.gif"] {
            upload(&app, "acme", name).await;
        }
        receiver.received(3).await;
        now.send_replace("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
        let failed = hook.all_are(&app, 3, "failed").await;
        let is_told = |delivery: &Value| {
            let error = delivery["error"].as_str().unwrap();
            (delivery["status"] == 410 && error.contains("410"))
                || error == "The webhook is disabled."
        };
        assert!(failed.iter().any(|delivery| delivery["status"] == 410), "{failed:?}");
        assert!(failed.iter().all(is_told), "{failed:?}");
        let shown = hook.shown(&app).await;
        assert_eq!(shown["disabled"], true);
        assert!(shown["disabledReason"].as_str().unwrap().contains("410"), "{shown}");
        let count = receiver.requests().len();
        upload(&app, "acme", "d.gif").await;
        for rest in ["/test", &format!("/deliveries/{}/replay", failed[0]["id"].as_str().unwrap())]
        {
            assert_problem(&call(&app, "POST", &hook.path(rest), None).await, "webhook-conflict");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!((receiver.requests().len(), hook.deliveries(&app).await.len()), (count, 3));
        // Its owner may think better of it.
        now.send_replace(NO_CONTENT);
        done(&app, "PATCH", &hook.path(""), Some(&json!({ "disabled": false }))).await;
        upload(&app, "acme", "e.gif").await;
        hook.until(&app, |all| all.len() == 4 && all[0]["state"] == "delivered").await;
        let replay = format!("/deliveries/{}/replay", failed[0]["id"].as_str().unwrap());
        done(&app, "POST", &hook.path(&replay), None).await;
        hook.until(&app, |all| all.len() == 5 && all[0]["state"] == "delivered").await;
    }
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it() {
    for (status, wait) in [("429 Slow Down", 4), ("503 Busy", 4), ("500 Oops", 1)] {
        let app = builder().start().await;
        let receiver = Upstream::answering(answer(status, "Retry-After: 4\r\n")).await;
        let hook = Hook::at(&app, &receiver.url("/")).await;
        upload(&app, "acme", "a.gif").await;
        let begun = Instant::now();
        receiver.received(2).await;
        let waited = begun.elapsed();
        let least = Duration::from_secs(wait).mul_f64(0.75);
        assert!(waited >= least && waited < least + Duration::from_secs(4), "{status}: {waited:?}");
        hook.until(&app, |all| waits(&all[0], 2)).await;
    }
    // But not for ever.
    let app = builder().start().await;
    let receiver = Upstream::answering(answer("429 Slow Down", "Retry-After: 999999999\r\n")).await;
    let hook = Hook::at(&app, &receiver.url("/")).await;
    upload(&app, "acme", "a.gif").await;
    let waiting = hook.until(&app, |all| all.len() == 1 && all[0]["error"].is_string()).await;
    let next = humantime_of(waiting[0]["nextAttemptAt"].as_str().unwrap());
    let day = Duration::from_secs(24 * 60 * 60);
    let left = next.duration_since(std::time::SystemTime::now()).unwrap();
    assert!(left <= day && left > day - Duration::from_secs(60), "{left:?}");
}

fn humantime_of(text: &str) -> std::time::SystemTime {
    humantime::parse_rfc3339(text).expect("a time")
}

#[tokio::test]
async fn what_fails_for_too_long_is_given_up_and_can_be_replayed() {
    for app in [
        builder().set("WEBHOOKS__GIVE_UP_AFTER", "2s").start().await,
        builder().set("WEBHOOKS__GIVE_UP_AFTER", "2s").postgres().await.start().await,
    ] {
        let (receiver, now) = Upstream::switched(OOPS).await;
        let hook = Hook::at(&app, &receiver.url("/")).await;
        upload(&app, "acme", "a.gif").await;
        let failed = hook.all_are(&app, 1, "failed").await.remove(0);
        assert_eq!(failed["error"], "The receiver answered 500.");
        assert!(failed["endedAt"].is_string() && failed["attempts"].as_u64() > Some(1), "{failed}");
        let dead = app.run(&["jobs", "list", "--dead", "--queue", "webhooks"]).stdout;
        assert!(dead.contains("The receiver answered 500."), "{dead}");
        now.send_replace(NO_CONTENT);
        let replay = format!("/deliveries/{}/replay", failed["id"].as_str().unwrap());
        done(&app, "POST", &hook.path(&replay), None).await;
        let all = hook.until(&app, |all| all.len() == 2 && all[0]["state"] == "delivered").await;
        assert_eq!((&all[1]["state"], &all[0]["eventId"]), (&json!("failed"), &failed["id"]));
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_or_is_not_there_has_failed() {
    let app = builder().set("WEBHOOKS__TIMEOUT", "1s").start().await;
    let silent =
        Upstream::scripted(|mut peer| async move { while peer.request().await.is_some() {} }).await;
    let cut = Upstream::scripted(|mut peer| async move {
        peer.request().await;
    })
    .await;
    for (url, word) in [
        (silent.url("/"), "did not answer within 1s"),
        (cut.url("/"), "cannot be reached"),
        ("http://127.0.0.1:9/".to_owned(), "cannot be reached"),
        ("http://nowhere.invalid/".to_owned(), "cannot be reached"),
    ] {
        let hook = Hook::at(&app, &url).await;
        done(&app, "POST", &hook.path("/test"), None).await;
        let failed = hook.until(&app, |all| all.len() == 1 && all[0]["error"].is_string()).await;
        let error = failed[0]["error"].as_str().unwrap();
        assert!(error.contains(word) && error.ends_with('.'), "{url}: {error}");
        for internal in ["127.0.0.1", "os error", "refused", "dns"] {
            assert!(!error.contains(internal), "{url}: {error}");
        }
    }
}

#[tokio::test]
async fn the_body_of_an_answer_does_not_matter() {
    let app = builder().start().await;
    let huge =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n{}", "a".repeat(100_000));
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n".to_owned();
    for answer in [huge, endless] {
        let receiver = Upstream::answering(answer).await;
        let hook = Hook::at(&app, &receiver.url("/")).await;
        let begun = Instant::now();
        done(&app, "POST", &hook.path("/test"), None).await;
        hook.all_are(&app, 1, "delivered").await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn nothing_is_sent_for_a_suspended_tenant() {
    let app = builder().start().await;
    let receiver = Upstream::answering(OOPS).await;
    let hook = Hook::at(&app, &receiver.url("/")).await;
    upload(&app, "acme", "a.gif").await;
    receiver.received(1).await;
    assert!(app.run(&["tenants", "suspend", "acme"]).status.success());
    let until = Instant::now() + SOON;
    while call(&app, "GET", "", None).await.status != 403 {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // One that was under way may still arrive.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let count = receiver.requests().len();
    // Without this it would be tried in 1, 2 and 4 s.
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(receiver.requests().len(), count);
    assert!(app.run(&["tenants", "resume", "acme"]).status.success());
    while call(&app, "GET", "", None).await.status != 200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all = hook.deliveries(&app).await;
    // What was put off is no attempt.
    assert_eq!((&all[0]["state"], &all[0]["attempts"]), (&json!("pending"), &json!(count)));
}

#[tokio::test]
async fn nothing_is_sent_while_nobody_knows_who_is_suspended() {
    let mut app = builder().required().start().await;
    let key = app.key(&["--tenant", "acme", "--scope", "webhooks:manage"]);
    let receiver = Upstream::answering(NO_CONTENT).await;
    let made = request("POST", "", Some(&json!({ "url": receiver.url("/") })));
    let made = made.header("x-api-key", &key).send(app.addr).await.json();
    let path = format!("/{}/test", made["id"].as_str().unwrap());
    app.set_env("GATEHOUSE__CONSUMERS__WORKERS__ENABLED", "false");
    app.kill();
    app.start().await;
    let test = request("POST", &path, None).header("x-api-key", &key).send(app.addr).await;
    assert_eq!(test.status, 202, "{}", test.text());
    app.kill();
    app.set_env("GATEHOUSE__CONSUMERS__WORKERS__ENABLED", "true");
    change(&app, "ALTER TABLE tenants RENAME TO lost").await;
    app.start().await;
    let until = Instant::now() + SOON;
    while number(&app, "SELECT COUNT(*) FROM jobs WHERE tried_since > created_at").await == 0 {
        assert!(Instant::now() < until, "{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(receiver.requests().len(), 0);
    change(&app, "ALTER TABLE lost RENAME TO tenants").await;
    receiver.received(1).await;
}

#[tokio::test]
async fn what_is_erased_or_deleted_is_sent_no_more() {
    for app in both().await {
        let receiver = Upstream::answering(OOPS).await;
        let hook = Hook::at(&app, &receiver.url("/")).await;
        let other = Hook::at(&app, &receiver.url("/other")).await;
        upload(&app, "acme", "a.gif").await;
        receiver.received(2).await;
        assert_eq!(call(&app, "DELETE", &other.path(""), None).await.status, 204);
        let jobs = || app.run(&["jobs", "list", "--queue", "webhooks", "--json"]).stdout;
        let until = Instant::now() + SOON;
        while jobs().contains(&other.id) {
            assert!(Instant::now() < until, "{}", jobs());
        }
        assert!(jobs().contains(&hook.id));
        let erased = app.run(&["tenants", "erase", "acme", "--yes"]);
        assert!(erased.status.success(), "{}", erased.stderr);
        assert_eq!(done(&app, "GET", "", None).await, json!({ "webhooks": [] }));
        assert_eq!(jobs().trim(), "[]");
        let until = Instant::now() + SOON;
        while number(&app, "SELECT COUNT(*) FROM deliveries").await > 0 {
            assert!(Instant::now() < until);
        }
    }
}

#[tokio::test]
async fn what_is_old_is_forgotten() {
    let mut app = builder().set("WEBHOOKS__GIVE_UP_AFTER", "0s").start().await;
    let [good, bad] = [Upstream::answering(NO_CONTENT).await, Upstream::answering(OOPS).await];
    let [good, bad] = [Hook::at(&app, &good.url("/")).await, Hook::at(&app, &bad.url("/")).await];
    upload(&app, "acme", "a.gif").await;
    done(&app, "POST", &good.path("/rotate-secret"), None).await;
    good.all_are(&app, 1, "delivered").await;
    bad.all_are(&app, 1, "failed").await;
    app.kill();
    for sql in [
        "UPDATE deliveries SET ended_at = ended_at - 700000000",
        "UPDATE jobs SET died_at = died_at - 700000000",
        "UPDATE webhooks SET previous_until = 1 WHERE previous_until IS NOT NULL",
    ] {
        change(&app, sql).await;
    }
    app.start().await;
    good.until(&app, <[_]>::is_empty).await;
    bad.until(&app, <[_]>::is_empty).await;
    assert_eq!(
        number(&app, "SELECT COUNT(*) FROM webhooks WHERE previous_secret IS NOT NULL").await,
        0
    );
}
