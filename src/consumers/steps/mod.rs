//! What is made of each image after its upload: variants, a placeholder, what its camera wrote down.
//!
//! An upload is answered at once. Its record's transaction adds a job ([`Follow`]); a worker reads the
//! image, makes all that the settings ask for from one decode, on a thread that may block
//! ([`make`]), stores the variants and writes down what has come of each step
//! ([`records::StepResult`]). Results are of one upload: those of content that was replaced meanwhile
//! are not written, and never told.

mod make;
mod settings;
mod work;

use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use settings::{Step, StepsSettings};
pub use work::Maker;

use super::{
    error::Error,
    records::{self, Change, Follower, Image, QUEUE, Records},
};
use crate::{
    database::Batch,
    jobs::{self, Jobs, Listed, NewJob, State},
    tenant::TenantId,
};

/// The kind of a job that runs the steps.
const MAKE: &str = "make";

/// Adds to each change of an image what makes sure that the steps follow it.
pub struct Follow {
    /// What wakes the workers.
    jobs: Jobs,
    /// Whether there are any steps.
    are_any: bool,
}

impl Follow {
    /// Changes are followed by these steps, if any, as jobs of `jobs`.
    pub fn new(jobs: Jobs, steps: &[Step]) -> Self {
        Self { jobs, are_any: !steps.is_empty() }
    }

    /// Adds the job that runs the steps, if there are any, on the content that `image` has.
    fn make(&self, batch: Batch, image: &Image) -> Batch {
        if !self.are_any {
            return batch;
        }
        let (upload, subject) = (image.upload.to_string(), image.id.to_string());
        let job = NewJob {
            id: &job_id(image),
            queue: QUEUE,
            tenant: image.tenant.as_str(),
            subject: &subject,
            kind: MAKE,
            payload: &upload,
            after: Duration::ZERO,
        };
        jobs::add(batch, &job)
    }
}

impl Follower for Follow {
    fn follow(&self, batch: Batch, _: Uuid, change: Change, image: &Image) -> Batch {
        match change {
            Change::Processed => batch,
            Change::Created => self.make(batch, image),
            Change::Replaced => self.make(records::forget_results(batch, image.id), image),
            Change::Deleted => records::forget_results(batch, image.id),
        }
    }

    fn wake(&self, _: &TenantId) {
        // Without steps there may only be something to remove, which has time.
        if self.are_any {
            self.jobs.wake(QUEUE);
        }
    }
}

/// What has come of the steps of images, and what is still to come.
pub struct Steps {
    records: Records,
    jobs: Jobs,
    names: Vec<String>,
}

impl Steps {
    /// The steps of these names, as `records` and `jobs` know of them.
    pub fn new(records: Records, jobs: Jobs, steps: &[Step]) -> Self {
        Self { records, jobs, names: steps.iter().map(|step| step.name.clone()).collect() }
    }

    /// How far each step is with the content that this image has; none where there are no steps.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(&self, image: &Image) -> Result<Option<Value>, Error> {
        if self.names.is_empty() {
            return Ok(None);
        }
        // The job first: it is there until there are results.
        let job = self.jobs.find(&job_id(image)).await.map_err(records::Error::from)?;
        let results = self.records.results(image).await?;
        let mut told: Map<String, Value> =
            results.into_iter().map(|result| (result.step, state(result.output))).collect();
        for name in &self.names {
            told.entry(name).or_insert_with(|| waiting(job.as_ref()));
        }
        Ok(Some(told.into()))
    }
}

/// What is told of a step that has run.
fn state(output: Result<Value, String>) -> Value {
    match output {
        Ok(output) => json!({ "state": "done", "result": output }),
        Err(error) => json!({ "state": "failed", "error": error }),
    }
}

/// What is told of a step that has not, by its job.
fn waiting(job: Option<&Listed>) -> Value {
    match job {
        // It was set up after the image was stored.
        None => json!({ "state": "skipped" }),
        Some(job) => {
            let state = match job.state {
                State::Waiting => "pending",
                State::Running => "running",
                State::Dead => "failed",
            };
            // What went wrong is the operator's to know.
            json!({ "state": state, "attempts": job.attempts })
        }
    }
}

/// The job that runs the steps on the content that `image` has.
fn job_id(image: &Image) -> String {
    format!("{}:{MAKE}", image.upload)
}
