//! What is made of each image after its upload: variants, a placeholder, what its camera wrote down.
//!
//! An upload is answered at once. Its record's transaction adds jobs ([`Follow`]). For one of them a worker
//! reads the image, makes all that the settings ask for from one decode, on a thread of its own
//! ([`make`]), stores the variants and writes down what has come of each step
//! ([`records::StepResult`]). The others ask services outside ([`call`]), of which gates hold the image
//! back until they let it pass. Results are of one upload: those of content that was replaced
//! meanwhile are not written, and never told.

mod background;
mod call;
mod handlers;
mod make;
mod settings;
mod work;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix_web::web;
use serde::Serialize;
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

pub use call::{CALLS, Caller};
pub use settings::{Offer, StepsSettings};
pub use work::Maker;

use super::{
    error::Error,
    records::{self, Change, Follower, Image, QUEUE, Records, StepResult},
    signed::{Permit, Signer},
};
use crate::{
    database::Batch,
    jobs::{self, Jobs, Listed, NewJob, State},
    tenant::TenantId,
};
use settings::{Call, Step};

/// The kind of a job that runs this process's own steps.
const MAKE: &str = "make";
/// The kind of a job that asks a service.
const CALL: &str = "call";

/// Adds the resource that services answer at later. It expects [`Steps`] among the app's data.
pub fn signed_routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/signed/{tenant}/steps/{step}/{upload}/{id}")
            .route(web::post().to(handlers::answer))
            .default_service(web::to(super::handlers::only_post)),
    );
}

/// The description of what services answer at later.
#[derive(OpenApi)]
#[openapi(paths(handlers::answer))]
pub(super) struct Signed;

/// Adds to each change of an image what makes sure that the steps follow it.
pub struct Follow {
    /// What wakes the workers.
    jobs: Jobs,
    /// Whether there are steps that no service outside carries out.
    makes: bool,
    /// Whether originals are rewritten: what comes of that is what services are asked about.
    strips: bool,
    calls: Vec<Call>,
}

impl Follow {
    /// Changes are followed by these steps, if any, as jobs of `jobs`.
    pub fn new(jobs: Jobs, settings: &StepsSettings) -> Self {
        let (makes, strips) = (!settings.own().is_empty(), settings.strip());
        Self { jobs, makes, strips, calls: settings.calls() }
    }

    /// Adds the jobs that run the steps, if there are any, on the content that `image` has.
    fn run(&self, batch: Batch, image: &Image) -> Batch {
        let gates = self.calls.iter().filter(|call| call.gate).map(|call| call.name.as_str());
        let mut batch = records::await_gates(batch, image, gates);
        if self.makes {
            batch = add(batch, image, None);
        }
        if self.strips { batch } else { add_calls(batch, image, &self.calls) }
    }
}

/// Adds the jobs that ask services about the content that `image` has.
fn add_calls(batch: Batch, image: &Image, calls: &[Call]) -> Batch {
    calls.iter().fold(batch, |batch, call| add(batch, image, Some(&call.name)))
}

/// Adds the job for a call about the content that `image` has, or for all that is made here.
fn add(batch: Batch, image: &Image, call: Option<&str>) -> Batch {
    let (id, tenant) = (&job_id(image, call), image.tenant.as_str());
    let (subject, payload) = match call {
        // Each service has a share of its own.
        Some(step) => (step.to_owned(), call::payload(image)),
        None => (image.id.to_string(), image.upload.to_string()),
    };
    let (queue, kind) = if call.is_some() { (CALLS, CALL) } else { (QUEUE, MAKE) };
    let (subject, payload, after) = (&subject, &payload, Duration::ZERO);
    jobs::add(batch, &NewJob { id, queue, tenant, subject, kind, payload, after })
}

impl Follower for Follow {
    fn follow(&self, batch: Batch, _: Uuid, change: Change, image: &Image) -> Batch {
        match change {
            Change::Processed => batch,
            Change::Created => self.run(batch, image),
            Change::Replaced => {
                self.run(records::forget_results(batch, image.id, Some(image.upload)), image)
            }
            Change::Deleted => records::forget_results(batch, image.id, None),
        }
    }

    fn wake(&self, _: &TenantId) {
        // Without steps there may only be something to remove, which has time.
        if self.makes {
            self.jobs.wake(QUEUE);
        }
        if !self.calls.is_empty() {
            self.jobs.wake(CALLS);
        }
    }

    fn holds_back(&self) -> bool {
        self.calls.iter().any(|call| call.gate)
    }
}

/// What has come of the steps of images, and what is still to come.
pub struct Steps {
    records: Records,
    jobs: Jobs,
    signer: Arc<Signer>,
    /// Those that no service outside carries out.
    own: Vec<Step>,
    strips: bool,
    calls: Vec<Call>,
    offers: BTreeMap<String, Vec<Offer>>,
}

/// How far each step is with the content that an image has, and what has come of it. There where there
/// are steps.
#[derive(Default, Serialize, ToSchema)]
pub struct Progress {
    /// How far each step is, by its name.
    #[schema(required = false)]
    processing: BTreeMap<String, StepState>,
    /// What has come of those that are done, by their names.
    #[schema(required = false)]
    results: BTreeMap<String, Value>,
}

