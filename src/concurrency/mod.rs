//! How many things are done at once, and whose turn it is: an adaptive concurrency limit, fair by owner.
//!
//! The limit follows how long things take against how long they take when few are done at once
//! ([`gradient`]); so it finds what a store, a database or this machine can do at once, whichever of them is the
//! narrowest, and follows when that changes. What is over the limit waits, each owner in a queue of its own
//! ([`fair`]): who asks for little does not wait behind who asks for much. Whose queue does not get
//! shorter is to be refused early ([`Concurrency::is_behind`]).
//!
//! It knows no tenant and no store: an owner is a text to it.

mod fair;
mod gradient;

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::oneshot,
    time::{Duration, Instant, sleep, timeout_at},
};

use fair::Queue;
use gradient::Gradient;
pub use gradient::Sort;

/// How long an owner's oldest may have waited before the owner is behind. Shorter waits are bursts, which a
/// queue is for; a queue that stays longer only delays.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long a turn lasts while its holder may wait for others, such as a client ([`Permit::lend`]).
const BRIEFLY: Duration = Duration::from_millis(20);

/// A limit on how many things are done at once. Cheap to clone.
#[derive(Clone, Default)]
pub struct Concurrency(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    gradient: Gradient,
    under_way: usize,
    waiting: Queue<Waiter>,
}

struct Waiter {
    since: Instant,
    granted: oneshot::Sender<Permit>,
}

/// One of the things that may be done now; the next one's turn comes when it is dropped.
pub struct Permit {
    concurrency: Concurrency,
    began: Instant,
    /// Under way when it began, itself among them.
    beside: usize,
}

/// What the limit stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Things that may be done at once.
    pub limit: usize,
    /// Things that are.
    pub under_way: usize,
    /// Things that wait.
    pub waiting: usize,
}

impl Concurrency {
    /// Waits for a turn of `owner`'s until then.
    pub async fn permit(&self, owner: &str, until: Instant) -> Option<Permit> {
        let waiting = {
            let mut state = self.lock();
            let now = Instant::now();
            let queued = !state.waiting.is_empty();
            state.gradient.look(now, queued);
            if !queued && state.may_begin() {
                let beside = state.begin();
                drop(state);
                return Some(Permit { concurrency: self.clone(), began: now, beside });
            }
            let (granted, waiting) = oneshot::channel();
            state.waiting.push(owner, Waiter { since: now, granted });
            waiting
        };
        // A probe may have ended just now.
        self.serve();
        // A turn that comes too late is passed on when the channel is dropped.
        timeout_at(until, waiting).await.ok()?.ok()
    }

    /// Whether `owner` gets its turns so late that it had better come later.
    pub fn is_behind(&self, owner: &str) -> bool {
        let mut state = self.lock();
        let oldest = state.waiting.oldest(owner, |waiter| !waiter.granted.is_closed());
        oldest.is_some_and(|waiter| waiter.since.elapsed() > INTERVAL)
    }

    /// What it stands at now.
    pub fn standing(&self) -> Standing {
        let state = self.lock();
        let (limit, under_way) = (state.gradient.limit(), state.under_way);
        Standing { limit, under_way, waiting: state.waiting.len() }
    }

    /// Gives turns to those that wait, as many as there are.
    fn serve(&self) {
        loop {
            let mut state = self.lock();
            if !state.may_begin() {
                return;
            }
            let Some(waiter) = state.waiting.pop(|waiter| !waiter.granted.is_closed()) else {
                return;
            };
            let beside = state.begin();
            drop(state);
            let permit = Permit { concurrency: self.clone(), began: Instant::now(), beside };
            // Who has just left drops it, and that serves the next.
            let _ = waiter.granted.send(permit);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_begin(&self) -> bool {
        self.under_way < self.gradient.limit()
    }

    fn begin(&mut self) -> usize {
        self.under_way += 1;
        if !self.may_begin() {
            self.gradient.reached();
        }
        self.under_way
    }
}

impl Permit {
    /// Does `work`, which may come to wait for somebody else. Work that is done in a moment has its turn
    /// to its end and leaves it to what follows; the turn of other work passes on meanwhile.
    pub async fn lend<T>(self, work: impl Future<Output = T>) -> (Option<Self>, T) {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return (Some(self), done),
            () = sleep(BRIEFLY) => drop(self),
        }
        (None, work.await)
    }

    /// What is done in this turn begins now, and not when the turn came.
    pub(crate) fn begins(&mut self) {
        self.began = Instant::now();
    }

    /// It is done, and was a thing of this sort: what the limit learns from.
    pub fn done(self, sort: Sort) {
        let mut state = self.concurrency.lock();
        let beside = self.beside.max(state.under_way);
        let now = Instant::now();
        state.gradient.took(sort, now - self.began, beside, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.concurrency.lock().under_way -= 1;
        self.concurrency.serve();
    }
}

#[cfg(test)]
mod tests;
