//! What is measured of uploads.

use std::sync::LazyLock;

use super::{
    error::Error,
    records::{Image, Overview},
};
use crate::concurrency::Standing;
use crate::metrics::{
    HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, count, counter, gauge, height, sizes,
};

static UPLOADS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "gatehouse_uploads_total",
        "Uploads that ended, by how they came and what they came to: stored, the problem's type, or broken-off by the client.",
        &["method", "outcome"],
    )
});

static SIZES: LazyLock<HistogramVec> = LazyLock::new(|| {
    sizes("gatehouse_upload_size_bytes", "Images that were stored, by how they came.", &["method"])
});

static IMAGES: LazyLock<IntGauge> =
    LazyLock::new(|| height("gatehouse_images", "Images in the database, of all tenants."));

static BYTES: LazyLock<IntGauge> =
    LazyLock::new(|| height("gatehouse_images_bytes", "What these images come to."));

static EVENTS: LazyLock<IntGauge> =
    LazyLock::new(|| height("gatehouse_events", "Events of all tenants since the beginning."));

static EVENTS_AGE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "gatehouse_events_age_seconds",
        "How long ago the oldest event that is kept took place, and the newest.",
        &["event"],
    )
});

static UNFINISHED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "gatehouse_unfinished_changes",
        "Uploads and deletions whose end is not written yet, in the database, of all processes; abandoned: whose process is gone.",
        &["state"],
    )
});

static TURNS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "gatehouse_changes",
        "Changes of images in the store and the database: how many may be made at once, are, and wait for their turn.",
        &["state"],
    )
});

/// How an upload comes.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    /// As a part of a form.
    Form,
    /// As the body of a `PUT`.
    Raw,
    /// Straight to the store; this is its completion.
    Direct,
    /// By tus; this is the request that brings its last byte, or ends it.
    Resumable,
}

impl Method {
    /// All that there are.
    const ALL: [Self; 4] = [Self::Form, Self::Raw, Self::Direct, Self::Resumable];

    fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Raw => "raw",
            Self::Direct => "direct",
            Self::Resumable => "resumable",
        }
    }
}

/// What a stored upload comes to, and one whose client left.
const STORED: &str = "stored";
const BROKEN_OFF: &str = "broken-off";

/// Makes them all, so that they are told from the start.
pub fn register() {
    for method in Method::ALL {
        UPLOADS.with_label_values(&[method.name(), STORED]);
        SIZES.with_label_values(&[method.name()]);
    }
    for metric in [&IMAGES, &BYTES, &EVENTS] {
        LazyLock::force(metric);
    }
    for metric in [&EVENTS_AGE, &TURNS, &UNFINISHED] {
        LazyLock::force(metric);
    }
}

/// Sets the metrics of what there is.
pub fn tell(there_is: &Overview) {
    IMAGES.set(count(there_is.images));
    BYTES.set(count(there_is.bytes));
    EVENTS.set(count(there_is.events));
    for (event, at) in [("oldest", there_is.oldest_event), ("newest", there_is.newest_event)] {
        let age = at.and_then(|at| at.elapsed().ok()).unwrap_or_default();
        EVENTS_AGE.with_label_values(&[event]).set(count(age.as_secs()));
    }
    let Overview { intents, abandoned, .. } = *there_is;
    UNFINISHED.with_label_values(&["under-way"]).set(count(intents.saturating_sub(abandoned)));
    UNFINISHED.with_label_values(&["abandoned"]).set(count(abandoned));
}

/// Sets the metrics of how many changes are made at once.
pub fn tell_turns(standing: Standing) {
    let Standing { limit, under_way, waiting } = standing;
    for (state, changes) in [("limit", limit), ("under-way", under_way), ("waiting", waiting)] {
        TURNS.with_label_values(&[state]).set(count(changes));
    }
}

/// An upload that comes. Dropped without an outcome, its client has left.
pub(super) struct Coming {
    method: Method,
    outcome: &'static str,
}

impl Coming {
    pub(super) fn begin(method: Method) -> Self {
        Self { method, outcome: BROKEN_OFF }
    }

    /// It came to this.
    pub(super) fn ended(mut self, outcome: Result<&Image, &Error>) {
        self.outcome = match outcome {
            Ok(image) => {
                SIZES.with_label_values(&[self.method.name()]).observe(image.size as f64);
                STORED
            }
            Err(Error::BodyBroken(_)) => BROKEN_OFF,
            Err(error) => error.kind().slug(),
        };
    }
}

/// A request of an upload that takes more than one has come to this; what is no end of it is not counted.
pub(super) fn went_on(method: Method, outcome: Result<&Image, &Error>) {
    if outcome.is_ok() || outcome.is_err_and(Error::is_of_the_bytes) {
        Coming::begin(method).ended(outcome);
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        UPLOADS.with_label_values(&[self.method.name(), self.outcome]).inc();
    }
}
