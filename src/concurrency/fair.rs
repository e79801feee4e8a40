//! A queue for each owner, served in turns: the order of FQ-CoDel (RFC 8290 4.2), with one thing a turn.
//!
//! An owner that had nothing waiting is served before those that had, once; then it takes its place behind
//! them. An owner that was served its last keeps its place for one round more, empty, so that it gains nothing by
//! letting its queue run dry. An owner that may have nothing more at the moment is passed over, and keeps its place.
//!
//! Of an owner's things those that are ready go first, since they take up memory until they are done.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// What waits, of all owners. It takes no memory for owners of which nothing waits, after a round.
pub(super) struct Queue<T> {
    owners: HashMap<Arc<str>, Waiting<T>>,
    /// Owners that came just now.
    fresh: VecDeque<Arc<str>>,
    /// Those that have had a turn.
    served: VecDeque<Arc<str>>,
    len: usize,
}

struct Waiting<T> {
    ready: VecDeque<T>,
    to_come: VecDeque<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { owners: HashMap::new(), fresh: VecDeque::new(), served: VecDeque::new(), len: 0 }
    }
}

impl<T> Queue<T> {
    /// What waits, those that have left among it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The same of one owner.
    pub(super) fn len_of(&self, owner: &str) -> usize {
        self.owners.get(owner).map_or(0, |waiting| waiting.ready.len() + waiting.to_come.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, owner: &Arc<str>, thing: T, is_ready: bool) {
        self.len += 1;
        let waiting = self.owners.entry(Arc::clone(owner)).or_insert_with(|| {
            self.fresh.push_back(Arc::clone(owner));
            Waiting { ready: VecDeque::new(), to_come: VecDeque::new() }
        });
        let queue = if is_ready { &mut waiting.ready } else { &mut waiting.to_come };
        queue.push_back(thing);
    }

    /// The next one that still `waits`, of an owner that `may` have one; others before it that do not wait are
    /// thrown away.
    pub(super) fn pop(
        &mut self,
        may: impl Fn(&str) -> bool,
        waits: impl Fn(&T) -> bool,
    ) -> Option<T> {
        loop {
            let first = |owners: &VecDeque<Arc<str>>| owners.iter().position(|owner| may(owner));
            let (owner, is_fresh) = match first(&self.fresh) {
                Some(at) => (self.fresh.remove(at)?, true),
                None => (self.served.remove(first(&self.served)?)?, false),
            };
            let next = self.next_of(&owner, &waits);
            if next.is_some() || is_fresh {
                self.served.push_back(owner);
            } else {
                self.owners.remove(&owner);
            }
            if next.is_some() {
                return next;
            }
        }
    }

    /// Those of `owner` that came first and still `wait`: the one that is ready, and the one that is to come.
    pub(super) fn oldest(
        &mut self,
        owner: &str,
        waits: impl Fn(&T) -> bool,
    ) -> impl Iterator<Item = &T> {
        let Self { owners, len, .. } = self;
        let queues = owners.get_mut(owner).into_iter();
        let queues = queues.flat_map(|waiting| [&mut waiting.ready, &mut waiting.to_come]);
        queues.filter_map(move |queue| {
            while queue.front().is_some_and(|thing| !waits(thing)) {
                queue.pop_front();
                *len -= 1;
            }
            queue.front()
        })
    }

    fn next_of(&mut self, owner: &str, waits: impl Fn(&T) -> bool) -> Option<T> {
        let Waiting { ready, to_come } = self.owners.get_mut(owner)?;
        while let Some(thing) = ready.pop_front().or_else(|| to_come.pop_front()) {
            self.len -= 1;
            if waits(&thing) {
                return Some(thing);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut Queue<&'static str>, owner: &str, thing: &'static str) {
        queue.push(&Arc::from(owner), thing, false);
    }

    fn pop(queue: &mut Queue<&'static str>) -> Option<&'static str> {
        queue.pop(|_| true, |thing| *thing != "left")
    }

    fn all(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| pop(queue)).collect()
    }

    #[test]
    fn owners_take_turns() {
        let mut queue = Queue::default();
        for (owner, thing) in
            [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("b", "b2")]
        {
            push(&mut queue, owner, thing);
        }
        assert_eq!(queue.len(), 6);
        assert_eq!(all(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert!(queue.is_empty() && queue.owners.is_empty(), "nothing is left of the owners");
    }

    #[test]
    fn who_comes_with_little_goes_first() {
        let mut queue = Queue::default();
        for thing in ["a1", "a2", "a3"] {
            push(&mut queue, "a", thing);
        }
        push(&mut queue, "b", "b1");
        assert_eq!(
            [pop(&mut queue), pop(&mut queue), pop(&mut queue)],
            [Some("a1"), Some("b1"), Some("a2")]
        );
        push(&mut queue, "c", "c1");
        assert_eq!(pop(&mut queue), Some("c1"), "before a's third");
        push(&mut queue, "c", "c2");
        assert_eq!(
            pop(&mut queue),
            Some("a3"),
            "an owner that just had its turn is not fresh again"
        );
        assert_eq!(pop(&mut queue), Some("c2"));
    }

    #[test]
    fn what_is_ready_goes_first() {
        let mut queue = Queue::default();
        let owner = Arc::from("a");
        for (thing, is_ready) in [("1", false), ("2", true), ("3", false), ("4", true)] {
            queue.push(&owner, thing, is_ready);
        }
        assert_eq!(all(&mut queue), ["2", "4", "1", "3"]);
    }

    #[test]
    fn who_may_have_nothing_more_is_passed_over() {
        let mut queue = Queue::default();
        for (owner, thing) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b2")] {
            push(&mut queue, owner, thing);
        }
        let but_a = |owner: &str| owner != "a";
        assert_eq!(queue.pop(but_a, |_| true), Some("b1"));
        assert_eq!(queue.pop(but_a, |_| true), Some("b2"));
        assert_eq!(queue.pop(but_a, |_| true), None);
        assert_eq!(all(&mut queue), ["a1", "a2"]);
    }

    #[test]
    fn who_has_left_takes_no_turn() {
        let mut queue = Queue::default();
        for thing in ["left", "a1", "left"] {
            push(&mut queue, "a", thing);
        }
        let waits = |thing: &&str| *thing != "left";
        assert_eq!(queue.oldest("a", waits).collect::<Vec<_>>(), [&"a1"]);
        assert_eq!(queue.len(), 2);
        assert_eq!(all(&mut queue), ["a1"]);
        assert!(queue.is_empty() && queue.owners.is_empty());
        assert_eq!(queue.oldest("a", waits).count(), 0);
    }
}
