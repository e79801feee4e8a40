//! The worker's side: an image is read, its steps are run, and what came of them is written down.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    CALLS, MAKE, add_calls, background, job_id,
    make::{self, Made, Run, make},
    settings::{Call, Step, StepsSettings},
};
use crate::{
    consumers::{
        records::{self, CLEAR, Image, QUEUE, StepResult, VARIANTS},
        upload::Uploads,
    },
    fault,
    imaging::{self, Limits},
    jobs::{Done, Handler, Job, Jobs, Outcome},
    problem,
    storage::{self, Commit, ErrorKind, NewObject, Read, SharedStorage},
    tenant::TenantId,
    trace,
};

/// Runs the steps of images that are stored.
pub struct Maker {
    uploads: Arc<Uploads>,
    jobs: Jobs,
    steps: Vec<Step>,
    calls: Vec<Call>,
    limits: Limits,
    /// As many threads work at a time.
    threads: Arc<Semaphore>,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the record failed")]
    Records(#[from] records::Error),
    #[error("the store failed")]
    Storage(#[from] storage::Error),
    #[error("the image could not be worked on")]
    Imaging(#[from] imaging::Error),
    #[error("the image's thread ended")]
    Thread,
    #[error("the image could not be rewritten")]
    Rewrite(#[from] crate::consumers::Error),
    #[error("the job tells of no such thing")]
    Unreadable,
}

impl Maker {
    /// Runs these steps on the images of `uploads`, so many at once, each within these limits.
    pub fn new(
        uploads: Arc<Uploads>,
        jobs: Jobs,
        settings: &StepsSettings,
        limits: Limits,
        at_once: usize,
    ) -> Self {
        let (steps, threads) = (settings.own(), Arc::new(Semaphore::new(at_once)));
        Self { uploads, jobs, steps, calls: settings.calls(), limits, threads }
    }

    fn storage(&self) -> &SharedStorage {
        &self.uploads.storage
    }

    async fn work(&self, job: &Job) -> Result<Outcome, Error> {
        let tenant = TenantId::parse(&job.tenant).map_err(|_| Error::Unreadable)?;
        let subject = Uuid::try_parse(&job.subject).map_err(|_| Error::Unreadable)?;
        let id = Uuid::try_parse(&job.payload).map_err(|_| Error::Unreadable)?;
        match job.kind.as_str() {
            MAKE => self.make(&tenant, subject, id).await,
            CLEAR => {
                self.storage().delete(&records::made_key(&tenant, subject, id)?).await?;
                // The folder was for this image's alone.
                self.storage().prune(&format!("{VARIANTS}/{tenant}/{subject}/")).await?;
                Ok(Outcome::done())
            }
            _ => Err(Error::Unreadable),
        }
    }

    /// Runs the steps on the image `id`, if it still has the content of this upload.
    async fn make(&self, tenant: &TenantId, id: Uuid, upload: Uuid) -> Result<Outcome, Error> {
        let records = &self.uploads.records;
        let image = records.find(tenant, id).await?;
        let Some(image) = image.filter(|image| image.upload == upload) else {
            return Ok(Outcome::done());
        };
        let how = Read { range: None, if_match: Some(image.object_etag.clone()) };
        let bytes = self.storage().read(&image.key, how).await?.collect().await?;
        fault::point("steps.read");
        let (steps, limits) = (self.missing(&image).await?, self.limits);
        // A thread goes on when nobody waits for it any more.
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        let made = background::run("images", move || {
            let _thread = thread;
            make(&bytes, &steps, &limits)
        });
        let made = async { Ok::<_, Error>(made.await.ok_or(Error::Thread)??) };
        match trace::within("steps.make", made).await? {
            make::Outcome::Rewritten(bytes, runs) => self.rewrite(&image, bytes, runs).await,
            make::Outcome::Ran(runs) => self.finish(image, runs).await,
        }
    }

    /// The steps of which nothing is known yet for this content. What its original had to tell was
    /// written down before it was rewritten.
    async fn missing(&self, image: &Image) -> Result<Vec<Step>, Error> {
        let known = self.uploads.records.results(image).await?;
        let is_missing = |step: &&Step| !known.iter().any(|result| result.step == step.name);
        Ok(self.steps.iter().filter(is_missing).cloned().collect())
    }

    /// Keeps what has come of all steps, and has services asked that nobody has asked yet: where the image may
    /// have been rewritten, whoever took it in has left that to this.
    async fn finish(&self, image: Image, runs: Vec<Run>) -> Result<Outcome, Error> {
        let results = self.store_all(&image, runs).await?;
        fault::point("steps.stored");
        let (records, tenant, event) =
            (self.uploads.records.clone(), image.tenant.clone(), Uuid::now_v7());
        let (tell, calls) = (records.clone(), self.unasked(&image).await?);
        let done = Done::with(move |batch| {
            // The jobs first, as whoever ends one has it before the tenant's sums.
            let batch = add_calls(batch, &image, &calls);
            records.keep_results(batch, event, &image, &results)
        });
        Ok(done.wake(QUEUE).wake(CALLS).then(move || tell.told(&tenant)).into())
    }

    /// The calls about this content that there is no job of, nor an answer to.
    async fn unasked(&self, image: &Image) -> Result<Vec<Call>, Error> {
        let mut calls = self.calls.clone();
        if calls.is_empty() {
            return Ok(calls);
        }
        // The jobs first: they are there until there are answers.
        let ids = calls.iter().map(|call| job_id(image, Some(&call.name))).collect();
        let jobs = self.jobs.find_all(ids).await.map_err(records::Error::from)?;
        let answers = self.uploads.records.results(image).await?;
        calls.retain(|call| {
            let id = job_id(image, Some(&call.name));
            let is_answered = answers.iter().any(|answer| answer.step == call.name);
            !is_answered && !jobs.iter().any(|job| job.id == id)
        });
        Ok(calls)
    }

    /// Puts `bytes` in the place of the image's original. The steps run on them then: this is a change like
    /// any other.
    async fn rewrite(
        &self,
        image: &Image,
        bytes: Vec<u8>,
        runs: Vec<Run>,
    ) -> Result<Outcome, Error> {
        // Nothing of it was made of pixels.
        let results = self.store_all(image, runs).await?;
        match self.uploads.rewrite(image, bytes.into(), results).await {
            // Somebody else was faster, with other content or none.
            Ok(_) | Err(crate::consumers::Error::Records(records::Error::Condition)) => {
                Ok(Outcome::done())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores the images that were made of `image`; all of them or, as far as can be, none.
    async fn store_all(&self, image: &Image, made: Vec<Run>) -> Result<Vec<StepResult>, Error> {
        let mut results: Vec<StepResult> = Vec::with_capacity(made.len());
        for Run { step, made } in made {
            let (object, output) = match made {
                Ok(Made::Told(told)) => (None, Ok(told)),
                Ok(Made::Image(rendered)) => {
                    let told = json!({
                        "contentType": rendered.content_type,
                        "size": rendered.bytes.len(),
                        "width": rendered.width,
                        "height": rendered.height,
                    });
                    let bytes = rendered.bytes.into();
                    match self.store(image, rendered.content_type, bytes).await {
                        Ok(object) => (Some(object), Ok(told)),
                        Err(error) => {
                            self.remove(image, &results).await;
                            return Err(error);
                        }
                    }
                }
                Err(why) => (None, Err(why)),
            };
            results.push(StepResult { step, object, output, passed: None });
        }
        Ok(results)
    }

    /// Removes what was stored in vain; what cannot be removed now is found by the sweep.
    async fn remove(&self, image: &Image, results: &[StepResult]) {
        for (object, _) in results.iter().filter_map(|result| result.object.as_ref()) {
            if let Ok(key) = records::made_key(&image.tenant, image.id, *object) {
                let _ = self.storage().delete(&key).await;
            }
        }
    }

    /// Puts a variant of `image` into the store, as an object that nobody knows of yet.
    async fn store(
        &self,
        image: &Image,
        content_type: &'static str,
        bytes: Bytes,
    ) -> Result<(Uuid, String), Error> {
        let object = Uuid::now_v7();
        let new = NewObject {
            key: records::made_key(&image.tenant, image.id, object)?,
            content_type,
            size_hint: Some(bytes.len() as u64),
            share: self.uploads.budget.share(image.tenant.as_str()),
            upload: object,
            journal: None,
        };
        let commit = Commit { sha256: Some(storage::sha256(&bytes)), if_absent: false };
        let mut upload = self.storage().begin(new).await?;
        upload.write(bytes).await?;
        Ok((object, upload.finish(commit).await?.etag))
    }
}

impl Handler for Maker {
    async fn run(&self, job: &Job) -> Outcome {
        match self.work(job).await {
            Ok(outcome) => outcome,
            Err(Error::Unreadable) => Outcome::dead(Error::Unreadable),
            // It is being changed; then another job is about to come, or the bytes are looked for again.
            Err(Error::Storage(error))
                if matches!(error.kind(), ErrorKind::Changed | ErrorKind::NotFound) =>
            {
                Outcome::Again {
                    after: Some(Duration::from_secs(1)),
                    error: problem::chain(&error),
                }
            }
            Err(error) => Outcome::again(problem::chain(&error)),
        }
    }
}
