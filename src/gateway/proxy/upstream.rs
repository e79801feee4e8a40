//! A remote service: its instances, and how long and how much the gateway grants it.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use rustls_pki_types::CertificateDer;

use super::{
    balance::Unavailable,
    breaker::{Circuit, Standing},
    budget::Budget,
    error::Error,
    health::{self, HealthCheck},
    instance::Instance,
};
use crate::gateway::metrics;

/// When a client may come again whose request was one too many.
const SOON: Duration = Duration::from_secs(1);

/// A remote service. All workers share it.
#[derive(Debug)]
pub struct Upstream {
    /// The service's name, for the log.
    service: Arc<str>,
    /// To connect, all addresses of the host's name together. 2 s unless set.
    pub connect_timeout: Duration,
    /// To the response's head, counted from when the request has been sent whole. 30 s unless
    /// set.
    pub response_timeout: Duration,
    /// Between two pieces of a body, either way. 30 s unless set.
    pub idle_timeout: Duration,
    /// The largest request body in bytes, inclusive. No limit unless set.
    pub max_body_size: Option<u64>,
    /// The most requests under way, at all instances together. No limit unless set.
    pub max_requests: Option<u32>,
    /// When an instance that fails is left alone. Never unless set.
    pub circuit: Option<Circuit>,
    /// How each instance is asked whether it is well. Not at all unless set.
    pub health_check: Option<HealthCheck>,
    pub(super) instances: Box<[Instance]>,
    /// Counted only where there is a limit.
    pub(super) under_way: AtomicU32,
    pub(super) budget: Budget,
}

impl Upstream {
    /// The service with instances at these base URLs, `http[s]://host[:port][/base]`, and the
    /// default limits. Over https, one of these authorities has to vouch for them, or one of the
    /// system's if there are none.
    ///
    /// # Errors
    /// What is wrong with the first URL that is wrong, as half a sentence for the error about the
    /// setting.
    pub fn parse<'a>(
        urls: impl IntoIterator<Item = &'a str>,
        authorities: &[CertificateDer<'static>],
    ) -> Result<Self, String> {
        let instances = urls.into_iter().map(|url| Instance::parse(url, authorities));
        Ok(Self {
            service: "".into(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            max_body_size: None,
            max_requests: None,
            circuit: None,
            health_check: None,
            instances: instances.collect::<Result<_, _>>()?,
            under_way: AtomicU32::new(0),
            budget: Budget::default(),
        })
    }

    /// Shares it as this service, and has the health of its instances checked from now on, until
    /// it is dropped. That takes actix's runtime.
    pub fn start(mut self, service: &Arc<str>) -> Arc<Self> {
        self.service = Arc::clone(service);
        let shared = Arc::new(self);
        health::watch(&shared);
        shared
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Its instances: where each is, whether it gets requests, and how many are under way there.
    pub fn instances_now(&self) -> impl Iterator<Item = (&str, bool, u32)> {
        self.instances.iter().map(|instance| {
            // One whose circuit is half-open gets a request to be tried with, no more.
            let is_up = matches!(instance.standing(), Standing::Well | Standing::Wary);
            (instance.origin(), is_up, instance.load())
        })
    }

    /// A request was answered by the instance at this place.
    pub(super) fn succeeded(&self, at: usize, on_trial: bool) {
        let instance = &self.instances[at];
        if instance.breaker.succeeded(on_trial) {
            let (service, instance) = (self.service(), instance.origin());
            tracing::info!(service, instance, "a circuit closed: its instance is back");
        }
    }

    /// A request failed at the instance at this place, and not by its client's fault.
    pub(super) fn failed(&self, at: usize, on_trial: bool) {
        let instance = &self.instances[at];
        metrics::failed(self.service(), instance.origin());
        if instance.breaker.failed(self.circuit, on_trial) {
            let (service, instance) = (self.service(), instance.origin());
            tracing::warn!(
                service,
                instance,
                "a circuit opened: its instance failed too often in a row and is left alone"
            );
        }
    }

    pub(super) fn over_limit(&self) -> Error {
        Error::unavailable("over-limit", SOON)
    }

    pub(super) fn unavailable(&self, why: Unavailable) -> Error {
        match why {
            Unavailable::CircuitOpen(time) => Error::unavailable("circuit-open", time),
            Unavailable::Ejected => {
                let next = self.health_check.as_ref().map_or(SOON, |check| check.interval);
                Error::unavailable("ejected", next)
            }
        }
    }
}
