// SPDX-License-Identifier: GPL-3.0-or-later
//! What the unprivileged pipe reads: the map of connections, the ring, and the counters.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use libbpf_rs::MapType;
use libbpf_rs::libbpf_sys::BPF_F_RDONLY;
use rustix::time::{ClockId, clock_gettime};

use super::errors::{ReadError, refused};
use crate::map::{Layout, Map, iterate, read_iterator};
use crate::place::fd_store::Passed;
use crate::place::names;
use crate::place::pin_dir::{PinDir, PinError};
pub use crate::place::reader_lock::Holder;
use crate::read::errors::other_version;
use crate::read::location::{MANAGER, Place, pinned_map};
use crate::read::program::{KEY_SIZE, PROGRAM_SIZE, Programs};
use crate::read::record::{
    CLOSED_SIZE, CONN_SIZE, Closed, Conn, EndOf, Ending, FLOW_KEY_SIZE, FLOW_SIZE, STATS_SIZE, State, Stats,
    record_socket,
};
use crate::{PassedFds, build_id};

/// The sockets are read at most so often for one snapshot.
const LIVE_PASSES: usize = 8;

/// What the kernel side knows, opened by as many as want to look at it: nobody who reads its ring notices.
pub struct Reader {
    closed: Map,
    pub(crate) flows: Map,
    programs: Map,
    stats: Map,
    pub(crate) place: Place,
}

/// Everything the kernel side knows.
#[derive(Debug)]
pub struct Snapshot {
    /// Open and remembered connections, in no order.
    pub conns: Vec<Conn>,
    /// How many flows the map of flows holds.
    pub flows: usize,
}

/// What was lost, and what there is room for.
#[derive(Debug)]
pub struct Counters {
    /// The kernel side's own.
    pub stats: Stats,
    /// Entries that fit in each of the maps.
    pub capacity: usize,
    /// Closed connections that are remembered.
    pub closed: usize,
    /// Flows in the map of flows.
    pub flows: usize,
}

