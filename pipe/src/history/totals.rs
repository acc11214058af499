// SPDX-License-Identifier: GPL-3.0-or-later
//! How much each program moved with whom, by hour and later by day.

mod packed;
mod tables;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use hashlink::LruCache;
use jiff::tz::TimeZone;
use leco_bpf::read::record::{Conn, Direction, State};
use leco_os::clock::BootNs;
use leco_os::time_zone::start_of_hour;
use rusqlite::Connection;
use siphasher::sip::SipHasher13;

pub use self::tables::{Column, Limits, Total, start_of_total};
pub(super) use self::tables::{
    TABLES, bound, check, first_hour, flows, labels, pack_days, read, read_before, tidy, write,
};
use crate::clock::Now;
use crate::enrich::labels::Labels;

/// Open connections of which it is known how much was counted; of more, those heard of least recently go.
const OPEN: usize = 65_536;
pub(super) const HOUR: i64 = 3600;

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Script or process name.
    pub program: String,
    /// Unit or container, as lines show it; empty where there is none.
    pub unit: String,
    /// User of the process.
    pub uid: u32,
    /// Who opened it.
    pub direction: Direction,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// Port of the end that was called.
    pub port: u16,
    /// Name of the peer, operator of its network, or its network.
    pub peer: String,
}

/// The same, where it is read.
#[derive(Debug, Clone, Copy)]
pub struct FlowRef<'f> {
    /// Script or process name.
    pub program: &'f str,
    /// Unit or container; empty where there is none.
    pub unit: &'f str,
    /// User of the process.
    pub uid: u32,
    /// Who opened it.
    pub direction: Direction,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// Port of the end that was called.
    pub port: u16,
    /// Name of the peer, operator of its network, or its network.
    pub peer: &'f str,
}

impl Flow {
    /// The same, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> FlowRef<'_> {
        let Self { program, unit, uid, direction, protocol, port, peer } = self;
        let (uid, direction, protocol, port) = (*uid, *direction, *protocol, *port);
        FlowRef { program, unit, uid, direction, protocol, port, peer }
    }

    /// The same on each machine and in each version, since it is in the file.
    fn hash(&self) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(0x6c65_636f, 2);
        for text in [&self.program, &self.unit, &self.peer] {
            hasher.write(text.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.write(&self.uid.to_le_bytes());
        hasher.write(&[number_of(self.direction)]);
        hasher.write(&self.protocol.to_le_bytes());
        hasher.write(&self.port.to_le_bytes());
        hasher.finish()
    }
}

impl From<FlowRef<'_>> for Flow {
    fn from(flow: FlowRef<'_>) -> Self {
        let FlowRef { program, unit, uid, direction, protocol, port, peer } = flow;
        let (program, unit, peer) = (program.to_owned(), unit.to_owned(), peer.to_owned());
        Self { program, unit, uid, direction, protocol, port, peer }
    }
}

fn number_of(direction: Direction) -> u8 {
    match direction {
        Direction::Outgoing => 0,
        Direction::Incoming => 1,
        Direction::Listening => 2,
    }
}

fn direction_of(number: i64) -> Direction {
    match number {
        1 => Direction::Incoming,
        2 => Direction::Listening,
        _ => Direction::Outgoing,
    }
}

/// The ways in which a connection fails, as the file numbers them.
const FAILURES: [(State, &str); 6] = [
    (State::Refused, "refused"),
    (State::Reset, "reset"),
    (State::TimedOut, "timeout"),
    (State::Unreachable, "unreachable"),
    (State::Unanswered, "unanswered"),
    (State::Blocked, "blocked"),
];

/// Its number in the file, from 1; 0 for what did not fail.
fn failure(state: State) -> u8 {
    let at = FAILURES.iter().position(|(failure, _)| *failure == state);
    at.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(0)
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Connections that began.
    pub connections: u64,
    /// Bytes received.
    pub rx: u64,
    /// Bytes sent.
    pub tx: u64,
    /// Connections that failed, by kind: refused, reset, timeout, unreachable, unanswered, blocked.
    pub failures: [u64; FAILURES.len()],
}

