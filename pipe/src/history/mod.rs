// SPDX-License-Identifier: GPL-3.0-or-later
//! Which program talked to which name or network before: what is new stands out.

mod by_flow;
mod errors;
mod mark;
mod names;
pub(crate) mod pages;
pub mod question;
pub mod seen;
mod store;
pub mod totals;
pub(crate) mod undecided;
mod writer;

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TrySendError, channel};
use std::time::Duration;

use hashlink::LruCache;
use jiff::tz::TimeZone;
use leco_bpf::read::record::{Conn, Direction};
use leco_core::text::{Protocol, network, port_of};
use leco_os::bell::Bell;
use leco_os::clean::clean_bytes;
use leco_os::clock::BootNs;
use leco_os::environment::folder_in;
use leco_os::reclaim::give_back;
use siphasher::sip::SipHasher13;

use crate::clock::Now;
use crate::enrich::asker::Asker;
use crate::enrich::labels::Labels;
pub use crate::history::errors::StoreError;
pub use crate::history::names::{KeptName, NAME_ROWS};
use crate::history::pages::{Page, PageQuestion};
pub use crate::history::store::{Pair, SEEN_ROWS, Store};
pub use crate::history::totals::Limits;
use crate::history::totals::Totals;
use crate::history::writer::{Batch, MOST_UNWRITTEN, Writer};

/// What was seen is written at most so often.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);
/// Pairs that wait to be written; more are written at once.
const BATCH: usize = 512;
/// Connections whose bytes wait to be written; more are written at once.
const TOTALS_BATCH: usize = 8192;

/// Receivers that wait for pages of what is stored; others are refused.
const MOST_ASKED: usize = 512;

/// What is kept of a pair between two writes.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The connection that was the first ever, where this pipe saw it; 0: an earlier one did.
    first: BootNs,
    /// The latest connection that was counted.
    latest: BootNs,
}

/// Remembers pairs of program and peer.
#[derive(Debug)]
pub struct Memory {
    known: LruCache<u64, Known>,
    /// What waits to be written, and the ids of it.
    pending: Vec<Pair>,
    pending_ids: HashSet<u64>,
    /// Names that wait to be written, and a hash of the one that was written last of each connection.
    pending_names: Vec<KeptName>,
    named: LruCache<BootNs, u64>,
    /// Where they are wanted.
    totals: Option<Totals>,
    due: Option<BootNs>,
    /// The wall clock as it was last, in seconds since 1970.
    wall: i64,
    /// When the first pair was seen, in seconds since 1970, and how long after that everything would be new.
    began: Option<i64>,
    learn: Duration,
    /// `None` where nothing is written: in tests, or since the disk could not be used.
    writer: Option<Writer>,
    /// Who waits until all that was seen before is written.
    awaiting: Vec<Sender<()>>,
    /// Reads what is stored, for receivers.
    pages: Option<Pages>,
}

/// Reads pages on a thread that is there while there are questions.
struct Pages {
    asker: Asker<PageQuestion, Page>,
    bell: Bell,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

impl Pages {
    fn new(path: &Path) -> Option<Self> {
        let bell = Bell::new().ok()?;
        let path = path.to_owned();
        let asker = Asker::new("history", 1, MOST_ASKED, &bell, move |question: &PageQuestion| {
            let page = question.answer(&path);
            give_back();
            page
        });
        Some(Self { asker, bell })
    }
}

/// What is saved, and for how long.
#[derive(Debug, Clone)]
pub struct Saved {
    /// Totals by hour and day; none where they are not wanted.
    pub totals: Option<Limits>,
    /// Days and hours are those of this zone.
    pub zone: TimeZone,
    /// For so long after the first pair nothing is told to be new.
    pub learn: Duration,
    /// Connections that the kernel side remembers when they have ended.
    pub ended: usize,
}

impl Default for Saved {
    fn default() -> Self {
        Self { totals: None, zone: TimeZone::UTC, learn: Duration::ZERO, ended: 8192 }
    }
}

impl Memory {
    /// Goes on with what is in this file. Also returns what connections of this boot were called.
    pub fn open(path: &Path, boot: &str, saved: &Saved) -> Result<(Self, Vec<KeptName>), StoreError> {
        let mut store = Store::open(path)?;
        store.forget_names(jiff::Timestamp::now().as_second())?;
        let names = store.names(boot)?;
        let boot = boot.to_owned();
        let mut memory = Self { learn: saved.learn, ..Self::default() };
        memory.began = store.began()?;
        if saved.totals.is_some() {
            let mut totals = Totals::new(saved.zone.clone(), saved.ended);
            store.restore_totals(&mut totals, &boot)?;
            memory.totals = Some(totals);
        }
        for id in store.ids()? {
            memory.known.insert(id, Known { first: 0, latest: 0 });
        }
        let writer = Writer::start(path, store, boot, saved)?;
        let pages = saved.totals.and_then(|_| Pages::new(path));
        Ok((Self { writer: Some(writer), pages, ..memory }, names))
    }

