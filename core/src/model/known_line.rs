// SPDX-License-Identifier: GPL-3.0-or-later
//! A line as those who show it see it.

use std::cell::{OnceCell, RefCell};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use leco_os::clock::BootNs;
use serde_json::Map;

use crate::model::fader::age;
pub use crate::model::line::LineId;
use crate::model::line::{Lifetime, Line};
use crate::model::machines::ours;
use crate::model::packing::{Extent, Head, Packed, Texts};
use crate::model::store::{Entry, Form, Store};
use crate::model::traffic::{Bytes, Traffic};
use crate::query::{Query, contains_ignoring_case, is_asked_for};
use crate::wire::details::ConnectionDetails;
use crate::wire::event::{ConnectionState, Phase};

/// A line that is known, whether it is in a slot or not. Its times and bytes are at hand; its texts and its event are
/// unpacked when they are asked for, and stay so as long as this does.
#[derive(Debug)]
pub struct KnownLine<'o> {
    store: &'o Store,
    entry: &'o Entry,
    unpacked: OnceCell<Box<Line>>,
}

/// A line's numbers, as it is kept.
enum Numbers<'o> {
    Plain(&'o Line),
    Packed(Head<'o>),
}

/// Answers of one filter, which are remembered with each line until it changes or another filter asks.
#[derive(Debug)]
pub struct Answers {
    filter: u32,
    /// Memory that unpacking one line after the other needs.
    scratch: RefCell<Texts>,
}

impl Default for Answers {
    /// None yet.
    fn default() -> Self {
        /// Zero stands for no answer, and the lowest bit is the answer.
        static NEXT: AtomicU32 = AtomicU32::new(2);
        Self { filter: NEXT.fetch_add(2, Ordering::Relaxed), scratch: RefCell::default() }
    }
}

impl Clone for KnownLine<'_> {
    /// The same line, packed as it is kept.
    fn clone(&self) -> Self {
        Self::new(self.store, self.entry)
    }
}

impl<'o> KnownLine<'o> {
    pub(super) fn new(store: &'o Store, entry: &'o Entry) -> Self {
        Self { store, entry, unpacked: OnceCell::new() }
    }

