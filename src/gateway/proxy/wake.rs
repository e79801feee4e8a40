//! Being woken: by a connection, and by time.

use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Sleep, sleep_until};

/// Stands between a connection's driver and the task that uses the connection now, and knows
/// whether there is anything to do: the task is polled for many other reasons, and the driver
/// keeps wakers of tasks that have long moved on.
#[derive(Default)]
pub(super) struct Relay {
    task: AtomicWaker,
    woken: AtomicBool,
}

impl Relay {
    /// From now on `task` is woken; at once, if there is something to do already.
    pub(super) fn to(&self, task: &Waker) {
        self.task.register(task);
        if self.woken.load(Ordering::Acquire) {
            self.task.wake();
        }
    }

    /// From now on nobody is woken.
    pub(super) fn release(&self) {
        self.task.take();
    }

    /// Notes that there is something to do, without waking who is about to do it.
    pub(super) fn wake(&self) {
        self.woken.store(true, Ordering::Release);
    }

    /// Whether there has been something to do since the last call.
    pub(super) fn was_woken(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }
}

/// A timer that is cheap to move: a later deadline costs nothing until the earlier one is due.
pub(super) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    const FAR: Duration = Duration::from_secs(60 * 60);

    pub(super) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now() + Self::FAR)))
    }

    /// Ready when `deadline` has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
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
