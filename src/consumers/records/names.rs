//! Turns at a name within this process: those who want to change the same object queue here, so
//! that only one at a time asks the database for the lease that all processes share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{Mutex as Queue, OwnedMutexGuard},
    time::{Instant, timeout_at},
};

use crate::storage::ObjectKey;

/// The names that are being changed.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<Mutex<HashMap<ObjectKey, Arc<Queue<()>>>>>);

/// A turn at a name; the next one's comes when it is dropped.
pub struct Turn {
    key: ObjectKey,
    names: Names,
    held: Option<OwnedMutexGuard<()>>,
}

impl Names {
    /// Waits for a turn until then.
    pub(super) async fn turn(&self, key: &ObjectKey, until: Instant) -> Option<Turn> {
        let queue = {
            let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(names.entry(key.clone()).or_default())
        };
        let mut turn = Turn { key: key.clone(), names: self.clone(), held: None };
        turn.held = Some(timeout_at(until, queue.lock_owned()).await.ok()?);
        Some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held = None;
        let mut names = self.names.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's own is the last when nobody waits.
        if names.get(&self.key).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            names.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn turns_come_one_after_another_and_leave_nothing() {
        let (names, key) = (Names::default(), ObjectKey::parse("a/customer/1/b").unwrap());
        let soon = || Instant::now() + Duration::from_millis(20);
        let first = names.turn(&key, soon()).await.unwrap();
        assert!(names.turn(&key, soon()).await.is_none());
        let other = ObjectKey::parse("a/customer/1/c").unwrap();
        drop(names.turn(&other, soon()).await.unwrap());
        drop(first);
        drop(names.turn(&key, soon()).await.unwrap());
        assert!(names.0.lock().unwrap().is_empty());
    }
}
