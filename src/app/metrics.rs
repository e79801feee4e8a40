//! All modules' metrics in one place: that they are there from the start, and those that stand for how
//! things are now.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::measured;
use crate::{
    consumers::{self, records::Records},
    database::{self, Database},
    edge,
    gateway::{self, Registry},
    jobs::{self, Jobs},
    metrics::{IntGauge, IntGaugeVec, count, gauge, height},
    operations::Look,
    settings::Settings,
    storage::Budget,
    telemetry,
};

/// How often the database is asked what there is.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// It rests this many times as long as the answers took, where they took long, but no longer than so.
const REST: u32 = 20;
const LONGEST_REST: Duration = Duration::from_secs(300);

static BUILD: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge("gatehouse_build_info", "Always 1; the version that runs is the label.", &["version"])
});

static CONNECTIONS: LazyLock<IntGauge> =
    LazyLock::new(|| height("gatehouse_connections", "Connections of clients that are open."));

static MEMORY: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "gatehouse_upload_memory_bytes",
        "The budget for uploads' buffers: what is used, the most that ever was, and what there is.",
        &["state"],
    )
});

static AGE: LazyLock<IntGauge> = LazyLock::new(|| {
    height(
        "gatehouse_database_gauges_age_seconds",
        "How old those metrics are that tell what is in the database.",
    )
});

static WAITING: LazyLock<IntGauge> = LazyLock::new(|| {
    height("gatehouse_upload_memory_waiting", "Uploads that wait for a part of that budget.")
});

/// When the database answered last what there is.
static ANSWERED: Mutex<Option<Instant>> = Mutex::new(None);

fn answered() -> MutexGuard<'static, Option<Instant>> {
    ANSWERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes all modules' metrics, if they are told at all.
pub(super) fn register(settings: &Settings) {
    if settings.operations.listen.is_none() {
        return;
    }
    crate::metrics::tell();
    BUILD.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    for metric in [&AGE, &CONNECTIONS, &WAITING] {
        LazyLock::force(metric);
    }
    measured::register();
    consumers::metrics::register();
    database::metrics::register();
    edge::metrics::register(settings.services.0.keys().map(String::as_str));
    gateway::metrics::register();
    jobs::metrics::register();
    telemetry::metrics::register();
}

/// What is looked at whenever metrics are asked for.
pub(super) struct Watched {
    pub(super) connections: TaskTracker,
    pub(super) budget: Arc<Budget>,
    pub(super) registry: Arc<Registry>,
    pub(super) database: Option<Database>,
    pub(super) records: Option<Records>,
}

impl Watched {
    /// Sets the metrics of these to how they are now.
    pub(super) fn look(self) -> Look {
        Look(Box::new(move || {
            CONNECTIONS.set(count(self.connections.len()));
            let budget = &self.budget;
            for (state, bytes) in
                [("used", budget.used()), ("peak", budget.peak()), ("limit", budget.total())]
            {
                MEMORY.with_label_values(&[state]).set(count(bytes));
            }
            if let Some(at) = *answered() {
                AGE.set(count(at.elapsed().as_secs()));
            }
            WAITING.set(count(budget.waiting()));
            self.registry.tell_instances();
            if let Some(database) = &self.database {
                database.tell_connections();
            }
            if let Some(records) = &self.records {
                consumers::metrics::tell_turns(records.concurrency());
            }
        }))
    }
}

/// Sets the metrics of what the database has, again and again until `end`. While it cannot be asked they
/// stay as they are.
pub(super) async fn ask(records: Records, jobs: Jobs, end: CancellationToken) {
    // None of them is older than the process.
    *answered() = Some(Instant::now());
    loop {
        let began = Instant::now();
        let pause = match (records.overview().await, jobs.counts().await) {
            (Ok(there_is), Ok(counts)) => {
                consumers::metrics::tell(&there_is);
                jobs::metrics::tell(&counts);
                *answered() = Some(Instant::now());
                ASK_EVERY.max((began.elapsed() * REST).min(LONGEST_REST))
            }
            _ => ASK_EVERY,
        };
        if end.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
    }
}
