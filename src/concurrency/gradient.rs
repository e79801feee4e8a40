//! How high the limit is: a gradient controller, as Envoy's adaptive concurrency filter is one.
//!
//! How long things take is compared with how long they take when hardly any are done beside them. Up to a few
//! times as long is what it takes to keep all cores and disks busy, and the limit grows where it is reached.
//! Beyond that, more at once is only longer queues, wherever they are, and the limit shrinks in proportion.
//!
//! What is compared is of one [`Sort`], and the mean of logarithms over a window: so that a large thing says
//! nothing about small ones, and an outlier little.
//!
//! How long things take when it is calm is learnt whenever it is. Under a load that lasts it never is: then, for
//! a moment every half minute, few things are begun, to learn it again (Envoy's minRTT window).

use std::collections::HashMap;

use tokio::time::{Duration, Instant};

/// It never falls below this.
const FLOOR: f64 = 4.0;
/// Nor grows beyond that.
const CEILING: f64 = 1024.0;
/// What it begins with.
const BEGIN: f64 = 32.0;
/// How many times as long as when it is calm things may take.
const TOLERANCE: f64 = 2.0;
/// It is calm while no more than these are under way.
const CALM: usize = 3;
/// What is compared at a time: at least so long, and so many.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOW_THINGS: u32 = 10;
/// How long what was learnt when it was calm is good for, where there is a queue.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// A probe ends after as many, or when it takes too long: for what is under way to end, or in all.
const PROBE_THINGS: u32 = 6;
const PROBE_DRAIN: Duration = Duration::from_secs(10);
const PROBE_FOR: Duration = Duration::from_secs(1);
/// The next one is this many times as long away as the last one took, at least.
const PROBE_REST: u32 = 20;

/// Things that take about as long as one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sort {
    /// What is done; the caller's own numbering.
    kind: u8,
    /// The power of two of its bytes.
    magnitude: u32,
}

impl Sort {
    /// Things of this kind and of about this size in bytes. All that are small are one sort, and all that
    /// are large: how long those take is not for their size.
    pub fn new(kind: u8, bytes: u64) -> Self {
        Self { kind, magnitude: bytes.clamp(1 << 16, 1 << 24).ilog2() }
    }
}

pub(super) struct Gradient {
    limit: f64,
    calm: HashMap<Sort, Mean>,
    /// Until when it is good enough what was learnt of when it is calm.
    good_until: Option<Instant>,
    probed: Option<Instant>,
    probe: Option<Probe>,
    window: Window,
}

/// Of logarithms of seconds; older ones count less and less.
#[derive(Clone, Copy, Default)]
struct Mean {
    mean: f64,
    count: f64,
}

struct Probe {
    began: Instant,
    left: u32,
    /// When it is over at the latest.
    until: Instant,
}

#[derive(Default)]
struct Window {
    began: Option<Instant>,
    things: u32,
    /// Of logarithms of how many times as long things took.
    sum: f64,
    /// Whether the limit was reached.
    reached: bool,
}

impl Default for Gradient {
    fn default() -> Self {
        Self {
            limit: BEGIN,
            calm: HashMap::new(),
            good_until: None,
            probed: None,
            probe: None,
            window: Window::default(),
        }
    }
}

impl Gradient {
    /// Things that may be done at once.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 4 to 1024")]
    pub(super) fn limit(&self) -> usize {
        if self.probe.is_some() { CALM } else { self.limit as usize }
    }

    /// As many are under way as may be.
    pub(super) fn reached(&mut self) {
        self.window.reached = true;
    }

    /// Begins and ends probes; to be called now and then. `queued`: whether things wait.
    pub(super) fn look(&mut self, now: Instant, queued: bool) {
        if let Some(probe) = &self.probe {
            if probe.left == 0 || now >= probe.until {
                self.good_until = Some(now + PROBE_EVERY.max((now - probe.began) * PROBE_REST));
                self.probe = None;
                self.probed = Some(now);
                self.window = Window::default();
            }
        } else if queued && self.good_until.is_none_or(|until| now >= until) {
            // What was learnt before counts little from now on.
            self.calm.values_mut().for_each(Mean::fade);
            self.probe = Some(Probe { began: now, left: PROBE_THINGS, until: now + PROBE_DRAIN });
        }
    }

    /// Since when things have waited only for one another, if they came at `since`: none while a probe keeps them
    /// waiting.
    pub(super) fn waiting_since(&self, since: Instant) -> Option<Instant> {
        self.probe.is_none().then(|| self.probed.map_or(since, |at| at.max(since)))
    }

    /// A thing of this sort `took` so long, with so many under way, itself among them.
    pub(super) fn took(&mut self, sort: Sort, took: Duration, beside: usize, now: Instant) {
        let seconds = took.as_secs_f64().max(1e-6).ln();
        if beside <= CALM {
            self.calm.entry(sort).or_default().add(seconds);
            match &mut self.probe {
                Some(probe) => {
                    if probe.left == PROBE_THINGS {
                        // What was under way has ended. The others are done in a few rounds.
                        probe.until = now + PROBE_FOR.max(took * PROBE_THINGS);
                    }
                    probe.left = probe.left.saturating_sub(1);
                }
                None => self.good_until = Some(now + PROBE_EVERY),
            }
        } else if let Some(calm) = self.calm.get(&sort)
            && self.probe.is_none()
        {
            self.window.things += 1;
            self.window.sum += seconds - calm.mean;
        }
        self.look(now, false);
        let began = *self.window.began.get_or_insert(now);
        if self.window.things >= WINDOW_THINGS && now - began >= WINDOW {
            self.adjust();
            self.window = Window { began: Some(now), ..Window::default() };
        }
    }

