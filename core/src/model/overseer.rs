// SPDX-License-Identifier: GPL-3.0-or-later
//! The whole model behind one interface: events in, frames out. It performs no I/O and reads no clock.

use std::sync::Arc;
use std::time::Duration;

use hashlink::LinkedHashMap;
use leco_os::clean::clean;
use leco_os::clock::{BootNs, Now};

use crate::config::{Config, Fingerprint, Settings};
use crate::model::fader::age;
use crate::model::history::History;
use crate::model::in_force::InForce;
pub use crate::model::known_line::{Answers, KnownLine, LineId};
use crate::model::line::{Arrival, Line};
use crate::model::lines::{Capacity, Lines, Update};
use crate::model::machines::{MachineId, Machines, Placed, ours};
use crate::model::traffic::{Bytes, Traffic};
use crate::query::{Names, Query, QueryError};
use crate::rules::{Explanation, NoticeRules, RuleInfo};
use crate::source::Origin;
use crate::style::LineStyle;
use crate::wire::details::{ConnectionDetails, Peers};
use crate::wire::event::{Clock, ConnectionState, Event, MalformedEvent, Phase};
use crate::wire::history::StoredHistory;
use crate::wire::tag::Tag;

/// What a person should see now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// One per slot, from the top; empty slots are `None`.
    pub rows: Vec<Option<Row>>,
    /// Counts since the start.
    pub counts: Counts,
}

/// A line in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// By what it is known from other lines.
    pub id: LineId,
    /// As the rules left it, safe to print.
    pub text: Arc<str>,
    /// Its tag.
    pub tag: Arc<Tag>,
    /// Opacity, 0–255.
    pub alpha: u8,
    /// How its connection stands.
    pub state: ConnectionState,
    /// Whether its program was never seen with its peer before.
    pub is_first_ever: bool,
    /// Whether its writer said that it ended; of several, that all did.
    pub is_closed: bool,
    /// Connections that rules have put into this line, of the latest that are told apart; 1 for a line of its own.
    pub connections: usize,
    /// How it is drawn, where that differs from other lines.
    pub style: LineStyle,
    /// Time since its last update.
    pub age: Duration,
    /// What goes over it.
    pub traffic: Traffic,
}

impl Row {
    /// Bytes a second, as [`Traffic::rate`] has them; none once it has ended.
    #[must_use]
    pub fn rate(&self, now: BootNs) -> Bytes {
        if self.is_closed { Bytes::default() } else { self.traffic.rate(now) }
    }
}

/// What became of the events received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events received.
    pub received: u64,
    /// Lines that were no events.
    pub malformed: u64,
    /// Events that rules dropped.
    pub dropped: u64,
}

/// What became of one event.
#[derive(Debug)]
pub enum Received {
    /// It has a line, whether in a slot or not.
    Line {
        /// As the rules left it, safe to print.
        text: Arc<str>,
        /// The group it belongs to, where it belongs to one.
        group: Option<Arc<str>>,
        /// Whether it was not known before.
        is_new: bool,
    },
    /// A newer event of the same connection is known already.
    Old,
    /// A rule dropped it.
    Dropped,
    /// The filter did not choose it.
    NotChosen,
    /// It was of no connection, but brought what was stored before.
    History,
    /// It was no event.
    Malformed(MalformedEvent),
    /// It was empty.
    Blank,
}

/// What other rules have to know of a connection that rules hide.
#[derive(Debug)]
struct Hidden {
    received: Arc<str>,
    /// Those of its event, where that has more to tell than its line.
    peers: Option<Box<[String]>>,
}

impl Hidden {
    fn of(received: Arc<str>, event: Option<&str>) -> Self {
        let peers = event.map(|_| Peers::of(&received, event).get().into());
        Self { received, peers }
    }

    fn peers(&self) -> Peers<'_> {
        self.peers
            .as_ref()
            .map_or_else(|| Peers::of(&self.received, None), |peers| Peers::known(peers.to_vec()))
    }
}

