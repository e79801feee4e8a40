//! Limits within this process: GCRA, whose state of a key is one number. Which keys there are is
//! up to clients, so how many are kept is bounded.

use std::{
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    num::NonZeroU32,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
    middleware::StateInformationMiddleware,
    nanos::Nanos,
    state::StateStore,
};

use super::{Decision, Rate};
use crate::gateway::recent::Recent;

/// How many keys are kept at least. One that is forgotten begins with a whole burst; that takes
/// as many other keys since it was last seen.
const KEPT: usize = 64 * 1024;

/// A limit for each of many keys. Shared by all workers.
#[derive(Debug)]
pub struct Local {
    limiter: RateLimiter<u64, Store, MonotonicClock, StateInformationMiddleware>,
    /// Keys are kept as hashes that nobody outside can foresee.
    hasher: RandomState,
}

impl Local {
    /// A limit of this valid rate.
    pub fn new(rate: Rate) -> Self {
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(rate.period())
            .unwrap_or_else(|| Quota::per_second(burst))
            .allow_burst(burst);
        let store = Store(Recent::new(KEPT));
        let limiter = RateLimiter::new(quota, store, MonotonicClock);
        Self { limiter, hasher: RandomState::new() }
    }

    /// Counts one for this key, if it may happen.
    pub fn take(&self, key: impl Hash) -> Decision {
        match self.limiter.check_key(&self.hasher.hash_one(key)) {
            Ok(state) => Decision { remaining: state.remaining_burst_capacity(), wait: None },
            Err(until) => {
                let wait = until.wait_time_from(self.limiter.clock().now());
                Decision { remaining: 0, wait: Some(wait) }
            }
        }
    }
}

#[derive(Debug)]
struct Store(Recent<u64, Nanos, BuildHasherDefault<Hashed>>);

/// The hash of a key that is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl StateStore for Store {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, change: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.replace(*key, |state| change(state.copied()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_a_period() {
        let limit = Local::new(Rate { per_second: 0.5, burst: 3 });
        for left in [2, 1, 0] {
            assert_eq!(limit.take("a"), Decision { remaining: left, wait: None });
        }
        let wait = limit.take("a").wait.expect("no more than the burst");
        assert!(wait <= Duration::from_secs(2) && wait > Duration::from_millis(1900), "{wait:?}");
        assert_eq!(
            limit.take("b"),
            Decision { remaining: 2, wait: None },
            "another's is another's"
        );
    }

    #[test]
    fn more_keys_than_are_kept_take_no_more_memory() {
        let limit = Local::new(Rate { per_second: 0.001, burst: 1 });
        for key in 0..300_000 {
            assert_eq!(limit.take(key).wait, None);
        }
        assert!(limit.limiter.into_state_store().0.len() <= 2 * (KEPT + 16));
    }

    #[test]
    fn a_limited_key_stays_limited_among_many_others() {
        let limit = Local::new(Rate { per_second: 0.001, burst: 1 });
        assert_eq!(limit.take(u64::MAX).wait, None);
        for key in 0..KEPT as u64 / 2 {
            limit.take(key);
        }
        assert!(limit.take(u64::MAX).wait.is_some());
    }
}
