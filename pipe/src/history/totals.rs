// SPDX-License-Identifier: GPL-3.0-or-later
//! How much each program moved with whom, by hour and later by day.

mod packed;
mod reading;
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

pub use self::reading::{Column, Total};
pub(super) use self::reading::{flows, labels, read, read_before};
pub use self::tables::{Limits, start_of_total};
pub(super) use self::tables::{TABLES, bound, check, first_hour, has_table, pack_days, tidy, write};
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
        let is_told = |known: &Counted| {
            (known.rx, known.tx) == (conn.rx, conn.tx) && [0, known.failure].contains(&failure)
        };
        let known = self.known.get(conn.ns).filter(is_told);
        if let Some(known) = known.filter(|_| !self.waiting.contains_key(&conn.ns)) {
            let gone = self.known.insert(conn.ns, Counted { is_open: conn.is_open(), ..known });
            self.forget(gone);
            return;
        }
        let hour = self.hour_of(now.wall.as_second());
        let has_changed = |waiting: &Waiting| {
            waiting.hour != hour || (failure > 0 && waiting.failure > 0 && waiting.failure != failure)
        };
        if self.waiting.get(&conn.ns).is_some_and(has_changed)
            && let Some(waiting) = self.waiting.remove(&conn.ns)
        {
            self.settle(conn.ns, waiting);
        }
        // What passes after a failure takes nothing back.
        let waiting = self.waiting.get(&conn.ns).map_or(0, |waiting| waiting.failure);
        let failure = if failure > 0 { failure } else { waiting };
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
    fn settle(&mut self, ns: BootNs, waiting: Waiting) {
        let Waiting { hour, flow, rx, tx, failure, is_open } = waiting;
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
            // It may fail in one way and then in another, and what passes in between takes nothing back.
            failure: if failure > 0 { failure } else { before.failure },
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
        // A map keeps the room that it needed once: after a burst that would be megabytes.
        for (ns, waiting) in std::mem::take(&mut self.waiting) {
            self.settle(ns, waiting);
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
mod tests;