    fn adjust(&mut self) {
        let times = (self.window.sum / f64::from(self.window.things)).exp();
        let gradient = (TOLERANCE / times).clamp(0.5, 2.0);
        // The root leaves room for what no queue is the reason of, and lets a small limit grow.
        let next = self.limit.mul_add(gradient, self.limit.sqrt());
        if next < self.limit || self.window.reached {
            self.limit = f64::midpoint(self.limit, next).clamp(FLOOR, CEILING);
        }
    }
}

impl Mean {
    /// How many count; each more takes the place of as many.
    const MEMORY: f64 = 20.0;

    fn fade(&mut self) {
        self.count = self.count.min(1.0);
    }

    fn add(&mut self, value: f64) {
        self.count = (self.count + 1.0).min(Self::MEMORY);
        self.mean += (value - self.mean) / self.count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: u64 = 100_000;
    const LARGE: u64 = 5_000_000;

    /// Something that does `width` things at once; each takes `alone` then, and longer in proportion where
    /// there are more.
    struct Narrow {
        gradient: Gradient,
        now: Instant,
        width: f64,
    }

    impl Narrow {
        fn new(width: f64) -> Self {
            Self { gradient: Gradient::default(), now: Instant::now(), width }
        }

        /// As many as may be at once, again and again, for so long; what the limit is then.
        fn busy(&mut self, seconds: u64, sizes: &[(u64, f64)]) -> usize {
            let until = self.now + Duration::from_secs(seconds);
            let mut sizes = sizes.iter().cycle();
            while self.now < until {
                self.gradient.look(self.now, true);
                let at_once = self.gradient.limit();
                let times = (at_once as f64 / self.width).max(1.0);
                self.gradient.reached();
                for _ in 0..at_once {
                    let (size, alone) = *sizes.next().unwrap();
                    let took = Duration::from_secs_f64(alone * times);
                    self.now += took / u32::try_from(at_once).unwrap();
                    self.gradient.took(Sort::new(0, size), took, at_once, self.now);
                }
            }
            self.gradient.limit()
        }
    }

    #[test]
    fn it_finds_what_can_be_done_at_once() {
        for width in [1.0, 4.0, 16.0, 100.0] {
            let mut narrow = Narrow::new(width);
            let limit = narrow.busy(20, &[(SMALL, 0.01)]) as f64;
            assert!(
                limit >= width && limit <= 12.0_f64.max(width * 4.0),
                "{limit} at once where {width} can be"
            );
        }
    }

    #[test]
    fn what_takes_long_by_itself_is_not_held_against_it() {
        let mut wide = Narrow::new(500.0);
        let limit = wide.busy(30, &[(SMALL, 0.02), (LARGE, 0.5)]);
        assert!(limit >= 500, "{limit} at once");
    }

    #[test]
    fn it_follows_what_changes() {
        let mut narrow = Narrow::new(50.0);
        let before = narrow.busy(20, &[(SMALL, 0.01)]);
        narrow.width = 5.0;
        let after = narrow.busy(10, &[(SMALL, 0.01)]);
        assert!(before >= 50 && after <= 20, "{before}, then {after}");
        // Slower, and not narrower: known from the next probe on.
        narrow.width = 50.0;
        let slower = narrow.busy(120, &[(SMALL, 1.0)]);
        assert!(slower >= 50, "{slower}");
    }

    #[test]
    fn it_does_not_grow_unused() {
        let (mut gradient, now) = (Gradient::default(), Instant::now());
        let took = Duration::from_millis(10);
        for n in 0..10_000 {
            let beside = if n < 100 { 1 } else { 10 };
            let now = now + n * Duration::from_millis(1);
            gradient.took(Sort::new(0, SMALL), took, beside, now);
        }
        assert_eq!(gradient.limit(), 32);
    }

    #[test]
    fn a_probe_takes_as_long_as_things_take() {
        let (mut gradient, mut now) = (Gradient::default(), Instant::now());
        let (sort, second) = (Sort::new(0, SMALL), Duration::from_secs(1));
        gradient.look(now, true);
        assert_eq!(gradient.limit(), CALM, "nothing is known yet");
        assert!(gradient.waiting_since(now).is_none(), "nobody waits for others");
        now += second * 3;
        gradient.took(sort, second * 3, 32, now);
        assert_eq!(gradient.limit(), CALM, "what was under way before tells nothing");
        for _ in 0..PROBE_THINGS {
            assert_eq!(gradient.limit(), CALM);
            now += second;
            gradient.took(sort, second, CALM, now);
        }
        assert_eq!(gradient.limit(), 32);
        assert_eq!(gradient.waiting_since(now - second), Some(now));
        gradient.look(now + PROBE_EVERY, true);
        assert_eq!(gradient.limit(), 32, "too soon, for as long as it took");
        gradient.look(now + second * 9 * PROBE_REST, true);
        assert_eq!(gradient.limit(), CALM);
    }

    #[test]
    fn a_probe_of_which_nothing_comes_ends() {
        let (mut gradient, now) = (Gradient::default(), Instant::now());
        gradient.look(now, true);
        gradient.look(now + PROBE_DRAIN / 2, false);
        assert_eq!(gradient.limit(), CALM);
        gradient.look(now + PROBE_DRAIN, true);
        assert_eq!(gradient.limit(), 32);
    }
}