    /// Asks for a page of what is stored; the first one after all that was seen until now is written. `Err` is the page that
    /// says why not.
    pub(crate) fn ask(&mut self, mut question: PageQuestion, now: BootNs) -> Result<(), Page> {
        if self.pages.is_none() {
            return Err(question.refusal("the pipe stores no totals"));
        }
        question.written = question.from.place.is_none().then(|| self.settled(now));
        let refusal = question.refusal("too many ask for what is stored");
        let is_asked = self.pages.as_mut().is_some_and(|pages| pages.asker.ask(question));
        if is_asked { Ok(()) } else { Err(refusal) }
    }

    /// Is over once all that was seen until now is written, or cannot be.
    fn settled(&mut self, now: BootNs) -> Receiver<()> {
        let (awaiting, settled) = channel();
        self.awaiting.push(awaiting);
        self.write(now);
        settled
    }

    /// Becomes readable when pages are there.
    pub(crate) fn pages_fd(&self) -> Option<BorrowedFd<'_>> {
        self.pages.as_ref().map(|pages| pages.bell.as_fd())
    }

    /// Pages that are there, each with who asked.
    pub(crate) fn take_pages(&mut self) -> Vec<(u64, Page)> {
        let Some(Pages { asker, bell }) = &mut self.pages else { return Vec::new() };
        bell.silence();
        std::iter::from_fn(|| asker.take()).map(|(question, page)| (question.receiver, page)).collect()
    }

    /// Keeps what a connection is called, for the next pipe.
    pub fn keep_name(&mut self, conn: &Conn, labels: &Labels, now: &Now) {
        let Some(kept) = KeptName::of(conn, labels, now.wall.as_second()) else { return };
        let mut hasher = SipHasher13::new();
        (&kept.name, kept.source.word(), kept.address).hash(&mut hasher);
        let hash = hasher.finish();
        if self.writer.is_some() && self.named.insert(conn.ns, hash) != Some(hash) {
            self.pending_names.push(kept);
            self.write_soon(now.boot);
        }
    }

    /// Counts what went over a connection.
    pub fn count(&mut self, conn: &Conn, labels: &Labels, now: &Now) {
        self.wall = now.wall.as_second();
        let Some(totals) = &mut self.totals else { return };
        totals.see(conn, labels, Peer::of(conn, labels).text(), now);
        if totals.waiting() > 0 {
            self.write_soon(now.boot);
        }
    }

    fn write_soon(&mut self, now: BootNs) {
        let interval = u64::try_from(WRITE_INTERVAL.as_nanos()).unwrap_or(u64::MAX);
        self.due.get_or_insert(now.saturating_add(interval));
        let totals = self.totals.as_ref().map_or(0, Totals::waiting);
        if self.pending.len() >= BATCH || self.pending_names.len() >= BATCH || totals >= TOTALS_BATCH {
            self.write(now);
        }
    }

    /// Whether this connection is the first ever of its program to its peer.
    pub fn see(&mut self, conn: &Conn, labels: &Labels, now: &Now) -> bool {
        if !conn.has_process() {
            return false;
        }
        let who = &labels.who;
        let program = who.script.as_deref().unwrap_or(&who.comm);
        let peer = Peer::of(conn, labels);
        let id = peer.id(conn, program);
        let known = self.known.get_mut(&id);
        let first = known.as_ref().map_or(conn.ns, |known| known.first);
        match known {
            Some(known) if known.latest >= conn.ns => {
                return first == conn.ns && !self.is_learning(conn, now);
            }
            Some(known) => known.latest = conn.ns,
            None => drop(self.known.insert(id, Known { first, latest: conn.ns })),
        }
        if self.pending_ids.insert(id) {
            self.pending.push(Pair {
                id,
                program: program.to_owned(),
                uid: conn.uid,
                is_incoming: conn.direction == Direction::Incoming,
                peer: peer.text(),
                first: now.wall_at(conn.ns).as_second(),
                last: now.wall.as_second(),
            });
            self.write_soon(now.boot);
        }
        self.began.get_or_insert(now.wall.as_second());
        first == conn.ns && !self.is_learning(conn, now)
    }

