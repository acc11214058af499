// SPDX-License-Identifier: GPL-3.0-or-later
//! Lines in little memory: of ten thousand that are known, few are looked at.
//!
//! A packed line is its numbers, then the words of its texts and the values of its event, of which those that other
//! lines have, too, are kept once. Nothing of it is lost: it is unpacked when somebody asks for it. An event of 670
//! bytes and its line take some 110.

mod bytes;
mod interner;
mod words;

use std::ops::Range;
use std::sync::Arc;

use leco_os::clock::BootNs;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use self::bytes::{Reader, Writer, put_number, put_signed};
use self::interner::Interner;
use self::words::{Known, Locals, Token, Words, token};
use crate::model::line::{LastEvent, Lifetime, Line, LineBytes, LineId, LineKey, LineMachine, Look, Member};
use crate::model::machines::OurNs;
use crate::model::traffic::{BUCKET_NS, BUCKETS, Bytes, History, Traffic};
use crate::style::LineStyle;
use crate::wire::event::{ConnectionState, Phase};

/// A line that is packed.
#[derive(Debug, Default)]
pub(super) struct Packed(Box<[u8]>);

/// What packed lines have in common.
#[derive(Debug, Default)]
pub(super) struct Packing {
    words: Words,
    machines: Interner<LineMachine>,
    styles: Interner<(LineStyle, Option<usize>)>,
    /// Bytes of what is packed.
    bytes: usize,
    scratch: Writer,
}

/// The numbers of a packed line.
#[derive(Debug, Clone)]
pub(super) struct Head<'p> {
    flags: Flags,
    machine: u32,
    style: u32,
    pub(super) life: Lifetime,
    pub(super) total: Bytes,
    /// What follows.
    rest: Reader<'p>,
}

/// What of a packed line is one of a few things.
#[derive(Debug, Clone, Copy)]
struct Flags {
    state: ConnectionState,
    /// Of its last event.
    phase: Phase,
    /// Of the line.
    line_phase: Phase,
    is_first_ever: bool,
    is_group: bool,
    /// It is shown as it was received.
    is_as_received: bool,
    event: EventForm,
    history: HistoryForm,
}

/// How an event is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventForm {
    None,
    /// Names of its fields, and their values.
    Fields,
    /// As it came.
    Text,
}

/// How a history is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HistoryForm {
    None,
    /// All bytes came with the last update.
    AllLast,
    Buckets,
}

/// How much of a line is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    /// All but its event.
    WithoutEvent,
}

const STATES: [ConnectionState; 5] = [
    ConnectionState::Ordinary,
    ConnectionState::Incoming,
    ConnectionState::Refused,
    ConnectionState::TimedOut,
    ConnectionState::Blocked,
];
const PHASES: [Phase; 3] = [Phase::Untold, Phase::Open, Phase::Closed];
const EVENTS: [EventForm; 3] = [EventForm::None, EventForm::Fields, EventForm::Text];
const HISTORIES: [HistoryForm; 3] = [HistoryForm::None, HistoryForm::AllLast, HistoryForm::Buckets];

/// The place of a value in a table.
fn place<T: PartialEq>(table: &[T], value: &T) -> u8 {
    table.iter().position(|known| known == value).and_then(|at| u8::try_from(at).ok()).unwrap_or_default()
}

fn at<T: Copy>(table: &[T], place: u8) -> T {
    table.get(usize::from(place)).copied().unwrap_or(table[0])
}

impl Flags {
    fn to_bytes(self) -> [u8; 2] {
        let flag = |is_set: bool, bit: u8| u8::from(is_set) << bit;
        [
            place(&STATES, &self.state)
                | place(&PHASES, &self.phase) << 3
                | flag(self.is_first_ever, 5)
                | flag(self.is_group, 6)
                | flag(self.is_as_received, 7),
            place(&PHASES, &self.line_phase)
                | place(&EVENTS, &self.event) << 2
                | place(&HISTORIES, &self.history) << 4,
        ]
    }

    fn from_bytes([low, high]: [u8; 2]) -> Self {
        Self {
            state: at(&STATES, low & 7),
            phase: at(&PHASES, low >> 3 & 3),
            is_first_ever: low >> 5 & 1 == 1,
            is_group: low >> 6 & 1 == 1,
            is_as_received: low >> 7 == 1,
            line_phase: at(&PHASES, high & 3),
            event: at(&EVENTS, high >> 2 & 3),
            history: at(&HISTORIES, high >> 4 & 3),
        }
    }
}

