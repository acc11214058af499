// SPDX-License-Identifier: GPL-3.0-or-later
//! Lines that are known: those that are shown as they are, all others packed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use leco_os::clock::BootNs;

use crate::model::known_line::KnownLine;
use crate::model::line::{Lifetime, Line, LineKey, LineMachine};
use crate::model::machines::OurNs;
use crate::model::packing::{Extent, Packed, Packing};
use crate::wire::event::Phase;

/// Number of a line as long as it is known.
pub(super) type Id = u32;

const NONE: Id = Id::MAX;
/// A tree of every line would take a fifth of what the lines themselves do.
const STRIDE: u64 = 16;

/// How long lines are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// As long as there are not too many others.
    Ordinary,
    /// Longer: it is open.
    Open,
}

/// A line, and its place in the order.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) form: Form,
    before: Id,
    after: Id,
    place: Place,
    /// What was answered last about it, see [`crate::model::known_line::Answers`].
    pub(super) answer: Cell<u32>,
    rank: Rank,
}

/// Where a line stands in the order: behind a moment, and what came there before. It rises along the order.
type Place = (OurNs, u64);

/// Whether a place is in the tree: whatever the order in which lines come, as a hash of its number says (Knuth's
/// multiplicative one).
fn is_landmark((_, number): Place) -> bool {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & (STRIDE - 1) == 0
}

/// How a line is kept.
#[derive(Debug)]
pub(super) enum Form {
    /// As it is drawn.
    Plain(Box<Line>),
    Packed(Packed),
}

/// Every known line, in the order in which they were last updated.
#[derive(Debug)]
pub(crate) struct Store {
    entries: Vec<Entry>,
    free: Id,
    by_key: HashTable<Id>,
    hasher: DefaultHashBuilder,
    first: Id,
    last: Id,
    /// Some of the lines by their places, so that none is far to seek: one in [`STRIDE`] on average.
    landmarks: BTreeMap<Place, Id>,
    /// Lines that were put into the order so far.
    placed: u64,
    /// Of each rank: how many there are, and from where on the first one is to be looked for.
    ranks: [(usize, Id); 2],
    /// Whether open lines have a rank of their own.
    ranks_open: bool,
    pub(super) packing: Packing,
}

impl Entry {
    /// What it stands for.
    fn key(&self, packing: &Packing) -> LineKey {
        match &self.form {
            Form::Plain(line) => line.key(),
            Form::Packed(packed) => packing.key(packed),
        }
    }
}

impl Store {
    pub(super) fn new(ranks_open: bool) -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            by_key: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            first: NONE,
            last: NONE,
            landmarks: BTreeMap::new(),
            placed: 0,
            ranks: [(0, NONE); 2],
            ranks_open,
            packing: Packing::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// How many lines have a rank.
    pub(super) fn count(&self, rank: Rank) -> usize {
        self.ranks[rank as usize].0
    }

    /// Bytes of packed lines.
    pub(super) fn packed_bytes(&self) -> usize {
        self.packing.bytes()
    }

    pub(super) fn find(&self, key: &LineKey) -> Option<Id> {
        self.by_key.find(self.hasher.hash_one(key), |id| self.has_key(*id, key)).copied()
    }

    fn has_key(&self, id: Id, key: &LineKey) -> bool {
        match &self.entries[id as usize].form {
            Form::Plain(line) => line.key() == *key,
            Form::Packed(packed) => self.packing.has_key(packed, key),
        }
    }

    /// What a line stands for.
    fn key(&self, id: Id) -> LineKey {
        self.entries[id as usize].key(&self.packing)
    }

    fn updated(&self, id: Id) -> OurNs {
        match &self.entries[id as usize].form {
            Form::Plain(line) => line.life.updated,
            Form::Packed(packed) => packed.head().life.updated,
        }
    }

    /// A line that is not packed.
    pub(super) fn plain(&self, id: Id) -> Option<&Line> {
        match &self.entries.get(id as usize)?.form {
            Form::Plain(line) => Some(line),
            Form::Packed(_) => None,
        }
    }

    pub(super) fn plain_mut(&mut self, id: Id) -> Option<&mut Line> {
        match &mut self.entries.get_mut(id as usize)?.form {
            Form::Plain(line) => Some(line),
            Form::Packed(_) => None,
        }
    }