/// Events in, frames out.
#[derive(Debug)]
pub struct Overseer {
    in_force: InForce,
    /// Only connections that it chooses count.
    filter: Option<Filter>,
    /// Who remembers its lines.
    keeps: Keeps,
    lines: Lines,
    frame: Frame,
    /// What each row of the frame was made from.
    tagged: Vec<Option<LineId>>,
    machines: Machines,
    hosts: Hosts,
    /// Connections that rules hide, as far as they are remembered.
    hidden: LinkedHashMap<(MachineId, BootNs), Hidden>,
    /// Where it is wanted.
    history: Option<Box<History>>,
}

/// Lines of open connections that a list has.
const MAX_OPEN: usize = 50_000;

/// How many lines are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// Such as refill a window that grows: `conn-list-cache`.
    Window,
    /// Those of a list that can be scrolled, sorted and searched: `lines-kept`.
    List,
}

impl Keeps {
    fn capacity(self, settings: &Settings) -> Capacity {
        match self {
            Self::Window => Capacity { ordinary: settings.run.conn_list_cache, open: None },
            Self::List => Capacity { ordinary: settings.tui.lines_kept, open: Some(MAX_OPEN) },
        }
    }
}

/// What chooses connections.
#[derive(Debug)]
struct Filter {
    /// As it was written; it may name filters of the config.
    text: String,
    query: Query,
    /// It names one that the config has no more.
    is_stale: bool,
}

/// Names of the machines that were heard.
#[derive(Debug, Default)]
struct Hosts {
    first: Option<Arc<str>>,
    /// Lines say of which machine they are.
    are_shown: bool,
}

impl Hosts {
    /// The machine of a line, where lines say of which they are.
    fn shown<'l>(&self, line: &'l Line) -> Option<&'l str> {
        line.machine.host.as_deref().filter(|_| self.are_shown)
    }
}

