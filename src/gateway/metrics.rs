//! What is measured of refusals, and of remote services.

use std::{sync::LazyLock, time::Instant};

use actix_web::http::StatusCode;

use super::{
    proxy::{Error, Upstream},
    rate_limit::Class,
};
use crate::metrics::{
    HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, are_told, count, counter, durations,
    gauge, status_class, total,
};

static CREDENTIALS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "gatehouse_credential_refusals_total",
        "Requests whose credential did not let them in, by the audit log's reason.",
        &["reason"],
    )
});

static LIMITED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("gatehouse_rate_limited_total", "Requests that a rate limit refused.", &["class"])
});

static UNSHARED: LazyLock<IntCounter> = LazyLock::new(|| {
    total(
        "gatehouse_rate_limit_fallbacks_total",
        "Requests that were counted by this process alone, since Redis did not answer.",
    )
});

static ASKED: LazyLock<HistogramVec> = LazyLock::new(|| {
    durations(
        "http_client_request_duration_seconds",
        "From a request to a remote service to the head of its answer, with all tries, or to a tunnel's end; by the answer's class or the reason why there is none.",
        &["service", "outcome"],
    )
});

static RETRIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "gatehouse_upstream_retries_total",
        "Requests that were tried at another instance.",
        &["service"],
    )
});

static FAILURES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "gatehouse_upstream_failures_total",
        "Requests that failed at an instance by its own fault, retried or not.",
        &["service", "upstream"],
    )
});

static UP: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "gatehouse_upstream_up",
        "Whether an instance gets requests: 0 while its circuit is open or its health checks fail.",
        &["service", "upstream"],
    )
});

static UNDER_WAY: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "gatehouse_upstream_active_requests",
        "Requests under way at an instance.",
        &["service", "upstream"],
    )
});

/// Makes them all, so that they are told from the start.
pub fn register() {
    for metric in [&CREDENTIALS, &LIMITED, &RETRIES, &FAILURES] {
        LazyLock::force(metric);
    }
    for metric in [&UP, &UNDER_WAY] {
        LazyLock::force(metric);
    }
    LazyLock::force(&ASKED);
    LazyLock::force(&UNSHARED);
    for class in Class::ALL {
        LIMITED.with_label_values(&[class.name()]);
    }
}

pub(super) fn credential_refused(reason: &'static str) {
    CREDENTIALS.with_label_values(&[reason]).inc();
}

pub(super) fn rate_limited(class: Class) {
    LIMITED.with_label_values(&[class.name()]).inc();
}

pub(super) fn counted_alone() {
    UNSHARED.inc();
}

pub(super) fn retried(service: &str) {
    RETRIES.with_label_values(&[service]).inc();
}

pub(super) fn failed(service: &str, origin: &str) {
    FAILURES.with_label_values(&[service, origin]).inc();
}

/// Tells how the instances of these services do now; of others nothing any more.
pub(super) fn tell_instances<'a>(upstreams: impl Iterator<Item = &'a Upstream>) {
    UP.reset();
    UNDER_WAY.reset();
    for upstream in upstreams {
        for (origin, is_up, under_way) in upstream.instances_now() {
            let labels = [upstream.service(), origin];
            UP.with_label_values(&labels).set(i64::from(is_up));
            UNDER_WAY.with_label_values(&labels).set(count(under_way));
        }
    }
}

/// A request to a remote service. Dropped without an outcome, its client has left.
pub(super) struct Asking<'a> {
    service: &'a str,
    /// None where metrics are not told.
    began: Option<Instant>,
    outcome: &'static str,
}

impl<'a> Asking<'a> {
    pub(super) fn begin(service: &'a str) -> Self {
        Self { service, began: are_told().then(Instant::now), outcome: "client-left" }
    }

    /// It was answered with this status.
    pub(super) fn answered(mut self, status: StatusCode) {
        self.outcome = status_class(status.as_u16());
    }

    /// There is no answer to relay, for this reason.
    pub(super) fn failed(mut self, error: &Error) {
        self.outcome = if error.is_the_clients() { "client" } else { error.reason() };
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(began) = self.began {
            let took = began.elapsed().as_secs_f64();
            ASKED.with_label_values(&[self.service, self.outcome]).observe(took);
        }
    }
}
