//! The consumers module as a server has it: what its requests need, and what works beside them.

use std::{sync::Arc, time::Duration};

use actix_web::web;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Error;
use crate::{
    consumers::{
        self, CALLS, Caller, DirectUploads, Events, Follow, Images, Links, Maker, ResumableUploads,
        Signer, Steps, Uploads,
        records::{Follower, Hasher, QUEUE, Reconciler, Records},
        webhooks::{self, Deliverer, Notify, Subscribers, Webhooks},
    },
    database::{Database, Role},
    edge::Leaving,
    gateway::{Checks, HeadCheck},
    jobs::{Jobs, Worker},
    outbound::{Client, system_tls},
    settings::{Invalid, Settings},
    storage::{Budget, SharedStorage},
};

/// What the module's routes expect among the app's data.
#[derive(Clone)]
pub(super) struct Consumers {
    uploads: web::Data<Uploads>,
    images: web::Data<Images>,
    direct: web::Data<DirectUploads>,
    links: web::Data<Links>,
    resumable: web::Data<ResumableUploads>,
    events: web::Data<Events>,
    steps: web::Data<Steps>,
    webhooks: web::Data<Webhooks>,
}

/// What works on the module's images beside the requests.
pub(super) struct Background {
    pub(super) reconciler: Reconciler,
    hasher: Hasher,
    records: Records,
    jobs: Jobs,
    /// None where this process does no jobs.
    maker: Option<Worker<Maker>>,
    /// None where this process does no jobs, or no services are asked.
    caller: Option<Worker<Caller>>,
    webhooks: Arc<Webhooks>,
    deliverer: Option<Worker<Deliverer>>,
}

/// What tells that the process is about to end, and what it waits for.
#[derive(Clone)]
pub(super) struct Ends {
    /// Requests, commits and jobs under way.
    pub(super) work: TaskTracker,
    /// Answers end their connections.
    pub(super) leaving: Leaving,
    /// Nothing new is begun.
    pub(super) draining: CancellationToken,
    /// Uploads that can be gone on with keep what has come.
    pub(super) cut: CancellationToken,
}

impl Consumers {
    /// The module on this database and this store. Services of steps reach it at `base`.
    ///
    /// # Errors
    /// When those cannot be asked.
    pub(super) fn new(
        settings: &Settings,
        database: Database,
        storage: &SharedStorage,
        budget: &Arc<Budget>,
        checks: &Checks,
        ends: &Ends,
        base: String,
    ) -> Result<(Self, Background), Error> {
        let consumers = &settings.consumers;
        let (storage, work) = (|| Arc::clone(storage), || ends.work.clone());
        let jobs = Jobs::new(database.clone());
        let subscribers = Arc::new(Subscribers::default());
        let followers = followers(settings, &jobs, &subscribers);
        let records = Records::new(database.clone(), Role::Server, settings.quotas, followers);
        let reconciler = Reconciler::new(records.clone(), storage());
        let signer = Arc::new(Signer::new(records.clone()));
        let steps = &consumers.steps;
        let told = Steps::new(records.clone(), jobs.clone(), Arc::clone(&signer), steps);
        let images = Images::new(storage(), records.clone(), reconciler.clone(), work());
        let images = Arc::new(images);
        let uploads = Uploads::new(
            storage(),
            records.clone(),
            Arc::clone(budget),
            work(),
            consumers.images.clone(),
        );
        let uploads = Arc::new(uploads);
        let links = Links::new(Arc::clone(&images), Arc::clone(&signer));
        let expire_after = consumers.direct_uploads.expire_after;
        let direct = DirectUploads::new(Arc::clone(&uploads), Arc::clone(&signer), expire_after);
        let expire_after = consumers.resumable_uploads.expire_after;
        let resumable = ResumableUploads::new(Arc::clone(&uploads), expire_after, ends.cut.clone());
        let workers = &consumers.workers;
        let maker = workers.enabled.then(|| {
            let limits = workers.limits(&consumers.images);
            let maker =
                Maker::new(Arc::clone(&uploads), jobs.clone(), steps, limits, workers.at_once());
            Worker::new(jobs.clone(), QUEUE, maker, workers.pace())
        });
        let calls = steps.calls();
        let caller = if workers.enabled && !calls.is_empty() {
            let caller = Caller::new(records.clone(), calls, signer, base);
            let caller = caller.map_err(|message| Invalid::new("consumers.steps", message))?;
            let pace = caller.pace();
            Some(Worker::new(jobs.clone(), CALLS, caller, pace))
        } else {
            None
        };
        let deliverer = deliverer(settings, &database, &records, &jobs, checks);
        let webhooks = Arc::new(Webhooks::new(
            database,
            records.clone(),
            jobs.clone(),
            subscribers,
            settings.webhooks.clone(),
        ));
        let module = Self {
            uploads: uploads.into(),
            images: images.into(),
            direct: web::Data::new(direct),
            links: web::Data::new(links),
            resumable: web::Data::new(resumable),
            events: web::Data::new(Events::new(records.clone(), ends.draining.clone())),
            steps: web::Data::new(told),
            webhooks: Arc::clone(&webhooks).into(),
        };
        let hasher = Hasher::new(records.clone(), storage());
        let background =
            Background { reconciler, hasher, records, jobs, maker, caller, webhooks, deliverer };
        Ok((module, background))
    }

