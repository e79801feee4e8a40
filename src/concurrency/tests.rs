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

#[tokio::test]
async fn who_brings_twice_what_gets_done_is_behind_before_the_oldest_has_waited_long() {
    let concurrency = Concurrency::default();
    let mut permits = full(&concurrency).await;
    let (waited, mut waits) = tokio::sync::mpsc::unbounded_channel();
    let began = Instant::now();
    let (mut behind_after, mut longest) = (None, Duration::ZERO);
    for _ in 0..200 {
        for _ in 0..2 {
            if concurrency.is_behind("busy") {
                behind_after.get_or_insert(began.elapsed());
                continue;
            }
            let (concurrency, waited) = (concurrency.clone(), waited.clone());
            tokio::spawn(async move {
                let came = Instant::now();
                let permit = concurrency.permit("busy", false, soon()).await.unwrap();
                waited.send((came.elapsed(), permit)).unwrap();
            });
        }
        sleep(Duration::from_millis(5)).await;
        permits.remove(0);
        let (took, permit) = waits.recv().await.unwrap();
        longest = longest.max(took);
        permits.push(permit);
    }
    // By its oldest's wait alone it would be after twice as long, and the last would wait as long.
    let behind_after = behind_after.unwrap();
    assert!(behind_after > PATIENCE / 4 && behind_after < PATIENCE * 3 / 2, "{behind_after:?}");
    assert!(longest > PATIENCE / 2 && longest < PATIENCE * 3 / 2, "{longest:?}");
}
