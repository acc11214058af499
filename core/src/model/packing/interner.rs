// SPDX-License-Identifier: GPL-3.0-or-later
//! Values that are kept once, however often they are used.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

/// Values by number; one goes when nobody uses it any more.
#[derive(Debug)]
pub(super) struct Interner<T> {
    values: Vec<Option<Value<T>>>,
    by_value: HashTable<u32>,
    /// Numbers that are free again.
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug)]
struct Value<T> {
    value: T,
    uses: u32,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            by_value: HashTable::new(),
            free: Vec::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<T: Hash + Eq> Interner<T> {
    /// The number of a value that is kept.
    pub(super) fn find<Q>(&self, value: &Q) -> Option<u32>
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(value);
        self.by_value.find(hash, |id| self.get(*id).is_some_and(|it| it.borrow() == value)).copied()
    }

    /// The hash by which a value is found.
    pub(super) fn hash<Q: Hash + ?Sized>(&self, value: &Q) -> u64 {
        self.hasher.hash_one(value)
    }

    pub(super) fn get(&self, id: u32) -> Option<&T> {
        self.values.get(id as usize)?.as_ref().map(|it| &it.value)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    /// Uses a value once more, which is kept from now on where it was not.
    pub(super) fn hold<Q>(&mut self, value: &Q, own: impl FnOnce(&Q) -> T) -> u32
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(id) = self.find(value) {
            self.hold_again(id);
            return id;
        }
        let hash = self.hasher.hash_one(value);
        let new = Some(Value { value: own(value), uses: 1 });
        let id = if let Some(id) = self.free.pop() {
            self.values[id as usize] = new;
            id
        } else {
            self.values.push(new);
            u32::try_from(self.values.len() - 1).unwrap_or(u32::MAX)
        };
        let (values, hasher) = (&self.values, &self.hasher);
        self.by_value.insert_unique(hash, id, |id| {
            values[*id as usize].as_ref().map_or(0, |it| hasher.hash_one(&it.value))
        });
        id
    }

    /// Uses a value that is kept once more.
    pub(super) fn hold_again(&mut self, id: u32) {
        if let Some(Some(it)) = self.values.get_mut(id as usize) {
            it.uses = it.uses.saturating_add(1);
        }
    }

    /// Uses a value once less; what nobody uses any more is handed out.
    pub(super) fn release(&mut self, id: u32) -> Option<T> {
        let place = self.values.get_mut(id as usize)?;
        let it = place.as_mut()?;
        it.uses -= 1;
        if it.uses > 0 {
            return None;
        }
        let hash = self.hasher.hash_one(&it.value);
        if let Ok(entry) = self.by_value.find_entry(hash, |known| *known == id) {
            entry.remove();
        }
        self.free.push(id);
        place.take().map(|it| it.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_as_long_as_it_is_used() {
        let mut words: Interner<String> = Interner::default();
        let (a, b) = (words.hold("a", str::to_owned), words.hold("b", str::to_owned));
        assert_eq!((words.hold("a", str::to_owned), words.find("b"), words.len()), (a, Some(b), 2));
        assert_eq!((words.release(a), words.release(b)), (None, Some("b".to_owned())));
        assert_eq!((words.get(a).map(String::as_str), words.find("b")), (Some("a"), None));
        assert_eq!(words.hold("c", str::to_owned), b, "its number is used again");
        words.hold_again(b);
        assert_eq!(
            (words.release(b), words.release(b), words.release(a)),
            (None, Some("c".into()), Some("a".into()))
        );
        assert_eq!(words.len(), 0);
    }
}
