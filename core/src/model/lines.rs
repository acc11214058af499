// SPDX-License-Identifier: GPL-3.0-or-later
//! Which connection stands in which slot.
//!
//! A connection (or group) keeps its slot while it is shown, so that what is new stands out: lines never
//! move by themselves.

use leco_os::clock::BootNs;

use crate::model::fader::Fader;
use crate::model::known_line::KnownLine;
use crate::model::line::{Arrival, Line, LineKey, Look, Shown};
use crate::model::machines::{MachineId, OurNs};
use crate::model::store::{Id, Rank, Store};
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

/// Packed lines take so many bytes at most: these,
const LEAST_PACKED_BYTES: usize = 4 << 20;
/// and so many for each that may be known. Most take a tenth of it.
const MOST_BYTES: usize = 1024;

/// How many lines are known, those in slots besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Of those that do not count as open.
    pub(crate) ordinary: usize,
    /// Of open ones; `None`: they are as good as others.
    pub(crate) open: Option<usize>,
}

/// The last connections and groups, and the slots in which some of them are shown.
#[derive(Debug)]
pub(crate) struct Lines {
    store: Store,
    slots: Vec<Option<Id>>,
    capacity: Capacity,
    /// Lines that had to make room.
    forgotten: u64,
    /// What went over all of them.
    traffic: Traffic,
}