/// How far a step is.
#[derive(Serialize, ToSchema)]
struct StepState {
    /// `pending`, `running`, `done`, `failed`, or `skipped` where the step was set up later.
    #[schema(example = "done")]
    state: &'static str,
    /// How often it was tried, while nothing has come of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attempts: Option<u64>,
    /// What is wrong with the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

impl StepState {
    fn of(state: &'static str) -> Self {
        Self { state, attempts: None, error: None }
    }
}

impl Steps {
    /// These steps, as `records` and `jobs` know of them. Services answer by links that `signer` signed.
    pub fn new(
        records: Records,
        jobs: Jobs,
        signer: Arc<Signer>,
        settings: &StepsSettings,
    ) -> Self {
        Self {
            records,
            jobs,
            signer,
            own: settings.own(),
            strips: settings.strip(),
            calls: settings.calls(),
            offers: settings.offers(),
        }
    }

    /// The formats that there are of this variant, the best first, where there are several.
    pub fn offers(&self, variant: &str) -> Option<&[Offer]> {
        self.offers.get(variant).map(Vec::as_slice)
    }

    /// How far each step is with the content that this image has; none where there are no steps.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(&self, image: &Image) -> Result<Option<Progress>, Error> {
        if self.own.is_empty() && self.calls.is_empty() {
            return Ok(None);
        }
        // The jobs first, and at once: they are there until there are results, or other jobs.
        let mut ids = vec![job_id(image, None)];
        ids.extend(self.calls.iter().map(|call| job_id(image, Some(&call.name))));
        let jobs = self.jobs.find_all(ids).await.map_err(records::Error::from)?;
        let job = |call| jobs.iter().find(|job| job.id == job_id(image, call));
        let mut progress = Progress::default();
        let waits = &mut progress.processing;
        for step in &self.own {
            waits.insert(step.name.clone(), waiting(job(None)));
        }
        for call in &self.calls {
            let told = match (job(Some(&call.name)), job(None)) {
                // It is asked about what comes of the rewriting.
                (None, Some(_)) if self.strips => {
                    StepState { attempts: Some(0), ..StepState::of("pending") }
                }
                (job, _) => waiting(job),
            };
            waits.insert(call.name.clone(), told);
        }
        for StepResult { step, output, .. } in self.records.results(image).await? {
            let state = match output {
                Ok(output) => {
                    progress.results.insert(step.clone(), output);
                    StepState::of("done")
                }
                Err(error) => StepState { error: Some(error), ..StepState::of("failed") },
            };
            progress.processing.insert(step, state);
        }
        Ok(Some(progress))
    }

    /// The call of this name, for whose answer about the content that `upload` brought somebody holds a
    /// link with this query.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`]; [`records::Error::NotFound`] when there is no such step any more; or the
    /// database fails.
    pub async fn called(
        &self,
        tenant: &TenantId,
        (image, upload): (Uuid, Uuid),
        step: &str,
        query: &str,
    ) -> Result<&Call, Error> {
        self.signer.check(Permit::Answer(step, upload), tenant, image, query).await?;
        let call = self.calls.iter().find(|call| call.name == step);
        Ok(call.ok_or(records::Error::NotFound)?)
    }

    /// Keeps what the service of `call` answers later, unless there is an answer.
    ///
    /// # Errors
    /// [`Error::AnswerInvalid`]; [`records::Error::NotFound`] when the image is gone or has other content;
    /// or the database fails.
    pub async fn answer(
        &self,
        tenant: &TenantId,
        (id, upload): (Uuid, Uuid),
        call: &Call,
        body: &[u8],
    ) -> Result<(), Error> {
        let wrong = |_| Error::AnswerInvalid("The answer is no JSON.");
        let answer = call::answered(body).map_err(wrong)?;
        if !call::passes(call, &answer) {
            return Err(Error::AnswerInvalid(
                "The step is a gate: \"pass\" must be true or false in its answer.",
            ));
        }
        let image = self.records.find(tenant, id).await?;
        let image = image.filter(|image| image.upload == upload);
        let image = image.ok_or(records::Error::NotFound)?;
        let job = job_id(&image, Some(&call.name));
        let result = call::result(call, Ok(answer));
        // The job first, as whoever ends it does.
        let written = self.records.process(image, result, move |batch| jobs::remove(batch, &job));
        Ok(written.await?)
    }
}

/// What is told of a step that has not run yet, by its job.
fn waiting(job: Option<&Listed>) -> StepState {
    match job {
        // It was set up after the image was stored.
        None => StepState::of("skipped"),
        Some(job) => {
            let state = match job.state {
                State::Waiting => "pending",
                State::Running => "running",
                State::Dead => "failed",
            };
            // What went wrong is the operator's to know.
            StepState { attempts: Some(job.attempts), ..StepState::of(state) }
        }
    }
}

/// The job that runs a call on the content that `image` has, or all that is made here.
fn job_id(image: &Image, call: Option<&str>) -> String {
    match call {
        None => format!("{}:{MAKE}", image.upload),
        Some(name) => format!("{}:call:{name}", image.upload),
    }
}
