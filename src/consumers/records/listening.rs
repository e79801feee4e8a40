//! Who waits for a tenant's next event in this process, and how they hear of those that other
//! processes have written.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Records;
use crate::{problem, tenant::TenantId};

/// How often is looked for events that other processes have written.
const LOOK: Duration = Duration::from_millis(500);

/// What is changed with every event of a tenant, as long as somebody waits for one.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<HashMap<TenantId, watch::Sender<()>>>);

impl Listeners {
    fn all(&self) -> MutexGuard<'_, HashMap<TenantId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait for this tenant's events that there is one.
    pub(super) fn tell(&self, tenant: &TenantId) {
        if let Some(sender) = self.all().get(tenant) {
            sender.send_replace(());
        }
    }

    /// The tenants for which somebody waits.
    fn tenants(&self) -> Vec<String> {
        let mut all = self.all();
        all.retain(|_, sender| sender.receiver_count() > 0);
        all.keys().map(|tenant| tenant.as_str().to_owned()).collect()
    }
}

impl Records {
    /// Is changed when the tenant has another event, or may have; none where `most` wait for that already.
    pub fn listen(&self, tenant: &TenantId, most: usize) -> Option<watch::Receiver<()>> {
        let mut all = self.listeners().all();
        let sender = all.entry(tenant.clone()).or_insert_with(|| watch::Sender::new(()));
        (sender.receiver_count() < most).then(|| sender.subscribe())
    }

    /// Looks for what other processes tell of the tenants that are listened to, until `stop`.
    pub async fn hear_others(self, stop: CancellationToken) {
        let mut last = HashMap::new();
        let hear = async {
            loop {
                tokio::time::sleep(LOOK).await;
                let tenants = self.listeners().tenants();
                last.retain(|tenant: &TenantId, _| tenants.iter().any(|t| t == tenant.as_str()));
                if tenants.is_empty() {
                    continue;
                }
                match self.last_events(&tenants).await {
                    Ok(told) => {
                        for (tenant, number) in told {
                            if last.insert(tenant.clone(), number) != Some(number) {
                                self.listeners().tell(&tenant);
                            }
                        }
                    }
                    Err(error) => {
                        let cause = problem::chain(&error);
                        tracing::debug!(cause, "other processes' events are not seen yet");
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = hear => {}
        }
    }
}
