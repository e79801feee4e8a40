//! Which intents of this process somebody works on.

use std::collections::HashMap;

use uuid::Uuid;

/// Ids, and how many hold each: one that lets a session go may still do so when the next takes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(HashMap<Uuid, usize>);

impl Live {
    pub(super) fn begin(&mut self, id: Uuid) {
        *self.0.entry(id).or_default() += 1;
    }

    pub(super) fn end(&mut self, id: Uuid) {
        if let Some(holders) = self.0.get_mut(&id) {
            *holders -= 1;
            if *holders == 0 {
                self.0.remove(&id);
            }
        }
    }

    pub(super) fn contains(&self, id: Uuid) -> bool {
        self.0.contains_key(&id)
    }

    /// Takes in those that are live at another time.
    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }
}
