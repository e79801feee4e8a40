//! How many retries a service may see: a share of its requests, so that they help with an
//! instance that fails and do not make an outage of all worse.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// How long a request counts, in seconds.
const WINDOW: usize = 10;
/// Retries a request: one in five, 20 %.
const REQUESTS_A_RETRY: u32 = 5;
/// So many retries in the window are granted to however few requests.
const MIN_RETRIES: u32 = 10;

/// The requests and retries of the last seconds, of all workers.
#[derive(Debug, Default)]
pub(super) struct Budget {
    seconds: [Second; WINDOW],
}

/// What was counted in one second. A count that comes at the turn of its second may be lost.
#[derive(Debug, Default)]
struct Second {
    at: AtomicU64,
    requests: AtomicU32,
    retries: AtomicU32,
}

impl Budget {
    /// Counts a request, at a time in seconds.
    pub(super) fn request(&self, now: u64) {
        self.second(now).requests.fetch_add(1, Relaxed);
    }

    /// Whether there may be one more retry; if so, counts it.
    pub(super) fn retry(&self, now: u64) -> bool {
        // Counted first, so that two at once never both get the last one.
        let second = self.second(now);
        second.retries.fetch_add(1, Relaxed);
        let (mut requests, mut retries) = (0, 0);
        for second in &self.seconds {
            if second.at.load(Relaxed) + WINDOW as u64 > now {
                requests += second.requests.load(Relaxed);
                retries += second.retries.load(Relaxed);
            }
        }
        let granted = retries <= MIN_RETRIES.max(requests / REQUESTS_A_RETRY);
        if !granted {
            let less = |retries: u32| retries.checked_sub(1);
            let _ = second.retries.fetch_update(Relaxed, Relaxed, less);
        }
        granted
    }

    fn second(&self, now: u64) -> &Second {
        let second = &self.seconds[now as usize % WINDOW];
        let at = second.at.load(Relaxed);
        if at != now && second.at.compare_exchange(at, now, Relaxed, Relaxed).is_ok() {
            second.requests.store(0, Relaxed);
            second.retries.store(0, Relaxed);
        }
        second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(budget: &Budget, now: u64) -> u32 {
        (0..1000).map(|_| u32::from(budget.retry(now))).sum()
    }

    #[test]
    fn one_in_five_requests_may_be_retried() {
        let budget = Budget::default();
        for now in 100..110 {
            (0..50).for_each(|_| budget.request(now));
        }
        assert_eq!(granted(&budget, 109), 100);
        assert_eq!(granted(&budget, 109), 0);
    }

    #[test]
    fn a_few_retries_are_granted_to_few_requests() {
        let budget = Budget::default();
        budget.request(7);
        assert_eq!(granted(&budget, 7), MIN_RETRIES);
        assert_eq!(granted(&budget, 7 + WINDOW as u64 - 1), 0);
        assert_eq!(granted(&budget, 7 + WINDOW as u64), MIN_RETRIES);
    }

    #[test]
    fn what_is_long_past_does_not_count() {
        let budget = Budget::default();
        (0..1000).for_each(|_| budget.request(50));
        assert_eq!(granted(&budget, 60), MIN_RETRIES);
    }
}
