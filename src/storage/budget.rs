//! The process-wide budget of upload memory: who may buffer how much, and who waits.
//!
//! Uploads take bytes as they buffer them and give them back when a buffer is dropped. The
//! budget only counts; the memory itself is in `buffer.rs`. It knows no store and no file.
//!
//! # Why nothing deadlocks
//!
//! A part is filled bit by bit, sent when full, and its bytes return once it is sent. Were
//! bytes given to whoever asks first, many half-filled parts could use up everything and
//! wait for one another for ever. So growth follows a banker's rule: it is granted only if
//! afterwards
//!
//! ```text
//! free + in flight + the fullest filling part >= the largest part
//! ```
//!
//! holds for the process and for the owner. Then the fullest part can always be completed
//! (what is in flight comes back by itself), gives back at least a whole part, and by
//! induction everyone else can be completed after it.
//!
//! A new part is begun only while less than three quarters are used, in order of arrival:
//! when many large uploads compete, few parts fill quickly instead of all slowly.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

/// How long an upload waits for memory before it is refused, unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The upload memory of this process, in bytes really buffered.
pub struct Budget {
    total: usize,
    patience: Duration,
    state: Mutex<State>,
}

/// One owner's (a tenant's) access to the budget, of which it can hold at most half.
///
/// Cheap to clone; an owner without shares and buffers takes no memory.
pub struct Share {
    budget: Arc<Budget>,
    owner: Arc<str>,
}

/// The budget stayed used up for as long as an upload waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no upload memory became free in time")]
pub struct UsedUp;

/// The bytes of one part. They return to the budget, all at once, when this is dropped.
pub(super) struct Hold {
    share: Share,
    id: u64,
}

#[derive(Default)]
struct State {
    all: Account,
    owners: HashMap<Arc<str>, Owner>,
    holds: HashMap<u64, Held>,
    /// How many live holds have each size as their goal; the last key is the largest part.
    goals: BTreeMap<usize, usize>,
    queue: VecDeque<Waiter>,
    next_id: u64,
    peak: usize,
}

/// What a set of holds (all, or an owner's) has taken.
#[derive(Default)]
struct Account {
    used: usize,
    in_flight: usize,
    /// The filling parts by size, so that the fullest is at hand.
    filling: BTreeSet<(usize, u64)>,
}

#[derive(Default)]
struct Owner {
    /// Live [`Share`]s, those inside holds included.
    shares: usize,
    account: Account,
}

struct Held {
    bytes: usize,
    goal: usize,
    sealed: bool,
}

struct Waiter {
    owner: Arc<str>,
    hold: u64,
    bytes: usize,
    granted: oneshot::Sender<()>,
}

impl Budget {
    /// A budget of `total` bytes.
    pub fn new(total: usize) -> Arc<Self> {
        Self::with_patience(total, PATIENCE)
    }

    /// A budget whose uploads wait for memory no longer than `patience`.
    pub fn with_patience(total: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self { total, patience, state: Mutex::default() })
    }

    /// All bytes there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The most that one owner can hold: half of the total.
    pub fn per_owner(&self) -> usize {
        self.total / 2
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.lock().all.used
    }

    /// Parts that wait for bytes now.
    pub fn waiting(&self) -> usize {
        self.lock().queue.iter().filter(|waiter| !waiter.granted.is_closed()).count()
    }

    /// The most bytes that were ever taken at once.
    pub fn peak(&self) -> usize {
        self.lock().peak
    }

    /// `owner`'s share.
    pub fn share(self: &Arc<Self>, owner: &str) -> Share {
        let mut state = self.lock();
        let owner = match state.owners.get_key_value(owner) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(owner),
        };
        state.owners.entry(Arc::clone(&owner)).or_default().shares += 1;
        drop(state);
        Share { budget: Arc::clone(self), owner }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Begins a part that will hold at most `goal` bytes. Holds nothing yet.
    pub(super) fn hold(&self, goal: usize) -> Hold {
        let goal = goal.min(self.budget.per_owner());
        let share = self.clone();
        let mut state = self.budget.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.holds.insert(id, Held { bytes: 0, goal, sealed: false });
        *state.goals.entry(goal).or_default() += 1;
        drop(state);
        Hold { share, id }
    }

    /// Whether so little is used that an upload may hold more than the part it needs.
    pub(super) fn is_roomy(&self) -> bool {
        self.budget.lock().all.used < self.budget.total / 8
    }

    /// The most that one part of this owner's can hold.
    pub(super) fn largest(&self) -> usize {
        self.budget.per_owner()
    }
}

impl Hold {
    /// Takes `bytes` more, waiting for them as long as the budget's patience lasts.
    pub(super) async fn grow(&self, bytes: usize) -> Result<(), UsedUp> {
        let Some(mut granted) = self.ask(bytes) else {
            return Ok(());
        };
        if tokio::time::timeout(self.share.budget.patience, &mut granted).await.is_ok() {
            return Ok(());
        }
        // A grant may have come just now.
        granted.close();
        granted.try_recv().map_err(|_| UsedUp)
    }

