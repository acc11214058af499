// SPDX-License-Identifier: GPL-3.0-or-later
//! Which connection stands in which slot.
//!
//! A connection (or group) keeps its slot while it is shown, so that what is new stands out: lines never
//! move by themselves.

use std::sync::Arc;

use hashlink::LinkedHashMap;
use leco_os::clock::BootNs;

use crate::model::fader::{Fader, Times};
use crate::model::machines::{MachineId, OurNs, Placed};
use crate::model::traffic::{BUCKET_NS, Bytes, Traffic};
use crate::style::LineStyle;
use crate::wire::event::ConnectionState;

/// What a line stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LineKey {
    /// One connection, by its `ns` on its machine's clock.
    Connection(MachineId, BootNs),
    /// All connections of a machine that rules put under one key.
    Group(MachineId, Arc<str>),
}

/// What the rules and styles made of a line as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) text: Arc<str>,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) style: LineStyle,
    /// Index of its curve in `[curves]`.
    pub(crate) curve: Option<usize>,
}

/// An event that is to be shown.
pub(crate) struct Arrival<'a> {
    /// Its machine, and when it came as our clock goes.
    pub(crate) placed: Placed,
    /// Of the connection.
    pub(crate) ns: BootNs,
    pub(crate) ns_trx: BootNs,
    /// As received.
    pub(crate) received: &'a str,
    /// The whole event, where it has more to tell than its line.
    pub(crate) event: Option<&'a str>,
    /// What went over the connection, where that is known.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) state: ConnectionState,
    pub(crate) is_first_ever: bool,
    pub(crate) shown: Shown,
}

/// A connection or group as last received.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) machine: MachineId,
    epoch: u32,
    /// Id of the machine's boot, where it is known and not ours.
    pub(crate) boot: Option<Arc<str>>,
    /// Name of the machine, where it is known.
    pub(crate) host: Option<Arc<str>>,
    /// Oldest `ns` seen in it: its identity, from which its tag is made.
    pub(crate) ns: BootNs,
    /// `ns` of the connection whose line it shows.
    latest: BootNs,
    /// When it was last updated, on its machine's clock.
    pub(crate) ns_trx: BootNs,
    /// When it began and when it was last updated, on our clock.
    pub(crate) first: OurNs,
    pub(crate) updated: OurNs,
    /// As received, for other rules to be applied to it.
    pub(crate) received: Arc<str>,
    /// The whole event, where it has more to tell than its line.
    pub(crate) event: Option<Box<str>>,
    pub(crate) traffic: Traffic,
    /// Of a group: what went over each of its latest connections so far.
    members: Option<Box<LinkedHashMap<BootNs, Bytes>>>,
    pub(crate) text: Arc<str>,
    pub(crate) state: ConnectionState,
    pub(crate) is_first_ever: bool,
    pub(crate) style: LineStyle,
    curve: Option<usize>,
    slot: Option<usize>,
}

impl Line {
    pub(crate) fn times(&self) -> Times {
        Times { first: self.first, updated: self.updated, curve: self.curve }
    }

    /// Takes what went over one of its connections so far, and tells what of that is new.
    fn count(&mut self, ns: BootNs, bytes: Bytes, is_new_line: bool) -> Bytes {
        let updated = self.updated;
        // What was open before it was seen, did not send all of it just now.
        let is_young = self.ns_trx.saturating_sub(ns) < BUCKET_NS;
        let Some(members) = &mut self.members else {
            if is_young || !is_new_line {
                return self.traffic.update(bytes, updated);
            }
            self.traffic.add_old(bytes);
            return Bytes::default();
        };
        let before = members.insert(ns, bytes);
        if members.len() > MAX_MEMBERS {
            members.pop_front();
        }
        let Some(before) = before.or_else(|| is_young.then(Bytes::default)) else {
            self.traffic.add_old(bytes);
            return Bytes::default();
        };
        let more = bytes.since(before);
        self.traffic.add(more, updated);
        more
    }

    /// Tells a group's connections apart from now on, or no more.
    fn count_as(&mut self, key: &LineKey) {
        match key {
            LineKey::Connection(..) => self.members = None,
            LineKey::Group(..) => {
                let members = self.members.get_or_insert_default();
                if members.is_empty() {
                    members.insert(self.latest, self.traffic.total);
                }
            }
        }
    }

    fn show_as(&mut self, shown: Shown) {
        self.text = shown.text;
        self.style = shown.style;
        self.curve = shown.curve;
    }
}

