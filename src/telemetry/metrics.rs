//! What is measured of the log.

use std::sync::LazyLock;

use crate::metrics::{IntCounter, total};

static DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    total(
        "gatehouse_log_lines_dropped_total",
        "Lines of the log that standard output was too slow for.",
    )
});

/// Makes it, so that it is told from the start.
pub fn register() {
    LazyLock::force(&DROPPED);
}

pub(super) fn line_dropped() {
    DROPPED.inc();
}