    fn numbers(&self) -> Numbers<'o> {
        match &self.entry.form {
            Form::Plain(line) => Numbers::Plain(line),
            Form::Packed(packed) => Numbers::Packed(packed.head()),
        }
    }

    fn life(&self) -> Lifetime {
        match self.numbers() {
            Numbers::Plain(line) => line.life.clone(),
            Numbers::Packed(head) => head.life,
        }
    }

    /// All of it.
    pub(crate) fn line(&self) -> &Line {
        match &self.entry.form {
            Form::Plain(line) => line,
            Form::Packed(packed) => {
                self.unpacked.get_or_init(|| Box::new(self.store.packing.unpack(packed, Extent::All)))
            }
        }
    }

    /// By what it is known.
    #[must_use]
    pub fn id(&self) -> LineId {
        match &self.entry.form {
            Form::Plain(line) => line.id(),
            Form::Packed(packed) => self.store.packing.id(packed),
        }
    }

    /// As the rules left it, safe to print.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.line().look.text
    }

    /// As it was received, safe to print.
    #[must_use]
    pub fn received(&self) -> &str {
        &self.line().event.received
    }

    /// When it began, in ns on our boot clock; negative before that began.
    #[must_use]
    pub fn first(&self) -> i64 {
        self.life().first
    }

    /// When it was last updated, on the same clock.
    #[must_use]
    pub fn updated(&self) -> i64 {
        self.life().updated
    }

    /// Time since it began, on whichever machine that was.
    #[must_use]
    pub fn first_age(&self, now: BootNs) -> Duration {
        Duration::from_nanos(age(self.first(), ours(now)))
    }

    /// Time since its last update.
    #[must_use]
    pub fn age(&self, now: BootNs) -> Duration {
        Duration::from_nanos(age(self.updated(), ours(now)))
    }

    /// How its connection stands.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        match self.numbers() {
            Numbers::Plain(line) => line.event.state,
            Numbers::Packed(head) => head.state(),
        }
    }

    /// Whether its writer said that it ended; a group has ended when all of its connections have.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let phase = match self.numbers() {
            Numbers::Plain(line) => line.phase(),
            Numbers::Packed(head) => head.line_phase(),
        };
        phase == Phase::Closed
    }

    /// Connections that rules have put into it, of the latest that are told apart; 1 for a line of its own.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.line().connections()
    }

    /// What goes over it.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.line().bytes.traffic
    }

    /// What went over it in all.
    #[must_use]
    pub fn total(&self) -> Bytes {
        match self.numbers() {
            Numbers::Plain(line) => line.bytes.traffic.total,
            Numbers::Packed(head) => head.total,
        }
    }

    /// Bytes a second, as [`Traffic::rate`] has them; none once it has ended.
    #[must_use]
    pub fn rate(&self, now: BootNs) -> Bytes {
        match self.numbers() {
            _ if self.is_closed() => Bytes::default(),
            Numbers::Plain(line) => line.bytes.traffic.rate(now),
            Numbers::Packed(head) => head.rate(now),
        }
    }

    /// Whether a filter chooses it now. What time does not change is remembered as long as the line does not change.
    #[must_use]
    pub fn is_chosen(&self, query: &Query, answers: &Answers, now: BootNs) -> bool {
        let known = self.entry.answer.get();
        let texts = || answers.scratch.borrow_mut();
        let holds = if known & !1 == answers.filter {
            known & 1 == 1
        } else {
            query.is_empty()
                || self.asks(query, &mut texts(), |shown, details, state| {
                    query.holds_always(shown, details, state)
                })
        };
        self.entry.answer.set(answers.filter | u32::from(holds));
        let age = self.first_age(now);
        holds
            && query.holds_at(age).unwrap_or_else(|| {
                self.asks(query, &mut texts(), |shown, details, state| {
                    let details = ConnectionDetails { age: Some(age), ..details.clone() };
                    query.holds(shown, &details, state)
                })
            })
    }

    /// Reads of it what a filter needs to know.
    fn asks(
        &self,
        query: &Query,
        texts: &mut Texts,
        holds: impl FnOnce(&str, &ConnectionDetails, ConnectionState) -> bool,
    ) -> bool {
        let Form::Packed(packed) = &self.entry.form else {
            return holds(self.text(), &self.details(), self.state());
        };
        let details = self.brief(packed, texts, |name| query.asks_for(name), query.asks_for_details());
        holds(texts.text(), &details, packed.head().state())
    }

    /// Whether it contains a text in lower case, as it is shown.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        match &self.entry.form {
            Form::Plain(line) => contains_ignoring_case(&line.look.text, text),
            Form::Packed(packed) => {
                let mut texts = Texts::default();
                self.store.packing.read(packed, &mut texts, |_| false, |_, _| {});
                contains_ignoring_case(texts.text(), text)
            }
        }
    }

    /// What is known of its connection, of the fields of its event only what filters ask for.
    #[must_use]
    pub fn brief_details(&self) -> ConnectionDetails {
        match &self.entry.form {
            Form::Plain(_) => ConnectionDetails { fields: Vec::new(), ..self.details() },
            Form::Packed(packed) => self.brief(packed, &mut Texts::default(), is_asked_for, true),
        }
    }

    /// Reads texts, and details from some of the fields, where they are wanted.
    fn brief(
        &self,
        packed: &Packed,
        texts: &mut Texts,
        wanted: impl Fn(&str) -> bool,
        with_details: bool,
    ) -> ConnectionDetails {
        let mut fields = Map::new();
        self.store.packing.read(
            packed,
            texts,
            |name| with_details && wanted(name),
            |name, value| {
                fields.insert(name.to_owned(), serde_json::from_str(value).unwrap_or_default());
            },
        );
        if !with_details {
            return ConnectionDetails::default();
        }
        let mut details = ConnectionDetails::with_fields(texts.received(), &fields);
        details.fields = Vec::new();
        let head = packed.head();
        self.complete(&mut details, self.store.packing.is_marked_new(&head), self.store.packing.host(&head));
        details
    }

    /// The event as it came and, as `shown`, what the rules made of its line; as `age`, how long ago it was, in
    /// seconds, whichever clock its times are on.
    #[must_use]
    pub fn json(&self, now: BootNs) -> serde_json::Value {
        let line = self.line();
        let event = line.event.json.as_deref().and_then(|event| serde_json::from_str(event).ok());
        let mut event = event.unwrap_or_else(
            || serde_json::json!({"ns": line.life.ns, "ns_trx": line.life.ns_trx, "line": &*line.event.received}),
        );
        if let Some(host) = &line.machine.host {
            event["host"] = (**host).into();
        }
        let milliseconds = self.age(now).as_millis();
        event["age"] = (milliseconds as f64 / 1000.0).into();
        event["shown"] = (*line.look.text).into();
        event
    }

    /// What is known of its connection. The event is read for it: keep what you need.
    #[must_use]
    pub fn details(&self) -> ConnectionDetails {
        let line = self.line();
        let mut details = ConnectionDetails::of(&line.event.received, line.event.json.as_deref());
        let is_first_ever = line.event.is_first_ever && !line.look.style.is_accepted;
        self.complete(&mut details, is_first_ever, line.machine.host.as_deref());
        details
    }

    /// Adds what is known beside the event.
    fn complete(&self, details: &mut ConnectionDetails, is_first_ever: bool, host: Option<&str>) {
        details.is_first_ever = is_first_ever;
        if let Some(host) = host {
            host.clone_into(&mut details.host);
        }
        let total = self.total();
        (details.numbers.rx, details.numbers.tx) = (Some(total.rx), Some(total.tx));
    }
}