    /// Whether a connection began so early that nothing is known yet.
    fn is_learning(&self, conn: &Conn, now: &Now) -> bool {
        let learn = i64::try_from(self.learn.as_secs()).unwrap_or(i64::MAX);
        let until = self.began.map(|began| began.saturating_add(learn));
        learn > 0 && until.is_some_and(|until| now.wall_at(conn.ns).as_second() < until)
    }

    /// When to call [`Self::keep_time`].
    pub(crate) fn due(&self) -> Option<BootNs> {
        self.due
    }

    pub(crate) fn keep_time(&mut self, now: BootNs) {
        if self.due.is_some_and(|due| due <= now) {
            self.write(now);
        }
    }

    /// Hands what waits to the thread that writes; never waits for it.
    fn write(&mut self, now: BootNs) {
        self.due = None;
        let batch = self.take_batch();
        let Some(writer) = &self.writer else {
            self.pending_ids.clear();
            return;
        };
        match writer.batches.try_send(batch) {
            Err(TrySendError::Full(batch))
                if batch.pairs.len() < SEEN_ROWS
                    && batch.names.len() < NAME_ROWS
                    && batch.totals.len() < MOST_UNWRITTEN =>
            {
                (self.pending, self.pending_names, self.awaiting) =
                    (batch.pairs, batch.names, batch.awaiting);
                if let Some(totals) = &mut self.totals {
                    totals.give_back(batch.totals);
                }
                self.due = Some(now.saturating_add(1_000_000_000));
            }
            Err(TrySendError::Full(batch)) => {
                let (pairs, totals) = (batch.pairs.len(), batch.totals.len());
                tracing::warn!("the disk does not keep up: {pairs} pairs and {totals} totals are not saved");
                self.pending_ids.clear();
            }
            Ok(()) | Err(TrySendError::Disconnected(_)) => self.pending_ids.clear(),
        }
    }

    fn take_batch(&mut self) -> Batch {
        Batch {
            awaiting: std::mem::take(&mut self.awaiting),
            pairs: std::mem::take(&mut self.pending),
            names: std::mem::take(&mut self.pending_names),
            totals: self.totals.as_mut().map(Totals::take).unwrap_or_default(),
            now: self.wall,
        }
    }

    /// Hands what waits to the thread that writes, and waits where that has not kept up.
    pub fn flush(&mut self) {
        self.due = None;
        let batch = self.take_batch();
        self.pending_ids.clear();
        if let Some(writer) = &self.writer {
            // It reads until this ends.
            let _ = writer.batches.send(batch);
        }
    }

    /// Writes what waits, and waits for that.
    pub fn finish(&mut self) {
        self.flush();
        if let Some(Writer { batches, thread }) = self.writer.take() {
            drop(batches);
            // It has told what went wrong.
            let _ = thread.join();
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            known: LruCache::new(SEEN_ROWS),
            pending: Vec::new(),
            pending_ids: HashSet::new(),
            pending_names: Vec::new(),
            named: LruCache::new(NAME_ROWS),
            totals: None,
            due: None,
            wall: 0,
            began: None,
            learn: Duration::ZERO,
            writer: None,
            awaiting: Vec::new(),
            pages: None,
        }
    }
}

