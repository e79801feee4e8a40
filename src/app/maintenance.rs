//! The records and the store for a command that works beside the servers, or without any.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Error, served::followers};
use crate::{
    consumers::{
        Images,
        adopt::Adopter,
        records::{Reconciler, Records, STAGING},
    },
    database::{Database, Role},
    jobs::Jobs,
    problem,
    settings::Settings,
    storage::{Budget, Finding, SharedStorage},
};

/// How long the end of a command waits for what it began.
const END_WITHIN: Duration = Duration::from_secs(20);

/// What commands do to tenants' images. It lives as servers do: others know that it does, and
/// settle what it leaves.
pub struct Maintenance {
    /// Looks up and erases.
    pub images: Images,
    /// Makes records for objects.
    pub adopter: Adopter,
    storage: SharedStorage,
    reconciler: Reconciler,
    commits: TaskTracker,
    stop: CancellationToken,
    settling: JoinHandle<()>,
}

impl Maintenance {
    /// The records alone, as a command sees them.
    pub fn records(database: Database, settings: &Settings) -> Records {
        let followers = followers(settings, &Jobs::new(database.clone()), &Arc::default());
        Records::new(database, Role::Command, settings.quotas, followers)
    }

    /// Does `work` on the records of `database` and the store of the settings, and waits for what it
    /// has begun.
    ///
    /// # Errors
    /// When the store cannot be used as set up.
    pub async fn during<T>(
        database: Database,
        settings: &Settings,
        work: impl AsyncFnOnce(&Self) -> T,
    ) -> Result<T, Error> {
        let maintenance = Self::begin(database, settings).await?;
        let done = work(&maintenance).await;
        maintenance.end().await;
        Ok(done)
    }

    /// Tries the store of the settings, and whether pages of these origins may send it requests.
    /// Needs no database.
    ///
    /// # Errors
    /// When the store cannot be used as set up.
    pub async fn diagnose(settings: &Settings, origins: &[String]) -> Result<Vec<Finding>, Error> {
        let storage = build_storage(settings).await?;
        let findings = storage.diagnose(STAGING, origins).await.map_err(Error::Diagnosis)?;
        // Of it, only what could not be cleaned up at once is left.
        let _ = timeout(END_WITHIN, storage.drain()).await;
        Ok(findings)
    }

    async fn begin(database: Database, settings: &Settings) -> Result<Self, Error> {
        let images = &settings.consumers.images;
        let storage = build_storage(settings).await?;
        let records = Self::records(database, settings);
        let reconciler = Reconciler::new(records.clone(), Arc::clone(&storage));
        let (commits, stop) = (TaskTracker::new(), CancellationToken::new());
        let settling = actix_rt::spawn(reconciler.clone().run(stop.clone()));
        // Of commands that died, perhaps where no server runs.
        if let Err(error) = reconciler.sweep().await {
            tracing::debug!(cause = problem::chain(&error), "unfinished uploads may be left");
        }
        Ok(Self {
            adopter: Adopter::new(Arc::clone(&storage), records.clone(), images),
            images: Images::new(Arc::clone(&storage), records, reconciler.clone(), commits.clone()),
            storage,
            reconciler,
            commits,
            stop,
            settling,
        })
    }

    /// Waits for what was begun. What cannot be settled now is left to the servers.
    async fn end(self) {
        self.commits.close();
        let ended = async {
            self.commits.wait().await;
            self.storage.drain().await;
            self.stop.cancel();
            // It ends by itself; that it failed would have been logged.
            let _ = self.settling.await;
            self.reconciler.leave().await;
        };
        if timeout(END_WITHIN, ended).await.is_err() {
            tracing::warn!("unfinished changes are left to be settled by a server");
        }
    }
}

async fn build_storage(settings: &Settings) -> Result<SharedStorage, Error> {
    let memory = settings.consumers.images.upload_memory.as_u64();
    let memory = usize::try_from(memory).unwrap_or(usize::MAX);
    Ok(settings.storage.build(Budget::new(memory)).await?)
}