impl Overseer {
    /// Starts with nothing known, not even which machine this is.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::on_machine(config, "")
    }

    /// The same on the machine with this boot id: its boot clock is the one that `now` is on.
    #[must_use]
    pub fn on_machine(config: Config, boot_id: &str) -> Self {
        Self::keeping(Keeps::Window, config, boot_id)
    }

    /// The same, with as many lines as a list is to have (`lines-kept`).
    #[must_use]
    pub fn with_list(config: Config, boot_id: &str) -> Self {
        Self::keeping(Keeps::List, config, boot_id)
    }

    fn keeping(keeps: Keeps, config: Config, boot_id: &str) -> Self {
        let in_force = InForce::from(config);
        Self {
            lines: Lines::new(keeps.capacity(&in_force.settings)),
            keeps,
            in_force,
            filter: None,
            frame: Frame::default(),
            tagged: Vec::new(),
            machines: Machines::new(Some(boot_id)),
            hosts: Hosts::default(),
            hidden: LinkedHashMap::new(),
            history: None,
        }
    }

    /// Only connections that this chooses, by what is shown of them, are known from now on, and as long as it chooses
    /// them. `@NAME` in it stands for what the config in force says.
    pub fn set_filter(&mut self, filter: Option<&str>) -> Result<(), QueryError> {
        let read = |text: &str| {
            let query = Query::parse_with(text, &self.in_force.names)?;
            Ok(Filter { text: text.to_owned(), query, is_stale: false })
        };
        self.filter = filter.map(read).transpose()?;
        Ok(())
    }

    /// Says once and for all how clocks go, where that is known: what events say of them does not count any more.
    pub fn fix_clocks(&mut self, clocks: Vec<Clock>) {
        self.machines.fix(clocks);
    }

    /// Counts from now on what goes over the network, and takes what is stored of the time before.
    pub fn keep_history(&mut self, now: Now) {
        self.history = Some(Box::new(History::new(now)));
    }

    /// What went over the network, where that is counted.
    #[must_use]
    pub fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.in_force.settings
    }

    /// What the config in force was read from: one that is not the same is a changed one.
    #[must_use]
    pub fn config_fingerprint(&self) -> Option<Fingerprint> {
        self.in_force.fingerprint.clone()
    }

    /// What the config names: filters and lists.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.in_force.names
    }

    /// What the config has told of.
    #[must_use]
    pub fn notices(&self) -> &NoticeRules {
        &self.in_force.notices
    }

    /// Takes new settings, rules and styles. They take effect on the lines that are known, too, which stay
    /// in their slots; what rules dropped before comes back with its next event.
    pub fn reload(&mut self, config: Config) {
        self.in_force = InForce::from(config);
        let in_force = &mut self.in_force;
        if let Some(filter) = &mut self.filter {
            match Query::parse_with(&filter.text, &in_force.names) {
                Ok(query) => filter.query = query,
                Err(_) => filter.is_stale = true,
            }
        }
        self.hidden.retain(|_, hidden| in_force.show(&hidden.received, &hidden.peers()).is_none());
        let mut dropped = Vec::new();
        let keeps = self.keeps;
        self.lines.remake(|line| {
            let (received, event) = (&line.event.received, line.event.json.as_deref());
            let shown = in_force.show(received, &Peers::of(received, event));
            if shown.is_none() && keeps == Keeps::List {
                for ns in line.each_ns() {
                    dropped.push(((line.machine.id, ns), Hidden::of(Arc::clone(received), event)));
                }
            }
            shown
        });
        for (connection, hidden) in dropped {
            self.note_hidden(connection, hidden);
        }
        self.lines.set_capacity(self.keeps.capacity(&self.in_force.settings));
        self.tagged.clear();
    }

    /// Forgets every line, as at the start; rules keep their hits.
    pub fn forget(&mut self) {
        self.lines = Lines::new(self.keeps.capacity(&self.in_force.settings));
        self.frame = Frame::default();
        self.tagged.clear();
        self.machines.forget();
        self.hosts = Hosts::default();
        self.hidden.clear();
        if let Some(history) = &mut self.history {
            history.forget();
        }
    }

    /// Takes one event: a line of the wire without its newline.
    pub fn receive(&mut self, wire_line: &[u8], now: impl Into<Now>) -> Received {
        self.receive_from(Origin::default(), wire_line, now)
    }

    /// Notices that clocks were set, ours or another machine's, and what an event said of times before it. A frame
    /// does so by itself; what is read without one is right after this.
    pub fn keep_time(&mut self, now: impl Into<Now>) {
        let now = now.into();
        self.machines.keep_time(now);
        self.settle(now.boot);
    }

    fn settle(&mut self, now: BootNs) {
        if self.machines.take_stale() {
            let machines = &self.machines;
            self.lines.place_again(|machine, epoch, ns| machines.again(machine, epoch, ns), ours(now));
        }
    }

    /// The same of one of several sources. A connection is the same one only on the same machine, since the same of
    /// its boots; where lines are of several machines, each has its host in its tag.
    pub fn receive_from(&mut self, origin: Origin<'_>, wire_line: &[u8], now: impl Into<Now>) -> Received {
        let now = now.into();
        if wire_line.trim_ascii().is_empty() {
            return Received::Blank;
        }
        self.frame.counts.received += 1;
        let event = match Event::parse(wire_line) {
            Ok(event) => event,
            Err(error) => {
                self.frame.counts.malformed += 1;
                return Received::Malformed(error);
            }
        };
        // A clock counts whatever becomes of the line that it came with.
        let placed = self.machines.place(origin, &event, now);
        self.note_host(origin, &placed);
        if event.is_history.0 {
            let part = self.history.as_mut().and_then(|_| StoredHistory::of(wire_line));
            if let (Some(history), Some(part)) = (&mut self.history, part) {
                history.take(&placed, part);
            }
            return Received::History;
        }
        if let Some(history) = &mut self.history {
            history.see(&placed, &event, wire_line, now);
        }
        let received = clean(&event.line);
        // Only what the pipe's `-E` adds makes it worth its memory.
        let details = str::from_utf8(wire_line).ok().filter(|_| event.rx.0.is_some());
        let Some(shown) = self.in_force.show(&received, &Peers::of(&received, details)) else {
            self.frame.counts.dropped += 1;
            if self.keeps == Keeps::List {
                self.note_hidden((placed.machine, event.ns), Hidden::of(received.as_ref().into(), details));
            }
            return Received::Dropped;
        };
        if event.is_new.0
            && !shown.style.is_accepted
            && let Some(history) = &mut self.history
        {
            history.see_new(placed.machine, event.ns, now);
        }
        self.hidden.remove(&(placed.machine, event.ns));
        if let Some(Filter { query, .. }) = &self.filter {
            let mut connection = ConnectionDetails::of(&received, str::from_utf8(wire_line).ok());
            if let Some(host) = &placed.host {
                host.as_ref().clone_into(&mut connection.host);
            }
            let age = u64::try_from(ours(now.boot).saturating_sub(placed.first)).unwrap_or(0);
            connection.age = Some(Duration::from_nanos(age));
            connection.is_first_ever &= !shown.style.is_accepted;
            if !query.holds(&shown.text, &connection, event.connection_state()) {
                self.lines.leave_out(placed.machine, event.ns, &shown);
                return Received::NotChosen;
            }
        }
        let (text, group) = (Arc::clone(&shown.text), shown.group.clone());
        let arrival = Arrival {
            placed,
            ns: event.ns,
            ns_trx: event.ns_trx,
            received: &received,
            event: details,
            bytes: Bytes::of_event(&event),
            state: event.connection_state(),
            phase: event.phase(),
            is_first_ever: event.is_new.0,
            shown,
        };
        match self.lines.update(arrival, &self.in_force.fader, ours(now.boot)) {
            Update::Old => Received::Old,
            update => Received::Line { text, group, is_new: update == Update::New },
        }
    }

    /// Remembers as many as ordinary lines, the latest.
    fn note_hidden(&mut self, connection: (MachineId, BootNs), hidden: Hidden) {
        self.hidden.insert(connection, hidden);
        while self.hidden.len() > self.in_force.settings.tui.lines_kept {
            self.hidden.pop_front();
        }
    }

    /// Where lines are of more than one machine, they say of which.
    fn note_host(&mut self, origin: Origin<'_>, placed: &Placed) {
        let is_another = match (&self.hosts.first, &placed.host) {
            (_, None) => false,
            (Some(first), Some(host)) => first != host,
            (None, Some(host)) => {
                self.hosts.first = Some(Arc::clone(host));
                false
            }
        };
        if !self.hosts.are_shown && (is_another || origin.host.is_some()) {
            self.hosts.are_shown = true;
            self.tagged.clear();
        }
    }

    /// What to show now on so many rows.
    pub fn frame(&mut self, now: BootNs, rows: usize) -> &Frame {
        self.frame_within(now, rows, 0)
    }

    /// The same with an alpha that may be off by a tolerance, in steps of 1/255, as
    /// [`Self::next_visible_change`] takes it.
    pub fn frame_within(&mut self, now: BootNs, rows: usize, tolerance: u8) -> &Frame {
        self.settle(now);
        self.lines.resize(rows);
        self.tagged.resize(rows, None);
        self.frame.rows.resize(rows, None);
        for ((line, row), tagged) in self.lines.slots().zip(&mut self.frame.rows).zip(&mut self.tagged) {
            let Some(line) = line else {
                (*row, *tagged) = (None, None);
                continue;
            };
            let id = line.id();
            let tag = match row {
                Some(row) if *tagged == Some(id) && row.style.icon == line.look.style.icon => {
                    Arc::clone(&row.tag)
                }
                _ => self.in_force.tag(line, self.hosts.shown(line)),
            };
            *tagged = Some(id);
            let alpha = self.in_force.fader.alpha_ahead(line.times(), ours(now), tolerance);
            *row = Some(make_row(line, tag, alpha, now));
        }
        &self.frame
    }

    /// What was shown last.
    #[must_use]
    pub fn last_frame(&self) -> &Frame {
        &self.frame
    }

    /// Time until a visible line changes its alpha; `None` while none will.
    #[must_use]
    pub fn next_change(&self, now: BootNs) -> Option<Duration> {
        let lines = self.lines.slots().flatten();
        let changes = lines.filter_map(|line| self.in_force.fader.next_change(line.times(), ours(now)));
        changes.min().map(Duration::from_nanos)
    }

    /// Time until the alpha of a line in the last frame is off by more than a tolerance (in steps of 1/255),
    /// or has come to its end; `None` while none will be. A frontend that draws then is right within the
    /// tolerance, and draws more seldom the more lines fade at once.
    #[must_use]
    pub fn next_visible_change(&self, now: BootNs, tolerance: u8) -> Option<Duration> {
        let rows = self.lines.slots().zip(&self.frame.rows);
        let changes = rows.filter_map(|(line, row)| {
            self.in_force.fader.next_beyond(line?.times(), ours(now), row.as_ref()?.alpha, tolerance)
        });
        changes.min().map(Duration::from_nanos)
    }

    /// Time until the line that was updated last has faded, whether it stands in a slot or not: none where it has, or where
    /// there is no line; `None` where it never does.
    #[must_use]
    pub fn latest_is_gone_in(&self, now: BootNs) -> Option<Duration> {
        let Some(latest) = self.known().next_back() else { return Some(Duration::ZERO) };
        self.in_force.fader.gone_in(latest.line().times(), ours(now)).map(Duration::from_nanos)
    }

    /// A known line as a row of its own, as if it stood in a slot.
    #[must_use]
    pub fn row(&self, line: &KnownLine<'_>, now: BootNs) -> Row {
        let line = line.line();
        let tag = self.in_force.tag(line, self.hosts.shown(line));
        make_row(line, tag, self.in_force.fader.alpha_ahead(line.times(), ours(now), 0), now)
    }

    /// Every line now known, least recently updated first.
    pub fn known(&self) -> impl DoubleEndedIterator<Item = KnownLine<'_>> + ExactSizeIterator {
        self.lines.known()
    }

    /// Connections that would be known if rules did not hide them, where a list is kept: so many of the latest as it has
    /// ordinary lines.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.hidden.len()
    }

    /// Lines that were known and had to make room for others, since the start.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.lines.forgotten()
    }

    /// What goes over all connections together, since the start.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        self.lines.traffic()
    }

    /// What the rules make of a line, step by step.
    #[must_use]
    pub fn explain(&self, line: &str) -> Explanation {
        self.in_force.rules.explain(line)
    }

    /// What a person should be told of rules that are too slow for a line, once for each.
    pub fn take_notice(&mut self) -> Option<String> {
        if let Some(filter) = &mut self.filter
            && std::mem::take(&mut filter.is_stale)
        {
            let filter = clean(&filter.text);
            return Some(format!(
                "the config no longer has what --filter {filter} names: keeping what it stood for"
            ));
        }
        let newly = self.in_force.rules.take_newly_exceeded();
        let named: Vec<_> =
            newly.iter().map(|rule| format!("line {}: {}", rule.line, clean(rule.key))).collect();
        (!named.is_empty())
            .then(|| format!("a rule takes too many steps and counts as not matching ({})", named.join("; ")))
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.frame.counts
    }

    /// Whether a rule, counted from the first, holds for a line.
    #[must_use]
    pub fn rule_holds(&self, rule: usize, line: &str) -> bool {
        self.in_force.rules.holds(rule, line)
    }

    /// Every rule, with how often it held since the config was read.
    pub fn rules(&self) -> impl Iterator<Item = RuleInfo<'_>> {
        self.in_force.rules.infos()
    }
}

fn make_row(line: &Line, tag: Arc<Tag>, alpha: u8, now: BootNs) -> Row {
    Row {
        id: line.id(),
        text: Arc::clone(&line.look.text),
        tag,
        alpha,
        state: line.event.state,
        is_first_ever: line.event.is_first_ever && !line.look.style.is_accepted,
        is_closed: line.phase() == Phase::Closed,
        connections: line.connections(),
        style: line.look.style,
        age: Duration::from_nanos(age(line.life.updated, ours(now))),
        traffic: line.bytes.traffic.clone(),
    }
}