    /// A line, as it is kept.
    pub(super) fn line(&self, id: Id) -> KnownLine<'_> {
        KnownLine::new(self, self.entry(id))
    }

    /// Changes a line. One that did change is unpacked then; a change that brings nothing new is `None`.
    pub(super) fn update<T>(&mut self, id: Id, change: impl FnOnce(&mut Line) -> Option<T>) -> Option<T> {
        let entry = &mut self.entries[id as usize];
        let changed = match &mut entry.form {
            Form::Plain(line) => change(line)?,
            Form::Packed(packed) => {
                // The event is replaced.
                let mut line = self.packing.unpack(packed, Extent::WithoutEvent);
                let ns = line.life.ns;
                let changed = change(&mut line);
                let Some(changed) = changed else {
                    if line.life.ns != ns {
                        line.event.json = self.packing.unpack(packed, Extent::All).event.json;
                        self.packing.release(packed);
                        *packed = self.packing.pack(&line);
                    }
                    return None;
                };
                self.packing.release(packed);
                entry.form = Form::Plain(Box::new(line));
                changed
            }
        };
        entry.answer.set(0);
        Some(changed)
    }

    /// Packs a line.
    pub(super) fn pack(&mut self, id: Id) {
        if let Form::Plain(line) = &self.entries[id as usize].form {
            self.entries[id as usize].form = Form::Packed(self.packing.pack(line));
        }
    }

    /// Unpacks a line to stay so.
    pub(super) fn unpack(&mut self, id: Id) -> Option<&mut Line> {
        if let Form::Packed(packed) = &self.entries[id as usize].form {
            let line = self.packing.unpack(packed, Extent::All);
            self.packing.release(packed);
            self.entries[id as usize].form = Form::Plain(Box::new(line));
        }
        self.plain_mut(id)
    }

    /// Adds a line behind all others.
    pub(super) fn push(&mut self, line: Line) -> Id {
        let hash = self.hasher.hash_one(line.key());
        let rank = self.rank_of(&line);
        let form = Form::Plain(Box::new(line));
        let place = Place::default();
        let entry = Entry { form, before: NONE, after: NONE, place, answer: Cell::new(0), rank };
        let id = if self.free == NONE {
            self.entries.push(entry);
            Id::try_from(self.entries.len() - 1).unwrap_or(NONE)
        } else {
            let id = self.free;
            self.free = std::mem::replace(&mut self.entries[id as usize], entry).after;
            id
        };
        let Self { entries, packing, hasher, by_key, .. } = self;
        by_key.insert_unique(hash, id, |id| hasher.hash_one(entries[*id as usize].key(packing)));
        self.link(id, self.last);
        id
    }

    /// Forgets a line, and hands it out.
    pub(super) fn remove(&mut self, id: Id) -> Line {
        let form = self.remove_form(id);
        self.line_of(form)
    }

    /// Forgets a line that nobody needs any more.
    pub(super) fn forget(&mut self, id: Id) {
        if let Form::Packed(packed) = self.remove_form(id) {
            self.packing.release(&packed);
        }
    }

    fn remove_form(&mut self, id: Id) -> Form {
        let hash = self.hasher.hash_one(self.key(id));
        if let Ok(found) = self.by_key.find_entry(hash, |known| *known == id) {
            found.remove();
        }
        self.unlink(id);
        self.take(id)
    }

    /// Takes a line out of its place, which is free then.
    fn take(&mut self, id: Id) -> Form {
        let entry = &mut self.entries[id as usize];
        entry.after = std::mem::replace(&mut self.free, id);
        std::mem::replace(&mut entry.form, Form::Packed(Packed::default()))
    }

    fn line_of(&mut self, form: Form) -> Line {
        match form {
            Form::Plain(line) => *line,
            Form::Packed(packed) => {
                let line = self.packing.unpack(&packed, Extent::All);
                self.packing.release(&packed);
                line
            }
        }
    }

    /// Takes out every line, one after the other in their order, and has each taken in again.
    pub(super) fn refill(&mut self, mut take_in: impl FnMut(&mut Self, Line)) {
        let ids: Vec<Id> = self.ids().collect();
        self.by_key.clear();
        self.clear_order();
        for id in ids {
            let form = self.take(id);
            let line = self.line_of(form);
            take_in(self, line);
        }
    }

    fn rank_of(&self, line: &Line) -> Rank {
        if self.ranks_open && line.phase() == Phase::Open { Rank::Open } else { Rank::Ordinary }
    }

    /// Puts no line before any other.
    fn clear_order(&mut self) {
        (self.first, self.last, self.ranks) = (NONE, NONE, [(0, NONE); 2]);
        self.landmarks.clear();
    }

    /// Puts a line behind another one.
    fn link(&mut self, id: Id, before: Id) {
        let (moment, _) = self.entries.get(before as usize).map_or((OurNs::MIN, 0), |before| before.place);
        self.placed += 1;
        let place = (moment.max(self.updated(id)), self.placed);
        self.entries[id as usize].place = place;
        if is_landmark(place) {
            self.landmarks.insert(place, id);
        }
        let after = if before == NONE { self.first } else { self.entries[before as usize].after };
        let entry = &mut self.entries[id as usize];
        (entry.before, entry.after) = (before, after);
        let (count, search) = &mut self.ranks[entry.rank as usize];
        *count += 1;
        if after == NONE {
            self.last = id;
            // All before it have another rank.
            if *search == NONE {
                *search = id;
            }
        } else {
            self.entries[after as usize].before = id;
            *search = if before == NONE { id } else { self.first };
        }
        if before == NONE {
            self.first = id;
        } else {
            self.entries[before as usize].after = id;
        }
    }

    fn unlink(&mut self, id: Id) {
        let Entry { before, after, rank, place, .. } = self.entries[id as usize];
        if is_landmark(place) {
            self.landmarks.remove(&place);
        }
        self.ranks[rank as usize].0 -= 1;
        for (_, search) in &mut self.ranks {
            if *search == id {
                *search = after;
            }
        }
        match self.entries.get_mut(before as usize) {
            Some(before) => before.after = after,
            None => self.first = after,
        }
        match self.entries.get_mut(after as usize) {
            Some(after) => after.before = before,
            None => self.last = before,
        }
    }

    /// The last line that stands up to a moment.
    fn last_until(&self, moment: OurNs) -> Id {
        let is_until = |id: Id| self.entries.get(id as usize).is_some_and(|entry| entry.place.0 <= moment);
        // Mostly it is the last of all.
        if is_until(self.last) {
            return self.last;
        }
        let mut last = self.landmarks.range(..=(moment, u64::MAX)).next_back().map_or(NONE, |(_, id)| *id);
        loop {
            let next = self.entries.get(last as usize).map_or(self.first, |entry| entry.after);
            if !is_until(next) {
                return last;
            }
            last = next;
        }
    }

    /// Puts a line behind all that stand before it or up to a moment later.
    pub(super) fn put_in_order(&mut self, id: Id, moment: OurNs) {
        self.unlink(id);
        if let Some(line) = self.plain(id) {
            let rank = self.rank_of(line);
            self.entries[id as usize].rank = rank;
        }
        let latest = self.updated(id).saturating_add(moment);
        self.link(id, self.last_until(latest));
    }

    /// Puts every line where it stands now on our clock, as `again` says of a machine's time, and all in order.
    pub(super) fn place_again(&mut self, again: impl Fn(&LineMachine, BootNs) -> Option<OurNs>) {
        let mut order: Vec<(OurNs, Id)> = Vec::with_capacity(self.len());
        let mut id = self.first;
        while let Some(entry) = self.entries.get_mut(id as usize) {
            let mut place = |machine: &LineMachine, life: &Lifetime| {
                let first = again(machine, life.ns).unwrap_or(life.first);
                let updated = again(machine, life.ns_trx).unwrap_or(life.updated);
                order.push((updated, id));
                (first, updated)
            };
            match &mut entry.form {
                Form::Plain(line) => {
                    (line.life.first, line.life.updated) = place(&line.machine, &line.life);
                }
                Form::Packed(packed) => {
                    let head = packed.head();
                    let before = (head.life.first, head.life.updated);
                    let (first, updated) = place(&self.packing.machine(&head), &head.life);
                    if (first, updated) != before {
                        self.packing.place(packed, first, updated);
                    }
                }
            }
            id = entry.after;
        }
        order.sort_by_key(|(updated, _)| *updated);
        self.clear_order();
        for (_, id) in order {
            self.link(id, self.last);
        }
    }

    /// Lines of a rank, from the least recently updated on.
    pub(super) fn oldest(&mut self, rank: Rank) -> Option<Id> {
        let (count, mut search) = self.ranks[rank as usize];
        if count == 0 {
            return None;
        }
        while search != NONE && self.entries[search as usize].rank != rank {
            search = self.entries[search as usize].after;
        }
        self.ranks[rank as usize].1 = search;
        (search != NONE).then_some(search)
    }

    /// The next line of the same rank.
    pub(super) fn next_of_rank(&self, id: Id) -> Option<Id> {
        let rank = self.entries[id as usize].rank;
        let mut next = self.entries[id as usize].after;
        while next != NONE && self.entries[next as usize].rank != rank {
            next = self.entries[next as usize].after;
        }
        (next != NONE).then_some(next)
    }

    pub(super) fn ids(&self) -> Ids<'_> {
        Ids { store: self, front: self.first, back: self.last, left: self.len() }
    }

    pub(super) fn entry(&self, id: Id) -> &Entry {
        &self.entries[id as usize]
    }

    /// Every line, least recently updated first.
    pub(super) fn known(&self) -> impl DoubleEndedIterator<Item = KnownLine<'_>> + ExactSizeIterator {
        self.ids().map(|id| KnownLine::new(self, self.entry(id)))
    }
}

/// Numbers of all lines in their order.
pub(super) struct Ids<'s> {
    store: &'s Store,
    front: Id,
    back: Id,
    left: usize,
}

impl Iterator for Ids<'_> {
    type Item = Id;

    fn next(&mut self) -> Option<Id> {
        self.left = self.left.checked_sub(1)?;
        let id = self.front;
        self.front = self.store.entries.get(id as usize)?.after;
        Some(id)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Ids<'_> {
    fn next_back(&mut self) -> Option<Id> {
        self.left = self.left.checked_sub(1)?;
        let id = self.back;
        self.back = self.store.entries.get(id as usize)?.before;
        Some(id)
    }
}

impl ExactSizeIterator for Ids<'_> {}
