//! What is measured of every request.

use std::{sync::LazyLock, time::Duration};

use actix_web::http::{Method, StatusCode};

use crate::{
    metrics::{
        HistogramVec, IntCounterVec, IntGauge, are_told, counter, durations, height, status_class,
    },
    problem::Kind,
    trace::known_method,
};

static DURATIONS: LazyLock<HistogramVec> = LazyLock::new(|| {
    durations(
        "http_server_request_duration_seconds",
        "From a request's head to the end of its answer.",
        &["service", "http_request_method", "http_response_status_class"],
    )
});

static ACTIVE: LazyLock<IntGauge> =
    LazyLock::new(|| height("http_server_active_requests", "Requests under way."));

static RECEIVED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "gatehouse_http_received_bytes_total",
        "Bytes of uploads' bodies and of tunnels that came in.",
        &["service"],
    )
});

static SENT: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("gatehouse_http_sent_bytes_total", "Bytes of answers' bodies sent.", &["service"])
});

static CUT: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "gatehouse_http_incomplete_responses_total",
        "Answers that were not sent to their end.",
        &["service"],
    )
});

static PROBLEMS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "gatehouse_problems_total",
        "Answers that are a problem of this process's own (RFC 9457), by its type and the reason it tells.",
        &["service", "problem", "reason"],
    )
});

/// Makes them all, so that they are told from the start, for these services.
pub fn register<'a>(services: impl Iterator<Item = &'a str>) {
    // An alert on an increase cannot see one from nothing to 1.
    for service in services.chain([""]) {
        for problem in [Kind::Internal, Kind::StorageUnavailable, Kind::Overloaded] {
            PROBLEMS.with_label_values(&[service, problem.slug(), ""]);
        }
    }
    LazyLock::force(&ACTIVE);
    for metric in [&RECEIVED, &SENT, &CUT, &PROBLEMS] {
        LazyLock::force(metric);
    }
    LazyLock::force(&DURATIONS);
}

/// A request as it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended<'a> {
    /// Empty where it was for none.
    pub(super) service: &'a str,
    pub(super) method: &'a Method,
    pub(super) status: StatusCode,
    /// The problem's slug.
    pub(super) problem: Option<&'static str>,
    pub(super) reason: Option<&'static str>,
    pub(super) received: Option<u64>,
    pub(super) sent: u64,
    pub(super) complete: bool,
    pub(super) duration: Duration,
}

impl Ended<'_> {
    fn count(&self) {
        let service = self.service;
        // Clients may make up any method; those are one (OpenTelemetry's `_OTHER`).
        let method = known_method(self.method.as_str()).unwrap_or("_OTHER");
        let labels = [service, method, status_class(self.status.as_u16())];
        DURATIONS.with_label_values(&labels).observe(self.duration.as_secs_f64());
        if let Some(received) = self.received {
            RECEIVED.with_label_values(&[service]).inc_by(received);
        }
        if self.sent > 0 {
            SENT.with_label_values(&[service]).inc_by(self.sent);
        }
        if !self.complete {
            CUT.with_label_values(&[service]).inc();
        }
        if let Some(problem) = self.problem {
            let labels = [service, problem, self.reason.unwrap_or_default()];
            PROBLEMS.with_label_values(&labels).inc();
        }
    }
}

/// A request under way, until this is dropped.
#[derive(Debug)]
pub(super) struct Active(());

impl Active {
    /// None where nobody asks for metrics.
    pub(super) fn begin() -> Option<Self> {
        are_told().then(|| {
            ACTIVE.inc();
            Self(())
        })
    }

    /// It has ended so.
    pub(super) fn end(self, ended: &Ended<'_>) {
        ended.count();
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        ACTIVE.dec();
    }
}
