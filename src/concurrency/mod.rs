//! How many things are done at once, and whose turn it is: an adaptive concurrency limit, fair by owner.
//!
//! The limit follows how long things take against how long they take when few are done at once
//! (`gradient`); so it finds what a store, a database or this machine can do at once, whichever of them is the
//! narrowest, and follows when that changes. What is over the limit waits, each owner in a queue of its own
//! (`fair`): who asks for little does not wait behind who asks for much. No owner has more than three quarters
//! of the limit, so that one whose things take long leaves the others room. Whose queue does not get shorter is to be
//! refused early ([`Concurrency::is_behind`]).
//!
//! It knows no tenant and no store: an owner is a text to it.

mod fair;
mod gradient;

use std::{
    collections::HashMap,
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

/// How long an owner's things may wait before the owner is behind. Shorter waits are bursts, which a queue is for;
/// a queue that stays longer only delays.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a turn lasts while its holder may wait for others, such as a client ([`Permit::lend`]).
const BRIEFLY: Duration = Duration::from_millis(20);

/// A limit on how many things are done at once. Cheap to clone.
#[derive(Clone, Default)]
pub struct Concurrency(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    gradient: Gradient,
    under_way: UnderWay,
    waiting: Queue<Waiter>,
}

/// What is done now.
#[derive(Default)]
struct UnderWay {
    all: usize,
    /// Of each owner that has some.
    owners: HashMap<Arc<str>, usize>,
}

struct Waiter {
    owner: Arc<str>,
    since: Instant,
    /// How many of the owner's waited when it came.
    queued: usize,
    granted: oneshot::Sender<Permit>,
}

/// How an owner's queue gets on.
struct Progress {
    /// How long its oldest has waited.
    waited: Duration,
    /// How many waited when that came, and do now. Some may have left meanwhile.
    queued: usize,
    queue: usize,
    /// Things of the owner's that are under way.
    begun: usize,
    /// Things of all that are.
    round: usize,
}

/// One of the things that may be done now; the next one's turn comes when it is dropped.
pub struct Permit {
    concurrency: Concurrency,
    owner: Arc<str>,
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
    /// Waits for a turn of `owner`'s until then. What `is_ready` goes before what is still to come of the same owner.
    pub async fn permit(&self, owner: &str, is_ready: bool, until: Instant) -> Option<Permit> {
        let waiting = {
            let mut state = self.lock();
            let owner = state.under_way.owner(owner);
            if state.waiting.is_empty() && state.may_begin(&owner) {
                return Some(state.begin(self, owner));
            }
            let (granted, waiting) = oneshot::channel();
            let waiter = Waiter {
                owner: Arc::clone(&owner),
                since: Instant::now(),
                queued: state.waiting.len_of(&owner),
                granted,
            };
            state.waiting.push(&owner, waiter, is_ready);
            waiting
        };
        // Others may wait whose owners have as many as they may.
        self.serve();
        // A turn that comes too late is passed on when the channel is dropped.
        timeout_at(until, waiting).await.ok()?.ok()
    }

    /// Whether `owner` gets its turns so late that it had better come later.
    pub fn is_behind(&self, owner: &str) -> bool {
        // A probe may be over.
        self.serve();
        let State { gradient, under_way, waiting } = &mut *self.lock();
        let oldest = waiting.oldest(owner, Waiter::waits).min_by_key(|waiter| waiter.since);
        let Some((since, queued)) = oldest.map(|waiter| (waiter.since, waiter.queued)) else {
            return false;
        };
        let Some(since) = gradient.waiting_since(since) else {
            return false;
        };
        let progress = Progress {
            waited: since.elapsed(),
            queued,
            queue: waiting.len_of(owner),
            begun: under_way.of(owner),
            round: under_way.all,
        };
        progress.is_too_slow()
    }

    /// What it stands at now.
    pub fn standing(&self) -> Standing {
        let state = self.lock();
        let (limit, under_way) = (state.gradient.limit(), state.under_way.all);
        Standing { limit, under_way, waiting: state.waiting.len() }
    }

    /// Gives turns to those that wait, as many as there are.
    fn serve(&self) {
        loop {
            let mut state = self.lock();
            let State { gradient, under_way, waiting } = &mut *state;
            gradient.look(Instant::now(), !waiting.is_empty());
            let limit = gradient.limit();
            let may = |owner: &str| under_way.has_room(owner, limit);
            let Some(Waiter { owner, granted, .. }) = waiting.pop(may, Waiter::waits) else {
                return;
            };
            let permit = state.begin(self, owner);
            drop(state);
            // Who has just left drops it, and that serves the next.
            let _ = granted.send(permit);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most that one owner may have of a limit.
fn share(limit: usize) -> usize {
    limit - limit / 4
}

impl State {
    fn may_begin(&self, owner: &str) -> bool {
        self.under_way.has_room(owner, self.gradient.limit())
    }

    fn begin(&mut self, concurrency: &Concurrency, owner: Arc<str>) -> Permit {
        self.under_way.begin(&owner);
        if !self.may_begin(&owner) {
            self.gradient.reached();
        }
        let (concurrency, began) = (concurrency.clone(), Instant::now());
        Permit { concurrency, owner, began, beside: self.under_way.all }
    }
}

impl UnderWay {
    /// The owner's name, as it is kept already where it is.
    fn owner(&self, owner: &str) -> Arc<str> {
        self.owners
            .get_key_value(owner)
            .map_or_else(|| Arc::from(owner), |(name, _)| Arc::clone(name))
    }

    /// How many of the owner's.
    fn of(&self, owner: &str) -> usize {
        self.owners.get(owner).copied().unwrap_or_default()
    }

    /// Whether one more of the owner's may begin.
    fn has_room(&self, owner: &str, limit: usize) -> bool {
        self.all < limit && self.of(owner) < share(limit)
    }

    fn begin(&mut self, owner: &Arc<str>) {
        self.all += 1;
        *self.owners.entry(Arc::clone(owner)).or_default() += 1;
    }

    fn end(&mut self, owner: &str) {
        self.all -= 1;
        if let Some(has) = self.owners.get_mut(owner) {
            *has -= 1;
            if *has == 0 {
                self.owners.remove(owner);
            }
        }
    }
}

impl Progress {
    /// Whether the oldest has waited for too long, or the newest will have by its turn, at the oldest's pace.
    fn is_too_slow(&self) -> bool {
        let Self { waited, queued, queue, begun, round } = *self;
        // A moment tells nothing of the pace, nor does it before what was under way has ended.
        let tells = waited > PATIENCE / 4 && queued >= round;
        // What is under way went before either.
        let (before_oldest, before_next) = ((queued + begun).max(1), queue + begun);
        let newest_will = waited.mul_f64(before_next as f64 / before_oldest as f64);
        waited > PATIENCE || (tells && newest_will > PATIENCE)
    }
}

impl Waiter {
    /// Whether there is still somebody who waits.
    fn waits(&self) -> bool {
        !self.granted.is_closed()
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
    pub fn begins(&mut self) {
        self.began = Instant::now();
    }

    /// It is done, and was a thing of this sort: what the limit learns from.
    pub fn done(self, sort: Sort) {
        let mut state = self.concurrency.lock();
        let beside = self.beside.max(state.under_way.all);
        let now = Instant::now();
        state.gradient.took(sort, now - self.began, beside, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.concurrency.lock().under_way.end(&self.owner);
        self.concurrency.serve();
    }
}

#[cfg(test)]
mod tests;
