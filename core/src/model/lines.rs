// SPDX-License-Identifier: GPL-3.0-or-later
//! Which connection stands in which slot.
//!
//! A connection (or group) keeps its slot while it is shown, so that what is new stands out: lines never
//! move by themselves.

use hashlink::LinkedHashMap;
use leco_os::clock::BootNs;

use crate::model::fader::Fader;
use crate::model::line::{Arrival, Line, LineKey, Look, Shown};
use crate::model::machines::{MachineId, OurNs};
use crate::model::traffic::Traffic;

/// Lines of one machine come as much out of order, and clocks of different ones agree no better: ns.
const MOMENT: OurNs = 1_000_000_000;

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
    /// Lines that had to make room.
    forgotten: u64,
    /// What went over all of them.
    traffic: Traffic,
}

impl Lines {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.forget();
    }

    /// Takes an event.
    pub(crate) fn update(&mut self, arrival: Arrival<'_>, fader: &Fader, now: OurNs) -> Update {
        let key = LineKey::of(arrival.placed.machine, arrival.ns, &arrival.shown);
        let Some(line) = self.known.get_mut(&key) else { return self.add(key, arrival, fader, now) };
        let Some(more) = line.update(arrival) else { return Update::Old };
        self.traffic.add(more, line.life.updated);
        let is_shown = line.slot.is_some();
        self.put_in_order(&key);
        if !is_shown {
            self.show(&key, fader, now);
        }
        Update::Changed
    }

    /// Takes the first event of a line.
    fn add(&mut self, key: LineKey, arrival: Arrival<'_>, fader: &Fader, now: OurNs) -> Update {
        let connection = LineKey::Connection(arrival.placed.machine, arrival.ns);
        let (mut line, more) = Line::new(&key, arrival);
        self.traffic.add(more, line.life.updated);
        let mut update = Update::New;
        // A connection that has now come into a group is no line of its own any more.
        if let LineKey::Group(..) = key
            && let Some(alone) = self.known.remove(&connection)
        {
            update = Update::Changed;
            line.slot = alone.slot;
        }
        let slot = line.slot;
        self.known.insert(key.clone(), line);
        self.put_in_order(&key);
        match slot {
            Some(slot) => self.slots[slot] = Some(key),
            None => self.show(&key, fader, now),
        }
        self.forget();
        update
    }

    /// Moves a line behind those that were updated before it. What comes last is seldom older than what came before,
    /// unless another machine tells what it knows. Within a moment they stay in the order in which they came.
    fn put_in_order(&mut self, key: &LineKey) {
        let Some(line) = self.known.to_back(key) else { return };
        let updated = line.life.updated.saturating_add(MOMENT);
        let mut cursor = self.known.cursor_back_mut();
        cursor.move_prev();
        if cursor.current().is_none_or(|(_, before)| before.life.updated <= updated) {
            return;
        }
        let Some((key, line)) = self.known.pop_back() else { return };
        let mut cursor = self.known.cursor_back_mut();
        while cursor.current().is_some_and(|(_, before)| before.life.updated > updated) {
            cursor.move_prev();
        }
        cursor.insert_after(key, line);
    }

    /// Puts every line where it stands now on our clock, as `again` says of a machine's time.
    pub(crate) fn place_again(
        &mut self,
        again: impl Fn(MachineId, u32, BootNs) -> Option<OurNs>,
        now: OurNs,
    ) {
        for (_, line) in &mut self.known {
            let Line { machine, life, .. } = line;
            let place = |ns| again(machine.id, machine.epoch, ns).map(|ours| ours.min(now));
            life.first = place(life.ns).unwrap_or(life.first);
            life.updated = place(life.ns_trx).unwrap_or(life.updated);
        }
        if !self.known.values().is_sorted_by_key(|line| line.life.updated) {
            let mut lines: Vec<_> = std::mem::take(&mut self.known).into_iter().collect();
            lines.sort_by_key(|(_, line)| line.life.updated);
            self.known.extend(lines);
        }
    }

    /// Makes every known line anew from what was received; `remake` says what it is now, or that it is
    /// dropped. Lines stay in their slots.
    pub(crate) fn remake(&mut self, mut remake: impl FnMut(&str) -> Option<Shown>) {
        for (_, mut line) in std::mem::take(&mut self.known) {
            let slot = line.slot.take();
            let shown = remake(&line.event.received);
            if let Some(slot) = slot {
                self.slots[slot] = None;
            }
            let Some(shown) = shown else { continue };
            let key = LineKey::of(line.machine.id, line.life.latest, &shown);
            line.look = Look::from(shown);
            line.count_as(&key);
            // Of lines that have become one, the later one is shown where the earlier one was.
            let earlier = self.known.remove(&key);
            if let Some(earlier) = &earlier {
                line.life.join(&earlier.life);
            }
            line.slot = earlier.and_then(|earlier| earlier.slot).or(slot);
            if let Some(slot) = line.slot {
                self.slots[slot] = Some(key.clone());
            }
            self.known.insert(key, line);
        }
    }

    /// Gives a line the next free slot, else that of the line least recently updated, unless that is itself.
    fn show(&mut self, key: &LineKey, fader: &Fader, now: OurNs) {
        let Some(updated) = self.known.get(key).map(|line| line.life.updated) else { return };
        let mut oldest: Option<(OurNs, usize)> = None;
        let mut free = None;
        for (slot, there) in self.slots.iter().enumerate() {
            let Some(line) = there.as_ref().and_then(|key| self.known.get(key)) else {
                free = Some(slot);
                break;
            };
            let is_gone = |times| fader.alpha(times, now) == 0 && fader.next_change(times, now).is_none();
            if is_gone(line.times()) {
                free = Some(slot);
                break;
            }
            if oldest.is_none_or(|(updated, _)| line.life.updated < updated) {
                oldest = Some((line.life.updated, slot));
            }
        }
        let oldest = oldest.filter(|(before, _)| *before <= updated.saturating_add(MOMENT));
        if let Some(slot) = free.or(oldest.map(|(_, slot)| slot)) {
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
            self.forgotten += forgotten.len() as u64;
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
    pub(crate) fn slots(&self) -> impl Iterator<Item = Option<&Line>> {
        self.slots.iter().map(|slot| slot.as_ref().and_then(|key| self.known.get(key)))
    }

    /// Lines that had to make room for others.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// What went over all of them since the start.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Every known line, least recently updated first.
    pub(crate) fn known(&self) -> impl DoubleEndedIterator<Item = &Line> + ExactSizeIterator {
        self.known.values()
    }
}

#[cfg(test)]
mod tests;