    /// All bytes there are.
    pub(super) fn total(&self) -> usize {
        self.share.budget.total
    }

    /// Says that the part grows no more: its bytes return as soon as it is sent.
    pub(super) fn seal(&self) {
        let total = self.share.budget.total;
        let mut state = self.share.budget.lock();
        state.seal(&self.share.owner, self.id);
        state.serve(total);
    }

    /// Takes the bytes now, or queues for them.
    fn ask(&self, bytes: usize) -> Option<oneshot::Receiver<()>> {
        let Share { budget, owner } = &self.share;
        let mut state = budget.lock();
        let begins = state.holds.get(&self.id).is_some_and(|h| h.bytes == 0);
        let jumps_queue = begins && state.queue.iter().any(|w| w.owner == *owner);
        if !jumps_queue && state.may_grow(budget.total, owner, self.id, bytes) {
            state.grow(owner, self.id, bytes);
            return None;
        }
        let (granted, receiver) = oneshot::channel();
        state.queue.push_back(Waiter { owner: owner.clone(), hold: self.id, bytes, granted });
        Some(receiver)
    }
}

impl State {
    /// The banker's rule and the rule for beginners, see the module's head.
    fn may_grow(&self, total: usize, owner: &str, hold: u64, bytes: usize) -> bool {
        let Some(held) = self.holds.get(&hold) else {
            return false;
        };
        let largest = self.goals.last_key_value().map_or(0, |(goal, _)| *goal);
        let after = held.bytes + bytes;
        let fits = |account: &Account, limit: usize| {
            let used = account.used + bytes;
            if used > limit || (held.bytes == 0 && account.used >= limit / 4 * 3) {
                return false;
            }
            let free = limit - used;
            let fullest = account.filling.last().map_or(0, |(bytes, _)| *bytes).max(after);
            free + account.in_flight + fullest >= largest
        };
        fits(&self.all, total)
            && self.owners.get(owner).is_some_and(|o| fits(&o.account, total / 2))
    }

    fn grow(&mut self, owner: &str, hold: u64, bytes: usize) {
        let Some(held) = self.holds.get_mut(&hold) else {
            return;
        };
        let before = held.bytes;
        held.bytes += bytes;
        for account in accounts(&mut self.all, &mut self.owners, owner) {
            account.used += bytes;
            account.filling.remove(&(before, hold));
            account.filling.insert((before + bytes, hold));
        }
        self.peak = self.peak.max(self.all.used);
    }

    fn seal(&mut self, owner: &str, hold: u64) {
        let Some(held) = self.holds.get_mut(&hold) else {
            return;
        };
        if std::mem::replace(&mut held.sealed, true) {
            return;
        }
        for account in accounts(&mut self.all, &mut self.owners, owner) {
            account.filling.remove(&(held.bytes, hold));
            account.in_flight += held.bytes;
        }
    }

    fn release(&mut self, owner: &str, hold: u64) {
        let Some(held) = self.holds.remove(&hold) else {
            return;
        };
        for account in accounts(&mut self.all, &mut self.owners, owner) {
            account.used -= held.bytes;
            if held.sealed {
                account.in_flight -= held.bytes;
            } else {
                account.filling.remove(&(held.bytes, hold));
            }
        }
        if let Some(count) = self.goals.get_mut(&held.goal) {
            *count -= 1;
            if *count == 0 {
                self.goals.remove(&held.goal);
            }
        }
    }

    /// Grants what can be granted now, the longest waiting first.
    fn serve(&mut self, total: usize) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.retain(|w| !w.granted.is_closed());
        for waiter in queue {
            if !self.may_grow(total, &waiter.owner, waiter.hold, waiter.bytes) {
                self.queue.push_back(waiter);
                continue;
            }
            // Counted even if the asker has just gone: dropping its hold gives it back.
            self.grow(&waiter.owner, waiter.hold, waiter.bytes);
            let _ = waiter.granted.send(());
        }
    }
}

fn accounts<'a>(
    all: &'a mut Account,
    owners: &'a mut HashMap<Arc<str>, Owner>,
    owner: &str,
) -> impl Iterator<Item = &'a mut Account> {
    std::iter::once(all).chain(owners.get_mut(owner).map(|o| &mut o.account))
}

impl Drop for Hold {
    fn drop(&mut self) {
        let total = self.share.budget.total;
        let mut state = self.share.budget.lock();
        state.release(&self.share.owner, self.id);
        state.serve(total);
    }
}

impl Clone for Share {
    fn clone(&self) -> Self {
        if let Some(owner) = self.budget.lock().owners.get_mut(&self.owner) {
            owner.shares += 1;
        }
        Self { budget: Arc::clone(&self.budget), owner: Arc::clone(&self.owner) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        if let Some(owner) = state.owners.get_mut(&self.owner) {
            owner.shares -= 1;
            if owner.shares == 0 {
                state.owners.remove(&self.owner);
            }
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Budget")
            .field("total", &self.total)
            .field("used", &state.all.used)
            .field("peak", &state.peak)
            .field("waiting", &state.queue.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("owner", &self.owner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
