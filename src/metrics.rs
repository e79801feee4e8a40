//! Metrics: how they are made, and how they are told. It knows no module; each has its metrics beside
//! what they measure, in a file `metrics.rs` of its own.
//!
//! They live in the process's one registry. Every label has a bounded set of values, which settings or this
//! program name; a tenant, a customer, a path or an id is never one. Names are OpenTelemetry's where it has
//! one for what is measured; `docs/operations/metrics.md` lists them all.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::{HistogramOpts, Opts, TextEncoder, core::Collector};
pub use prometheus::{
    HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TEXT_FORMAT as MEDIA_TYPE,
};

/// Upper bounds in seconds. From 5 ms on they are those that OpenTelemetry advises for HTTP durations;
/// those below are for what is mostly done within a millisecond.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0, 30.0,
];

/// Upper bounds in bytes, from 4 KiB by fours.
const BYTES: &[f64] =
    &[4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// What only grows, for each of its labels. Its name ends in `_total`.
pub fn counter(name: &'static str, help: &'static str, labels: &[&str]) -> IntCounterVec {
    registered(IntCounterVec::new(Opts::new(name, help), labels))
}

/// What only grows, of one kind. Its name ends in `_total`.
pub fn total(name: &'static str, help: &'static str) -> IntCounter {
    registered(IntCounter::new(name, help))
}

/// What stands at one height.
pub fn height(name: &'static str, help: &'static str) -> IntGauge {
    registered(IntGauge::new(name, help))
}

/// What stands at a height for each of its labels.
pub fn gauge(name: &'static str, help: &'static str, labels: &[&str]) -> IntGaugeVec {
    registered(IntGaugeVec::new(Opts::new(name, help), labels))
}

/// How long things take. Its name ends in `_seconds`.
pub fn durations(name: &'static str, help: &'static str, labels: &[&str]) -> HistogramVec {
    histogram(name, help, labels, SECONDS)
}

/// How large things are. Its name ends in `_bytes`.
pub fn sizes(name: &'static str, help: &'static str, labels: &[&str]) -> HistogramVec {
    histogram(name, help, labels, BYTES)
}

fn histogram(name: &str, help: &str, labels: &[&str], bounds: &[f64]) -> HistogramVec {
    let opts = HistogramOpts::new(name, help).buckets(bounds.to_vec());
    registered(HistogramVec::new(opts, labels))
}

/// Once a name, which the process keeps for as long as it lives.
#[expect(clippy::expect_used, reason = "names and labels are constants, and every start makes all")]
fn registered<C: Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    let metric = made.expect("the name and the labels of a metric");
    prometheus::register(Box::new(metric.clone())).expect("a metric of its own name");
    metric
}

static TOLD: AtomicBool = AtomicBool::new(false);

/// Whether metrics are told anywhere. What costs each request something is counted only then.
pub fn are_told() -> bool {
    TOLD.load(Ordering::Relaxed)
}

/// From now on they are.
pub fn tell() {
    TOLD.store(true, Ordering::Relaxed);
}

/// All metrics, in Prometheus' text format, [`MEDIA_TYPE`].
///
/// # Errors
/// When one cannot be told: a defect.
pub fn text() -> Result<String, prometheus::Error> {
    TextEncoder::new().encode_to_string(&prometheus::gather())
}

/// The class of an HTTP status, as a label.
pub fn status_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// A number of things, as gauges take it.
pub fn count(things: impl TryInto<i64>) -> i64 {
    things.try_into().unwrap_or(i64::MAX)
}