    /// What it refuses by a request's head alone.
    pub(super) fn head_check(&self) -> HeadCheck {
        let uploads = Arc::clone(&self.uploads);
        Arc::new(move |head, path, tenant| consumers::check_head(&uploads, head, path, tenant))
    }

    /// Adds the data, and what links of this process's own lead to.
    pub(super) fn configure(self, config: &mut web::ServiceConfig) {
        config
            .app_data(self.uploads)
            .app_data(self.images)
            .app_data(self.direct)
            .app_data(self.links)
            .app_data(self.resumable)
            .app_data(self.events)
            .app_data(self.steps)
            .app_data(self.webhooks)
            .configure(consumers::signed_routes);
    }
}

impl Background {
    /// What metrics are asked of.
    pub(super) fn asked(&self) -> (Records, Jobs) {
        (self.records.clone(), self.jobs.clone())
    }

    /// Begins to work, until `settled`; jobs are done until nothing new is begun, and have `grace` then.
    pub(super) fn start(self, ends: &Ends, settled: &CancellationToken, grace: Duration) {
        let settled = || settled.clone();
        actix_rt::spawn(self.reconciler.run(settled()));
        actix_rt::spawn(self.hasher.run(settled()));
        actix_rt::spawn(self.records.hear_others(settled()));
        let (webhooks, until) = (self.webhooks, settled());
        actix_rt::spawn(async move { webhooks.keep(until).await });
        let draining = || ends.draining.clone();
        if let Some(maker) = self.maker {
            // There is a maker wherever jobs are done at all.
            let (jobs, settled) = (self.jobs, settled());
            actix_rt::spawn(async move { jobs.listen(settled).await });
            ends.work.spawn(maker.run(draining(), grace));
        }
        if let Some(caller) = self.caller {
            ends.work.spawn(caller.run(draining(), grace));
        }
        if let Some(deliverer) = self.deliverer {
            ends.work.spawn(deliverer.run(draining(), grace));
        }
    }
}

/// What follows each change of an image.
pub(super) fn followers(
    settings: &Settings,
    jobs: &Jobs,
    subscribers: &Arc<Subscribers>,
) -> Vec<Arc<dyn Follower>> {
    let (jobs, subscribers) = (|| jobs.clone(), Arc::clone(subscribers));
    vec![
        Arc::new(Follow::new(jobs(), &settings.consumers.steps)),
        Arc::new(Notify::new(jobs(), subscribers, settings.webhooks.enabled)),
    ]
}

/// What makes deliveries, where this process does.
fn deliverer(
    settings: &Settings,
    database: &Database,
    records: &Records,
    jobs: &Jobs,
    checks: &Checks,
) -> Option<Worker<Deliverer>> {
    /// Connections to a receiver that are kept: as many as there are requests to it at a time.
    const IDLE: usize = 4;
    let webhooks = &settings.webhooks;
    if !(webhooks.enabled && settings.consumers.workers.enabled) {
        return None;
    }
    let client = system_tls().and_then(|_| Client::new(webhooks.reach(), IDLE));
    let client = match client {
        Ok(client) => client,
        Err(cause) => {
            tracing::warn!(
                cause,
                "webhooks are not sent from here: no receiver's certificate can be checked"
            );
            return None;
        }
    };
    let (database, records) = (database.clone(), records.clone());
    let suspended = Arc::new(checks.suspended());
    let deliverer = Deliverer::new(database, records, client, webhooks.timeout, suspended);
    Some(Worker::new(jobs.clone(), webhooks::QUEUE, deliverer, webhooks.pace()))
}
