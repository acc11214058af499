// SPDX-License-Identifier: GPL-3.0-or-later
//! A cache bounded in entries and in time.

use std::hash::Hash;
use std::time::Duration;

use hashlink::LruCache;
use leco_os::clock::BootNs;

/// Remembers values for a time after they were made; of too many the least recently used go.
#[derive(Debug)]
pub(crate) struct TimedCache<K: Hash + Eq, V> {
    entries: LruCache<K, (BootNs, V)>,
    lifetime: u64,
}

impl<K: Hash + Eq, V> TimedCache<K, V> {
    pub(crate) fn new(entries: usize, lifetime: Duration) -> Self {
        let lifetime = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
        Self { entries: LruCache::new(entries), lifetime }
    }

    /// The value, where it is known and not too old.
    pub(crate) fn get(&mut self, key: &K, now: BootNs) -> Option<&V> {
        let lifetime = self.lifetime;
        self.entries.get(key).filter(|(made, _)| now.saturating_sub(*made) < lifetime).map(|(_, value)| value)
    }

    /// The value, however old.
    pub(crate) fn get_stale(&mut self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// As [`Self::get`], and its time starts anew.
    pub(crate) fn get_and_renew(&mut self, key: &K, now: BootNs) -> Option<&V> {
        let lifetime = self.lifetime;
        let entry = self.entries.get_mut(key).filter(|(made, _)| now.saturating_sub(*made) < lifetime)?;
        entry.0 = now;
        Some(&entry.1)
    }

    pub(crate) fn insert(&mut self, key: K, value: V, now: BootNs) {
        self.entries.insert(key, (now, value));
    }

    /// Every entry, however old.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, (_, value))| (key, value))
    }

    /// Every entry that is not too old.
    pub(crate) fn iter(&self, now: BootNs) -> impl Iterator<Item = (&K, &V)> {
        let lifetime = self.lifetime;
        self.entries
            .iter()
            .filter(move |(_, (made, _))| now.saturating_sub(*made) < lifetime)
            .map(|(key, (_, value))| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_by_time_and_by_number() {
        let mut cache = TimedCache::new(2, Duration::from_nanos(10));
        cache.insert(1, "a", 0);
        assert_eq!(cache.get(&1, 9), Some(&"a"));
        assert_eq!(cache.get(&1, 10), None);
        cache.insert(1, "a", 10);
        assert_eq!(cache.get_and_renew(&1, 19), Some(&"a"));
        assert_eq!(cache.get(&1, 28), Some(&"a"));
        cache.insert(2, "b", 28);
        cache.insert(3, "c", 28);
        assert_eq!(cache.get(&1, 28), None, "the least recently used went");
        assert_eq!(cache.iter(28).count(), 2);
    }
}