impl Sums {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.connections = self.connections.saturating_add(other.connections);
        self.rx = self.rx.saturating_add(other.rx);
        self.tx = self.tx.saturating_add(other.tx);
        for (own, more) in self.failures.iter_mut().zip(other.failures) {
            *own = own.saturating_add(more);
        }
    }

    /// Those of each kind that there were, by name.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let kinds = FAILURES.iter().map(|(_, name)| *name);
        kinds.zip(self.failures).filter(|(_, count)| *count > 0)
    }
}

/// What of a connection is in the totals.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    rx: u64,
    tx: u64,
    /// As [`failure`] numbers it.
    failure: u8,
    is_open: bool,
}

impl Counted {
    /// In the file, what ended without failing.
    const ENDED: u8 = 255;

    /// How it ended, as the file has it; 0 where it has not, or nobody told.
    fn state(self) -> u8 {
        if self.failure == 0 && !self.is_open { Self::ENDED } else { self.failure }
    }

    fn of_file(rx: u64, tx: u64, state: u8) -> Self {
        Self { rx, tx, failure: if state == Self::ENDED { 0 } else { state }, is_open: state == 0 }
    }
}

/// How much was counted of each connection that the kernel side may tell of again.
#[derive(Debug)]
struct Known {
    open: LruCache<BootNs, Counted>,
    ended: LruCache<BootNs, Counted>,
}

impl Known {
    /// The kernel side remembers so many connections that have ended, and as many flows without a socket.
    fn new(ended: usize) -> Self {
        Self { open: LruCache::new(OPEN), ended: LruCache::new(ended.saturating_mul(2).max(1)) }
    }

    fn get(&mut self, ns: BootNs) -> Option<Counted> {
        self.open.get(&ns).or_else(|| self.ended.get(&ns)).copied()
    }

    /// Takes what is counted now. Gives back the connection that has to go for it.
    fn insert(&mut self, ns: BootNs, counted: Counted) -> Option<BootNs> {
        let (own, other) = if counted.is_open {
            (&mut self.open, &mut self.ended)
        } else {
            (&mut self.ended, &mut self.open)
        };
        other.remove(&ns);
        let is_full = own.len() == own.capacity() && !own.contains_key(&ns);
        let gone = if is_full { own.remove_lru() } else { None };
        own.insert(ns, counted);
        gone.map(|(ns, _)| ns)
    }
}

/// What was heard of a connection last, and is not in the totals yet.
#[derive(Debug)]
struct Waiting {
    hour: i64,
    flow: Flow,
    rx: u64,
    tx: u64,
    failure: u8,
    is_open: bool,
}

/// What goes to the disk at once.
#[derive(Debug, Default)]
pub(super) struct TotalsBatch {
    /// By the hour's begin in seconds since 1970.
    sums: HashMap<(i64, Flow), Sums>,
    counted: HashMap<BootNs, Counted>,
    /// Connections of which nothing is told any more.
    forgotten: Vec<BootNs>,
}

impl TotalsBatch {
    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Takes what could not be written before.
    pub(super) fn join(&mut self, mut earlier: Self) {
        for (key, sums) in earlier.sums {
            self.sums.entry(key).or_default().add(&sums);
        }
        for ns in &self.forgotten {
            earlier.counted.remove(ns);
        }
        for (ns, counted) in earlier.counted {
            self.counted.entry(ns).or_insert(counted);
        }
        // Of more the rows stay until there are too many.
        earlier.forgotten.truncate(OPEN);
        earlier.forgotten.append(&mut self.forgotten);
        self.forgotten = earlier.forgotten;
    }
}

/// Counts in memory, until it is written.
#[derive(Debug)]
pub(super) struct Totals {
    known: Known,
    waiting: HashMap<BootNs, Waiting>,
    batch: TotalsBatch,
    zone: TimeZone,
    /// The hour in which counting is, and when it ends.
    hour: (i64, i64),
}

