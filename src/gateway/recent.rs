//! A map of bounded size that forgets what has not been used for longest, roughly: two halves, of
//! which the older is dropped whenever the younger is full. Shared by all workers.

use std::{
    borrow::Borrow,
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Parts with a lock each, so that workers seldom wait for each other.
const SHARDS: usize = 16;

/// A map that keeps at least as many of its latest entries as it was made for, and at most about
/// twice as many.
pub struct Recent<K, V, S = RandomState> {
    shards: [Mutex<Shard<K, V, S>>; SHARDS],
    hasher: S,
    /// Of a shard's half.
    capacity: usize,
}

struct Shard<K, V, S> {
    young: HashMap<K, V, S>,
    old: HashMap<K, V, S>,
}

impl<K: Eq + Hash, V: Clone, S: BuildHasher + Clone + Default> Recent<K, V, S> {
    /// A map for about so many entries.
    pub fn new(entries: usize) -> Self {
        let hasher = S::default();
        let half = || HashMap::with_hasher(hasher.clone());
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard { young: half(), old: half() })),
            hasher,
            capacity: entries.div_ceil(SHARDS).max(1),
        }
    }

    /// A copy of the value, which counts as a use.
    pub fn get<Q: ?Sized + Eq + Hash>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut shard = self.shard(key);
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = shard.old.remove_entry(key)?;
        self.put(&mut shard, key, value.clone());
        Some(value)
    }

    /// Puts a value in the place of any that was there.
    pub fn insert(&self, key: K, value: V) {
        let mut shard = self.shard(&key);
        self.put(&mut shard, key, value);
    }

    /// Looks at the value and replaces it by another, unless there is an error, at one go.
    pub fn replace<T, E>(
        &self,
        key: K,
        change: impl FnOnce(Option<&V>) -> Result<(T, V), E>,
    ) -> Result<T, E> {
        let mut shard = self.shard(&key);
        if let Some(value) = shard.young.get_mut(&key) {
            let (answer, next) = change(Some(value))?;
            *value = next;
            return Ok(answer);
        }
        let (answer, value) = match shard.old.remove(&key) {
            None => change(None).map(|(answer, value)| (Ok(answer), value))?,
            // An error is a use, too.
            Some(value) => match change(Some(&value)) {
                Ok((answer, next)) => (Ok(answer), next),
                Err(error) => (Err(error), value),
            },
        };
        self.put(&mut shard, key, value);
        answer
    }

    /// How many entries there are, of which some may be forgotten soon.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap());
        shards.map(|shard| shard.young.len() + shard.old.len()).sum()
    }

    fn shard<Q: ?Sized + Hash>(&self, key: &Q) -> MutexGuard<'_, Shard<K, V, S>> {
        // The map within goes by the lowest and the highest bits.
        let at = (self.hasher.hash_one(key) >> 32) as usize % SHARDS;
        // A panic between two steps leaves at worst an entry too few.
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, shard: &mut Shard<K, V, S>, key: K, value: V) {
        if shard.young.len() >= self.capacity && !shard.young.contains_key(&key) {
            let fresh = HashMap::with_hasher(self.hasher.clone());
            shard.old = mem::replace(&mut shard.young, fresh);
        }
        shard.young.insert(key, value);
    }
}

impl<K, V, S> fmt::Debug for Recent<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_keys_take_no_more_than_was_set() {
        let map = Recent::<_, _>::new(1000);
        for key in 0..1_000_000_u64 {
            map.insert(key, key);
        }
        assert!((1000..=2 * 1016).contains(&map.len()), "{}", map.len());
        assert_eq!(map.get(&999_999), Some(999_999));
        assert_eq!(map.get(&0), None);
    }

    #[test]
    fn what_is_in_use_stays() {
        let map = Recent::<_, _>::new(1000);
        map.insert(u64::MAX, "used");
        for key in 0..100_000 {
            map.insert(key, "once");
            assert_eq!(map.get(&u64::MAX), Some("used"), "{key}");
        }
    }

    #[test]
    fn an_error_is_a_use() {
        let map = Recent::<_, _>::new(1000);
        map.insert(u64::MAX, "used");
        for key in 0..100_000 {
            map.insert(key, "once");
            assert_eq!(
                map.replace(u64::MAX, |value| Err::<((), _), _>(value.copied())),
                Err(Some("used"))
            );
        }
    }

    #[test]
    fn an_error_changes_nothing() {
        let map = Recent::<_, _>::new(10);
        map.insert("a", 1);
        assert_eq!(map.replace("a", |value| Err::<((), _), _>(value.copied())), Err(Some(1)));
        assert_eq!(map.replace("a", |value| Ok::<_, ()>((value.copied(), 2))), Ok(Some(1)));
        assert_eq!(map.get("a"), Some(2));
    }
}
