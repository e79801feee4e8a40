//! A clock whose times fit an atomic.

use std::{sync::LazyLock, time::Instant};

/// Milliseconds since this was first asked, and never 0.
pub(super) fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}
