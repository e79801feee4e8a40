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
    /// Whether it is being settled: its row may be gone for that.
    ends: bool,
}

/// Cancels all runs when it is dropped.
pub(super) struct CancelOnDrop<'a>(pub(super) &'a Held);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel_all();
    }
}

impl Held {
    /// A run has begun; what cancels it.
    pub(super) fn begin(&self, run: Run, until: Instant) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.holds().insert(run, Hold { until, cancel: cancel.clone(), ends: false });
        cancel
    }

    /// A run is about to be settled. Whether it is this worker's for sure.
    pub(super) fn settle(&self, run: &Run) -> bool {
        let mut holds = self.holds();
        let hold = holds.get_mut(run).filter(|hold| Instant::now() < hold.until);
        hold.map(|hold| hold.ends = true).is_some()
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
            match holds.get_mut(run) {
                Some(hold) if kept.contains(run) => hold.until = until,
                Some(hold) if !hold.ends => {
                    hold.cancel.cancel();
                    holds.remove(run);
                    lost += 1;
                }
                // Settled meanwhile, or about to be.
                _ => {}
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
