//! Which of a service's instances a request goes to: of two drawn at random, the one with fewer
//! requests under way. An instance that is slow has more of them, and so gets fewer.

use std::{cmp::Ordering, time::Duration};

use super::{breaker::Standing, instance::Instance};

/// An instance for a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) at: usize,
    /// Whether the request is the trial of a circuit that is half-open.
    pub(super) on_trial: bool,
}

/// No instance takes requests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unavailable {
    /// Those that are healthy have their circuits open, for so long at least.
    CircuitOpen(Duration),
    /// None is healthy.
    Ejected,
}

/// The instance for a request. A circuit that is due for its trial gets it first: as long as
/// others do well, nothing else would ever close it.
pub(super) fn choose(instances: &[Instance]) -> Result<Choice, Unavailable> {
    let (mut well, mut wary) = (Draw::default(), Draw::default());
    let mut none = Unavailable::Ejected;
    for (at, instance) in instances.iter().enumerate() {
        match instance.standing() {
            Standing::Well => well.show(at),
            Standing::Wary => wary.show(at),
            Standing::HalfOpen if instance.breaker.try_trial() => {
                return Ok(Choice { at, on_trial: true });
            }
            // Another request was quicker, and on its trial now.
            Standing::HalfOpen => none = none.or_open_for(Duration::ZERO),
            Standing::Open(time) => none = none.or_open_for(time),
            Standing::Ejected => {}
        }
    }
    let drawn = well.less_loaded(instances).or_else(|| wary.less_loaded(instances));
    drawn.map(|at| Choice { at, on_trial: false }).ok_or(none)
}

/// An instance to try a request again, not one of `tried`.
pub(super) fn another(instances: &[Instance], tried: &[usize]) -> Option<usize> {
    let (mut well, mut wary) = (Draw::default(), Draw::default());
    for (at, instance) in instances.iter().enumerate().filter(|(at, _)| !tried.contains(at)) {
        match instance.standing() {
            Standing::Well => well.show(at),
            Standing::Wary => wary.show(at),
            Standing::HalfOpen | Standing::Open(_) | Standing::Ejected => {}
        }
    }
    well.less_loaded(instances).or_else(|| wary.less_loaded(instances))
}

impl Unavailable {
    /// With one more circuit that is open.
    fn or_open_for(self, time: Duration) -> Self {
        match self {
            Self::CircuitOpen(least) => Self::CircuitOpen(least.min(time)),
            Self::Ejected => Self::CircuitOpen(time),
        }
    }
}

/// Two of the candidates that it was shown, any two as likely as others.
#[derive(Default)]
struct Draw {
    shown: usize,
    drawn: [usize; 2],
}

impl Draw {
    fn show(&mut self, candidate: usize) {
        let place = if self.shown < 2 { self.shown } else { fastrand::usize(..=self.shown) };
        if let Some(place) = self.drawn.get_mut(place) {
            *place = candidate;
        }
        self.shown += 1;
    }

    fn less_loaded(&self, instances: &[Instance]) -> Option<usize> {
        let [a, b] = self.drawn;
        match self.shown {
            0 => None,
            1 => Some(a),
            _ => match instances[a].load().cmp(&instances[b].load()) {
                Ordering::Less => Some(a),
                Ordering::Greater => Some(b),
                Ordering::Equal => Some(if fastrand::bool() { a } else { b }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_two_are_drawn_as_often_as_others() {
        let mut times = [0; 5];
        for _ in 0..10_000 {
            let mut draw = Draw::default();
            (0..times.len()).for_each(|candidate| draw.show(candidate));
            let [a, b] = draw.drawn;
            assert_ne!(a, b);
            times[a] += 1;
            times[b] += 1;
        }
        assert!(times.iter().all(|times| (3600..4400).contains(times)), "{times:?}");
    }
}