/// Whom a program talked to: a name, else the operator of the network, else the network.
enum Peer<'l> {
    Name(&'l str),
    System(u32, &'l str),
    Network(std::net::IpAddr),
    /// A packet socket has no other end: an interface, or all.
    Packets(String),
    /// Nobody yet: it listens. On loopback is another matter than where all may come.
    Port {
        protocol: u16,
        port: u16,
        is_loopback: bool,
    },
}

impl<'l> Peer<'l> {
    fn of(conn: &Conn, labels: &'l Labels) -> Self {
        if conn.is_listener() {
            let is_loopback = conn.local.to_canonical().is_loopback();
            return Self::Port { protocol: conn.protocol, port: conn.local_port, is_loopback };
        }
        if conn.is_packet {
            let end = conn.iface.iter().position(|byte| *byte == 0).unwrap_or(conn.iface.len());
            return Self::Packets(clean_bytes(&conn.iface[..end]).into_owned());
        }
        match (&labels.name, &labels.system) {
            (Some(name), _) => Self::Name(&name.text),
            (None, Some(system)) => Self::System(system.number, &system.organization),
            (None, None) => Self::Network(conn.remote),
        }
    }

    /// The same on each machine and in each version, since it is the row's key.
    fn id(&self, conn: &Conn, program: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(0x6c65_636f, 1);
        hasher.write(program.as_bytes());
        hasher.write_u8(0xff);
        conn.uid.hash(&mut hasher);
        hasher.write_u8(match conn.direction {
            Direction::Outgoing => 0,
            Direction::Incoming => 1,
            Direction::Listening => 2,
        });
        match self {
            Self::Name(name) => hasher.write(name.as_bytes()),
            Self::Port { protocol, port, is_loopback } => {
                hasher.write(&protocol.to_le_bytes());
                hasher.write(&port.to_le_bytes());
                hasher.write_u8(u8::from(*is_loopback));
            }
            Self::Packets(interface) => hasher.write(interface.as_bytes()),
            Self::System(number, _) => number.hash(&mut hasher),
            Self::Network(address) => match address.to_canonical() {
                std::net::IpAddr::V4(v4) => hasher.write(&v4.octets()[..3]),
                std::net::IpAddr::V6(v6) => hasher.write(&v6.octets()[..6]),
            },
        }
        hasher.finish()
    }

    fn text(&self) -> String {
        match self {
            Self::Name(name) => (*name).to_owned(),
            Self::System(number, organization) => format!("AS{number} {organization}"),
            Self::Network(address) => network(*address),
            Self::Packets(interface) => format!("packet {interface}").trim_end().to_owned(),
            Self::Port { protocol, port, is_loopback } => {
                let place = if *is_loopback { " loopback" } else { "" };
                format!("listening{place}{}", port_of(*port, Protocol::from_number(*protocol)))
            }
        }
    }
}

/// Where the memory is kept: the service's state folder, else the user's (XDG Base Directory Specification).
#[must_use]
pub fn default_path(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let absolute = |name| folder_in(&variable, name);
    // systemd joins several by colons; the first is as good as any.
    let service = variable("STATE_DIRECTORY").and_then(|folders| {
        let first = folders.to_str()?.split(':').next()?.to_owned();
        Some(PathBuf::from(first)).filter(|path| path.is_absolute())
    });
    let user =
        || absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let folder = service.or_else(|| user().map(|state| state.join("leco")))?;
    Some(folder.join("seen.sqlite"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::thread;

    use leco_core::query::Query;
    use leco_core::wire::event::ConnectionState;

    use jiff::Timestamp;

    use super::*;
    use crate::fixtures;
    use crate::fixtures::labels;
    use crate::history::totals::TotalsBatch;
    use crate::history::writer::BATCHES;

    const SECOND: u64 = 1_000_000_000;

    fn conn(ns: u64, remote: &str) -> Conn {
        Conn { local: [127, 0, 0, 1].into(), ..fixtures::conn(ns, 7, 1000, remote) }
    }

    fn at(second: u64) -> Now {
        let wall = Timestamp::from_second(1_800_000_000 + i64::try_from(second).unwrap()).unwrap();
        Now { boot: second * SECOND, wall }
    }

    #[test]
    fn the_first_connection_to_a_name_or_network_is_new_as_long_as_it_lives() {
        let mut memory = Memory::default();
        let curl = labels("curl", None);
        assert!(memory.see(&conn(1, "192.0.2.1"), &curl, &at(1)));
        assert!(memory.see(&conn(1, "192.0.2.1"), &curl, &at(9)), "the same connection, later");
        assert!(!memory.see(&conn(2, "192.0.2.99"), &curl, &at(9)), "the same network");
        assert!(memory.see(&conn(1, "192.0.2.1"), &curl, &at(10)), "told again after another");
        assert!(memory.see(&conn(3, "192.0.3.1"), &curl, &at(9)));
        assert!(memory.see(&conn(4, "192.0.2.1"), &labels("wget", None), &at(9)));
        assert!(memory.see(&conn(5, "192.0.2.1"), &labels("curl", Some("a.test")), &at(9)));
        assert!(!memory.see(&conn(6, "198.51.100.1"), &labels("curl", Some("a.test")), &at(9)));
        let incoming = Conn { direction: Direction::Incoming, ..conn(7, "192.0.2.1") };
        assert!(memory.see(&incoming, &curl, &at(9)));
        let listener = |ns, protocol, port| Conn {
            direction: Direction::Listening,
            local: [0, 0, 0, 0].into(),
            local_port: port,
            protocol,
            ..conn(ns, "0.0.0.0")
        };
        assert!(memory.see(&listener(10, 6, 8080), &curl, &at(9)));
        assert!(!memory.see(&listener(11, 6, 8080), &curl, &at(9)), "a port once");
        assert!(memory.see(&listener(12, 17, 8080), &curl, &at(9)));
        assert!(memory.see(&listener(13, 6, 8081), &curl, &at(9)));
        let nobody = Conn { pid: 0, ..conn(8, "203.0.113.1") };
        assert!(!memory.see(&nobody, &curl, &at(9)), "of no program");
    }

    #[test]
    fn nothing_is_new_while_everything_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let saved = Saved { learn: Duration::from_secs(100), ..Saved::default() };
        let curl = labels("curl", None);
        let mut memory = Memory::open(&path, "boot", &saved).unwrap().0;
        assert!(!memory.see(&conn(SECOND, "192.0.2.1"), &curl, &at(1)), "of the first day");
        memory.finish();
        let mut memory = Memory::open(&path, "boot", &saved).unwrap().0;
        assert!(!memory.see(&conn(90 * SECOND, "192.0.3.1"), &curl, &at(90)));
        assert!(
            !memory.see(&conn(90 * SECOND, "192.0.3.1"), &curl, &at(300)),
            "nor when it is told again later"
        );
        assert!(memory.see(&conn(102 * SECOND, "192.0.4.1"), &curl, &at(102)));
        assert!(
            !memory.see(&conn(103 * SECOND, "192.0.2.1"), &curl, &at(103)),
            "it was seen in the first day"
        );
    }

    #[test]
    fn what_began_to_be_learned_is_known_after_its_first_pair_was_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let limits = Limits { days: 30, bytes: 64 << 20 };
        let learn = Duration::from_hours(24);
        let saved = Saved { learn, totals: Some(limits), ..Saved::default() };
        let curl = labels("curl", None);
        let mut memory = Memory::open(&path, "boot", &saved).unwrap().0;
        for second in [1, 30 * 3600] {
            let conn = conn(second * SECOND, &format!("192.0.{second}.1").replace("108000", "3"));
            memory.see(&conn, &curl, &at(second));
            memory.count(&conn, &curl, &at(second));
            memory.flush();
        }
        memory.finish();
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute("DELETE FROM seen WHERE first = (SELECT min(first) FROM seen)", [])
            .unwrap();
        let mut memory = Memory::open(&path, "boot", &saved).unwrap().0;
        assert!(memory.see(&conn(108_100 * SECOND, "192.0.9.1"), &curl, &at(108_100)));
    }

    #[test]
    fn what_waits_is_written_at_the_end_however_slow_the_disk_is() {
        let (batches, to_write) = sync_channel(BATCHES);
        let (begin, is_begun) = channel::<()>();
        let (told, written) = channel();
        let thread = thread::spawn(move || {
            is_begun.recv().unwrap();
            let pairs = to_write.into_iter().map(|batch: Batch| batch.pairs.len()).sum::<usize>();
            told.send(pairs).unwrap();
        });
        let mut memory = Memory { writer: Some(Writer { batches, thread }), ..Memory::default() };
        for number in 1..=5 {
            let (conn, now) = (conn(number * SECOND, &format!("192.0.{number}.1")), at(number));
            assert!(memory.see(&conn, &labels("curl", None), &now));
            memory.write(now.boot);
        }
        begin.send(()).unwrap();
        memory.finish();
        assert_eq!(written.recv().unwrap(), 5);
    }

    #[test]
    fn what_could_not_be_written_comes_before_what_is_written_next() {
        let pair = |id| Pair {
            id,
            program: "p".into(),
            uid: 0,
            is_incoming: false,
            peer: id.to_string(),
            first: 0,
            last: 0,
        };
        let batch = |id, now| Batch { pairs: vec![pair(id)], now, ..Batch::default() };
        let both = batch(1, 10).followed_by(batch(2, 20));
        assert_eq!((both.pairs.iter().map(|pair| pair.id).collect::<Vec<_>>(), both.now), (vec![1, 2], 20));
        let much = Batch { pairs: (0..SEEN_ROWS as u64).map(pair).collect(), ..Batch::default() };
        assert_eq!(much.followed_by(batch(9, 0)).pairs.len(), 1, "as far as there is room");
    }

    #[test]
    fn nothing_is_sorted_in_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let store = Store::open(&path).unwrap();
        assert_eq!(store.sorts_in_memory(), Some(true));
        assert_eq!(Store::open_to_ask(&path).unwrap().sorts_in_memory(), Some(true));
    }

    #[test]
    fn memory_survives_a_restart_and_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/leco/seen.sqlite");
        let curl = labels("curl", None);
        let mut memory = Memory::open(&path, "boot", &Saved::default()).unwrap().0;
        assert!(memory.see(&conn(SECOND, "192.0.2.1"), &curl, &at(1)));
        assert_eq!(memory.due(), Some(6 * SECOND));
        memory.keep_time(6 * SECOND);
        assert_eq!(memory.due(), None, "nothing waits");
        memory.finish();
        // What was not yet written is lost with a killed pipe, and nothing else.
        let mut memory = Memory::open(&path, "boot", &Saved::default()).unwrap().0;
        assert!(!memory.see(&conn(7 * SECOND, "192.0.2.1"), &curl, &at(8)));
        assert!(memory.see(&conn(8 * SECOND, "192.0.9.1"), &curl, &at(9)));
        memory.keep_time(20 * SECOND);
        memory.finish();
        let pairs = Store::open_to_read(&path).unwrap().pairs().unwrap();
        let listed: Vec<_> = pairs.iter().map(|pair| (pair.peer.as_str(), pair.first, pair.last)).collect();
        assert_eq!(
            listed,
            [("192.0.2.0/24", 1_800_000_001, 1_800_000_008), ("192.0.9.0/24", 1_800_000_008, 1_800_000_009)]
        );
        assert!(seen::line(&pairs[0], &TimeZone::UTC).ends_with(":: curl :: 192.0.2.0/24"));
    }

    #[test]
    fn what_was_seen_can_be_filtered_by_its_direction() {
        let mut memory = Memory::default();
        for (number, direction) in
            (1..).zip([Direction::Outgoing, Direction::Incoming, Direction::Listening, Direction::Listening])
        {
            let mut conn = Conn { direction, local_port: number, ..conn(SECOND, "192.0.2.1") };
            if number == 4 {
                conn.local = "0.0.0.0".parse().unwrap();
            }
            memory.see(&conn, &labels("curl", None), &at(1));
        }
        let of = |filter: &str| {
            let filter = Query::parse(filter).unwrap();
            let holds = |pair: &&Pair| filter.holds("", &seen::details(pair), ConnectionState::Ordinary);
            memory.pending.iter().filter(holds).map(|pair| pair.peer.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((of("dir:out"), of("dir:in")), (vec!["192.0.2.0/24"], vec!["192.0.2.0/24"]));
        assert_eq!(of("dir:listen"), ["listening loopback 3", "listening 4"]);
    }

    #[test]
    fn rows_are_bounded_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let mut store = Store::open(&path).unwrap();
        let pair = |id: usize| Pair {
            id: id as u64,
            program: "p".into(),
            uid: 0,
            is_incoming: false,
            peer: id.to_string(),
            first: 0,
            last: i64::try_from(id).unwrap(),
        };
        let all: Vec<_> = (0..SEEN_ROWS + 100).map(pair).collect();
        store.write(&all, "boot", &[], (&TotalsBatch::default(), 0)).unwrap();
        let ids = store.ids().unwrap();
        assert_eq!((ids.len(), ids[0]), (SEEN_ROWS, 100));
        drop(store);
        let memory = Memory::open(&path, "boot", &Saved::default()).unwrap().0;
        assert_eq!(memory.known.len(), SEEN_ROWS);
    }

    #[test]
    fn a_pair_whose_row_has_gone_is_new_again_and_one_that_is_seen_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let open = || Memory::open(&path, "boot", &Saved::default()).unwrap().0;
        let name = |text: &str| labels("curl", Some(text));
        let mut memory = open();
        let mut ns = 0;
        let mut is_new = |memory: &mut Memory, text: &str, second: u64| {
            ns += 1;
            memory.see(&conn(ns, "192.0.2.1"), &name(text), &at(second))
        };
        assert!(is_new(&mut memory, "forgotten.test", 1) && is_new(&mut memory, "kept.test", 1));
        let mut second = 1;
        for other in 0..SEEN_ROWS {
            second += 1;
            assert!(is_new(&mut memory, &format!("{other}.test"), second));
            if other % 1000 == 0 {
                assert!(!is_new(&mut memory, "kept.test", second));
            }
        }
        memory.finish();
        let rows = Store::open_to_read(&path).unwrap().pairs().unwrap();
        let has = |peer: &str| rows.iter().any(|row| row.peer == peer);
        assert!(rows.len() == SEEN_ROWS && !has("forgotten.test") && has("kept.test"));
        // The running pipe forgets with the file, and so does the next one.
        for mut memory in [memory, open()] {
            second += 1;
            assert!(is_new(&mut memory, "forgotten.test", second));
            assert!(!is_new(&mut memory, "kept.test", second));
        }
    }

    /// The file, and every file beside it, with what is in them.
    fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
        let mut all: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let changed = path.metadata().unwrap().modified().unwrap();
                (path.clone(), std::fs::read(&path).unwrap(), changed)
            })
            .collect();
        all.sort();
        all
    }

    /// What a pipe made when databases were not marked yet.
    fn make_unmarked(path: &Path) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(path).unwrap();
        let tables = "PRAGMA journal_mode=WAL;
            CREATE TABLE IF NOT EXISTS seen (id INTEGER PRIMARY KEY, program TEXT NOT NULL, uid INTEGER NOT NULL,
             incoming INTEGER NOT NULL, peer TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL);
             CREATE INDEX IF NOT EXISTS seen_last ON seen (last);
             PRAGMA user_version=1;
             INSERT INTO seen VALUES (7, 'curl', 0, 0, 'a.test', 1, 2)";
        connection.execute_batch(tables).unwrap();
        connection
    }

    type Make<'m> = &'m dyn Fn(&Path);

    #[test]
    fn what_is_not_of_leco_is_refused_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let sqlite = |sql: &'static str| {
            move |path: &Path| rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap()
        };
        let text = |path: &Path| std::fs::write(path, "root:x:0:0:root:/root:/bin/sh\n".repeat(100)).unwrap();
        let makers: [(_, Make<'_>); 9] = [
            ("text", &text),
            ("one byte", &|path| std::fs::write(path, "\n").unwrap()),
            ("another program's", &sqlite("CREATE TABLE notes (text)")),
            ("with a log", &sqlite("PRAGMA journal_mode=WAL; CREATE TABLE notes (text)")),
            ("nothing in it but a mark", &sqlite("PRAGMA application_id=7")),
            ("no tables", &sqlite("CREATE TABLE notes (text); DROP TABLE notes")),
            ("a table of the same name", &sqlite("CREATE TABLE seen (id INTEGER PRIMARY KEY)")),
            ("one table more", &|path| {
                make_unmarked(path).execute_batch("CREATE TABLE notes (text)").unwrap();
            }),
            ("an unmarked one that is damaged", &|path| {
                drop(make_unmarked(path));
                let mut bytes = std::fs::read(path).unwrap();
                bytes[100..4096].fill(0xff);
                std::fs::write(path, bytes).unwrap();
            }),
        ];
        for (what, make) in makers {
            make(&path);
            let before = contents(dir.path());
            let errors = [Store::open(&path), Store::open_to_read(&path)].map(|opened| opened.unwrap_err());
            for error in errors {
                assert!(matches!(error, StoreError::Foreign(_)), "{what}: {error}");
                assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            }
            assert_eq!(contents(dir.path()), before, "{what}");
            std::fs::remove_file(&path).unwrap();
        }
        for beside in ["file-wal", "file-journal", "file-shm"] {
            let beside = dir.path().join(beside);
            std::fs::write(&beside, "precious").unwrap();
            let error = Store::open(&path).unwrap_err().to_string();
            assert!(error.contains(beside.to_str().unwrap()) && !path.exists(), "{error}");
            assert_eq!(std::fs::read(&beside).unwrap(), b"precious");
            std::fs::remove_file(beside).unwrap();
        }
        let error = Store::open(&path.join("seen.sqlite"));
        assert!(error.is_ok(), "its folder is made: {error:?}");
    }

    #[test]
    fn an_unmarked_database_is_taken_over_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        // One that was closed, and one whose pipe was killed before its log was put into it.
        for is_killed in [false, true] {
            let made = dir.path().join("made");
            let connection = make_unmarked(&made);
            if is_killed {
                std::fs::copy(&made, &path).unwrap();
                std::fs::copy(dir.path().join("made-wal"), dir.path().join("seen.sqlite-wal")).unwrap();
            } else {
                connection.close().unwrap();
                std::fs::rename(&made, &path).unwrap();
            }
            assert_eq!(Store::open_to_read(&path).unwrap().pairs().unwrap().len(), 1);
            for _ in 0..2 {
                assert_eq!(Store::open(&path).unwrap().ids().unwrap(), [7], "killed: {is_killed}");
            }
            let id: i32 = rusqlite::Connection::open(&path)
                .unwrap()
                .query_row("PRAGMA application_id", [], |row| row.get(0))
                .unwrap();
            assert_eq!(id, 0x4c45_434f);
            assert_eq!(std::fs::read(&path).unwrap()[68..72], *b"LECO", "in the file itself");
            std::fs::remove_file(&path).unwrap();
        }
        let newer = make_unmarked(&path);
        newer.execute_batch("PRAGMA user_version=9").unwrap();
        newer.close().unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Newer(_, 9))));
    }

    #[test]
    fn what_cannot_be_read_is_not_listed_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let mut memory = Memory::open(&path, "boot", &Saved::default()).unwrap().0;
        memory.see(&conn(SECOND, "192.0.2.1"), &labels("curl", None), &at(1));
        memory.finish();
        let whole = std::fs::read(&path).unwrap();
        let damaged = |from: usize, with: u8| {
            let mut bytes = whole.clone();
            bytes[from..].fill(with);
            bytes
        };
        for (bytes, told) in [
            (damaged(4096, 0xff), "is damaged"),
            (damaged(4096, 0), "is damaged"),
            (damaged(100, 0), "is damaged"),
            (whole[..4096].to_vec(), "is damaged"),
            (Vec::new(), "no history yet"),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            let error = Store::open_to_read(&path).unwrap_err().to_string();
            assert!(error.contains(told), "{} bytes: {error}", bytes.len());
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(Store::open_to_read(&path).unwrap().pairs().unwrap().len(), 1);
    }

    /// Root may do everything: the test thread becomes another user, which threads can one by one.
    #[test]
    fn a_folder_that_cannot_be_used_is_named_itself() {
        use std::os::unix::fs::{PermissionsExt, chown};

        use rustix::process::{Uid, geteuid};
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (folder, path) = (dir.path().display().to_string(), dir.path().join("seen.sqlite"));
        drop(Store::open(&path).unwrap());
        let set_mode =
            |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        set_mode(&path, 0o666);
        let as_nobody = || {
            thread::scope(|scope| {
                let opened = scope.spawn(|| {
                    let nobody = Uid::from_raw(65534);
                    rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                    Store::open(&path).unwrap_err().to_string()
                });
                opened.join().unwrap()
            })
        };
        set_mode(dir.path(), 0o755);
        let error = as_nobody();
        assert!(
            error.starts_with(&format!("cannot use the directory {folder}: Permission denied")),
            "{error}"
        );
        set_mode(dir.path(), 0o700);
        let error = as_nobody();
        assert!(error.contains("seen.sqlite: Permission denied"), "{error}");
        chown(&path, Some(54321), None).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Owner(_, 54321))));
        assert!(matches!(Store::open_to_read(&path), Err(StoreError::Owner(_, 54321))));
    }

    #[test]
    fn a_damaged_database_of_leco_is_put_aside_and_a_newer_one_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let aside = |name: &str| dir.path().join(name);
        std::fs::write(aside("seen.sqlite.damaged"), "precious").unwrap();
        std::fs::write(&path, "").unwrap();
        for name in ["seen.sqlite.damaged-2", "seen.sqlite.damaged-3"] {
            let mut memory = Memory::open(&path, "boot", &Saved::default()).unwrap().0;
            memory.see(&conn(SECOND, "192.0.2.1"), &labels("curl", None), &at(1));
            memory.finish();
            let mut bytes = std::fs::read(&path).unwrap();
            assert!(bytes.len() > 8192);
            bytes[4096..].fill(0xff);
            std::fs::write(&path, &bytes).unwrap();
            let mut store = Store::open(&path).unwrap();
            assert!(store.ids().unwrap().is_empty());
            assert!(std::fs::read(aside(name)).unwrap() == bytes, "{name}");
        }
        assert_eq!(std::fs::read(aside("seen.sqlite.damaged")).unwrap(), b"precious");
        rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version=99").unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Newer(_, 99))));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Store::open(&file.join("seen.sqlite")).unwrap_err().to_string();
        assert!(error.contains(file.to_str().unwrap()), "{error}");
    }

    #[test]
    fn the_state_folder_is_the_services_then_the_users() {
        let path = |variables: &[(&str, &str)]| {
            default_path(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };
        let seen = |folder: &str| Some(PathBuf::from(folder).join("seen.sqlite"));
        assert_eq!(path(&[("STATE_DIRECTORY", "/var/lib/leco:/x"), ("HOME", "/h")]), seen("/var/lib/leco"));
        assert_eq!(path(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), seen("/s/leco"));
        assert_eq!(path(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]), seen("/h/.local/state/leco"));
        assert_eq!(path(&[]), None);
    }
}
