//! Turns, as those who wait for them see them.

use std::iter;

use super::*;

/// As many as one owner may have at once, where it is known how long things take.
async fn full(concurrency: &Concurrency) -> Vec<Permit> {
    concurrency.permit("busy", false, soon()).await.unwrap().done(Sort::new(0, 1));
    let mut permits = Vec::new();
    while let Some(permit) = concurrency.permit("busy", false, Instant::now()).await {
        permits.push(permit);
    }
    permits
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test]
async fn what_is_over_the_limit_waits_its_turn() {
    let concurrency = Concurrency::default();
    let mut permits = full(&concurrency).await;
    let Standing { limit, under_way, .. } = concurrency.standing();
    assert!(under_way == permits.len() && under_way == share(limit) && under_way < limit);
    let others = concurrency.permit("other", false, Instant::now()).await;
    assert!(others.is_some(), "one owner leaves the others room");
    drop(others);
    for _ in under_way..limit {
        permits.push(concurrency.permit("other", false, Instant::now()).await.unwrap());
    }

    let busy = (0..3).map(|_| {
        tokio::spawn({
            let concurrency = concurrency.clone();
            async move { concurrency.permit("busy", false, soon()).await }
        })
    });
    let busy: Vec<_> = busy.collect();
    tokio::task::yield_now().await;
    let quiet = tokio::spawn({
        let concurrency = concurrency.clone();
        async move { concurrency.permit("quiet", false, soon()).await }
    });
    tokio::task::yield_now().await;

    permits.drain(..2);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(quiet.is_finished(), "after one of the busy owner's");
    assert_eq!(busy.iter().filter(|waiting| waiting.is_finished()).count(), 1);
    permits.clear();
    for waiting in busy.into_iter().chain(iter::once(quiet)) {
        assert!(waiting.await.unwrap().is_some());
    }
    let standing = concurrency.standing();
    assert_eq!((standing.under_way, standing.waiting), (0, 0));
}

#[tokio::test]
async fn a_turn_that_comes_too_late_is_the_next_ones() {
    let concurrency = Concurrency::default();
    let mut permits = full(&concurrency).await;
    let gone = tokio::spawn({
        let concurrency = concurrency.clone();
        async move {
            concurrency.permit("busy", false, Instant::now() + Duration::from_millis(50)).await
        }
    });
    tokio::task::yield_now().await;
    let next = tokio::spawn({
        let concurrency = concurrency.clone();
        async move { concurrency.permit("busy", false, soon()).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(gone.await.unwrap().is_none());
    permits.pop();
    assert!(next.await.unwrap().is_some());
}

#[tokio::test]
async fn who_waits_long_is_behind_until_it_is_served() {
    let concurrency = Concurrency::default();
    let permits = full(&concurrency).await;
    let waiting = tokio::spawn({
        let concurrency = concurrency.clone();
        async move { concurrency.permit("busy", false, soon()).await }
    });
    tokio::time::sleep(PATIENCE / 2).await;
    assert!(!concurrency.is_behind("busy"), "a burst");
    tokio::time::sleep(PATIENCE).await;
    assert!(concurrency.is_behind("busy"));
    assert!(!concurrency.is_behind("quiet"));
    drop(permits);
    let permit = waiting.await.unwrap();
    assert!(permit.is_some() && !concurrency.is_behind("busy"));
}

#[test]
fn who_brings_more_than_gets_done_is_behind_before_its_oldest_has_waited_long() {
    let is_behind = |waited, queued, queue, begun, round| {
        let waited = Duration::from_millis(waited);
        Progress { waited, queued, queue, begun, round }.is_too_slow()
    };
    assert!(is_behind(300, 100, 200, 24, 24), "twice as many came as were done");
    assert!(!is_behind(300, 200, 200, 24, 24), "it waits as long as before");
    assert!(!is_behind(300, 200, 100, 24, 24), "it gets shorter");
    assert!(is_behind(501, 200, 100, 24, 24), "and has waited too long");
    assert!(is_behind(501, 0, 1, 0, 32), "nothing is done");
    assert!(!is_behind(200, 0, 76, 24, 24), "a hundred clients, while the first things are done");
    assert!(!is_behind(130, 0, 5, 0, 32), "a few beside others' many");
    assert!(!is_behind(100, 50, 1000, 24, 24), "a burst");
}
