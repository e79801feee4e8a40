//! That what is granted never passes the limits, and that nobody waits for ever.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use futures_util::{FutureExt, future::join_all};
use tokio::{runtime, task::yield_now, time::sleep};

use super::*;

const KIB: usize = 1024;

#[tokio::test]
async fn what_is_taken_is_counted_and_comes_back() {
    let budget = Budget::new(64 * KIB);
    let share = budget.share("a");
    let (one, two) = (share.hold(16 * KIB), share.hold(16 * KIB));
    one.grow(4 * KIB).await.unwrap();
    two.grow(KIB).await.unwrap();
    one.grow(KIB).await.unwrap();
    assert_eq!((budget.used(), budget.peak()), (6 * KIB, 6 * KIB));
    one.seal();
    assert_eq!(budget.used(), 6 * KIB, "in flight is still memory");
    drop(one);
    drop(two);
    assert_eq!((budget.used(), budget.peak()), (0, 6 * KIB));
}

#[tokio::test]
async fn an_owner_without_buffers_takes_no_memory() {
    let budget = Budget::new(64 * KIB);
    let share = budget.share("a");
    let hold = share.clone().hold(KIB);
    drop(share);
    assert_eq!(budget.lock().owners.len(), 1);
    hold.grow(KIB).await.unwrap();
    drop(hold);
    let state = budget.lock();
    assert!(state.owners.is_empty() && state.holds.is_empty() && state.goals.is_empty());
    assert!(state.all.filling.is_empty() && state.queue.is_empty());
}

#[tokio::test]
async fn one_owner_gets_half_and_leaves_the_rest() {
    let budget = Budget::with_patience(64 * KIB, Duration::from_millis(20));
    let greedy = budget.share("greedy");
    let holds: Vec<_> = (0..9).map(|_| greedy.hold(4 * KIB)).collect();
    let mut granted = 0;
    for hold in &holds {
        while hold.grow(KIB).await.is_ok() {
            granted += KIB;
            if granted.is_multiple_of(4 * KIB) {
                break;
            }
        }
    }
    assert!((24 * KIB..=32 * KIB).contains(&granted), "{granted}");
    let other = budget.share("other").hold(4 * KIB);
    other.grow(4 * KIB).now_or_never().expect("no waiting").unwrap();
}

#[tokio::test]
async fn who_waits_too_long_is_told() {
    let budget = Budget::with_patience(16 * KIB, Duration::from_millis(20));
    let share = budget.share("a");
    let first = share.hold(8 * KIB);
    first.grow(8 * KIB).await.unwrap();
    let second = share.hold(8 * KIB);
    assert_eq!(second.grow(KIB).await, Err(UsedUp));
    drop(first);
    second.grow(KIB).await.unwrap();
}

#[tokio::test]
async fn who_waits_is_served_when_bytes_return() {
    let budget = Budget::new(32 * KIB);
    let share = budget.share("a");
    let full = [share.hold(8 * KIB), share.hold(8 * KIB)];
    for part in &full {
        part.grow(8 * KIB).await.unwrap();
        part.seal();
    }
    let (second, third) = (share.hold(8 * KIB), share.hold(8 * KIB));
    let (a, b, ()) = tokio::join!(second.grow(KIB), third.grow(KIB), async {
        yield_now().await;
        drop(full);
    });
    assert_eq!((a, b), (Ok(()), Ok(())));
}

#[tokio::test]
async fn one_that_gives_up_waiting_does_not_hold_up_the_others() {
    let budget = Budget::new(16 * KIB);
    let share = budget.share("a");
    let first = share.hold(8 * KIB);
    first.grow(8 * KIB).await.unwrap();
    let (gone, patient) = (share.hold(8 * KIB), share.hold(8 * KIB));
    assert!(gone.grow(8 * KIB).now_or_never().is_none());
    let waits = patient.grow(8 * KIB);
    let (granted, ()) = tokio::join!(waits, async { drop(first) });
    granted.unwrap();
    assert_eq!(budget.used(), 8 * KIB);
}

/// All fill in step, none would ever finish if each got what it asks for.
#[tokio::test]
async fn many_half_filled_parts_do_not_wait_for_one_another() {
    let budget = Budget::new(128 * KIB);
    let share = budget.share("a");
    let uploads = (0..100).map(|_| {
        let share = share.clone();
        async move {
            let part = share.hold(16 * KIB);
            for _ in 0..16 {
                part.grow(KIB).await.unwrap();
                yield_now().await;
            }
            part.seal();
            yield_now().await;
        }
    });
    join_all(uploads).await;
    assert_eq!(budget.used(), 0);
    assert!(budget.peak() <= 64 * KIB);
}

/// The same with parts of unequal size, where the fullest is not the largest.
#[tokio::test]
async fn small_parts_do_not_starve_a_large_one() {
    let budget = Budget::new(128 * KIB);
    let share = budget.share("a");
    let uploads = (0..60).map(|i| {
        let share = share.clone();
        let goal = if i % 10 == 0 { 64 } else { 1 + i % 7 };
        async move {
            let part = share.hold(goal * KIB);
            for _ in 0..goal {
                part.grow(KIB).await.unwrap();
                yield_now().await;
            }
            part.seal();
            yield_now().await;
        }
    });
    join_all(uploads).await;
    assert_eq!(budget.used(), 0);
}

/// Many tasks on several threads, some slow, some giving up: nobody is refused, nothing is
/// promised twice, everything comes back.
#[test]
fn a_crowd_never_deadlocks_nor_overcommits() {
    const TOTAL: usize = 512 * KIB;
    let budget = Budget::with_patience(TOTAL, Duration::from_secs(60));
    let resident = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let (budget, resident) = (Arc::clone(&budget), Arc::clone(&resident));
            thread::spawn(move || {
                let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let uploads = (0..60).map(|i| {
                    let share = budget.share(["a", "b", "c"][i % 3]);
                    upload(share, Arc::clone(&resident), thread * 1000 + i as u64)
                });
                runtime.block_on(join_all(uploads));
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!((budget.used(), resident.load(Ordering::SeqCst)), (0, 0));
    assert!(budget.peak() <= TOTAL && budget.peak() > TOTAL / 4, "{}", budget.peak());
    let state = budget.lock();
    assert!(state.owners.is_empty() && state.holds.is_empty() && state.queue.is_empty());
}

async fn upload(share: Share, resident: Arc<AtomicUsize>, seed: u64) {
    const GOAL: usize = 64 * KIB;
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..8 {
        let part = share.hold(GOAL);
        let mut held = 0;
        let quits = random(8) == 0;
        while held < GOAL {
            let bytes = (KIB * (1 + random(16) as usize)).min(GOAL - held);
            if quits && held > GOAL / 2 {
                // Cancelled while it may be waiting.
                let _ = part.grow(bytes).now_or_never();
                break;
            }
            part.grow(bytes).await.unwrap();
            held += bytes;
            let all = resident.fetch_add(bytes, Ordering::SeqCst) + bytes;
            assert!(all <= share.budget.total, "{all} bytes are held");
            if random(4) == 0 {
                yield_now().await;
            }
            if random(64) == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        if !quits {
            part.seal();
            sleep(Duration::from_micros(random(500))).await;
        }
        resident.fetch_sub(held, Ordering::SeqCst);
    }
}
