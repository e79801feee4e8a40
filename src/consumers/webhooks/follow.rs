//! What makes sure that each event is delivered: a job for each webhook that is told of it, added in the
//! transaction of the change.

use std::{collections::HashSet, future::Future, sync::Arc};

use arc_swap::ArcSwapOption;
use tokio::{sync::Mutex, task};
use uuid::Uuid;

use super::{QUEUE, rows, types::Types};
use crate::{
    consumers::records::{Change, Follower, Image, Result},
    database::{Batch, Dialect, Error, ErrorKind},
    jobs::{self, Jobs},
    tenant::TenantId,
};

/// Tenants that have webhooks, as far as this process knows; none where it does not look.
///
/// A tenant that is not among them has none for sure where this process alone makes webhooks, as the
/// server of a SQLite file does. Elsewhere they only decide whether workers are woken: where nobody
/// is, they look by themselves.
#[derive(Default)]
pub struct Subscribers {
    known: ArcSwapOption<HashSet<String>>,
    /// Held while the tenants are read, and while one is added: what was read before is not taken
    /// for what there is after.
    turn: Mutex<()>,
}

impl Subscribers {
    /// Knows from now on what `read` finds. What cannot be read stays as it was known.
    pub(super) async fn refresh(&self, read: impl Future<Output = Result<Vec<String>>>) {
        let _turn = self.turn.lock().await;
        if let Ok(tenants) = read.await {
            self.known.store(Some(Arc::new(tenants.into_iter().collect())));
        }
    }

    /// Does `write`, by which this tenant has a webhook, once the tenant is known to have one: all that
    /// is committed after it is followed. It is done to its end even if its caller is dropped, as its
    /// transaction is.
    ///
    /// # Errors
    /// Those of `write`.
    pub(super) async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        tenant: &TenantId,
        write: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (all, tenant) = (Arc::clone(self), tenant.as_str().to_owned());
        let written = task::spawn(async move {
            let _turn = all.turn.lock().await;
            all.add(tenant);
            write.await
        });
        written.await.map_err(|lost| Error::new(ErrorKind::Internal, lost))?
    }

    /// Where nothing is known yet, every tenant may have one.
    fn add(&self, tenant: String) {
        let Some(mut known) = self.known.load_full() else { return };
        Arc::make_mut(&mut known).insert(tenant);
        self.known.store(Some(known));
    }

    fn may_have(&self, tenant: &TenantId) -> bool {
        self.known.load().as_ref().is_none_or(|known| known.contains(tenant.as_str()))
    }
}

/// Adds to each change of an image what makes sure that webhooks are told.
pub struct Notify {
    jobs: Jobs,
    subscribers: Arc<Subscribers>,
    enabled: bool,
}

impl Notify {
    /// Webhooks are told by `jobs`, if there may be any.
    pub fn new(jobs: Jobs, subscribers: Arc<Subscribers>, enabled: bool) -> Self {
        Self { jobs, subscribers, enabled }
    }
}

impl Follower for Notify {
    fn follow(&self, batch: Batch, event: Uuid, change: Change, image: &Image) -> Batch {
        // A SQLite file has one server, which knows exactly; and most tenants have no webhooks.
        let is_exact = batch.dialect() == Dialect::Sqlite;
        if !self.enabled || (is_exact && !self.subscribers.may_have(&image.tenant)) {
            return batch;
        }
        // The event is the tenant's last one, unless nothing has changed after all. First comes what most
        // tenants have nothing of; SQLite keeps to the order of a CROSS JOIN.
        let rows = format!(
            "SELECT webhooks.id || ':' || events.event AS id, '{QUEUE}' AS queue, \
             webhooks.tenant AS tenant, webhooks.id AS subject, events.type AS kind, \
             CAST(events.sequence AS TEXT) || ' ' || events.event AS payload \
             FROM webhooks CROSS JOIN usage CROSS JOIN events \
             WHERE webhooks.tenant = $2 AND webhooks.disabled_at IS NULL \
             AND (webhooks.types = '*' OR webhooks.types LIKE $3) \
             AND usage.tenant = $2 AND events.tenant = $2 AND events.sequence = usage.events \
             AND events.event = $4"
        );
        jobs::add_each(batch, &rows)
            .bind(image.tenant.as_str().to_owned())
            .bind(Types::pattern(change))
            .bind(event.to_string())
    }

    fn wake(&self, tenant: &TenantId) {
        if self.enabled && self.subscribers.may_have(tenant) {
            self.jobs.wake(QUEUE);
        }
    }

    fn forget(&self, batch: Batch, tenant: &TenantId) -> Batch {
        // First the jobs, as where one ends.
        rows::forget_tenant(jobs::drop_of_tenant(batch, QUEUE, tenant.as_str()), tenant)
    }
}
