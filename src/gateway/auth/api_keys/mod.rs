//! API keys: made and revoked by commands, looked up by their hash.
//!
//! A key that is in use is looked up again every two seconds, beside the requests, and is not
//! believed for longer than four without that: so a revocation holds on every replica soon, and a
//! request seldom waits.

mod key;
mod store;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

pub use self::{
    key::{ApiKey, KeyHash, PREFIX},
    store::{KeyRecord, KeyStore},
};
use super::Refusal;
use crate::{database, gateway::recent::Recent, problem, tenant::Principal};

/// How old what is known of a key may be until it is looked up again, and until it is not
/// believed any more.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const BELIEVED: Duration = Duration::from_secs(4);

/// How many keys are known at least, if there are as many.
const KNOWN: usize = 16 * 1024;

/// What checks API keys. Shared by all workers; cheap to clone.
#[derive(Clone)]
pub struct ApiKeys(Arc<Inner>);

struct Inner {
    store: KeyStore,
    known: Recent<KeyHash, Known>,
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys").field("known", &self.0.known).finish_non_exhaustive()
    }
}

/// What is known of a key.
#[derive(Clone)]
struct Known {
    /// Who it is; none once it is revoked.
    principal: Option<Principal>,
    expires_at: Option<SystemTime>,
    since: Instant,
    is_looked_up: Arc<AtomicBool>,
}

impl Known {
    fn of(record: &KeyRecord) -> Self {
        let principal = || {
            Principal::new(
                format!("key:{}", record.id),
                record.reach.clone(),
                record.scopes.clone(),
            )
        };
        Self {
            principal: record.revoked_at.is_none().then(principal),
            expires_at: record.expires_at,
            since: Instant::now(),
            is_looked_up: Arc::default(),
        }
    }

    fn outcome(&self) -> Result<Principal, Refusal> {
        let has_expired = self.expires_at.is_some_and(|end| end <= SystemTime::now());
        match &self.principal {
            None => Err(Refusal::RevokedApiKey),
            Some(_) if has_expired => Err(Refusal::ExpiredApiKey),
            Some(principal) => Ok(principal.clone()),
        }
    }
}

impl ApiKeys {
    /// What checks the keys of this table.
    pub fn new(store: KeyStore) -> Self {
        Self(Arc::new(Inner { store, known: Recent::new(KNOWN) }))
    }

    /// What is known of a key, if that is fresh enough.
    pub fn remembered(&self, hash: &KeyHash) -> Option<Result<Principal, Refusal>> {
        let known = self.0.known.get(hash)?;
        let age = known.since.elapsed();
        if age >= BELIEVED {
            return None;
        }
        if age >= LOOK_AGAIN && !known.is_looked_up.swap(true, Ordering::Relaxed) {
            let (keys, hash) = (self.clone(), *hash);
            // Should it fail, requests look the key up themselves soon, and tell of it.
            tokio::spawn(async move { keys.look_up(hash).await.map(drop) });
        }
        Some(known.outcome())
    }

    /// Looks a key up.
    ///
    /// # Errors
    /// Why it does not let anybody in.
    pub async fn check(&self, hash: KeyHash) -> Result<Principal, Refusal> {
        match self.look_up(hash).await {
            Ok(Some(known)) => known.outcome(),
            Ok(None) => Err(Refusal::UnknownApiKey),
            Err(error) => Err(Refusal::DatabaseUnavailable(problem::chain(&error))),
        }
    }

    async fn look_up(&self, hash: KeyHash) -> database::Result<Option<Known>> {
        let Some(record) = self.0.store.find(hash).await? else { return Ok(None) };
        let known = Known::of(&record);
        self.0.known.insert(hash, known.clone());
        if known.outcome().is_ok() {
            let store = self.0.store.clone();
            // Nobody waits for it; it is noted the next time if it cannot be now.
            tokio::spawn(async move { store.used(&record).await });
        }
        Ok(Some(known))
    }
}