impl Packed {
    /// Its numbers.
    pub(super) fn head(&self) -> Head<'_> {
        let mut reader = Reader::new(&self.0);
        let flags = Flags::from_bytes([reader.byte(), reader.byte()]);
        let [machine, style] =
            [reader.number(), reader.number()].map(|id| u32::try_from(id).unwrap_or_default());
        let ns = reader.number();
        let latest = ns.wrapping_add_signed(reader.signed());
        let ns_trx = ns.wrapping_add_signed(reader.signed());
        // Both are as far from their machine's clock, unless that changed between them.
        let shift = reader.signed();
        let first = ns.cast_signed().wrapping_add(shift);
        let updated = ns_trx.cast_signed().wrapping_add(shift).wrapping_add(reader.signed());
        let total = Bytes { rx: reader.number(), tx: reader.number() };
        let life = Lifetime { ns, latest, ns_trx, first, updated };
        Head { flags, machine, style, life, total, rest: reader }
    }
}

fn put_head(out: &mut Writer, flags: Flags, (machine, style): (u32, u32), life: &Lifetime, total: Bytes) {
    out.extend(flags.to_bytes());
    put_number(out, machine.into());
    put_number(out, style.into());
    put_number(out, life.ns);
    put_signed(out, life.latest.wrapping_sub(life.ns).cast_signed());
    put_signed(out, life.ns_trx.wrapping_sub(life.ns).cast_signed());
    let shift = life.first.wrapping_sub(life.ns.cast_signed());
    put_signed(out, shift);
    put_signed(out, life.updated.wrapping_sub(life.ns_trx.cast_signed()).wrapping_sub(shift));
    put_number(out, total.rx);
    put_number(out, total.tx);
}

impl Head<'_> {
    pub(super) fn state(&self) -> ConnectionState {
        self.flags.state
    }

    pub(super) fn line_phase(&self) -> Phase {
        self.flags.line_phase
    }

    /// What went over it.
    pub(super) fn traffic(&self) -> Traffic {
        self.clone().take_traffic()
    }

    /// As [`Traffic::rate`] has it.
    pub(super) fn rate(&self, now: BootNs) -> Bytes {
        if self.flags.history == HistoryForm::None { Bytes::default() } else { self.traffic().rate(now) }
    }

    fn take_traffic(&mut self) -> Traffic {
        let bucket = self.life.updated.div_euclid(BUCKET_NS.cast_signed());
        let history = match self.flags.history {
            HistoryForm::None => None,
            HistoryForm::AllLast => Some(all_last(self.total, bucket)),
            HistoryForm::Buckets => {
                let reader = &mut self.rest;
                let mut history =
                    History { bucket: bucket.wrapping_add(reader.signed()), ..History::default() };
                for buckets in [&mut history.rx, &mut history.tx] {
                    let used = reader.number();
                    let is_used = |at: usize| used >> at & 1 == 1;
                    for (_, bucket) in buckets.iter_mut().enumerate().filter(|(at, _)| is_used(*at)) {
                        *bucket = reader.number();
                    }
                }
                Some(history)
            }
        };
        Traffic { total: self.total, history: history.map(Box::new) }
    }

    fn take_members(&mut self) -> Option<Vec<Member>> {
        let Self { rest: reader, life, .. } = self;
        self.flags.is_group.then(|| {
            let count = reader.count();
            let member = |_| {
                let ns = life.ns.wrapping_add_signed(reader.signed());
                let flags = reader.byte();
                let bytes = (flags >> 2 == 1).then(|| Bytes { rx: reader.number(), tx: reader.number() });
                Member { ns, phase: at(&PHASES, flags & 3), bytes }
            };
            (0..count).map(member).collect()
        })
    }

    fn known(&self) -> Known {
        let Lifetime { latest, ns_trx, .. } = self.life;
        Known { ns: latest, ns_trx, rx: self.total.rx, tx: self.total.tx }
    }
}

/// A history in which everything came in one bucket.
fn all_last(total: Bytes, bucket: i64) -> History {
    let mut history = History { bucket, ..History::default() };
    (history.rx[BUCKETS - 1], history.tx[BUCKETS - 1]) = (total.rx, total.tx);
    history
}