impl Reader {
    /// Opens what [`crate::load::load`] pinned.
    pub fn open(dir: &PinDir) -> Result<Self, ReadError> {
        let shown = dir.path().display().to_string();
        let versions = match dir.refuse_untrusted().and_then(|()| dir.versions()) {
            Err(PinError::Io { path, source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                return Err(ReadError::Permission(path.display().to_string()));
            }
            versions => versions?,
        };
        if versions.is_empty() {
            return Err(ReadError::NotLoaded(shown));
        }
        if let Some(found) = versions.iter().find(|version| !version.starts_with(&build_id())) {
            let advice = format!("Run again: leco-ebpf-load --pin {shown}");
            return Err(other_version(&shown, found, advice));
        }
        let place = Place::pinned(dir)?;
        let map = |name| pinned_map(&dir.map(name), BPF_F_RDONLY);
        Self::over(map, place)
    }

    /// Takes what [`crate::load::load_into_store`] left with the service manager out of all that was passed.
    pub fn from_passed(passed: &mut PassedFds) -> Result<Self, ReadError> {
        let mut passed = Passed::take(passed).ok_or(ReadError::NotPassed)?;
        if !passed.version.starts_with(&build_id()) {
            let advice = "Restart its unit.".to_owned();
            return Err(other_version(MANAGER, &passed.version, advice));
        }
        let iterators = [names::LIVE, names::PENDING, names::PENDING_FLOWS, names::LISTENING];
        let iterators = iterators.into_iter().filter_map(|name| Some((name, passed.part(name)?))).collect();
        let folder = passed.part(names::MAPS);
        let mut map = |name| passed.part(name).ok_or(ReadError::NotPassed);
        let events = map(names::EVENTS)?;
        Self::over(map, Place::Passed { iterators, events, folder })
    }

    fn over(
        mut open: impl FnMut(&'static str) -> Result<OwnedFd, ReadError>,
        place: Place,
    ) -> Result<Self, ReadError> {
        let mut map = |name, (kind, key_size, value_size), most: Option<usize>| {
            let map = Map::new(open(name)?).map_err(refused("inspect", name))?;
            let max_entries = most.unwrap_or(map.layout().max_entries);
            place.check(name, map.layout(), Layout { kind, key_size, value_size, max_entries }).map(|()| map)
        };
        Ok(Self {
            closed: map(names::CLOSED, (MapType::Array, 4, CLOSED_SIZE), None)?,
            flows: map(names::FLOWS, (MapType::LruHash, FLOW_KEY_SIZE, FLOW_SIZE), None)?,
            programs: map(names::PROGRAMS, (MapType::LruHash, KEY_SIZE, PROGRAM_SIZE), None)?,
            stats: map(names::STATS, (MapType::Array, 4, STATS_SIZE), Some(1))?,
            place,
        })
    }

    /// Entries that fit in each of the maps of closed connections and of flows.
    #[must_use]
    pub fn max_conns(&self) -> usize {
        self.closed.max_entries()
    }

    /// What is known of processes, for as long as that is wanted.
    pub fn programs(&self) -> Result<Programs, ReadError> {
        self.programs.try_clone().map(Programs).map_err(refused("open", names::PROGRAMS))
    }

    /// Every connection that is open or remembered, in no order.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        let start = boot_ns();
        // Those that close meanwhile are seen twice rather than not at all.
        let Live { mut conns, sockets, is_complete } = self.live()?;
        let mut parts = Vec::new();
        let flows = values(&self.flows, |value| parts.extend(Conn::decode_flow(value)))?;
        let mut ended: HashMap<u64, u64> = HashMap::new();
        values(&self.closed, |value| {
            let (socket, ns) = match Closed::decode(value) {
                Some(Closed::Conn(conn)) => {
                    conns.push(conn);
                    (conn.socket, conn.ns_trx)
                }
                Some(Closed::Socket { cookie, ns }) => (cookie, ns),
                None => return,
            };
            let latest = ended.entry(socket).or_default();
            *latest = ns.max(*latest);
        })?;
        for part in parts.iter_mut().filter(|part| part.socket != 0) {
            if let Some(&ns) = ended.get(&part.socket).filter(|ns| **ns >= part.ns_trx) {
                end(part, ns);
            } else if is_complete && part.ns_trx < start && !sockets.contains(&part.socket) {
                end(part, part.ns_trx);
            }
        }
        conns.append(&mut parts);
        conns.append(&mut self.listening()?);
        // A connection may be remembered twice, by its end and by bytes that were read after that.
        conns.sort_unstable_by_key(|conn| (conn.ns, Reverse(conn.ns_trx)));
        conns.dedup_by_key(|conn| conn.ns);
        Ok(Snapshot { conns, flows })
    }

    /// Who listens now. Where several processes hold a socket, it is the one that began.
    pub fn listening(&self) -> Result<Vec<Conn>, ReadError> {
        let mut listening = Vec::new();
        self.iterate(names::LISTENING, |record| listening.extend(Conn::decode(record)))?;
        Ok(listening)
    }

    /// Connections that ended with others, as they ended. Some may have ended before.
    pub fn parts(&self, endings: &[Ending]) -> Result<Vec<Conn>, ReadError> {
        let mut parts = Vec::new();
        let mut look_at = |part: Option<Conn>| {
            let ending = part.and_then(|part| endings.iter().rfind(|ending| ending.ended(&part)));
            if let (Some(mut part), Some(ending)) = (part, ending) {
                end(&mut part, ending.ns);
                parts.push(part);
            }
        };
        values(&self.flows, |value| look_at(Conn::decode_flow(value)))?;
        // The first process of a shared socket has its part with the socket itself, which tells of its end alone.
        if endings.iter().any(|ending| matches!(ending.of, EndOf::Process { .. })) {
            self.iterate(names::LIVE, |record| {
                look_at(record_socket(record).and_then(|_| Conn::decode(record)).filter(|conn| conn.ns > 0));
            })?;
        }
        Ok(parts)
    }

    /// Every open connection.
    ///
    /// Between two pieces of 32 KiB the kernel's iterator finds its place again by counting the sockets before it
    /// (`bpf_sk_storage_map_seq_find_next`): each that is freed meanwhile makes it pass over one that is open. So it
    /// is read until nothing old turns up that was missing.
    fn live(&self) -> Result<Live, ReadError> {
        let mut conns = Vec::new();
        let mut sockets = HashSet::new();
        let mut look = |into: &mut Vec<Conn>| {
            self.iterate(names::LIVE, |record| {
                sockets.extend(record_socket(record));
                into.extend(Conn::decode(record).filter(|conn| conn.ns > 0));
            })
        };
        look(&mut conns)?;
        let newest = conns.iter().map(|conn| conn.ns).max().unwrap_or_default();
        let mut known: HashSet<u64> = conns.iter().map(|conn| conn.ns).collect();
        for _ in 1..LIVE_PASSES {
            let mut again = Vec::new();
            look(&mut again)?;
            again.retain(|conn| known.insert(conn.ns));
            let is_complete = again.iter().all(|conn| conn.ns > newest);
            conns.append(&mut again);
            if is_complete {
                break;
            }
        }
        // Only what goes through the sockets themselves sees all of them.
        Ok(Live { conns, sockets, is_complete: self.place.has_iterator(names::PENDING_FLOWS) })
    }

    pub(crate) fn iterate(&self, name: &str, mut visit: impl FnMut(&[u8])) -> Result<(), ReadError> {
        let (place, told) = match &self.place {
            Place::Pinned { dir, .. } => {
                let path = dir.iterator(name);
                (path.display().to_string(), File::open(&path).and_then(read_iterator))
            }
            Place::Passed { iterators, .. } => match iterators.get(name) {
                Some(link) => (format!("the passed iterator {name}"), iterate(link.as_fd())),
                None => return Ok(()),
            },
        };
        match told {
            Ok(bytes) => bytes.chunks_exact(CONN_SIZE).for_each(&mut visit),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ReadError::Pinned(place, error)),
        }
        Ok(())
    }

