//! How many wrong credentials an address may send: who guesses is not listened to for a while.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::gateway::{
    rate_limit::{self, Local, Rate},
    recent::Recent,
};

/// How many addresses that have to wait are known at least.
const KEPT: usize = 16 * 1024;

/// A limit of wrong credentials by address. Shared by all workers.
#[derive(Debug)]
pub struct Guesses {
    limit: Local,
    waiting: Recent<IpAddr, Instant>,
}

impl Guesses {
    /// A limit of this rate.
    pub fn new(rate: Rate) -> Self {
        Self { limit: Local::new(rate), waiting: Recent::new(KEPT) }
    }

    /// How long this client still has to wait until it is listened to.
    pub fn wait(&self, client: IpAddr) -> Option<Duration> {
        let until = self.waiting.get(&rate_limit::network(client))?;
        until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }

    /// A credential of this client's was wrong; how long it has to wait now, if that was one too
    /// many.
    pub fn failed(&self, client: IpAddr) -> Option<Duration> {
        let network = rate_limit::network(client);
        let wait = self.limit.take(network).wait?;
        self.waiting.insert(network, Instant::now() + wait);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_too_often_has_to_wait_and_nobody_else() {
        let guesses = Guesses::new(Rate { per_second: 0.1, burst: 3 });
        let (guesser, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..3 {
            assert_eq!(guesses.wait(guesser), None);
            assert_eq!(guesses.failed(guesser), None);
        }
        assert_eq!(guesses.wait(guesser), None);
        assert!(guesses.failed(guesser).is_some_and(|wait| wait <= Duration::from_secs(10)));
        assert!(guesses.wait(guesser).is_some_and(|wait| wait > Duration::from_secs(9)));
        assert_eq!(guesses.wait(other), None);
    }
}
