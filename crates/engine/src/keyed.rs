//! Things made on demand, one per key, and dropped again when idle, so that their number is bounded
//! by what is in use.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Idle ones are swept when the map has grown to a power of two of at least this.
const SWEEP_FROM: usize = 1024;

/// Things by their key.
#[derive(Debug)]
pub(crate) struct Keyed<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash + Clone, V> Keyed<K, V> {
    /// The thing of `key`. `is_idle` tells of one that nobody else holds whether a new one would be
    /// the same.
    pub(crate) fn of(&self, key: &K, make: impl FnOnce() -> V, is_idle: impl Fn(&V) -> bool) -> Arc<V> {
        let mut things = self.lock();
        if let Some(thing) = things.get(key) {
            return thing.clone();
        }
        if things.len() >= SWEEP_FROM && things.len().is_power_of_two() {
            things.retain(|_, thing| Arc::strong_count(thing) > 1 || !is_idle(thing));
        }
        let thing = Arc::new(make());
        things.insert(key.clone(), thing.clone());
        thing
    }

    /// The thing of `key`, if there is one.
    pub(crate) fn find(&self, key: &K) -> Option<Arc<V>> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<V>>> {
        // Every update leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_used_or_not_idle_outlives_many_others() {
        let keyed = Keyed::<u32, bool>::default();
        let of = |key, idle| keyed.of(&key, || idle, |idle| *idle);
        let held = of(0, true);
        of(1, false);
        for key in 2..10_000 {
            of(key, true);
            assert!(keyed.lock().len() <= SWEEP_FROM, "at {key}");
        }
        assert!(Arc::ptr_eq(&held, &keyed.find(&0).unwrap()));
        assert!(keyed.find(&1).is_some());
        assert!(keyed.find(&2).is_none());
    }
}