fn put_history(out: &mut Writer, form: HistoryForm, history: Option<&History>, updated: OurNs) {
    let Some(history) = history.filter(|_| form == HistoryForm::Buckets) else { return };
    put_signed(out, history.bucket.wrapping_sub(updated.div_euclid(BUCKET_NS.cast_signed())));
    for buckets in [&history.rx, &history.tx] {
        let used = buckets.iter().enumerate().filter(|(_, bytes)| **bytes > 0);
        put_number(out, used.clone().map(|(at, _)| 1_u64 << at).sum());
        used.for_each(|(_, bytes)| put_number(out, *bytes));
    }
}

/// The fields of an event as they stand in it.
struct Fields<'j> {
    names: Vec<&'j str>,
    values: Vec<&'j str>,
}

/// Between names of fields.
const BETWEEN_NAMES: char = ',';

impl<'j> Fields<'j> {
    /// Those of an event that is written as most are: names without anything special.
    fn of(event: &'j str) -> Option<Self> {
        struct Collect;
        impl<'j> Visitor<'j> for Collect {
            type Value = Fields<'j>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields { names: Vec::with_capacity(32), values: Vec::with_capacity(32) };
                while let Some((name, value)) = map.next_entry::<&str, &RawValue>()? {
                    fields.names.push(name);
                    fields.values.push(value.get());
                }
                Ok(fields)
            }
        }
        let is_special = |c: char| matches!(c, BETWEEN_NAMES | '"' | '\\') || c.is_control();
        let fields = serde_json::Deserializer::from_str(event).deserialize_map(Collect).ok()?;
        (!fields.names.is_empty() && !fields.names.iter().any(|name| name.contains(is_special)))
            .then_some(fields)
    }
}