impl Lines {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            store: Store::new(capacity.open.is_some()),
            slots: Vec::new(),
            capacity,
            forgotten: 0,
            traffic: Traffic::default(),
        }
    }

    pub(crate) fn set_capacity(&mut self, capacity: Capacity) {
        self.capacity = capacity;
        self.forget();
    }

    /// Takes an event.
    pub(crate) fn update(&mut self, arrival: Arrival<'_>, fader: &Fader, now: OurNs) -> Update {
        let key = LineKey::of(arrival.placed.machine, arrival.ns, &arrival.shown);
        let Some(id) = self.store.find(&key) else { return self.add(&key, arrival, fader, now) };
        let changed = self.store.update(id, |line| {
            let more = line.update(arrival)?;
            Some((more, line.life.updated, line.slot.is_some()))
        });
        let Some((more, updated, is_shown)) = changed else { return Update::Old };
        self.traffic.add(more, updated);
        self.store.put_in_order(id, MOMENT);
        if !is_shown {
            self.show(id, fader, now);
        }
        // It may be an ordinary line now.
        self.forget();
        Update::Changed
    }

    /// Takes the first event of a line.
    fn add(&mut self, key: &LineKey, arrival: Arrival<'_>, fader: &Fader, now: OurNs) -> Update {
        let connection = LineKey::Connection(arrival.placed.machine, arrival.ns);
        let (mut line, more) = Line::new(key, arrival);
        self.traffic.add(more, line.life.updated);
        let mut update = Update::New;
        // A connection that has now come into a group is no line of its own any more.
        if let LineKey::Group(..) = key
            && let Some(alone) = self.store.find(&connection)
        {
            update = Update::Changed;
            line.slot = self.store.remove(alone).slot;
        }
        let slot = line.slot;
        let id = self.store.push(line);
        self.store.put_in_order(id, MOMENT);
        match slot {
            Some(slot) => self.slots[slot] = Some(id),
            None => self.show(id, fader, now),
        }
        self.forget();
        update
    }

    /// Takes note of a connection that is not to be known any more: its line goes. That of a group stays, which is
    /// other connections' as well.
    pub(crate) fn leave_out(&mut self, machine: MachineId, ns: BootNs, shown: &Shown) {
        let Some(id) = self.store.find(&LineKey::of(machine, ns, shown)) else { return };
        if self.store.line(id).line().is_only(ns)
            && let Some(slot) = self.store.remove(id).slot
        {
            self.slots[slot] = None;
        }
    }

    /// Puts every line where it stands now on our clock, as `again` says of a machine's time.
    pub(crate) fn place_again(
        &mut self,
        again: impl Fn(MachineId, u32, BootNs) -> Option<OurNs>,
        now: OurNs,
    ) {
        self.store.place_again(|machine, ns| again(machine.id, machine.epoch, ns).map(|ours| ours.min(now)));
    }

    /// Makes every known line anew from what was received; `remake` says what it is now, or that it is
    /// dropped. Lines stay in their slots.
    pub(crate) fn remake(&mut self, mut remake: impl FnMut(&Line) -> Option<Shown>) {
        let slots = &mut self.slots;
        self.store.refill(|store, mut line| {
            let slot = line.slot.take();
            let shown = remake(&line);
            if let Some(slot) = slot {
                slots[slot] = None;
            }
            let Some(shown) = shown else { return };
            let key = LineKey::of(line.machine.id, line.life.latest, &shown);
            line.look = Look::from(shown);
            line.count_as(&key);
            // Of lines that have become one, the later one is shown where the earlier one was.
            let earlier = store.find(&key).map(|id| store.remove(id));
            line.slot = earlier.as_ref().and_then(|earlier| earlier.slot).or(slot);
            if let Some(earlier) = earlier {
                line.join(earlier);
            }
            let slot = line.slot;
            let id = store.push(line);
            match slot {
                Some(slot) => slots[slot] = Some(id),
                None => store.pack(id),
            }
        });
    }

    /// Gives a line the next free slot, else that of the line least recently updated, unless that is itself. Where it
    /// gets none, it is packed.
    fn show(&mut self, id: Id, fader: &Fader, now: OurNs) {
        let Some(updated) = self.store.plain(id).map(|line| line.life.updated) else { return };
        let mut oldest: Option<(OurNs, usize)> = None;
        let mut free = None;
        for (slot, there) in self.slots.iter().enumerate() {
            let Some(line) = there.and_then(|id| self.store.plain(id)) else {
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
        match free.or(oldest.map(|(_, slot)| slot)) {
            Some(slot) => self.place(slot, id),
            None => self.store.pack(id),
        }
    }

    fn place(&mut self, slot: usize, id: Id) {
        if let Some(replaced) = self.slots[slot].replace(id) {
            self.take_from_slot(replaced);
        }
        if let Some(line) = self.store.unpack(id) {
            line.slot = Some(slot);
        }
    }

    fn take_from_slot(&mut self, id: Id) {
        if let Some(line) = self.store.plain_mut(id) {
            line.slot = None;
        }
        self.store.pack(id);
    }

    /// Drops the least recently updated lines above the capacity, but those on screen stay until their
    /// slot is needed.
    fn forget(&mut self) {
        self.forget_rank(Rank::Ordinary, self.capacity.ordinary);
        self.forget_rank(Rank::Open, self.capacity.open.unwrap_or(usize::MAX));
        let lines = self.capacity.ordinary.saturating_add(self.capacity.open.unwrap_or(0));
        let most_bytes = lines.saturating_mul(MOST_BYTES).saturating_add(LEAST_PACKED_BYTES);
        for rank in [Rank::Ordinary, Rank::Open] {
            while self.store.packed_bytes() > most_bytes
                && let Some(id) = self.oldest_packed(rank)
            {
                self.store.forget(id);
                self.forgotten += 1;
            }
        }
    }

    fn forget_rank(&mut self, rank: Rank, capacity: usize) {
        let mut next = self.store.oldest(rank);
        for _ in capacity..self.store.count(rank) {
            let Some(id) = next else { return };
            next = self.store.next_of_rank(id);
            if self.store.plain(id).is_none() {
                self.store.forget(id);
                self.forgotten += 1;
            }
        }
    }

    /// The line of a rank that is the next to be forgotten.
    fn oldest_packed(&mut self, rank: Rank) -> Option<Id> {
        let mut next = self.store.oldest(rank);
        while let Some(id) = next.filter(|id| self.store.plain(*id).is_some()) {
            next = self.store.next_of_rank(id);
        }
        next
    }

    /// Changes the number of slots; new ones are filled with the lines last updated that are not shown.
    pub(crate) fn resize(&mut self, rows: usize) {
        if rows == self.slots.len() {
            return;
        }
        for id in self.slots.split_off(rows.min(self.slots.len())).into_iter().flatten() {
            self.take_from_slot(id);
        }
        let first_new = self.slots.len();
        self.slots.resize(rows, None);
        let is_hidden = |id: &Id| self.store.plain(*id).is_none();
        let mut hidden: Vec<_> = self.store.ids().rev().filter(is_hidden).take(rows - first_new).collect();
        hidden.reverse();
        for (slot, id) in (first_new..).zip(hidden) {
            self.place(slot, id);
        }
        self.forget();
    }

    /// What stands in each slot.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Option<&Line>> {
        self.slots.iter().map(|slot| slot.and_then(|id| self.store.plain(id)))
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
    pub(crate) fn known(&self) -> impl DoubleEndedIterator<Item = KnownLine<'_>> + ExactSizeIterator {
        self.store.known()
    }
}

#[cfg(test)]
mod tests;
