// SPDX-License-Identifier: GPL-3.0-or-later
//! What went over the network, over time: what a pipe had stored before, and what was seen since.
//!
//! Memory is bounded: of each machine's stored totals and of all that was seen so many are kept, the latest. What was seen
//! is kept by the minute for two hours, then by the hour for a week, then by the day for a month.

mod connections;
mod flows;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use leco_os::clock::{BootNs, Now};
use leco_os::reclaim::give_back;

use self::connections::{Connection, Connections};
use self::flows::{FlowId, Flows, NO_HASH, flow_of, hash_of};
use crate::model::machines::{MachineId, OurNs, Placed, ours};
use crate::model::traffic::Bytes;
use crate::query::Query;
use crate::wire::event::{Event, State};
use crate::wire::history::{HistoryFlow, Span, StoredHistory, StoredTotal};

/// Totals that are kept of what was stored, and of what was seen: about 90 bytes each.
const MOST_CELLS: usize = 100_000;
/// What totals are of, together: about 150 bytes each. Others are put together.
const MOST_FLOWS: usize = 20_000;
/// Of these, flows that were seen here and of which nothing is stored: of more, those with the latest totals.
const MOST_SEEN_FLOWS: usize = 2048;
/// Pairs whose first connection is remembered.
const MOST_NEWS: usize = 10_000;
/// Machines whose stored totals are kept.
const MOST_MACHINES: usize = 16;

const MINUTE: u32 = 60;
const HOUR: u32 = 3600;
const DAY: u32 = 24 * HOUR;
/// What is so long becomes what is so long, after this time.
const COARSER: [(u32, u32, u32); 2] = [(MINUTE, HOUR, 2 * HOUR), (HOUR, DAY, 7 * DAY)];
/// Of a byte a second, which rates are summed up in.
const FRACTION: u128 = 1024;
/// Afterwards it is forgotten.
const LIFETIME: u32 = 31 * DAY;

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Connections that began.
    pub connections: u32,
    /// Connections that failed.
    pub failed: u32,
    /// Bytes.
    pub bytes: Bytes,
}

impl Moved {
    /// Adds others.
    pub fn add(&mut self, more: &Self) {
        self.connections = self.connections.saturating_add(more.connections);
        self.failed = self.failed.saturating_add(more.failed);
        self.bytes = self.bytes.and(more.bytes);
    }
}

/// By begin and length in seconds.
type Cells = BTreeMap<(i64, u32, FlowId), Moved>;

/// What a machine's pipe had stored.
#[derive(Debug, Default)]
struct Stored {
    /// What tells it from what was stored at another time.
    since: i64,
    until: i64,
    at: BootNs,
    cells: Cells,
    /// Older totals than these did not fit.
    cut: Option<i64>,
    error: Option<String>,
}

/// From when on there is what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// When counting began here, in seconds since 1970.
    pub seen_since: i64,
    /// From when until when a pipe had stored totals, where one told them: of several, all of it.
    pub stored: Option<(i64, i64)>,
    /// Older ones than these had no room.
    pub cut: Option<i64>,
    /// Why there are none, or no more.
    pub error: Option<String>,
}

/// What went over the network, over time.
#[derive(Debug)]
pub struct History {
    /// Our clocks when counting began.
    begin: Now,
    flows: Flows,
    stored: HashMap<MachineId, Stored>,
    seen: Cells,
    /// Flows that became known by what was seen.
    seen_flows: usize,
    cut: Option<i64>,
    known: Connections,
    /// When pairs were seen for the first time, in seconds since 1970.
    news: VecDeque<i64>,
    /// Of the latest event.
    minute: i64,
}

impl History {
    /// Counts from now on.
    #[must_use]
    pub fn new(begin: Now) -> Self {
        Self {
            begin,
            flows: Flows::default(),
            stored: HashMap::new(),
            seen: Cells::new(),
            seen_flows: 0,
            cut: None,
            known: Connections::default(),
            news: VecDeque::new(),
            minute: i64::MIN,
        }
    }

