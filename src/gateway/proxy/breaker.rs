//! What the requests at an instance tell of it, and so whether it gets more of them: a circuit
//! breaker, and a moment's wariness behind each failure.
//!
//! All workers share it without a lock. While all is well it does not even ask for the time.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::clock;

/// When an instance that fails is left alone, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Circuit {
    /// So many failures in a row open the circuit.
    pub failures: u32,
    /// How long it stays open before one request, the trial, goes to the instance again.
    pub open_for: Duration,
}

/// Whether an instance gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing speaks against it.
    Well,
    /// It failed just now, and comes behind those that did not: failing is quick, so that by the
    /// number of requests under way alone it would seem the best.
    Wary,
    /// Its circuit has been open for long enough: [`Breaker::try_trial`].
    HalfOpen,
    /// Its circuit is open, for so long still.
    Open(Duration),
    /// Its health checks failed.
    Ejected,
}

/// How long an instance comes behind others once it has failed.
const WARY_FOR: u64 = 1_000;
/// How soon a trial's outcome is expected, as far as a client is told.
const TRIAL: Duration = Duration::from_secs(1);

/// Values of `open_until` that are no times: closed, and half-open with the trial under way.
const CLOSED: u64 = 0;
const ON_TRIAL: u64 = u64::MAX;

/// An instance's circuit, closed at first. Its times are those of [`clock`].
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures_in_a_row: AtomicU32,
    /// 0 when the last request did not fail.
    wary_until: AtomicU64,
    open_until: AtomicU64,
}

impl Breaker {
    pub(super) fn standing(&self) -> Standing {
        let open_until = self.open_until.load(Relaxed);
        let wary_until = self.wary_until.load(Relaxed);
        if open_until == CLOSED && wary_until == 0 {
            return Standing::Well;
        }
        let now = clock::now();
        match open_until {
            CLOSED if wary_until > now => Standing::Wary,
            CLOSED => Standing::Well,
            ON_TRIAL => Standing::Open(TRIAL),
            until if until > now => Standing::Open(Duration::from_millis(until - now)),
            _ => Standing::HalfOpen,
        }
    }

    /// Takes on the trial of a circuit that is half-open; one alone gets it. Whoever does owes an
    /// outcome: [`Self::succeeded`], [`Self::failed`] or [`Self::gave_up_trial`].
    pub(super) fn try_trial(&self) -> bool {
        let until = self.open_until.load(Relaxed);
        until != CLOSED
            && until <= clock::now()
            && self.open_until.compare_exchange(until, ON_TRIAL, Relaxed, Relaxed).is_ok()
    }

    /// A request was answered; whether that closed the circuit. Only the trial's answer does.
    pub(super) fn succeeded(&self, on_trial: bool) -> bool {
        // Usually there is nothing to write, and what is only read stays in every core's cache.
        if self.failures_in_a_row.load(Relaxed) != 0 {
            self.failures_in_a_row.store(0, Relaxed);
        }
        if self.wary_until.load(Relaxed) != 0 {
            self.wary_until.store(0, Relaxed);
        }
        if on_trial {
            self.open_until.store(CLOSED, Relaxed);
        }
        on_trial
    }

    /// A request failed; whether that opened the circuit, which a failed trial leaves open.
    pub(super) fn failed(&self, circuit: Option<Circuit>, on_trial: bool) -> bool {
        let now = clock::now();
        self.wary_until.store(now + WARY_FOR, Relaxed);
        let Some(Circuit { failures, open_for }) = circuit else { return false };
        let open_for = u64::try_from(open_for.as_millis()).unwrap_or(u64::MAX);
        let until = now.saturating_add(open_for).min(ON_TRIAL - 1);
        if on_trial {
            self.open_until.store(until, Relaxed);
            return false;
        }
        let in_a_row = self.failures_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        in_a_row >= failures
            && self.open_until.compare_exchange(CLOSED, until, Relaxed, Relaxed).is_ok()
    }

    /// The trial ended without telling anything: the next request may be one.
    pub(super) fn gave_up_trial(&self) {
        self.open_until.store(clock::now(), Relaxed);
    }
}
