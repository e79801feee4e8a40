//! A request to a service while it is under way: at which instance, and what came of it there.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use actix_web::http::StatusCode;

use super::{
    balance::{self, Choice},
    clock,
    error::Error,
    instance::Instance,
    upstream::Upstream,
};
use crate::gateway::metrics;

/// How many instances a request is tried at, at most.
const MAX_TRIES: usize = 3;

/// A request under way. It counts at its service and its instance until it is dropped: with its
/// response's end.
pub(super) struct Call {
    permit: Permit,
    at: usize,
    /// Whether it owes its instance's circuit the outcome of a trial.
    on_trial: bool,
    /// The instances that it was at before.
    tried: Vec<usize>,
}

impl Call {
    /// Begins a request at the instance that suits best.
    ///
    /// # Errors
    /// When the service has as many requests as it may, or no instance takes any.
    pub(super) fn begin(upstream: &Arc<Upstream>) -> Result<Self, Error> {
        let permit = Permit::take(upstream)?;
        if upstream.instances.len() > 1 {
            upstream.budget.request(clock::now() / 1000);
        }
        let Choice { at, on_trial } =
            balance::choose(&upstream.instances).map_err(|none| upstream.unavailable(none))?;
        upstream.instances[at].enter();
        Ok(Self { permit, at, on_trial, tried: Vec::new() })
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.permit.0
    }

    /// Which instance it is at.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The instance that it is at.
    pub(super) fn instance(&self) -> &Instance {
        &self.permit.0.instances[self.at]
    }

    /// How often it has been tried before.
    pub(super) fn tries(&self) -> i64 {
        self.tried.len() as i64
    }

    /// The instance answered. What a gateway there could not get an answer to counts as a
    /// failure, an error of the application does not.
    pub(super) fn answered(&mut self, status: StatusCode) {
        match status {
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => self.failed(),
            _ => {
                self.upstream().succeeded(self.at, self.on_trial);
                self.on_trial = false;
            }
        }
    }

    /// The instance failed.
    pub(super) fn failed(&mut self) {
        self.upstream().failed(self.at, self.on_trial);
        self.on_trial = false;
    }

    /// There is no answer, and this is why: the instance failed if the error is its.
    pub(super) fn failed_by(&mut self, error: Error) -> Error {
        if error.is_the_instances() {
            self.failed();
        }
        error
    }

    /// Goes on to another instance, if there is one left to try and retries are not used up.
    pub(super) fn move_on(&mut self) -> bool {
        self.tried.push(self.at);
        if self.tried.len() == MAX_TRIES {
            return false;
        }
        let upstream = self.upstream();
        let another = balance::another(&upstream.instances, &self.tried);
        let Some(at) = another.filter(|_| upstream.budget.retry(clock::now() / 1000)) else {
            return false;
        };
        metrics::retried(upstream.service());
        self.leave();
        self.at = at;
        self.instance().enter();
        true
    }

    fn leave(&mut self) {
        self.instance().leave();
        if self.on_trial {
            self.instance().breaker.gave_up_trial();
            self.on_trial = false;
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.leave();
    }
}

/// One of the requests that may be under way to a service.
struct Permit(Arc<Upstream>);

impl Permit {
    fn take(upstream: &Arc<Upstream>) -> Result<Self, Error> {
        if let Some(max) = upstream.max_requests {
            let more = |under_way: u32| (under_way < max).then(|| under_way + 1);
            let taken = upstream.under_way.fetch_update(Relaxed, Relaxed, more);
            taken.map_err(|_| upstream.over_limit())?;
        }
        Ok(Self(Arc::clone(upstream)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.0.max_requests.is_some() {
            self.0.under_way.fetch_sub(1, Relaxed);
        }
    }
}
