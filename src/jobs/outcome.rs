//! What a run of a job came to.

use std::{fmt, time::Duration};

use opentelemetry::Context;

use crate::database::Batch;

/// What a run of a job came to.
#[derive(Debug)]
pub enum Outcome {
    /// The job is done.
    Done(Done),
    /// It failed, and may succeed later.
    Again {
        /// How long it was told to wait (`Retry-After`), if at all.
        after: Option<Duration>,
        /// Why, in one sentence for the operator.
        error: String,
    },
    /// It was not tried, since it could not be now: it is due later, as if it had not run, and the wait is
    /// no part of the time that it is tried for.
    Later {
        /// How long it waits.
        after: Duration,
    },
    /// The same, and no other job of its queue that is about the same could be tried either: those that
    /// are due are put off with it.
    AllLater {
        /// How long they wait.
        after: Duration,
    },
    /// It failed, and would fail again: it becomes a dead letter.
    Dead {
        /// Why, in one sentence for the operator.
        error: String,
    },
}

/// A job's success, and what is written with it.
#[derive(Default)]
pub struct Done {
    pub(super) also: Option<Box<Also>>,
    pub(super) wakes: Vec<&'static str>,
    pub(super) then: Option<Box<dyn Fn() + Send + Sync>>,
}

/// Adds statements to a batch. Called again where the transaction has to be.
pub(super) type Also = dyn Fn(Batch) -> Batch + Send + Sync;

impl Outcome {
    /// The job is done, and there is nothing to write.
    pub fn done() -> Self {
        Self::Done(Done::default())
    }

    /// It failed for `error`, and may succeed later.
    pub fn again(error: impl fmt::Display) -> Self {
        Self::Again { after: None, error: error.to_string() }
    }

    /// It failed for `error`, and would fail again.
    pub fn dead(error: impl fmt::Display) -> Self {
        Self::Dead { error: error.to_string() }
    }
}

impl Done {
    /// What `also` adds to a batch is written in the transaction that removes the job: if the run
    /// has lost its lease, neither.
    pub fn with(also: impl Fn(Batch) -> Batch + Send + Sync + 'static) -> Self {
        // Runs are settled together; what is added for this one belongs to its trace.
        let trace = Context::current();
        let also = move |batch| {
            let _within = trace.clone().attach();
            also(batch)
        };
        Self { also: Some(Box::new(also)), ..Self::default() }
    }

    /// Calls `then` once the transaction has taken place.
    #[must_use]
    pub fn then(mut self, then: impl Fn() + Send + Sync + 'static) -> Self {
        self.then = Some(Box::new(then));
        self
    }

    /// Wakes the workers of `queue`, to which that adds jobs.
    #[must_use]
    pub fn wake(mut self, queue: &'static str) -> Self {
        self.wakes.push(queue);
        self
    }
}

impl From<Done> for Outcome {
    fn from(done: Done) -> Self {
        Self::Done(done)
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("wakes", &self.wakes).finish_non_exhaustive()
    }
}
