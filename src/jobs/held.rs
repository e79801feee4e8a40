//! The runs that a worker holds, and until when it may take them for its own.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio_util::sync::CancellationToken;

use super::job::Run;

/// The runs that a worker holds.
#[derive(Default)]
pub(super) struct Held(Mutex<HashMap<Run, Hold>>);

struct Hold {
    /// When the lease ends, at the earliest.
    until: Instant,
    /// Drops the handler.
    cancel: CancellationToken,
}

impl Held {
    /// A run has begun; what cancels it.
    pub(super) fn begin(&self, run: Run, until: Instant) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.holds().insert(run, Hold { until, cancel: cancel.clone() });
        cancel
    }

    /// Whether the run is this worker's for sure.
    pub(super) fn has(&self, run: &Run) -> bool {
        self.holds().get(run).is_some_and(|hold| Instant::now() < hold.until)
    }

    /// A run has ended.
    pub(super) fn end(&self, run: &Run) {
        self.holds().remove(run);
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Run> {
        self.holds().keys().cloned().collect()
    }

    /// Of the runs that were `asked` about those that are `kept` are held until then; the others are
    /// lost, and cancelled. How many.
    pub(super) fn renew(&self, asked: &[Run], kept: &HashSet<Run>, until: Instant) -> usize {
        let mut holds = self.holds();
        let mut lost = 0;
        for run in asked {
            if let Some(hold) = holds.get_mut(run).filter(|_| kept.contains(run)) {
                hold.until = until;
            } else if let Some(hold) = holds.remove(run) {
                hold.cancel.cancel();
                lost += 1;
            }
        }
        lost
    }

    /// Cancels the runs whose lease may have ended. How many.
    pub(super) fn cancel_lapsed(&self) -> usize {
        let now = Instant::now();
        let mut holds = self.holds();
        let before = holds.len();
        holds.retain(|_, hold| {
            let is_held = now < hold.until;
            if !is_held {
                hold.cancel.cancel();
            }
            is_held
        });
        before - holds.len()
    }

    /// Cancels all of them, which stay held.
    pub(super) fn cancel_all(&self) {
        self.holds().values().for_each(|hold| hold.cancel.cancel());
    }

    fn holds(&self) -> MutexGuard<'_, HashMap<Run, Hold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
