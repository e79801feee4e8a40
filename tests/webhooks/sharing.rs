//! One that is slow or dead does not hold up the others.

use super::*;

/// Leaves all requests waiting.
async fn silent() -> Upstream {
    Upstream::scripted(|mut peer| async move {
        while peer.request().await.is_some() {
            std::future::pending::<()>().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_dead_receivers_backlog_keeps_nobody_waiting() {
    for app in both().await {
        let (dead, alive) = (silent().await, Upstream::answering(NO_CONTENT).await);
        let stuck = Hook::at(&app, &dead.url("/")).await;
        for some in 0..6 {
            let uploads = (some * 50..(some + 1) * 50).map(|n| upload_of(&app, n));
            futures_util::future::join_all(uploads).await;
        }
        dead.received(4).await;
        let hook =
            Hook::of(&app, &json!({ "url": alive.url("/"), "events": ["image.deleted"] })).await;
        let begun = Instant::now();
        done(&app, "POST", &hook.path("/test"), None).await;
        alive.received(1).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        // And no more than four wait for the dead one at a time.
        assert_eq!(dead.requests().len(), 4);
        let all = stuck.deliveries(&app).await;
        assert!(all.len() == 200 && all.iter().all(|delivery| delivery["state"] == "pending"));
    }
}

async fn upload_of(app: &App, number: usize) {
    upload(app, "acme", &format!("{number}.gif")).await;
}

#[tokio::test]
async fn a_receiver_gets_four_at_a_time_and_all_in_the_end() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let app = builder().start().await;
    let most = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counts = Arc::clone(&most);
    let receiver = Upstream::scripted(move |mut peer| {
        let counts = Arc::clone(&counts);
        async move {
            while peer.request().await.is_some() {
                let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
                counts.1.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(15)).await;
                counts.0.fetch_sub(1, Ordering::SeqCst);
                peer.send(NO_CONTENT).await;
            }
        }
    })
    .await;
    let hook = Hook::at(&app, &receiver.url("/")).await;
    futures_util::future::join_all((0..150).map(|n| upload_of(&app, n))).await;
    hook.all_are(&app, 150, "delivered").await;
    assert_eq!(events(&receiver.requests()).len(), 150);
    assert_eq!(receiver.requests().len(), 150);
    assert_eq!(most.1.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_receiver_that_becomes_silent_gives_back_what_waits_for_it() {
    let app = builder().set("WEBHOOKS__TIMEOUT", "1s").start().await;
    let (receiver, now) = Upstream::switched(NO_CONTENT).await;
    let hook = Hook::at(&app, &receiver.url("/")).await;
    // It is known to be prompt, so that many are held for it.
    upload(&app, "acme", "first.gif").await;
    hook.all_are(&app, 1, "delivered").await;
    now.send_replace("");
    futures_util::future::join_all((0..60).map(|n| upload_of(&app, n))).await;
    let timed_out = |all: &[Value]| all.iter().any(|delivery| delivery["error"].is_string());
    hook.until(&app, timed_out).await;
    let tried = hook.deliveries(&app).await;
    let tried = tried.iter().filter(|d| d["error"].is_string()).count();
    assert!(tried <= 16, "{tried}");
    now.send_replace(NO_CONTENT);
    hook.all_are(&app, 61, "delivered").await;
}
