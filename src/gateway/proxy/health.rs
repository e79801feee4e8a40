//! Active health checks: one task a service asks each of its instances now and then.
//!
//! Two failed checks in a row eject an instance, one that passes takes it back. A passed one is
//! a status of 200 to 399 in time. Until the first two have failed an instance counts as healthy,
//! so that a service that starts together with the gateway is not waited for.

use std::{
    future::poll_fn,
    io::Write as _,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    connect,
    connection::{Connection, NoAnswer},
    error::{Error, Kind},
    instance::Instance,
    upstream::Upstream,
};
use crate::problem;

/// So many failed checks in a row eject an instance.
const FALL: u32 = 2;

/// How an instance is asked whether it is well.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// The path of its host, and the query, to ask for.
    pub path: Box<str>,
    /// How often, and how long the answer may take.
    pub interval: Duration,
}

/// What health checks have told of an instance.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures_in_a_row: AtomicU32,
}

impl Health {
    pub(super) fn is_ejected(&self) -> bool {
        self.failures_in_a_row.load(Relaxed) >= FALL
    }

    /// Whether that took the instance back.
    fn passed(&self) -> bool {
        self.failures_in_a_row.swap(0, Relaxed) >= FALL
    }

    /// Whether that ejected the instance.
    fn failed(&self) -> bool {
        self.failures_in_a_row.fetch_add(1, Relaxed) + 1 == FALL
    }
}

/// Checks the instances of a service until that is dropped, which it may be one interval late.
pub(super) fn watch(upstream: &Arc<Upstream>) {
    if let Some(check) = &upstream.health_check {
        actix_rt::spawn(check_all(Arc::downgrade(upstream), check.interval));
    }
}

async fn check_all(upstream: Weak<Upstream>, every: Duration) {
    let mut due = interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let Some(upstream) = upstream.upgrade() else { return };
        join_all(upstream.instances.iter().map(|instance| check(&upstream, instance))).await;
    }
}

async fn check(upstream: &Upstream, instance: &Instance) {
    let Some(check) = &upstream.health_check else { return };
    let asked = timeout(check.interval, ask(upstream, instance, &check.path)).await;
    let (service, origin) = (upstream.service(), instance.origin());
    let cause = match asked {
        Ok(Ok(200..=399)) => None,
        Ok(Ok(status)) => Some(format!("it answered {status}")),
        Ok(Err(error)) if error.kind() == Kind::Exhausted => {
            let cause = problem::chain(&error);
            tracing::warn!(service, instance = origin, cause, "an instance cannot be checked");
            return;
        }
        Ok(Err(error)) => Some(problem::chain(&error)),
        Err(late) => Some(problem::chain(&late)),
    };
    match cause {
        None if instance.health.passed() => {
            tracing::info!(service, instance = origin, "an instance is healthy again");
        }
        Some(cause) if instance.health.failed() => {
            tracing::warn!(
                service,
                instance = origin,
                cause,
                "an instance is unhealthy and gets no requests"
            );
        }
        _ => {}
    }
}

/// The status that it answers with, on a connection of its own: whether it accepts one matters.
async fn ask(upstream: &Upstream, instance: &Instance, path: &str) -> Result<u16, Error> {
    let mut connection = Box::new(Connection::over(connect::connect(upstream, instance).await?));
    connection.begin(None, false, |out| {
        let host = instance.authority();
        // Writing to memory cannot fail.
        let _ = write!(
            out,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gatehouse\r\nConnection: close\r\n\r\n"
        );
        Ok(())
    })?;
    match poll_fn(|cx| connection.poll_head(cx, upstream, false)).await {
        Ok(head) => {
            connection.settle();
            Ok(head.status.as_u16())
        }
        Err(NoAnswer::Unsent(_, error) | NoAnswer::Silent(error) | NoAnswer::Failed(error)) => {
            Err(error)
        }
    }
}