/// Connections of a group whose bytes are told apart.
const MAX_MEMBERS: usize = 256;

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
        let Arrival { placed, ns, ns_trx, received, event, bytes, state, is_first_ever, shown } = arrival;
        let Placed { machine, epoch, first, updated, boot, host } = placed;
        let key = key(machine, ns, &shown);
        if let Some(line) = self.known.get_mut(&key) {
            line.first = if ns < line.ns { first } else { line.first };
            line.ns = line.ns.min(ns);
            if ns_trx < line.ns_trx || (ns_trx == line.ns_trx && line.text == shown.text) {
                return Update::Old;
            }
            (line.epoch, line.updated, line.ns_trx) = (epoch, updated, ns_trx);
            if let Some(bytes) = bytes {
                self.traffic.add(line.count(ns, bytes, false), updated);
            }
            line.latest = ns;
            line.state = state;
            line.event = event.map(Box::from);
            line.host = host.or(line.host.take());
            line.is_first_ever = is_first_ever;
            if *line.received != *received {
                line.received = shared(received, &shown.text);
            }
            let is_shown = line.slot.is_some();
            line.show_as(shown);
            self.put_in_order(&key);
            if !is_shown {
                self.show(&key, fader, now);
            }
            return Update::Changed;
        }
        let mut line = Line {
            machine,
            epoch,
            boot,
            host,
            ns,
            latest: ns,
            ns_trx,
            first,
            updated,
            received: shared(received, &shown.text),
            event: event.map(Box::from),
            traffic: Traffic::default(),
            members: matches!(key, LineKey::Group(..)).then(Box::default),
            state,
            is_first_ever,
            text: shown.text,
            style: shown.style,
            curve: shown.curve,
            slot: None,
        };
        let mut update = Update::New;
        // A connection that has now come into a group is no line of its own any more.
        if let LineKey::Group(..) = key
            && let Some(alone) = self.known.remove(&LineKey::Connection(machine, ns))
        {
            update = Update::Changed;
            line.slot = alone.slot;
        }
        if let Some(bytes) = bytes {
            self.traffic.add(line.count(ns, bytes, true), updated);
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
        let updated = line.updated.saturating_add(MOMENT);
        let mut cursor = self.known.cursor_back_mut();
        cursor.move_prev();
        if cursor.current().is_none_or(|(_, before)| before.updated <= updated) {
            return;
        }
        let Some((key, line)) = self.known.pop_back() else { return };
        let mut cursor = self.known.cursor_back_mut();
        while cursor.current().is_some_and(|(_, before)| before.updated > updated) {
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
            let place = |ns| again(line.machine, line.epoch, ns).map(|ours| ours.min(now));
            line.first = place(line.ns).unwrap_or(line.first);
            line.updated = place(line.ns_trx).unwrap_or(line.updated);
        }
        if !self.known.values().is_sorted_by_key(|line| line.updated) {
            let mut lines: Vec<_> = std::mem::take(&mut self.known).into_iter().collect();
            lines.sort_by_key(|(_, line)| line.updated);
            self.known.extend(lines);
        }
    }

    /// Makes every known line anew from what was received; `remake` says what it is now, or that it is
    /// dropped. Lines stay in their slots.
    pub(crate) fn remake(&mut self, mut remake: impl FnMut(&str) -> Option<Shown>) {
        for (_, mut line) in std::mem::take(&mut self.known) {
            let slot = line.slot.take();
            let shown = remake(&line.received);
            if let Some(slot) = slot {
                self.slots[slot] = None;
            }
            let Some(shown) = shown else { continue };
            let key = key(line.machine, line.latest, &shown);
            line.show_as(shown);
            line.count_as(&key);
            // Of lines that have become one, the later one is shown where the earlier one was.
            let earlier = self.known.remove(&key);
            if let Some(earlier) = &earlier {
                line.ns = line.ns.min(earlier.ns);
                line.first = line.first.min(earlier.first);
                line.ns_trx = line.ns_trx.max(earlier.ns_trx);
                line.updated = line.updated.max(earlier.updated);
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
        let Some(updated) = self.known.get(key).map(|line| line.updated) else { return };
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
            if oldest.is_none_or(|(updated, _)| line.updated < updated) {
                oldest = Some((line.updated, slot));
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

    /// What went over all of them since the start.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Every known line, least recently updated first.
    pub(crate) fn known(&self) -> impl DoubleEndedIterator<Item = &Line> + ExactSizeIterator {
        self.known.values()
    }
}

/// Most lines are shown as they were received: one text is both.
fn shared(received: &str, shown: &Arc<str>) -> Arc<str> {
    if **shown == *received { Arc::clone(shown) } else { received.into() }
}

fn key(machine: MachineId, ns: BootNs, shown: &Shown) -> LineKey {
    match &shown.group {
        None => LineKey::Connection(machine, ns),
        Some(group) => LineKey::Group(machine, Arc::clone(group)),
    }
}

#[cfg(test)]
mod tests;
