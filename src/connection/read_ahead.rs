//! How far a connection is read ahead of whoever looks at what has come: its request's handler,
//! or without one actix, which looks for the next head or throws away the rest of a body.
//!
//! Large pieces are what makes an upload cheap, but what waits to be looked at is memory that
//! nobody counts: actix alone takes 128 KiB, and again what it has queued, which for many
//! uploads that wait is more than they may hold. So all bodies under way share an allowance:
//! few of them read far ahead, many read little.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// What all bodies may read ahead together. Up to three times as much is held: one piece lies
/// with the handler while the next waits, and the head's fields keep the first one.
const TOGETHER: usize = 4 * 1024 * 1024;

/// The most and the least that one may: powers of two. After 128 KiB actix has a look anyway.
const MOST: usize = 256 * 1024;
const LEAST: usize = 16 * 1024;

/// With less room than this in its buffer actix doubles it before it reads on, even to find that
/// it may not: so much of each power of two stays unread.
const ROOM: usize = 1024;

/// The bodies under way in this process.
static BODIES: AtomicUsize = AtomicUsize::new(0);

/// What comes next on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A request's head, and as much of its body as comes along.
    Head,
    /// A body, for which its handler has to ask before more is read.
    Body,
    /// The rest of a body, for nobody.
    Rest,
}

/// What may still be read of one connection.
pub(super) struct ReadAhead {
    left: Cell<usize>,
    expected: Cell<Expected>,
}

impl ReadAhead {
    pub(super) fn new() -> Self {
        Self { left: Cell::new(MOST), expected: Cell::new(Expected::Head) }
    }

    /// Bytes that may be read now: fewer than before where more bodies have begun since.
    pub(super) fn left(&self) -> usize {
        self.left.get().min(self.allowance())
    }

    /// Accounts for bytes that were read.
    pub(super) fn take(&self, read: usize) {
        self.left.set(self.left().saturating_sub(read));
    }

    /// Lets more be read; true if nothing more could be.
    pub(super) fn renew(&self) -> bool {
        self.left.replace(self.allowance()) == 0
    }

    /// What comes next.
    pub(super) fn expected(&self) -> Expected {
        self.expected.get()
    }

    /// Says what comes next.
    pub(super) fn expect(&self, next: Expected) {
        let before = self.expected.replace(next);
        if before != Expected::Body && next == Expected::Body {
            BODIES.fetch_add(1, Ordering::Relaxed);
        } else if before == Expected::Body && next != Expected::Body {
            BODIES.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn allowance(&self) -> usize {
        let share = match self.expected.get() {
            Expected::Rest => LEAST,
            _ => TOGETHER / BODIES.load(Ordering::Relaxed).max(1),
        };
        (1 << share.clamp(LEAST, MOST).ilog2()) - ROOM
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.expect(Expected::Head);
    }
}
