//! How many wrong credentials an address may send: who guesses is not listened to for a while.

use std::{net::IpAddr, time::Instant};

use crate::gateway::{
    rate_limit::{Counted, Limit, Rate, Subject, network},
    recent::Recent,
};

/// How many addresses that have to wait are known at least.
const KEPT: usize = 16 * 1024;

/// A limit of wrong credentials by address. Shared by all workers.
#[derive(Debug)]
pub struct Guesses {
    limit: Limit,
    waiting: Recent<IpAddr, Instant>,
}

impl Guesses {
    /// A limit of this rate.
    pub fn new(rate: Rate) -> Self {
        Self { limit: Limit::new("failed_credentials", rate), waiting: Recent::new(KEPT) }
    }

    /// How long this client still has to wait until it is listened to, if it has to.
    pub fn wait(&self, client: IpAddr) -> Option<Counted> {
        let until = self.waiting.get(&network(client))?;
        let wait = until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())?;
        Some(self.limit.exceeded(wait))
    }

    /// A credential of this client's was wrong; how long it has to wait now, if that was one too
    /// many.
    pub fn failed(&self, client: IpAddr) -> Option<Counted> {
        let counted = self.limit.count_here(Subject { name: None, client: Some(client) });
        let wait = counted.wait?;
        self.waiting.insert(network(client), Instant::now() + wait);
        Some(counted)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let wait = |counted: Option<Counted>| counted.and_then(|counted| counted.wait).unwrap();
        assert!(wait(guesses.failed(guesser)) <= Duration::from_secs(10));
        assert!(wait(guesses.wait(guesser)) > Duration::from_secs(9));
        assert_eq!(guesses.wait(other), None);
    }
}
