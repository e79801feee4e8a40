//! When a job that failed is tried again, and when no more.

use std::time::Duration;

/// How long failed jobs wait: twice as long each time, up to a limit, and never all the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait, before jitter.
    pub most: Duration,
    /// The longest wait that is asked for (`Retry-After`) and kept to.
    pub most_asked: Duration,
    /// By which part a wait is longer or shorter at most, from 0 to 1, drawn evenly. Jobs that
    /// failed at once, of the same cause, so do not all come back at once.
    pub jitter: f64,
    /// A job that fails after it has been tried for so long is a dead letter.
    pub give_up_after: Duration,
}

impl Backoff {
    /// How long a job waits whose run number `attempts` failed, when it had been tried for
    /// `tried_for`; none when it is not to be tried again. `asked` is what it was told to wait
    /// (`Retry-After`, RFC 9110 10.2.3): it is waited for if it is longer, but not longer than
    /// `most_asked`.
    pub fn after(
        &self,
        attempts: u64,
        tried_for: Duration,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        if tried_for >= self.give_up_after {
            return None;
        }
        let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
        let wait = self.first.saturating_mul(1 << doublings).min(self.most);
        let jitter = self.jitter.clamp(0.0, 1.0);
        let wait = wait.mul_f64(1.0 - jitter + 2.0 * jitter * fastrand::f64());
        let asked = asked.unwrap_or_default().min(self.most_asked);
        Some(wait.max(asked))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOURLY: Backoff = Backoff {
        first: SECOND,
        most: Duration::from_secs(3600),
        most_asked: Duration::from_secs(7200),
        jitter: 0.0,
        give_up_after: Duration::from_secs(86_400),
    };

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits = (1..=14).map(|n| HOURLY.after(n, Duration::ZERO, None).unwrap().as_secs());
        let doubled = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600];
        assert_eq!(waits.collect::<Vec<_>>(), doubled);
        assert_eq!(HOURLY.after(u64::MAX, Duration::ZERO, None), Some(HOURLY.most));
    }

    #[test]
    fn who_asks_for_more_time_gets_it_within_bounds() {
        let after = |asked| HOURLY.after(3, Duration::ZERO, Some(asked)).unwrap();
        assert_eq!(after(SECOND), 4 * SECOND);
        assert_eq!(after(90 * SECOND), 90 * SECOND);
        assert_eq!(after(Duration::MAX), HOURLY.most_asked);
    }

    #[test]
    fn it_gives_up_in_the_end() {
        let just = HOURLY.give_up_after - Duration::from_millis(1);
        assert!(HOURLY.after(1, just, None).is_some());
        assert_eq!(HOURLY.after(1, HOURLY.give_up_after, Some(SECOND)), None);
    }

    proptest! {
        #[test]
        fn a_wait_is_within_jitter(attempts in 1_u64.., jitter in 0.0..=1.0, asked in 0_u64..) {
            let backoff = Backoff { jitter, ..HOURLY };
            let exact = HOURLY.after(attempts, Duration::ZERO, None).unwrap();
            let (least, most) = (exact.mul_f64(1.0 - jitter), exact.mul_f64(1.0 + jitter));
            let wait = backoff.after(attempts, Duration::ZERO, None).unwrap();
            let slack = Duration::from_micros(1);
            prop_assert!(wait + slack >= least && wait <= most + slack, "{wait:?}");
            let asked = Duration::from_millis(asked);
            let wait = backoff.after(attempts, Duration::ZERO, Some(asked)).unwrap();
            prop_assert!(wait >= asked.min(HOURLY.most_asked) && wait <= 2 * HOURLY.most + slack);
        }
    }

    #[test]
    fn waits_differ() {
        let backoff = Backoff { jitter: 0.5, ..HOURLY };
        let wait = || backoff.after(5, Duration::ZERO, None);
        let first = wait();
        assert!((0..100).any(|_| wait() != first));
    }
}