impl Totals {
    /// `ended`: connections that the kernel side remembers when they have ended.
    pub(super) fn new(zone: TimeZone, ended: usize) -> Self {
        Self {
            known: Known::new(ended),
            waiting: HashMap::new(),
            batch: TotalsBatch::default(),
            zone,
            hour: (0, 0),
        }
    }

    /// Goes on with what an earlier pipe of this boot has counted.
    pub(super) fn restore(&mut self, connection: &Connection, boot: &str) -> rusqlite::Result<()> {
        let mut query =
            connection.prepare("SELECT ns, rx, tx, state FROM counted WHERE boot = ?1 ORDER BY last")?;
        let rows = query.query_map([boot], |row| {
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok((number(0)?, Counted::of_file(number(1)?, number(2)?, row.get(3)?)))
        })?;
        for row in rows {
            let (ns, counted) = row?;
            let gone = self.known.insert(ns, counted);
            self.forget(gone);
        }
        Ok(())
    }

    /// Whether anything waits to be written, and how much.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.batch.len()
    }

    /// Takes what is known of a connection now; a name that comes later counts as long as nothing is written.
    pub(super) fn see(&mut self, conn: &Conn, labels: &Labels, peer: String, now: &Now) {
        if conn.is_listener() {
            return;
        }
        let failure = failure(conn.state);
        let is_told = |known: &Counted| (known.rx, known.tx, known.failure) == (conn.rx, conn.tx, failure);
        let known = self.known.get(conn.ns).filter(is_told);
        if let Some(known) = known.filter(|_| !self.waiting.contains_key(&conn.ns)) {
            let gone = self.known.insert(conn.ns, Counted { is_open: conn.is_open(), ..known });
            self.forget(gone);
            return;
        }
        let hour = self.hour_of(now.wall.as_second());
        if self.waiting.get(&conn.ns).is_some_and(|waiting| waiting.hour != hour) {
            self.settle(conn.ns);
        }
        let who = &labels.who;
        let flow = Flow {
            program: who.script.as_deref().unwrap_or(&who.comm).to_owned(),
            unit: who.cgroup.as_deref().unwrap_or_default().to_owned(),
            uid: conn.uid,
            direction: conn.direction,
            protocol: conn.protocol,
            port: if conn.direction == Direction::Incoming { conn.local_port } else { conn.remote_port },
            peer,
        };
        let (rx, tx, is_open) = (conn.rx, conn.tx, conn.is_open());
        self.waiting.insert(conn.ns, Waiting { hour, flow, rx, tx, failure, is_open });
    }

    /// The begin of the hour, as clocks on the wall have it: zones may be half an hour off.
    fn hour_of(&mut self, second: i64) -> i64 {
        let (begin, end) = self.hour;
        if !(begin..end).contains(&second) {
            let begin = start_of_hour(second, &self.zone);
            self.hour = (begin, begin + HOUR);
        }
        self.hour.0
    }

    /// Adds what is new of a connection.
    fn settle(&mut self, ns: BootNs) {
        let Some(Waiting { hour, flow, rx, tx, failure, is_open }) = self.waiting.remove(&ns) else { return };
        let known = self.known.get(ns);
        let before = known.unwrap_or_default();
        let mut sums = Sums {
            connections: u64::from(known.is_none()),
            // Of a connection that is known by its bytes only.
            rx: rx.saturating_sub(before.rx),
            tx: tx.saturating_sub(before.tx),
            ..Sums::default()
        };
        if failure != before.failure && failure > 0 {
            sums.failures[usize::from(failure) - 1] = 1;
        }
        let counted = Counted {
            rx: rx.max(before.rx),
            tx: tx.max(before.tx),
            failure: failure.max(before.failure),
            is_open,
        };
        let gone = self.known.insert(ns, counted);
        self.forget(gone);
        self.batch.sums.entry((hour, flow)).or_default().add(&sums);
        self.batch.counted.insert(ns, counted);
    }

    /// Nothing is told of it any more.
    fn forget(&mut self, gone: Option<BootNs>) {
        if let Some(ns) = gone {
            self.batch.counted.remove(&ns);
            self.batch.forgotten.push(ns);
        }
    }

    /// All that waits, to be written.
    pub(super) fn take(&mut self) -> TotalsBatch {
        let waiting: Vec<BootNs> = self.waiting.keys().copied().collect();
        for ns in waiting {
            self.settle(ns);
        }
        std::mem::take(&mut self.batch)
    }

    /// Takes back what could not be handed on.
    pub(super) fn give_back(&mut self, batch: TotalsBatch) {
        self.batch.join(batch);
    }
}

