//! Which connection stands in which slot.
//!
//! A connection (or group) keeps its slot while it is shown, so that what is new stands out: lines never
//! move by themselves.

use std::sync::Arc;

use hashlink::LinkedHashMap;

use crate::event::BootNs;
use crate::fade::Fade;

/// What a line stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LineKey {
    /// One connection, by its `ns`.
    Connection(BootNs),
    /// All connections that rules put under one key.
    Group(Arc<str>),
}

/// A connection or group as last received.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Oldest `ns` seen in it: its identity, from which its tag is made.
    pub(crate) ns: BootNs,
    /// When it was last updated, on the boot clock.
    pub(crate) updated: BootNs,
    /// As the rules left it.
    pub(crate) text: Arc<str>,
    slot: Option<usize>,
}

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Update {
    /// A line that was not known.
    New,
    /// A known line, with newer content.
    Changed,
    /// Nothing new.
    Old,
}

/// The last connections and groups, and the slots in which some of them are shown.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// In the order in which they were last updated, oldest first.
    known: LinkedHashMap<LineKey, Line>,
    slots: Vec<Option<LineKey>>,
    capacity: usize,
}

impl Lines {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.forget();
    }

    /// Takes an event: `updated` is its `ns_trx`.
    pub(crate) fn update(
        &mut self,
        key: &LineKey,
        ns: BootNs,
        updated: BootNs,
        text: &str,
        fade: &Fade,
        now: BootNs,
    ) -> Update {
        if let Some(line) = self.known.get_mut(key) {
            line.ns = line.ns.min(ns);
            if updated < line.updated || (updated == line.updated && *line.text == *text) {
                return Update::Old;
            }
            line.updated = updated;
            if *line.text != *text {
                line.text = text.into();
            }
            let shown = line.slot.is_some();
            self.known.to_back(key);
            if !shown {
                self.show(key, fade, now);
            }
            return Update::Changed;
        }
        self.known.insert(key.clone(), Line { ns, updated, text: text.into(), slot: None });
        self.show(key, fade, now);
        self.forget();
        Update::New
    }

    /// Gives a line the next free slot, else that of the line least recently updated.
    fn show(&mut self, key: &LineKey, fade: &Fade, now: BootNs) {
        let age = |line: &Line| now.saturating_sub(line.updated);
        let shown = |slot: &Option<LineKey>| slot.as_ref().and_then(|key| self.known.get(key));
        let free = self.slots.iter().position(|slot| {
            shown(slot).is_none_or(|line| fade.alpha(age(line)) == 0 && fade.next_change(age(line)).is_none())
        });
        let oldest = || {
            let ages = self.slots.iter().enumerate().filter_map(|(slot, key)| {
                key.as_ref().and_then(|key| self.known.get(key)).map(|line| (line.updated, slot))
            });
            ages.min().map(|(_, slot)| slot)
        };
        if let Some(slot) = free.or_else(oldest) {
            self.place(slot, key);
        }
    }

    fn place(&mut self, slot: usize, key: &LineKey) {
        let replaced = self.slots[slot].replace(key.clone());
        if let Some(line) = replaced.and_then(|old| self.known.get_mut(&old)) {
            line.slot = None;
        }
        if let Some(line) = self.known.get_mut(key) {
            line.slot = Some(slot);
        }
    }

    /// Drops the least recently updated lines above the capacity, but those on screen stay until their
    /// slot is needed.
    fn forget(&mut self) {
        let excess = self.known.len().saturating_sub(self.capacity);
        if excess > 0 {
            let forgotten: Vec<_> = self
                .known
                .iter()
                .take(excess)
                .filter(|(_, line)| line.slot.is_none())
                .map(|(key, _)| key.clone())
                .collect();
            for key in forgotten {
                self.known.remove(&key);
            }
        }
    }

    /// Changes the number of slots; new ones are filled with the lines last updated that are not shown.
    pub(crate) fn resize(&mut self, rows: usize) {
        if rows == self.slots.len() {
            return;
        }
        for key in self.slots.drain(rows.min(self.slots.len())..).flatten() {
            if let Some(line) = self.known.get_mut(&key) {
                line.slot = None;
            }
        }
        let first_new = self.slots.len();
        self.slots.resize(rows, None);
        let mut hidden: Vec<_> = self
            .known
            .iter()
            .rev()
            .filter(|(_, line)| line.slot.is_none())
            .take(rows - first_new)
            .map(|(key, _)| key.clone())
            .collect();
        hidden.reverse();
        for (slot, key) in (first_new..).zip(hidden) {
            self.place(slot, &key);
        }
        self.forget();
    }

    /// What stands in each slot.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Option<(&LineKey, &Line)>> {
        self.slots.iter().map(|slot| slot.as_ref().and_then(|key| Some((key, self.known.get(key)?))))
    }

    /// Every known line, least recently updated first.
    pub(crate) fn known(&self) -> impl Iterator<Item = &Line> {
        self.known.values()
    }
}
