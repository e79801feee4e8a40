//! The worker's side: an image is read, its steps are run, and what came of them is written down.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::{sync::Semaphore, task::spawn_blocking};
use uuid::Uuid;

use super::{
    MAKE,
    make::{Made, Run, make},
    settings::Step,
};
use crate::{
    consumers::records::{self, CLEAR, Image, Records, StepResult, VARIANTS},
    fault,
    imaging::{self, Limits},
    jobs::{Done, Handler, Job, Outcome},
    problem,
    storage::{self, Budget, Commit, ErrorKind, NewObject, Read, SharedStorage},
    tenant::TenantId,
};

/// Runs the steps of images that are stored.
pub struct Maker {
    records: Records,
    storage: SharedStorage,
    budget: Arc<Budget>,
    steps: Arc<[Step]>,
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
    Thread(#[from] tokio::task::JoinError),
    #[error("the job tells of no such thing")]
    Unreadable,
}

impl Maker {
    /// Runs `steps` on the images of `records` in `storage`, so many at once, each within these limits.
    pub fn new(
        records: Records,
        storage: SharedStorage,
        budget: Arc<Budget>,
        steps: Vec<Step>,
        limits: Limits,
        at_once: usize,
    ) -> Self {
        let threads = Arc::new(Semaphore::new(at_once));
        Self { records, storage, budget, steps: steps.into(), limits, threads }
    }

    async fn work(&self, job: &Job) -> Result<Outcome, Error> {
        let tenant = TenantId::parse(&job.tenant).map_err(|_| Error::Unreadable)?;
        let subject = Uuid::try_parse(&job.subject).map_err(|_| Error::Unreadable)?;
        let id = Uuid::try_parse(&job.payload).map_err(|_| Error::Unreadable)?;
        match job.kind.as_str() {
            MAKE => self.make(&tenant, subject, id).await,
            CLEAR => {
                self.storage.delete(&records::made_key(&tenant, subject, id)?).await?;
                // The folder was for this image's alone.
                self.storage.prune(&format!("{VARIANTS}/{tenant}/{subject}/")).await?;
                Ok(Outcome::done())
            }
            _ => Err(Error::Unreadable),
        }
    }

    /// Runs the steps on the image `id`, if it still has the content of this upload.
    async fn make(&self, tenant: &TenantId, id: Uuid, upload: Uuid) -> Result<Outcome, Error> {
        let image = self.records.find(tenant, id).await?;
        let Some(image) = image.filter(|image| image.upload == upload) else {
            return Ok(Outcome::done());
        };
        let how = Read { range: None, if_match: Some(image.object_etag.clone()) };
        let bytes = self.storage.read(&image.key, how).await?.collect().await?;
        fault::point("steps.read");
        let (steps, limits) = (Arc::clone(&self.steps), self.limits);
        // A thread goes on when nobody waits for it any more.
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        let made = spawn_blocking(move || {
            let _thread = thread;
            make(&bytes, &steps, &limits)
        });
        let results = self.store_all(&image, made.await??).await?;
        fault::point("steps.stored");
        let (records, tenant, event) = (self.records.clone(), tenant.clone(), Uuid::now_v7());
        let tell = self.records.clone();
        let done = Done::with(move |batch| {
            let batch = records::keep_results(batch, &image, &results);
            records.tell_processed(batch, event, &image)
        });
        Ok(done.wake(records::QUEUE).then(move || tell.told(&tenant)).into())
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
                let _ = self.storage.delete(&key).await;
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
            share: self.budget.share(image.tenant.as_str()),
            upload: object,
            journal: None,
        };
        let commit = Commit { sha256: Some(storage::sha256(&bytes)), if_absent: false };
        let mut upload = self.storage.begin(new).await?;
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
