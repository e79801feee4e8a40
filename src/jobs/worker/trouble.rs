//! Tells of a failure that lasts once, and of its end.

use std::error::Error;

use crate::problem;

/// A failure that may come again and again.
pub(super) struct Trouble {
    /// What cannot be done.
    what: &'static str,
    lasts: bool,
}

impl Trouble {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, lasts: false }
    }

    /// It failed.
    pub(super) fn met(&mut self, error: &(dyn Error + 'static)) {
        if !std::mem::replace(&mut self.lasts, true) {
            tracing::warn!(cause = problem::chain(error), "{}; trying again", self.what);
        }
    }

    /// It succeeded.
    pub(super) fn is_over(&mut self) {
        if std::mem::take(&mut self.lasts) {
            tracing::info!("it is over that {}", self.what);
        }
    }
}
