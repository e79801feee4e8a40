//! What is measured of the database.

use std::{sync::LazyLock, time::Instant};

use super::ErrorKind;
use crate::metrics::{HistogramVec, IntCounterVec, IntGaugeVec, count, counter, durations, gauge};

static OPERATIONS: LazyLock<HistogramVec> = LazyLock::new(|| {
    durations(
        "db_client_operation_duration_seconds",
        "A read or a whole transaction, with the wait for a connection or for SQLite's writer.",
        &["db_operation_name"],
    )
});

static ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("gatehouse_database_errors_total", "What the database failed at, by kind.", &["kind"])
});

static CONNECTIONS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge("gatehouse_database_connections", "Connections to the database.", &["state"])
});

/// What is done with the database.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Read,
    Write,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Makes them all, so that they are told from the start.
pub fn register() {
    for operation in [Operation::Read, Operation::Write] {
        OPERATIONS.with_label_values(&[operation.name()]);
    }
    for kind in [ErrorKind::Unavailable, ErrorKind::Internal] {
        ERRORS.with_label_values(&[name(kind)]);
    }
    LazyLock::force(&CONNECTIONS);
}

fn name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Taken => "taken",
        ErrorKind::Internal => "internal",
    }
}

/// Counts an error. That a row is there already is none.
pub(super) fn failed(kind: ErrorKind) {
    if kind != ErrorKind::Taken {
        ERRORS.with_label_values(&[name(kind)]).inc();
    }
}

pub(super) fn took(operation: Operation, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    OPERATIONS.with_label_values(&[operation.name()]).observe(seconds);
}

pub(super) fn tell_connections(all: usize, idle: usize) {
    CONNECTIONS.with_label_values(&["idle"]).set(count(idle));
    CONNECTIONS.with_label_values(&["used"]).set(count(all.saturating_sub(idle)));
}
