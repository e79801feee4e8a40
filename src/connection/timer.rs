//! A deadline that moves with every piece that passes.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is cheap to move: a later deadline costs nothing until the earlier one is due.
pub struct Timer(Pin<Box<Sleep>>);

impl Timer {
    const FAR: Duration = Duration::from_secs(60 * 60);

    /// A timer without a deadline yet.
    pub fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now() + Self::FAR)))
    }

    /// Ready when `deadline` has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline < self.0.deadline() {
            self.0.as_mut().reset(deadline);
        }
        while self.0.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}
