//! What is measured of jobs.

use std::{
    collections::BTreeSet,
    sync::{LazyLock, Mutex, PoisonError},
    time::Instant,
};

use super::{Count, Outcome, State};
use crate::metrics::{HistogramVec, IntGaugeVec, count, durations, gauge};

static RUNS: LazyLock<HistogramVec> = LazyLock::new(|| {
    durations(
        "gatehouse_job_run_duration_seconds",
        "Runs of jobs in this process, by what they came to; cut: they were lost to another process, or to a stop.",
        &["queue", "outcome"],
    )
});

static JOBS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge("gatehouse_jobs", "Jobs in the database, of all processes.", &["queue", "state"])
});

static OLDEST: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "gatehouse_jobs_oldest_age_seconds",
        "How long ago the oldest job of a state was added, of all processes.",
        &["queue", "state"],
    )
});

/// Makes them all, so that they are told from the start.
pub fn register() {
    LazyLock::force(&RUNS);
    LazyLock::force(&JOBS);
    LazyLock::force(&OLDEST);
}

/// The queues that were ever told of: where there is no job any more, that is told too.
static QUEUES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Tells of this queue from now on.
pub(super) fn know(queue: &str) {
    QUEUES.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.to_owned());
}

/// Sets the metrics of jobs to these, all that there are.
pub fn tell(counts: &[Count]) {
    counts.iter().for_each(|count| know(&count.queue));
    for queue in &*QUEUES.lock().unwrap_or_else(PoisonError::into_inner) {
        for state in State::ALL {
            let found = counts.iter().find(|count| count.queue == *queue && count.state == state);
            let age = found.and_then(|count| count.oldest.elapsed().ok()).unwrap_or_default();
            let labels = [queue, state.as_str()];
            JOBS.with_label_values(&labels).set(found.map_or(0, |found| count(found.jobs)));
            OLDEST.with_label_values(&labels).set(count(age.as_secs()));
        }
    }
}

/// A run, until it is dropped.
pub(super) struct Running {
    queue: &'static str,
    began: Instant,
    outcome: &'static str,
}

impl Running {
    pub(super) fn begin(queue: &'static str) -> Self {
        Self { queue, began: Instant::now(), outcome: "cut" }
    }

    /// It came to this.
    pub(super) fn ended(mut self, outcome: &Outcome) {
        self.outcome = match outcome {
            Outcome::Done(_) => "done",
            Outcome::Again { .. } => "failed",
            Outcome::Later { .. } | Outcome::AllLater { .. } => "put-off",
            Outcome::Dead { .. } => "dead",
        };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let took = self.began.elapsed().as_secs_f64();
        RUNS.with_label_values(&[self.queue, self.outcome]).observe(took);
    }
}
