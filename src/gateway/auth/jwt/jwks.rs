//! An issuer's keys: fetched by one task for all who wait, again before they are stale, and when
//! a token names a key that is not among them; kept while the issuer is down.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use http::Uri;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{
    KeySet,
    fetch::{Error, Fetch, Fetched},
};
use crate::problem;

/// For how long keys are taken for fresh if their issuer does not say.
const FRESH_FOR: Duration = Duration::from_secs(15 * 60);

/// The bounds of what an issuer says.
const FRESH_AT_LEAST: Duration = Duration::from_secs(10);
const FRESH_AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// How soon a fetch that failed is repeated: twice as late each time.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// How often unknown keys may have the issuer asked; and while there are no keys at all.
const ASK_EVERY: Duration = Duration::from_secs(30);
const ASK_FIRST_EVERY: Duration = Duration::from_secs(1);

/// How long a request waits for its key: longer than a fetch may take.
const PATIENCE: Duration = Duration::from_secs(6);

/// An issuer's keys. Shared by all workers.
#[derive(Debug)]
pub(super) struct Jwks {
    fetch: Fetch,
    keys: ArcSwapOption<KeySet>,
    /// Counts the fetches that have ended.
    fetches: watch::Sender<u64>,
    wanted: Notify,
    asking: Mutex<Asking>,
}

/// Whether and when the issuer is asked.
#[derive(Debug)]
struct Asking {
    /// A fetch is under way, or about to begin.
    is_fetching: bool,
    /// When unknown keys last had the issuer asked.
    asked: Option<Instant>,
}

impl Jwks {
    /// Begins to fetch, in the background.
    ///
    /// # Errors
    /// When the URL can never be fetched from, as half a sentence about the setting.
    pub(super) fn start(url: Uri) -> Result<Arc<Self>, String> {
        let jwks = Arc::new(Self {
            fetch: Fetch::of(url)?,
            keys: ArcSwapOption::empty(),
            fetches: watch::Sender::new(0),
            wanted: Notify::new(),
            asking: Mutex::new(Asking { is_fetching: true, asked: None }),
        });
        tokio::spawn(Arc::clone(&jwks).keep());
        Ok(jwks)
    }

    /// The keys that are known; none until a first fetch has succeeded.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// Has the issuer asked for a key that is not among those in `seen`, if it may be asked already,
    /// and waits for its answer, or for that of a fetch under way. Others may have come meanwhile.
    pub(super) async fn ask_again(&self, seen: Option<&Arc<KeySet>>) {
        let mut fetches = {
            let mut asking = self.asking();
            // Of those that end from now on.
            let fetches = self.fetches.subscribe();
            if !asking.is_fetching {
                let current = self.keys.load_full();
                let every = if current.is_some() { ASK_EVERY } else { ASK_FIRST_EVERY };
                let have_come = current.as_ref().map(Arc::as_ptr) != seen.map(Arc::as_ptr);
                if have_come || asking.asked.is_some_and(|last| last.elapsed() < every) {
                    return;
                }
                *asking = Asking { is_fetching: true, asked: Some(Instant::now()) };
                self.wanted.notify_one();
            }
            fetches
        };
        // Without an answer the keys are what they were.
        let _ = timeout(PATIENCE, fetches.changed()).await;
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep(self: Arc<Self>) {
        let (mut known, mut failures) = (None, 0);
        loop {
            let pause =
                match self.fetch.get().await.and_then(|fetched| self.take(fetched, &mut known)) {
                    Ok(fresh_for) => {
                        if failures > 0 {
                            tracing::info!("the issuer's keys can be fetched again");
                        }
                        failures = 0;
                        fresh_for
                    }
                    Err(error) => {
                        if failures == 0 {
                            let cause = problem::chain(&error);
                            let stale = known.is_some();
                            tracing::warn!(
                                cause,
                                stale,
                                "the issuer's keys cannot be fetched (auth.jwt.jwks_url)"
                            );
                        }
                        failures += 1;
                        AGAIN.saturating_mul(1 << (failures - 1).min(6)).min(AGAIN_AT_MOST)
                    }
                };
            {
                let mut asking = self.asking();
                asking.is_fetching = false;
                self.fetches.send_modify(|count| *count += 1);
            }
            // Early ends are wanted.
            let _ = timeout(pause, self.wanted.notified()).await;
            self.asking().is_fetching = true;
            // Who wanted it just when the pause was over gets this one.
            let _ = self.wanted.notified().now_or_never();
        }
    }

    /// Takes an answer's keys; says for how long they are fresh. The same bytes are the same keys,
    /// so that what was verified with them stays so.
    fn take(&self, fetched: Fetched, known: &mut Option<bytes::Bytes>) -> Result<Duration, Error> {
        if known.as_ref() != Some(&fetched.body) {
            let keys = KeySet::of_jwks(&fetched.body).map_err(Error::Unusable)?;
            self.keys.store(Some(Arc::new(keys)));
            *known = Some(fetched.body);
        }
        Ok(fetched.fresh_for.unwrap_or(FRESH_FOR).clamp(FRESH_AT_LEAST, FRESH_AT_MOST))
    }
}
