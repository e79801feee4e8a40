//! What makes sure that each event is delivered: a job for each webhook that is told of it, added in the
//! transaction of the change.

use std::{collections::HashSet, sync::Arc};

use arc_swap::ArcSwapOption;
use uuid::Uuid;

use super::{QUEUE, rows, types::Types};
use crate::{
    consumers::records::{Change, Follower, Image},
    database::Batch,
    jobs::{self, Jobs},
    tenant::TenantId,
};

/// Tenants that have webhooks, as far as this process knows; none where it does not look. They only
/// decide whether workers are woken: where nobody is, they look by themselves.
#[derive(Default)]
pub struct Subscribers(ArcSwapOption<HashSet<String>>);

impl Subscribers {
    pub(super) fn set(&self, tenants: Vec<String>) {
        self.0.store(Some(Arc::new(tenants.into_iter().collect())));
    }

    fn may_have(&self, tenant: &TenantId) -> bool {
        self.0.load().as_ref().is_none_or(|known| known.contains(tenant.as_str()))
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
        if !self.enabled {
            return batch;
        }
        // The event is the tenant's last one, unless nothing has changed after all. First comes what most
        // tenants have nothing of; SQLite keeps to the order of a CROSS JOIN.
        let rows = format!(
            "SELECT webhooks.id || ':' || events.event AS id, '{QUEUE}' AS queue, \
             webhooks.tenant AS tenant, webhooks.id AS subject, events.type AS kind, \
             CAST(events.sequence AS TEXT) || ' ' || events.event AS payload \
             FROM webhooks CROSS JOIN usage CROSS JOIN events \
             WHERE webhooks.tenant = $1 AND webhooks.disabled_at IS NULL \
             AND (webhooks.types = '*' OR webhooks.types LIKE $2) \
             AND usage.tenant = $1 AND events.tenant = $1 AND events.sequence = usage.events \
             AND events.event = $3"
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
        jobs::drop_of_tenant(rows::forget_tenant(batch, tenant), QUEUE, tenant.as_str())
    }
}