/// What tests of this and of what reads it begin with.
#[cfg(test)]
pub(in crate::history) mod fixtures {
    use std::path::Path;

    use super::*;
    use crate::history::Store;

    /// 2027-01-15 08:00 UTC.
    pub(in crate::history) const START: i64 = 1_800_000_000;
    pub(in crate::history) const LIMITS: Limits = Limits { days: 30, bytes: 64 << 20 };

    pub(in crate::history) fn sums(connections: u64, rx: u64, tx: u64) -> Sums {
        Sums { connections, rx, tx, ..Sums::default() }
    }

    /// One of many.
    pub(in crate::history) fn flow(number: usize) -> Flow {
        Flow {
            program: format!("program-{}", number % 50),
            unit: format!("unit-{}.service", number % 30),
            uid: 1000,
            direction: Direction::Outgoing,
            protocol: 6,
            port: 443,
            peer: format!("host-{number}.example.org"),
        }
    }

    /// Totals as a pipe would have written them, an event each hour.
    pub(in crate::history) fn fill(
        path: &Path,
        zone: &TimeZone,
        hours: std::ops::Range<i64>,
        flows: usize,
    ) -> Store {
        let mut store = Store::open(path).unwrap();
        for hour in hours {
            let mut batch = TotalsBatch::default();
            for number in 0..flows {
                let key = (start_of_hour(START + hour * HOUR, zone), flow(number));
                batch.sums.insert(key, sums(1, 1 << 20, 1 << 10));
            }
            store.write(&[], "boot", &[], (&batch, START + hour * HOUR)).unwrap();
        }
        store
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::Timestamp;
    use leco_cli::history::By;
    use leco_core::query::Query;

    use super::fixtures::{LIMITS, START, fill, flow, sums};
    use super::*;
    use crate::fixtures;
    use crate::history::question::{Answer, Question};
    use crate::history::{Memory, Saved, Store, StoreError};

    const SECOND: u64 = 1_000_000_000;
    const DAY: i64 = 24 * HOUR;
    fn saved(zone: &TimeZone) -> Saved {
        Saved { totals: Some(LIMITS), zone: zone.clone(), ..Saved::default() }
    }

    fn at(second: i64) -> Now {
        let boot = u64::try_from(second - START + 1_000).unwrap() * SECOND;
        Now { boot, wall: Timestamp::from_second(second).unwrap() }
    }

    fn conn(ns: u64, rx: u64, tx: u64) -> Conn {
        Conn { rx, tx, ..fixtures::conn(ns, 7, 1000, "192.0.2.1") }
    }

    fn ask(path: &Path, by: By, zone: &TimeZone, filter: &str) -> Answer {
        let filter = Query::parse(filter).unwrap();
        let question = Question { by, range: (0, i64::MAX), filter: &filter, top: None, zone };
        question.answer(&Store::open_to_read(path).unwrap()).unwrap()
    }

    #[test]
    fn nothing_is_counted_twice_or_lost_over_restarts_and_kills() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let zone = TimeZone::UTC;
        let labels = fixtures::labels("curl", None);
        let open = || Memory::open(&path, "boot", &saved(&zone)).unwrap().0;
        let mut memory = open();
        memory.count(&conn(1, 100, 10), &labels, &at(START));
        memory.count(&conn(1, 300, 20), &labels, &at(START + 1));
        memory.finish();
        // The kernel side tells the next pipe all that it knows, again.
        let mut memory = open();
        memory.count(&conn(1, 300, 20), &labels, &at(START + 10));
        memory.count(&conn(1, 1000, 50), &labels, &at(START + 11));
        memory.count(&Conn { state: State::Refused, ..conn(2, 0, 0) }, &labels, &at(START + 12));
        memory.keep_time(at(START + 20).boot);
        memory.finish();
        // One that was killed had counted more than it wrote.
        let mut memory = open();
        memory.count(&conn(1, 5000, 60), &labels, &at(START + 30));
        drop(memory);
        let mut memory = open();
        memory.count(&conn(1, 6000, 70), &labels, &at(START + 40));
        memory.count(&Conn { state: State::Refused, ..conn(2, 0, 0) }, &labels, &at(START + 41));
        memory.finish();
        let answer = ask(&path, By::Program, &zone, "");
        let mut expected = sums(2, 6000, 70);
        expected.failures[0] = 1;
        assert_eq!(answer.rows, [("curl".to_owned(), expected)]);
        // Of another boot, the same numbers are other connections.
        let mut memory = Memory::open(&path, "next", &saved(&zone)).unwrap().0;
        memory.count(&conn(1, 7, 7), &labels, &at(START + 50));
        memory.finish();
        assert_eq!(ask(&path, By::Program, &zone, "").total.rx, 6007);
    }