    /// What was lost since the programs were loaded, and how full the maps are.
    pub fn counters(&self) -> Result<Counters, ReadError> {
        // First: what closes meanwhile must not seem to be forgotten.
        let stats = self.stats()?;
        let flows = values(&self.flows, |_| {})?;
        // An array has all its slots from the beginning.
        let mut closed = 0;
        values(&self.closed, |value| {
            closed += usize::from(matches!(Closed::decode(value), Some(Closed::Conn(_))));
        })?;
        Ok(Counters { stats, capacity: self.max_conns(), closed, flows })
    }

    /// What was lost since the programs were loaded.
    pub fn stats(&self) -> Result<Stats, ReadError> {
        let value = self.stats.at(0).map_err(refused("read", "the counters"))?;
        Ok(Stats::decode(&value).unwrap_or_default())
    }
}

/// Visits a map's values; how many there were.
pub(crate) fn values(map: &Map, visit: impl FnMut(&[u8])) -> Result<usize, ReadError> {
    map.values(visit).map_err(refused("read", "a map of connections"))
}

/// What goes on.
struct Live {
    conns: Vec<Conn>,
    /// Cookies of those sockets over which several connections go.
    sockets: HashSet<u64>,
    /// Whether there are no others.
    is_complete: bool,
}

/// Takes a connection for ended at a moment of the boot clock, in ns.
fn end(part: &mut Conn, ns: u64) {
    if part.is_open() {
        part.state = State::Closed;
    }
    part.ns_trx = part.ns_trx.max(ns);
}

/// `CLOCK_BOOTTIME` in ns.
fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
