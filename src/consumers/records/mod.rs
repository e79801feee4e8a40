//! The records of images, and the intents that keep them and the store in step.
//!
//! Owns the tables of `migrations/`. Knows the database, the store's trait and parsed names; knows no HTTP.
//!
//! # Invariants, whatever fails and whenever the process dies, once things are settled
//! - An acknowledged upload has its record, and an object whose bytes have the record's SHA-256.
//! - Every record has its object; no object of an upload is without its record.
//! - No intent, lease or multipart upload is left.

mod administration;
mod completion;
mod error;
mod events;
mod expiry;
mod hashing;
mod holding;
mod image;
mod intent;
mod left_over;
mod list;
mod listening;
mod live;
mod names;
mod overview;
mod owner;
mod quota;
mod reconciler;
mod results;
mod rows;
mod sessions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, Row as _};
use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};
use uuid::Uuid;

pub use administration::{Extent, Sums};
pub use error::{Error, Result};
pub use events::{Change, Event, Follower};
pub use expiry::{discard, unstage};
pub use hashing::Hasher;
pub use holding::Progress;
pub use image::Image;
pub use intent::{Check, ExpectedSize, Intent, NewImage, Prepared, Turn};
pub use list::{Filter, Position};
pub use overview::Overview;
pub use quota::{OwnLimit, OwnQuotas, Quotas, Usage};
pub use reconciler::{Reconciler, Settling};
pub use results::{
    CLEAR, QUEUE, StepResult, VARIANTS, await_gates, forget as forget_results, key as made_key,
};
pub use sessions::{Finished, STAGING, Session, Way, staging};

use crate::{
    concurrency::{Concurrency, Permit, Standing},
    database::{Database, Migration, Role},
    storage,
    tenant::TenantId,
};
use listening::Listeners;
use live::Live;
use names::Names;
use owner::Owner;
use quota::Limits;

/// The migrations of this module's tables.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "images",
        sqlite: include_str!("migrations/0001_images.sqlite.sql"),
        postgres: include_str!("migrations/0001_images.postgres.sql"),
    },
    Migration {
        version: 2,
        name: "sessions",
        sqlite: include_str!("migrations/0002_sessions.sqlite.sql"),
        postgres: include_str!("migrations/0002_sessions.postgres.sql"),
    },
    Migration {
        version: 3,
        name: "events",
        sqlite: include_str!("migrations/0003_events.sqlite.sql"),
        postgres: include_str!("migrations/0003_events.postgres.sql"),
    },
    Migration {
        version: 6,
        name: "results",
        sqlite: include_str!("migrations/0006_results.sqlite.sql"),
        postgres: include_str!("migrations/0006_results.postgres.sql"),
    },
    Migration {
        version: 7,
        name: "quarantine",
        sqlite: include_str!("migrations/0007_quarantine.sql"),
        postgres: include_str!("migrations/0007_quarantine.sql"),
    },
];

/// How long an upload of which nothing has come waits for its turn among all changes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The records. Cheap to clone.
#[derive(Clone)]
pub struct Records(Arc<Inner>);

struct Inner {
    database: Database,
    owner: Owner,
    quotas: Arc<Limits>,
    names: Names,
    /// Of changes of the store, from the note of them to their record.
    concurrency: Concurrency,
    /// Intents of this process that somebody works on.
    live: Mutex<Live>,
    left: Notify,
    unhashed: Notify,
    listeners: Listeners,
    followers: Vec<Arc<dyn Follower>>,
}

impl Records {
    /// The records that `database` keeps, for a process of this role. Each change is followed by what
    /// `followers` add.
    pub fn new(
        database: Database,
        role: Role,
        quotas: Quotas,
        followers: Vec<Arc<dyn Follower>>,
    ) -> Self {
        Self(Arc::new(Inner {
            database,
            owner: Owner::new(role),
            quotas: Arc::new(Limits::new(quotas)),
            names: Names::default(),
            concurrency: Concurrency::default(),
            live: Mutex::default(),
            left: Notify::new(),
            unhashed: Notify::new(),
            listeners: Listeners::default(),
            followers,
        }))
    }

    /// Whether the content of images is held back after their upload, until somebody lets it pass.
    pub fn holds_back(&self) -> bool {
        self.0.followers.iter().any(|follower| follower.holds_back())
    }

    /// Whether changes of the tenant's get their turns so late that it had better come later with others.
    pub fn is_behind(&self, tenant: &TenantId) -> bool {
        self.0.concurrency.is_behind(tenant.as_str())
    }

    /// Waits for a turn of the tenant's among all changes, for an upload of which nothing has come yet.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when it does not come.
    pub async fn permit(&self, tenant: &TenantId) -> Result<Permit> {
        self.permit_within(PATIENCE, tenant, false).await
    }

    async fn permit_within(
        &self,
        patience: Duration,
        tenant: &TenantId,
        is_ready: bool,
    ) -> Result<Permit> {
        let until = Instant::now() + patience;
        let permit = self.0.concurrency.permit(tenant.as_str(), is_ready, until).await;
        permit.ok_or(Error::Overloaded)
    }

    /// How many changes may be made at once now, are made, and wait.
    pub fn concurrency(&self) -> Standing {
        self.0.concurrency.standing()
    }

    /// Lets the reconciler look for what is left over.
    pub fn wake_reconciler(&self) {
        self.0.left.notify_one();
    }

    async fn woken(&self) {
        self.0.left.notified().await;
    }

    /// The secret that this installation's own links are signed with; made when it is first asked
    /// for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signing_secret(&self) -> Result<Vec<u8>> {
        const MAKE: &str = "INSERT INTO signing_keys (id, secret) VALUES ('links', $1) ON CONFLICT (id) DO NOTHING";
        const READ: &str = "SELECT secret FROM signing_keys WHERE id = 'links'";
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|e| image::unreadable("secret", e))?;
        let made = storage::hex(&secret);
        let kept = self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(MAKE).bind(made).execute(&mut *connection).await?;
                let row = sqlx::query(READ).fetch_one(connection).await?;
                Ok(row.try_get::<String, _>("secret")?)
            })
        });
        Ok(kept.await?.into_bytes())
    }

    /// Runs `job` in a transaction, see [`Database::write`].
    async fn write<T: Send + 'static>(
        &self,
        job: impl for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.0.database.write(job).await
    }

    /// Runs `job` on a connection that only reads, see [`Database::read`].
    async fn read<T: Send + 'static>(
        &self,
        job: impl for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.0.database.read(job).await
    }

    fn database(&self) -> &Database {
        &self.0.database
    }

    fn owner(&self) -> &Owner {
        &self.0.owner
    }

    fn owner_id(&self) -> Uuid {
        self.0.owner.id
    }

    fn quotas(&self) -> Arc<Limits> {
        Arc::clone(&self.0.quotas)
    }

    fn names(&self) -> &Names {
        &self.0.names
    }

    fn listeners(&self) -> &Listeners {
        &self.0.listeners
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
