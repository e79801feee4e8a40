//! What is measured of the log and of traces.

use std::sync::LazyLock;

use crate::metrics::{IntCounter, IntCounterVec, counter, total};

static DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    total(
        "gatehouse_log_lines_dropped_total",
        "Lines of the log that standard output was too slow for.",
    )
});

static ENDED: LazyLock<IntCounter> =
    LazyLock::new(|| total("gatehouse_spans_ended_total", "Spans that ended, to be sent."));

static EXPORTED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "gatehouse_spans_exported_total",
        "Spans whose batch the collector answered, or that could not be sent.",
        &["outcome"],
    )
});

/// Makes them, so that they are told from the start.
pub fn register() {
    LazyLock::force(&DROPPED);
    LazyLock::force(&ENDED);
    for outcome in ["ok", "failed"] {
        EXPORTED.with_label_values(&[outcome]);
    }
}

pub(super) fn span_ended() {
    ENDED.inc();
}

pub(super) fn spans_exported(spans: usize, taken: bool) {
    let outcome = if taken { "ok" } else { "failed" };
    EXPORTED.with_label_values(&[outcome]).inc_by(spans as u64);
}

pub(super) fn line_dropped() {
    DROPPED.inc();
}