    /// Forgets everything, as at the begin.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.begin);
    }

    /// Takes a part of what is stored on a machine.
    pub(super) fn take(&mut self, placed: &Placed, part: StoredHistory) {
        let machine = placed.machine;
        let StoredHistory { since, until, at, totals, error, .. } = part;
        let is_known = |stored: &Stored| (stored.since, stored.until, stored.at) == (since, until, at);
        if !self.stored.get(&machine).is_some_and(is_known) {
            if self.stored.len() >= MOST_MACHINES && !self.stored.contains_key(&machine) {
                return;
            }
            // All that was seen before is in it.
            let flows = &self.flows;
            let is_of = |flow: FlowId| flows.get(flow).is_some_and(|flow| flow.machine == machine);
            self.seen.retain(|(_, _, flow), _| !is_of(*flow));
            self.known.forget(machine);
            self.stored.insert(machine, Stored { since, until, at, ..Stored::default() });
        }
        let Some(stored) = self.stored.get_mut(&machine) else { return };
        stored.error = stored.error.take().or(error);
        for total in totals {
            if stored.cells.len() >= MOST_CELLS {
                // The latest come first.
                stored.cut = Some(stored.cut.map_or(total.start, |cut| cut.max(total.start)));
                continue;
            }
            let length = if total.by == Span::Day { DAY } else { HOUR };
            let flow = HistoryFlow { host: placed.host(), ..HistoryFlow::from(&total) };
            let flow = self.flows.id(machine, &flow, MOST_FLOWS);
            let StoredTotal { start, connections, rx, tx, failures, .. } = total;
            let failed = failures.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
            let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
            let moved =
                Moved { connections: count(connections), failed: count(failed), bytes: Bytes { rx, tx } };
            stored.cells.entry((start, length, flow)).or_default().add(&moved);
        }
    }

    /// Counts what an event tells of its connection, whatever rules make of it.
    pub(super) fn see(&mut self, placed: &Placed, event: &Event, wire_line: &[u8], now: Now) {
        // It moves nothing, and what comes in there are connections of their own.
        if event.dir.0 == "listen" || event.line.contains(" :: listening ") {
            return;
        }
        let minute = begin_of(MINUTE, now.wall.div_euclid(1_000_000_000));
        if minute != self.minute {
            self.minute = minute;
            self.tidy(minute);
        }
        let bytes = Bytes::of_event(event).unwrap_or_default();
        let has_failed = State::parse(&event.state.0).is_some_and(State::is_trouble);
        let hash = hash_of(&event.line);
        let before = self.known.get(placed.machine, event.ns).copied();
        let flow = match before {
            Some(known) if known.hash == hash => known.flow,
            _ => match flow_of(&event.line, wire_line) {
                Some(mut flow) => {
                    if flow.host.is_empty() {
                        flow.host = placed.host();
                    }
                    let before = self.flows.all.len();
                    // There is room again in the next minute.
                    let most = if self.seen_flows < MOST_SEEN_FLOWS { MOST_FLOWS } else { 0 };
                    let id = self.flows.id(placed.machine, &flow, most);
                    self.seen_flows += self.flows.all.len() - before;
                    id
                }
                None => return,
            },
        };
        let mut moved = Moved::default();
        let known = if let Some(known) = before {
            moved.bytes = bytes.since(known.bytes);
            moved.failed = u32::from(has_failed && !known.has_failed);
            let bytes = Bytes { rx: bytes.rx.max(known.bytes.rx), tx: bytes.tx.max(known.bytes.tx) };
            Connection { bytes, flow, hash, has_failed: has_failed || known.has_failed, ..known }
        } else {
            let is_counted = match self.stored.get(&placed.machine) {
                Some(stored) => event.ns > stored.at,
                None => placed.first >= self.begin_on_boot_clock(),
            };
            if is_counted {
                moved = Moved { connections: 1, failed: u32::from(has_failed), bytes };
            }
            let new = Connection::new(placed.machine, event.ns, flow);
            Connection { bytes, hash, has_failed, is_counted, ..new }
        };
        self.known.insert(known);
        if moved != Moved::default() {
            self.seen.entry((minute, MINUTE, flow)).or_default().add(&moved);
            if self.seen.len() > MOST_CELLS
                && let Some(((start, ..), _)) = self.seen.pop_first()
            {
                self.cut = Some(start);
            }
        }
    }

    /// Puts together what was seen of the flows whose latest totals are the oldest.
    fn make_room(&mut self) {
        let stored = self.stored.values().flat_map(|stored| stored.cells.keys());
        let mut kept: HashSet<FlowId> = stored.map(|(.., flow)| *flow).collect();
        let most = kept.len() + MOST_SEEN_FLOWS / 2;
        self.seen_flows = 0;
        for (.., flow) in self.seen.keys().rev() {
            if kept.len() >= most {
                break;
            }
            self.seen_flows += usize::from(kept.insert(*flow));
        }
        let mut numbers = Vec::new();
        for (id, flow) in (0..).zip(std::mem::take(&mut self.flows).all) {
            let (machine, host) = (flow.machine, flow.unpack().host);
            let place = if kept.contains(&id) { self.flows.place(flow, usize::MAX) } else { None };
            numbers.push(place.unwrap_or_else(|| self.flows.others(machine, &host)));
        }
        let number = |id: FlowId| numbers.get(id as usize).copied().unwrap_or(0);
        for cells in self.stored.values_mut().map(|stored| &mut stored.cells).chain([&mut self.seen]) {
            for ((start, length, flow), moved) in std::mem::take(cells) {
                cells.entry((start, length, number(flow))).or_default().add(&moved);
            }
        }
        for known in self.known.iter_mut() {
            if !kept.contains(&known.flow) {
                // It is looked up when the connection is told of again.
                known.hash = NO_HASH;
            }
            known.flow = number(known.flow);
        }
        give_back();
    }

    fn begin_on_boot_clock(&self) -> OurNs {
        ours(self.begin.boot)
    }

    /// Takes note that a connection which was counted is the first of its program with its peer.
    pub(super) fn see_new(&mut self, machine: MachineId, ns: BootNs, now: Now) {
        let Some(known) = self.known.get_mut(machine, ns) else { return };
        if known.is_counted && !std::mem::replace(&mut known.is_new, true) {
            self.news.push_back(now.wall.div_euclid(1_000_000_000));
            if self.news.len() > MOST_NEWS {
                self.news.pop_front();
            }
        }
    }

    /// Pairs that were new after a moment, in seconds since 1970.
    #[must_use]
    pub fn news_since(&self, second: i64) -> usize {
        self.news.iter().rev().take_while(|new| **new > second).count()
    }

    /// Puts together what is some time old, and forgets what is very old.
    fn tidy(&mut self, now: i64) {
        for (length, coarser, age) in COARSER {
            let old: Vec<_> = self
                .seen
                .range(..(now - i64::from(age), 0, 0))
                .map(|(key, _)| *key)
                .filter(|(_, of, _)| *of == length)
                .collect();
            for key in old {
                if let Some(moved) = self.seen.remove(&key) {
                    let start = begin_of(coarser, key.0);
                    self.seen.entry((start, coarser, key.2)).or_default().add(&moved);
                }
            }
        }
        self.seen = self.seen.split_off(&(now - i64::from(LIFETIME), 0, 0));
        if self.seen_flows >= MOST_SEEN_FLOWS {
            self.make_room();
        }
    }

    /// From when on there is what.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let all = self.stored.values();
        let since = all.clone().map(|stored| stored.since).min();
        let until = all.clone().map(|stored| stored.until).max();
        Coverage {
            seen_since: self.begin.wall.div_euclid(1_000_000_000),
            stored: since.zip(until),
            cut: all.clone().filter_map(|stored| stored.cut).chain(self.cut).max(),
            error: all.clone().find_map(|stored| stored.error.clone()),
        }
    }

    /// Everything that lies at least partly in a range of seconds since 1970, with the second up to which it counts.
    fn cells(&self, (from, until): (i64, i64)) -> impl Iterator<Item = ((i64, i64, FlowId), &Moved)> {
        let stored = self.stored.values().map(|stored| (&stored.cells, stored.until));
        stored.chain([(&self.seen, i64::MAX)]).flat_map(move |(cells, last)| {
            // No total is longer than a day.
            cells.range((from.saturating_sub(DAY.into()), 0, 0)..(until, 0, 0)).filter_map(
                move |((start, length, flow), moved)| {
                    let end = (start + i64::from(*length)).min(last.max(start + 1));
                    (end > from).then_some(((*start, end, *flow), moved))
                },
            )
        })
    }

    /// What moved in a range of seconds since 1970 and is chosen, put together by what it is called: most bytes first.
    pub fn sums(
        &self,
        range: (i64, i64),
        filter: &Query,
        label: impl Fn(&HistoryFlow) -> String,
    ) -> Vec<(String, Moved)> {
        let chosen = self.flows.chosen(filter);
        let mut by_flow: HashMap<FlowId, Moved> = HashMap::new();
        for ((_, _, flow), moved) in self.cells(range) {
            if chosen.get(flow as usize) == Some(&true) {
                by_flow.entry(flow).or_default().add(moved);
            }
        }
        let mut by_label: HashMap<String, Moved> = HashMap::new();
        for (flow, moved) in by_flow {
            if let Some(flow) = self.flows.get(flow) {
                by_label.entry(label(&flow.unpack())).or_default().add(&moved);
            }
        }
        let mut sums: Vec<_> = by_label.into_iter().collect();
        let weight = |moved: &Moved| (moved.bytes.total(), moved.connections);
        sums.sort_by(|a, b| weight(&b.1).cmp(&weight(&a.1)).then_with(|| a.0.cmp(&b.0)));
        sums
    }

    /// Bytes a second in each of so many equal parts of a range, of what is chosen: received, and sent. Of an hour it is
    /// not known when in it they moved: they count evenly.
    #[must_use]
    pub fn rates(&self, (from, until): (i64, i64), filter: &Query, parts: usize) -> (Vec<u64>, Vec<u64>) {
        let chosen = self.flows.chosen(filter);
        let (mut rx, mut tx) = (vec![0_u128; parts], vec![0_u128; parts]);
        let length = u128::try_from(until.saturating_sub(from)).unwrap_or_default().max(1);
        // In parts of a second, from the begin of the range on: there every part begins at a whole number.
        let count = parts.max(1) as u128;
        let offset = |second: i64| u128::try_from(second - from).unwrap_or_default() * count;
        for ((start, end, flow), moved) in self.cells((from, until)) {
            if chosen.get(flow as usize) != Some(&true) || moved.bytes.total() == 0 {
                continue;
            }
            let whole = u128::try_from(end - start).unwrap_or_default().max(1) * length;
            let (begin, end) = (offset(start), offset(end).min(length * count));
            let first = usize::try_from(begin / length).unwrap_or(parts);
            for (part, (rx, tx)) in rx.iter_mut().zip(&mut tx).enumerate().skip(first) {
                let part = part as u128 * length;
                if part >= end {
                    break;
                }
                let overlap = end.min(part + length) - begin.max(part);
                *rx += u128::from(moved.bytes.rx) * overlap * FRACTION / whole;
                *tx += u128::from(moved.bytes.tx) * overlap * FRACTION / whole;
            }
        }
        let rounded = |rate: u128| u64::try_from((rate + FRACTION / 2) / FRACTION).unwrap_or(u64::MAX);
        let whole = |rates: Vec<u128>| rates.into_iter().map(rounded).collect();
        (whole(rx), whole(tx))
    }
}