    #[test]
    fn of_what_has_ended_so_much_is_known_as_may_be_told_again_and_of_what_is_open_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let labels = fixtures::labels("curl", None);
        let saved = Saved { ended: 10, ..saved(&TimeZone::UTC) };
        for round in 0..3 {
            let mut memory = Memory::open(&path, "boot", &saved).unwrap().0;
            // What is open is told again, and then what ended in the meantime.
            memory.count(&conn(1, 500, 5), &labels, &at(START + round));
            let ended = |ns| Conn { state: State::Closed, ..conn(ns, 1, 1) };
            let first = 10 + u64::try_from(round).unwrap() * 1000;
            for ns in first..first + 1000 {
                memory.count(&ended(ns), &labels, &at(START + round));
            }
            memory.finish();
            let counted = Connection::open(&path).unwrap();
            let rows = counted.query_row("SELECT count(*) FROM counted", [], |row| row.get(0));
            assert_eq!(rows, Ok(21));
        }
        assert_eq!(ask(&path, By::Program, &TimeZone::UTC, "").total, sums(3001, 3500, 3005));
    }

    #[test]
    fn bytes_count_in_the_hour_in_which_they_moved_and_names_by_what_is_known_when_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        // Half an hour beside the others.
        let zone = TimeZone::posix("ABC-5:30").unwrap();
        let mut memory = Memory::open(&path, "boot", &saved(&zone)).unwrap().0;
        let unnamed = fixtures::labels("curl", None);
        let named = fixtures::labels("curl", Some("a.test"));
        let half = START + 1800;
        memory.count(&conn(1, 100, 0), &unnamed, &at(half - 10));
        memory.count(&conn(1, 250, 0), &named, &at(half - 1));
        memory.count(&conn(1, 1000, 0), &named, &at(half));
        memory.finish();
        assert_eq!(ask(&path, By::Peer, &zone, "").rows, [("a.test".to_owned(), sums(1, 1000, 0))]);
        let hours = ask(&path, By::Hour, &zone, "");
        assert_eq!(
            hours.rows,
            [
                ("2027-01-15 13:00".to_owned(), sums(1, 250, 0)),
                ("2027-01-15 14:00".to_owned(), sums(0, 750, 0)),
            ]
        );
        assert_eq!(ask(&path, By::Program, &zone, "peer:a.test port:443").rows.len(), 1);
        assert_eq!(ask(&path, By::Program, &zone, "proc:wget").rows.len(), 0);
    }

    #[test]
    fn hours_become_days_and_days_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        // Clocks go forward on 2027-03-28, and back on 2027-10-31.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let mut store = fill(&path, &zone, 0..24 * 100, 2);
        let now = START + 100 * DAY;
        store.tidy("boot", now, &zone, Limits { days: 60, ..LIMITS }).unwrap();
        store.tidy("boot", now, &zone, Limits { days: 60, ..LIMITS }).unwrap();
        drop(store);
        let days = ask(&path, By::Day, &zone, "");
        let of =
            |day: &str| days.rows.iter().find(|(label, _)| label == day).map(|(_, sums)| sums.connections);
        assert_eq!(of("2027-03-27"), Some(48));
        assert_eq!(of("2027-03-28"), Some(46), "a day of 23 hours");
        assert_eq!(of("2027-03-29"), Some(48));
        // 60 days before the 25th of April, and today.
        assert_eq!((days.rows[0].0.as_str(), days.rows.len()), ("2027-02-24", 61));
        let hours = ask(&path, By::Hour, &zone, "");
        assert_eq!(hours.rows.iter().filter(|(_, sums)| sums.connections == 2).count(), 7 * 24 + 10);
    }

    #[test]
    fn a_time_begins_with_the_whole_total_that_it_is_in() {
        let zone = TimeZone::posix("ABC-5:30").unwrap();
        let start = |age| start_of_total(START - age, START, &zone);
        assert_eq!(START - start(0), 1800, "13:30 is of 13:00");
        assert_eq!(start(600), start(0));
        assert_eq!(
            start(8 * 24 * 3600),
            leco_os::time_zone::start_of_day(START, -8, &zone),
            "of which there are days only"
        );
    }

    #[test]
    fn the_file_is_bounded_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let zone = TimeZone::UTC;
        let limits = Limits { days: 30, bytes: 1 << 20 };
        let mut store = fill(&path, &zone, 0..2, 500);
        for hour in 2..100 {
            drop(store);
            store = fill(&path, &zone, hour..hour + 1, 500);
            store.bound(limits).unwrap();
        }
        drop(store);
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size < limits.bytes + (100 << 10), "{size}");
        let hours = ask(&path, By::Hour, &zone, "");
        assert_eq!(hours.rows.last().unwrap().0, "2027-01-19 11:00");
        assert!((10..98).contains(&hours.rows.len()), "{}", hours.rows.len());
    }

    #[test]
    fn a_clock_that_steps_back_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let zone = TimeZone::UTC;
        let mut memory = Memory::open(&path, "boot", &saved(&zone)).unwrap().0;
        let labels = fixtures::labels("curl", None);
        for (bytes, wall) in [(10, START), (20, START - 4000), (30, START + 9000), (40, START + 1)] {
            memory.count(
                &conn(1, bytes, 0),
                &labels,
                &Now { boot: SECOND, wall: Timestamp::from_second(wall).unwrap() },
            );
        }
        memory.finish();
        assert_eq!(ask(&path, By::Hour, &zone, "").rows.len(), 3);
        assert_eq!(ask(&path, By::Program, &zone, "").total, sums(1, 40, 0));
    }

    #[test]
    fn a_memory_of_before_gets_totals_and_keeps_its_pairs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let labels = fixtures::labels("curl", None);
        let mut memory = Memory::open(&path, "boot", &Saved::default()).unwrap().0;
        memory.see(&conn(1, 0, 0), &labels, &at(START));
        memory.finish();
        let old = Connection::open(&path).unwrap();
        let drops: String = ["flow", "hours", "packed", "failures", "counted"]
            .map(|table| format!("DROP TABLE {table};"))
            .concat();
        old.execute_batch(&format!("{drops} PRAGMA user_version=2")).unwrap();
        drop(old);
        assert!(!Store::open_to_read(&path).unwrap().has_totals().unwrap());
        let mut memory = Memory::open(&path, "boot", &saved(&TimeZone::UTC)).unwrap().0;
        memory.count(&conn(2, 1, 2), &labels, &at(START + 9));
        memory.finish();
        assert_eq!(ask(&path, By::Program, &TimeZone::UTC, "").total, sums(1, 1, 2));
        assert_eq!(Store::open_to_read(&path).unwrap().pairs().unwrap().len(), 1);
    }

    /// What version 3 kept in a row each. It is read as it is, and by whoever opens it for writing packed, all the same.
    #[test]
    fn totals_are_the_same_after_an_upgrade() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let zone = TimeZone::UTC;
        drop(fill(&path, &zone, 190..200, 3));
        let old = Connection::open(&path).unwrap();
        old.execute_batch(&format!(
            "DROP TABLE packed; CREATE TABLE days (start INTEGER NOT NULL, flow INTEGER NOT NULL, connections INTEGER NOT \
             NULL, rx INTEGER NOT NULL, tx INTEGER NOT NULL, PRIMARY KEY (start, flow)) WITHOUT ROWID; \
             INSERT INTO days VALUES ({0}, 1, 10, 100, 1000), ({0}, 3, 20, 200, 2000), ({1}, 3, 1, 2, 3); \
             INSERT INTO failures VALUES ({0}, 3, 1, 7), ({0}, 3, 6, 1), ({2}, 2, 5, 4); PRAGMA user_version=3",
            START - 8 * HOUR,
            START + 16 * HOUR,
            START + 191 * HOUR,
        ))
        .unwrap();
        drop(old);
        let all = || [By::Program, By::Peer, By::Hour, By::Day].map(|by| ask(&path, by, &zone, ""));
        let before = all();
        let total = before[0].total;
        assert_eq!((total.connections, total.rx, total.failures), (61, (30 << 20) + 302, [7, 0, 0, 0, 4, 1]));
        let mut store = Store::open(&path).unwrap();
        assert_eq!(all(), before);
        assert!(Connection::open(&path).unwrap().prepare("SELECT * FROM days").is_err());
        // Hours are packed when they are over, with what of one comes later.
        store.tidy("boot", START + 200 * HOUR, &zone, LIMITS).unwrap();
        assert_eq!(all(), before);
        let late = Flow { program: "late".into(), ..flow(1) };
        let batch = |flow: Flow| TotalsBatch {
            sums: [((START + 191 * HOUR, flow), sums(5, 6, 7))].into(),
            ..TotalsBatch::default()
        };
        store.write(&[], "boot", &[], (&batch(late), START + 201 * HOUR)).unwrap();
        store.write(&[], "boot", &[], (&batch(flow(1)), START + 201 * HOUR)).unwrap();
        let after = all();
        assert_eq!(after[0].total.connections, total.connections + 10);
        store.tidy("boot", START + 201 * HOUR, &zone, LIMITS).unwrap();
        assert_eq!(all(), after);
    }

    #[test]
    fn damaged_totals_are_told_as_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let mut store = fill(&path, &TimeZone::UTC, 0..3, 3);
        store.tidy("boot", START + 4 * HOUR, &TimeZone::UTC, LIMITS).unwrap();
        drop(store);
        for damage in ["totals = x'ffffffffffffffffffffff'", "totals = 'text'", "flow = 'text'"] {
            let file = dir.path().join("damaged.sqlite");
            std::fs::copy(&path, &file).unwrap();
            Connection::open(&file).unwrap().execute_batch(&format!("UPDATE packed SET {damage}")).unwrap();
            let error = Store::open_to_ask(&file).unwrap().totals((0, i64::MAX), |_| ()).unwrap_err();
            assert!(matches!(error, StoreError::Damaged(..)), "{damage}: {error:?}");
            drop(Store::open(&file).unwrap());
            assert!(dir.path().join("damaged.sqlite.damaged").exists(), "{damage}");
            std::fs::remove_file(dir.path().join("damaged.sqlite.damaged")).unwrap();
        }
    }
}
