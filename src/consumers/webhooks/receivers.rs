//! How receivers have been lately: one that answers at once gets many deliveries, one that is slow or
//! fails few, so that it does not hold up what is for others.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that one webhook gets at a time.
const AT_ONCE: usize = 4;
/// Jobs that are held for a webhook whose receiver is prompt; so many are taken and settled in a transaction.
const PROMPT: usize = 32;
/// The longest that an answer of a prompt receiver takes.
const SOON: Duration = Duration::from_secs(1);
/// Webhooks that are known of before those are forgotten that have nothing under way.
const MOST: usize = 10_000;

/// The receivers that this process has to do with, by webhook.
#[derive(Default)]
pub(super) struct Receivers(Mutex<HashMap<String, Arc<Receiver>>>);

struct Receiver {
    turns: Arc<Semaphore>,
    /// Whether its last answer was a good one, and came soon.
    prompt: AtomicBool,
}

/// A request may be sent.
pub(super) struct Turn {
    receiver: Arc<Receiver>,
    _permit: OwnedSemaphorePermit,
}

impl Receivers {
    /// How many jobs of this webhook may be held.
    pub(super) fn share(&self, webhook: &str) -> usize {
        let prompt = self.all().get(webhook).is_some_and(|receiver| receiver.is_prompt());
        if prompt { PROMPT } else { AT_ONCE }
    }

    /// Waits for a turn at this webhook; none when its receiver turned out to be slow or to fail meanwhile.
    pub(super) async fn turn(&self, webhook: &str) -> Option<Turn> {
        let receiver = self.of(webhook);
        if let Ok(permit) = Arc::clone(&receiver.turns).try_acquire_owned() {
            return Some(Turn { receiver, _permit: permit });
        }
        // It is never closed.
        let permit = Arc::clone(&receiver.turns).acquire_owned().await.ok()?;
        receiver.is_prompt().then_some(Turn { receiver, _permit: permit })
    }

    fn of(&self, webhook: &str) -> Arc<Receiver> {
        let mut all = self.all();
        if let Some(known) = all.get(webhook) {
            return Arc::clone(known);
        }
        if all.len() >= MOST {
            all.retain(|_, receiver| Arc::strong_count(receiver) > 1);
        }
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let receiver = Arc::new(Receiver { turns, prompt: AtomicBool::new(false) });
        all.insert(webhook.to_owned(), Arc::clone(&receiver));
        receiver
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Receiver>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    fn is_prompt(&self) -> bool {
        self.prompt.load(Ordering::Relaxed)
    }
}

impl Turn {
    /// The receiver has taken a delivery, or not, and took so long about it.
    pub(super) fn end(self, delivered: bool, took: Duration) {
        self.receiver.prompt.store(delivered && took <= SOON, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_is_prompt_gets_more_until_it_is_not() {
        let receivers = Receivers::default();
        assert_eq!(receivers.share("a"), AT_ONCE);
        receivers.turn("a").await.unwrap().end(true, Duration::from_millis(5));
        assert_eq!((receivers.share("a"), receivers.share("b")), (PROMPT, AT_ONCE));
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            turns.push(receivers.turn("a").await.unwrap());
        }
        let mut waiting = Box::pin(receivers.turn("a"));
        assert!(waiting.as_mut().now_or_never().is_none());
        turns.pop().unwrap().end(false, Duration::ZERO);
        assert!(waiting.await.is_none());
        assert_eq!(receivers.share("a"), AT_ONCE);
        receivers.turn("a").await.unwrap().end(true, 2 * SOON);
        assert_eq!(receivers.share("a"), AT_ONCE);
    }
}