/// Where what is so long begins that a second is in.
fn begin_of(length: u32, second: i64) -> i64 {
    let length = i64::from(length);
    second.div_euclid(length) * length
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;
    use crate::model::overseer::Overseer;

    const SECOND: u64 = 1_000_000_000;
    /// 2027-01-15 08:00 UTC, on clocks that are one.
    const START: i64 = 1_800_000_000;

    fn ns(second: i64) -> u64 {
        u64::try_from(second).unwrap() * SECOND
    }

    fn overseer() -> Overseer {
        let mut overseer = Overseer::with_list(Config::default(), "");
        overseer.keep_history(Now::from(ns(START)));
        overseer
    }

    /// A connection of `began` seconds after the start, as it is after so many.
    fn tell(overseer: &mut Overseer, began: i64, after: i64, (rx, tx): (u64, u64), more: &Value) {
        let at = ns(START + after);
        let line = "08:00 :: me :: curl [tmux] :: a.test 443 :: ";
        let mut event = json!({"ns": ns(START + began), "ns_trx": at, "line": line, "rx": rx, "tx": tx});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let _ = overseer.receive(event.to_string().as_bytes(), at);
    }

    fn sums(overseer: &Overseer, filter: &str, label: fn(&HistoryFlow) -> String) -> Vec<(String, Moved)> {
        let filter = Query::parse(filter).unwrap();
        overseer.history().unwrap().sums((0, i64::MAX / 2), &filter, label)
    }

    fn moved(connections: u32, failed: u32, (rx, tx): (u64, u64)) -> Moved {
        Moved { connections, failed, bytes: Bytes { rx, tx } }
    }

    fn program(flow: &HistoryFlow) -> String {
        flow.program.clone()
    }

    #[test]
    fn what_was_there_before_counts_from_when_it_was_seen() {
        let mut overseer = overseer();
        tell(&mut overseer, -100, 1, (1000, 10), &json!({}));
        tell(&mut overseer, -100, 2, (1500, 10), &json!({}));
        tell(&mut overseer, 3, 4, (70, 7), &json!({}));
        tell(&mut overseer, 3, 9, (70, 9), &json!({"state": "reset"}));
        tell(&mut overseer, 3, 9, (70, 9), &json!({"state": "reset"}));
        tell(&mut overseer, 3, 5, (60, 6), &json!({}));
        assert_eq!(sums(&overseer, "", program), [("curl".to_owned(), moved(1, 1, (570, 9)))]);
        overseer.forget();
        assert_eq!(sums(&overseer, "", program), []);
    }

    fn stored(rx: u64, at: i64) -> Value {
        json!({"history": {"v": 1, "since": START - 86_400, "until": START + at, "at": ns(START + at),
            "totals": [{"start": START, "by": "hour", "program": "curl", "unit": "tmux", "uid": 1000, "user": "me",
            "dir": "out", "proto": "tcp", "port": 443, "peer": "a.test", "connections": 1, "rx": rx, "tx": 1,
            "failures": {"refused": 2}}]}})
    }

    #[test]
    fn nothing_that_is_stored_counts_twice_when_it_is_told_again_either() {
        let mut overseer = overseer();
        tell(&mut overseer, 1, 2, (5, 0), &json!({}));
        tell(&mut overseer, 0, 10, (0, 0), &stored(500, 10));
        // The same connection is known to the pipe, and what came after the totals is not in them.
        tell(&mut overseer, 1, 11, (5, 0), &json!({}));
        tell(&mut overseer, 1, 12, (8, 0), &json!({}));
        tell(&mut overseer, 11, 13, (100, 0), &json!({}));
        assert_eq!(sums(&overseer, "", program), [("curl".to_owned(), moved(2, 2, (603, 1)))]);
        assert_eq!(overseer.history().unwrap().coverage().stored, Some((START - 86_400, START + 10)));
        // After the pipe was started anew it tells all of it again.
        tell(&mut overseer, 0, 20, (0, 0), &stored(603, 20));
        tell(&mut overseer, 11, 21, (107, 0), &json!({}));
        tell(&mut overseer, 11, 22, (109, 0), &json!({}));
        assert_eq!(sums(&overseer, "", program), [("curl".to_owned(), moved(1, 2, (605, 1)))]);
    }

    #[test]
    fn flows_are_called_as_a_pipe_stores_them() {
        let of = |line: &str, more: &Value| {
            let flow = flow_of(line, more.to_string().as_bytes());
            flow.map(|flow| format!("{} / {}", flow.line(), flow.unit))
        };
        let text = |text: &str| Some(text.to_owned());
        let none = || json!({});
        for (line, more, expected) in [
            ("x :: me :: curl :: 192.0.2.7 443 :: ", none(), text("me :: curl :: 192.0.2.0/24 443 / ")),
            ("x :: me :: a :: ~b.test 1/udp !reset :: ", none(), text("me :: a :: b.test 1/udp / ")),
            ("x :: me :: a :: 2001:db8::7 47/x :: ", none(), text("me :: a :: 2001:db8::/48 47/x / ")),
            (
                "x :: w :: nginx :: <- 192.0.2.7 80 :: ",
                json!({"unit": "nginx"}),
                text("w :: nginx :: <- 192.0.2.0/24 80 / nginx"),
            ),
            (
                "x :: me :: a [u+] :: DE :: 192.0.2.7 (b.test) 1 :: ",
                none(),
                text("me :: a [u+] :: b.test 1 / u+"),
            ),
            (
                "x :: me :: a :: 192.0.2.7 1 :: ",
                json!({"asn": 7, "as_org": "Net"}),
                text("me :: a :: AS7 Net 1 / "),
            ),
            ("x :: me :: a :: * 53/udp :: ", none(), text("me :: a :: 0.0.0.0/24 53/udp / ")),
            ("x :: - :: leco :: lost: 7 connections :: ", none(), None),
            ("x", none(), None),
        ] {
            assert_eq!(of(line, &more), expected, "{line}");
        }
    }

    #[test]
    fn rates_are_where_bytes_moved_and_filters_choose() {
        let mut overseer = overseer();
        tell(&mut overseer, 0, 10, (0, 0), &stored(3600, 3600));
        let history = overseer.history().unwrap();
        let range = (START - 3600, START + 3600);
        let (rx, tx) = history.rates(range, &Query::default(), 4);
        assert_eq!((rx.as_slice(), tx.as_slice()), (&[0, 0, 1, 1][..], &[0, 0, 0, 0][..]));
        assert_eq!(history.rates(range, &Query::parse("proc:wget").unwrap(), 2).0, [0, 0]);
        // What began before the range counts with its part in the chart.
        assert_eq!(history.rates((START + 1800, START + 5400), &Query::default(), 2).0, [1, 0]);
        let peers = sums(&overseer, "user:me port:443 dir:out unit:tmux", |flow| flow.peer.clone());
        assert_eq!(peers, [("a.test".to_owned(), moved(1, 2, (3600, 1)))]);
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost_in_getting_coarser() {
        let mut overseer = overseer();
        let mut total = 0;
        for hour in 0..24 * 10 {
            for minute in [0, 20, 40] {
                let at = hour * 3600 + minute * 60;
                tell(&mut overseer, at, at, (7, 0), &json!({}));
                total += 7;
            }
        }
        let history = overseer.history().unwrap();
        assert!(history.seen.len() < 3 * 3 + 7 * 24 + 10, "{}", history.seen.len());
        assert_eq!(sums(&overseer, "", program)[0].1.bytes.rx, total);
        let mut history = History::new(Now::from(ns(START)));
        for number in 0..MOST_FLOWS + 10 {
            let flow = HistoryFlow { program: number.to_string(), ..HistoryFlow::default() };
            history.flows.id(0, &flow, MOST_FLOWS);
        }
        assert_eq!(history.flows.all.len(), MOST_FLOWS + 1);
        let placed = Placed { machine: 0, epoch: 0, first: 0, updated: 0, boot: None, host: None };
        let part = |start: usize| StoredHistory {
            totals: vec![StoredTotal { start: i64::try_from(start).unwrap(), ..StoredTotal::default() }],
            ..StoredHistory::default()
        };
        for start in (0..MOST_CELLS + 10).rev() {
            history.take(&placed, part(start));
        }
        assert_eq!((history.stored[&0].cells.len(), history.coverage().cut), (MOST_CELLS, Some(9)));
    }

    #[test]
    fn of_very_many_flows_the_latest_are_told_apart_and_all_are_counted() {
        let mut overseer = overseer();
        tell(&mut overseer, 0, 1, (0, 0), &stored(500, 1));
        let most = i64::try_from(MOST_SEEN_FLOWS).unwrap();
        for number in 0..2 * most {
            let line = json!({"line": format!("08:00 :: me :: curl :: host-{number}.test 443 :: ")});
            tell(&mut overseer, 10 + number, 10 + number, (1, 0), &line);
        }
        // One whose flow was given up goes on.
        tell(
            &mut overseer,
            10,
            20 + 2 * most,
            (11, 0),
            &json!({"line": "08:00 :: me :: curl :: host-0.test 443 :: "}),
        );
        let history = overseer.history().unwrap();
        assert!(history.flows.all.len() <= MOST_SEEN_FLOWS + 3, "{}", history.flows.all.len());
        let peers = sums(&overseer, "", |flow| format!("{}{}", flow.program, flow.peer));
        let of = |name: &str| peers.iter().find(|(label, _)| label == name).map(|(_, moved)| moved.bytes.rx);
        assert_eq!(of("curla.test"), Some(500), "what is stored stays");
        assert_eq!(of(&format!("curlhost-{}.test", 2 * most - 1)), Some(1));
        assert_eq!((of("curlhost-1.test"), of("curlhost-0.test")), (None, Some(10)));
        let all: u64 = peers.iter().map(|(_, moved)| moved.bytes.rx).sum();
        let connections: u32 = peers.iter().map(|(_, moved)| moved.connections).sum();
        assert_eq!(
            (all, connections),
            (500 + 2 * MOST_SEEN_FLOWS as u64 + 10, 1 + 2 * u32::try_from(most).unwrap())
        );
        assert!(of("(others)").unwrap() >= MOST_SEEN_FLOWS as u64);
    }

    #[test]
    fn pairs_that_are_new_count_once_and_not_those_that_rules_hide_or_accept() {
        let config = "[rx-group]\nwget =\n[rx-style]\nknown = new=no\n";
        let mut overseer =
            Overseer::with_list(Config::parse(config.as_bytes(), std::path::Path::new("w.ini")), "");
        overseer.keep_history(Now::from(ns(START)));
        let new = |line: &str| json!({"new": true, "line": line});
        let of = |program: &str| new(&format!("08:00 :: me :: {program} :: a.test 443 :: "));
        tell(&mut overseer, -5, 1, (0, 0), &of("before"));
        tell(&mut overseer, 2, 3, (0, 0), &json!({}));
        tell(&mut overseer, 2, 4, (0, 0), &of("curl"));
        tell(&mut overseer, 2, 5, (9, 0), &of("curl"));
        tell(&mut overseer, 6, 7, (0, 0), &of("wget"));
        tell(&mut overseer, 8, 9, (0, 0), &of("known"));
        tell(&mut overseer, 10, 70, (0, 0), &of("later"));
        let history = overseer.history().unwrap();
        assert_eq!((history.news_since(0), history.news_since(START + 60)), (2, 1));
    }
}
