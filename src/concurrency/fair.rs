//! A queue for each owner, served in turns: the order of FQ-CoDel (RFC 8290 4.2), with one thing a turn.
//!
//! An owner that had nothing waiting is served before those that had, once; then it takes its place behind
//! them. An owner that was served its last keeps its place for one round more, empty, so that it gains nothing by
//! letting its queue run dry.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// What waits, of all owners. It takes no memory for owners of which nothing waits, after a round.
pub(super) struct Queue<T> {
    owners: HashMap<Arc<str>, VecDeque<T>>,
    /// Owners that came just now.
    fresh: VecDeque<Arc<str>>,
    /// Those that have had a turn.
    served: VecDeque<Arc<str>>,
    len: usize,
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

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, owner: &str, thing: T) {
        self.len += 1;
        if let Some(queue) = self.owners.get_mut(owner) {
            return queue.push_back(thing);
        }
        let owner: Arc<str> = Arc::from(owner);
        self.fresh.push_back(Arc::clone(&owner));
        self.owners.insert(owner, VecDeque::from([thing]));
    }

    /// The next one that still `waits`; the others before it are thrown away.
    pub(super) fn pop(&mut self, waits: impl Fn(&T) -> bool) -> Option<T> {
        loop {
            let (owner, is_fresh) = match self.fresh.pop_front() {
                Some(owner) => (owner, true),
                None => (self.served.pop_front()?, false),
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

    /// The one of `owner` that came first and still `waits`.
    pub(super) fn oldest(&mut self, owner: &str, waits: impl Fn(&T) -> bool) -> Option<&T> {
        let queue = self.owners.get_mut(owner)?;
        while queue.front().is_some_and(|thing| !waits(thing)) {
            queue.pop_front();
            self.len -= 1;
        }
        queue.front()
    }

    fn next_of(&mut self, owner: &str, waits: impl Fn(&T) -> bool) -> Option<T> {
        let queue = self.owners.get_mut(owner)?;
        while let Some(thing) = queue.pop_front() {
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

    fn all(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop(|thing| *thing != "left")).collect()
    }

    #[test]
    fn owners_take_turns() {
        let mut queue = Queue::default();
        for (owner, thing) in
            [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("b", "b2")]
        {
            queue.push(owner, thing);
        }
        assert_eq!(queue.len(), 6);
        assert_eq!(all(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert!(queue.is_empty() && queue.owners.is_empty(), "nothing is left of the owners");
    }

    #[test]
    fn who_comes_with_little_goes_first() {
        let mut queue = Queue::default();
        for thing in ["a1", "a2", "a3"] {
            queue.push("a", thing);
        }
        queue.push("b", "b1");
        let any = |_: &&str| true;
        assert_eq!(
            (queue.pop(any), queue.pop(any), queue.pop(any)),
            (Some("a1"), Some("b1"), Some("a2"))
        );
        queue.push("c", "c1");
        assert_eq!(queue.pop(any), Some("c1"), "before a's third");
        queue.push("c", "c2");
        assert_eq!(
            queue.pop(any),
            Some("a3"),
            "an owner that just had its turn is not fresh again"
        );
        assert_eq!(queue.pop(any), Some("c2"));
    }

    #[test]
    fn who_has_left_takes_no_turn() {
        let mut queue = Queue::default();
        for thing in ["left", "a1", "left"] {
            queue.push("a", thing);
        }
        assert_eq!(queue.oldest("a", |thing| *thing != "left"), Some(&"a1"));
        assert_eq!(queue.len(), 2);
        assert_eq!(all(&mut queue), ["a1"]);
        assert!(queue.is_empty() && queue.owners.is_empty());
        assert_eq!(queue.oldest("a", |_| true), None);
    }
}