impl Packing {
    /// Bytes of what is packed, and of what those have in common.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.words.bytes()
    }

    /// Packs a line.
    pub(super) fn pack(&mut self, line: &Line) -> Packed {
        let Line { machine, life, event, look, bytes: LineBytes { traffic, members }, slot: _ } = line;
        let fields = event.json.as_deref().and_then(Fields::of);
        let bucket = life.updated.div_euclid(BUCKET_NS.cast_signed());
        let flags = Flags {
            state: event.state,
            phase: event.phase,
            line_phase: line.phase(),
            is_first_ever: event.is_first_ever,
            is_group: look.group.is_some(),
            is_as_received: event.received == look.text,
            event: match (&event.json, &fields) {
                (None, _) => EventForm::None,
                (Some(_), Some(_)) => EventForm::Fields,
                (Some(_), None) => EventForm::Text,
            },
            history: match traffic.history.as_deref() {
                None => HistoryForm::None,
                Some(history) if *history == all_last(traffic.total, bucket) => HistoryForm::AllLast,
                Some(_) => HistoryForm::Buckets,
            },
        };
        let machine = self.machines.hold(machine, LineMachine::clone);
        let style = self.styles.hold(&(look.style, look.curve), |style| *style);
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        put_head(&mut out, flags, (machine, style), life, traffic.total);
        put_history(&mut out, flags.history, traffic.history.as_deref(), life.updated);
        if flags.is_group {
            let members = members.as_deref().unwrap_or_default();
            put_number(&mut out, members.len() as u64);
            for Member { ns, phase, bytes } in members {
                put_signed(&mut out, ns.wrapping_sub(life.ns).cast_signed());
                out.push(place(&PHASES, phase) | u8::from(bytes.is_some()) << 2);
                if let Some(Bytes { rx, tx }) = bytes {
                    put_number(&mut out, *rx);
                    put_number(&mut out, *tx);
                }
            }
        }
        let known =
            Known { ns: life.latest, ns_trx: life.ns_trx, rx: traffic.total.rx, tx: traffic.total.tx };
        let mut locals = Locals::default();
        self.words.put_line(&mut out, &event.received, &mut locals, known.ns);
        if !flags.is_as_received {
            self.words.put_line(&mut out, &look.text, &mut locals, known.ns);
        }
        if let Some(group) = &look.group {
            self.words.put_word(&mut out, group, &Locals::default(), known.ns);
        }
        match (&fields, &event.json) {
            (Some(fields), _) => {
                let names = fields.names.join(&String::from(BETWEEN_NAMES));
                self.words.put_word(&mut out, &names, &Locals::default(), known.ns);
                for value in &fields.values {
                    self.words.put_value(&mut out, value, (&event.received, &locals), known);
                }
            }
            (None, Some(json)) => bytes::put_text(&mut out, json),
            (None, None) => {}
        }
        self.bytes += out.len();
        let packed = Packed(out.as_slice().into());
        self.scratch = out;
        packed
    }

    /// Unpacks a line, which stays packed.
    pub(super) fn unpack(&self, packed: &Packed, extent: Extent) -> Line {
        let mut head = packed.head();
        let traffic = head.take_traffic();
        let members = head.take_members();
        let mut texts = Texts::default();
        self.read_texts(&mut head, &mut texts);
        let received: Arc<str> = texts.received().into();
        let text = if head.flags.is_as_received { Arc::clone(&received) } else { texts.text().into() };
        let group = head.flags.is_group.then(|| Arc::from(self.word(&mut head.rest)));
        let json = (extent == Extent::All).then(|| self.read_event(&mut head, &texts)).flatten();
        let (style, curve) = self.styles.get(head.style).copied().unwrap_or_default();
        let Flags { state, phase, is_first_ever, .. } = head.flags;
        Line {
            machine: self.machine(&head),
            life: head.life,
            event: LastEvent { received, json: json.map(Into::into), state, phase, is_first_ever },
            look: Look { text, group, style, curve },
            bytes: LineBytes { traffic, members },
            slot: None,
        }
    }

    /// Gives up what a packed line has in common with others.
    pub(super) fn release(&mut self, packed: &Packed) {
        self.bytes -= packed.0.len();
        let mut head = packed.head();
        self.machines.release(head.machine);
        self.styles.release(head.style);
        let _ = (head.take_traffic(), head.take_members());
        let lines = if head.flags.is_as_received { 1 } else { 2 };
        for _ in 0..lines {
            for _ in 0..head.rest.count() {
                self.release_word(&mut head.rest);
            }
        }
        if head.flags.is_group {
            self.release_word(&mut head.rest);
        }
        if head.flags.event == EventForm::Fields {
            let names = self.word(&mut head.rest.clone());
            self.release_word(&mut head.rest);
            for _ in names.split(BETWEEN_NAMES) {
                self.release_word(&mut head.rest);
            }
        }
    }

    fn release_word(&mut self, reader: &mut Reader<'_>) {
        loop {
            let token = token(reader);
            self.words.release(token);
            if !matches!(token, Token::Label(_) | Token::Key) {
                return;
            }
        }
    }

    /// Puts a line where it stands now on our clock.
    pub(super) fn place(&mut self, packed: &mut Packed, first: OurNs, updated: OurNs) {
        let head = packed.head();
        let mut flags = head.flags;
        let history = head.traffic().history;
        // The bucket that "all" means follows from the time of the update.
        if flags.history == HistoryForm::AllLast {
            flags.history = HistoryForm::Buckets;
        }
        let after = {
            let mut head = head.clone();
            let _ = head.take_traffic();
            head.rest
        };
        let life = Lifetime { first, updated, ..head.life };
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        put_head(&mut out, flags, (head.machine, head.style), &life, head.total);
        put_history(&mut out, flags.history, history.as_deref(), updated);
        out.extend_from_slice(after.rest());
        self.bytes = self.bytes - packed.0.len() + out.len();
        *packed = Packed(out.as_slice().into());
        self.scratch = out;
    }

    /// By what a line is known.
    pub(super) fn id(&self, packed: &Packed) -> LineId {
        let head = packed.head();
        (self.machines.get(head.machine).map_or(0, |machine| machine.id), head.life.ns)
    }

    /// What a line stands for.
    pub(super) fn key(&self, packed: &Packed) -> LineKey {
        let mut head = packed.head();
        let machine = self.machines.get(head.machine).map_or(0, |machine| machine.id);
        if !head.flags.is_group {
            return LineKey::Connection(machine, head.life.latest);
        }
        let _ = (head.take_traffic(), head.take_members());
        self.read_texts(&mut head, &mut Texts::default());
        LineKey::Group(machine, self.word(&mut head.rest).into())
    }

    /// Whether a line stands for this.
    pub(super) fn has_key(&self, packed: &Packed, key: &LineKey) -> bool {
        match key {
            LineKey::Connection(machine, ns) => {
                let head = packed.head();
                let is_there = || self.machines.get(head.machine).is_some_and(|it| it.id == *machine);
                !head.flags.is_group && head.life.latest == *ns && is_there()
            }
            LineKey::Group(..) => self.key(packed) == *key,
        }
    }

    /// Its machine.
    pub(super) fn machine(&self, head: &Head<'_>) -> LineMachine {
        self.machines.get(head.machine).cloned().unwrap_or_default()
    }

    /// Whether its program was never seen with its peer before, and nobody has accepted that.
    pub(super) fn is_marked_new(&self, head: &Head<'_>) -> bool {
        let is_accepted = self.styles.get(head.style).is_some_and(|(style, _)| style.is_accepted);
        head.flags.is_first_ever && !is_accepted
    }

    /// Name of its machine, where it is known.
    pub(super) fn host(&self, head: &Head<'_>) -> Option<&str> {
        self.machines.get(head.machine)?.host.as_deref()
    }

    /// Reads a line's texts, and hands out each field of its event that is asked for, as it stands in JSON.
    pub(super) fn read(
        &self,
        packed: &Packed,
        texts: &mut Texts,
        wanted: impl Fn(&str) -> bool,
        mut take: impl FnMut(&str, &str),
    ) {
        let mut head = packed.head();
        let _ = (head.take_traffic(), head.take_members());
        self.read_texts(&mut head, texts);
        if head.flags.is_group {
            let _ = self.word(&mut head.rest);
        }
        let known = head.known();
        match head.flags.event {
            EventForm::None => {}
            EventForm::Fields => {
                let names = self.word(&mut head.rest);
                let mut value = String::new();
                for name in names.split(BETWEEN_NAMES) {
                    if wanted(name) {
                        value.clear();
                        self.words.read_value(&mut head.rest, &mut value, texts.context(), known);
                        take(name, &value);
                    } else {
                        skip_word(&mut head.rest);
                    }
                }
            }
            EventForm::Text => {
                let text = head.rest.text();
                let fields = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
                for (name, value) in fields.iter().flatten().filter(|(name, _)| wanted(name)) {
                    take(name, &value.to_string());
                }
            }
        }
    }

    fn read_texts(&self, head: &mut Head<'_>, texts: &mut Texts) {
        texts.clear();
        self.words.read_line(&mut head.rest, &mut texts.both, &mut texts.locals);
        texts.split = texts.both.len();
        texts.is_as_received = head.flags.is_as_received;
        if !texts.is_as_received {
            self.words.read_line(&mut head.rest, &mut texts.both, &mut texts.locals);
        }
    }

    fn word(&self, reader: &mut Reader<'_>) -> String {
        let mut word = String::new();
        self.words.read_word(reader, &mut word, &[]);
        word
    }

    fn read_event(&self, head: &mut Head<'_>, texts: &Texts) -> Option<String> {
        let known = head.known();
        match head.flags.event {
            EventForm::None => None,
            EventForm::Text => Some(head.rest.text().to_owned()),
            EventForm::Fields => {
                let names = self.word(&mut head.rest);
                let mut event = String::with_capacity(1024);
                for name in names.split(BETWEEN_NAMES) {
                    event += if event.is_empty() { "{\"" } else { ",\"" };
                    event += name;
                    event += "\":";
                    self.words.read_value(&mut head.rest, &mut event, texts.context(), known);
                }
                event.push('}');
                Some(event)
            }
        }
    }
}

fn skip_word(reader: &mut Reader<'_>) {
    while matches!(token(reader), Token::Label(_) | Token::Key) {}
}

/// A line as it was received and as it is shown, unpacked.
#[derive(Debug, Default)]
pub(super) struct Texts {
    both: String,
    split: usize,
    is_as_received: bool,
    locals: Vec<Range<usize>>,
}

impl Texts {
    fn clear(&mut self) {
        self.both.clear();
        self.locals.clear();
    }

    /// As it was received.
    pub(super) fn received(&self) -> &str {
        &self.both[..self.split]
    }

    /// As it is shown.
    pub(super) fn text(&self) -> &str {
        if self.is_as_received { &self.both } else { &self.both[self.split..] }
    }

    fn context(&self) -> (&str, &str, &[Range<usize>]) {
        (self.received(), &self.both, &self.locals)
    }
}

#[cfg(test)]
mod tests;
