//! What the unprivileged pipe reads: the map of connections, the ring, and the counters.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;

use inotify::{Inotify, WatchMask};
use libbpf_rs::libbpf_sys;
use libbpf_rs::{AsRawLibbpf, MapCore, MapFlags, MapHandle, RingBuffer, RingBufferBuilder};

use crate::build_id;
use crate::pins::{self, PinDir, PinError};
use crate::record::{CLOSED_SIZE, CONN_SIZE, Conn, DnsAnswer, FLOW_KEY_SIZE, FLOW_SIZE, STATS_SIZE, Stats};

/// `BPF_F_RDONLY` of uapi linux/bpf.h: asks for a descriptor that cannot change the map.
const BPF_F_RDONLY: u32 = 1 << 3;
/// Entries fetched from the map by one system call.
const BATCH: u32 = 512;

/// Why the kernel side cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The pin folder is not one.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Nothing is loaded there.
    #[error("nothing is loaded at {0}. Run: leco-ebpf-load --pin {0}")]
    NotLoaded(String),
    /// Loaded by another build.
    #[error(
        "the programs at {dir} are of version {found}, and this pipe needs {wanted}. Run again: \
         leco-ebpf-load --pin {dir}"
    )]
    Version {
        /// The pin folder.
        dir: String,
        /// Version found there.
        found: String,
        /// Version of this build.
        wanted: String,
    },
    /// A pin may not be opened by this user.
    #[error(
        "cannot open {0}: permission denied. Run leco-ebpf-load with --group and a group of this user, or \
         start the pipe as root."
    )]
    Permission(String),
    /// The pins are gone: nothing will come any more.
    #[error("the programs at {0} were unloaded or replaced. Start leco-event-pipe again.")]
    Unloaded(String),
    /// A pin cannot be read or watched.
    #[error("cannot read {0}: {1}")]
    Pinned(String, io::Error),
    /// The kernel refused an operation.
    #[error("cannot {action} {what}: {source}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// On what.
        what: String,
        /// How it was refused.
        source: libbpf_rs::Error,
    },
}

/// The sockets are read at most so often for one snapshot.
const LIVE_PASSES: usize = 8;

/// The kernel side, opened.
pub struct Reader {
    closed: MapHandle,
    flows: MapHandle,
    stats: MapHandle,
    ring: RingBuffer<'static>,
    records: Rc<RefCell<Records>>,
    /// Bytes of flows, by `ns`, as they were told before the kernel side announced them.
    told_pending: RefCell<HashMap<u64, (u64, u64)>>,
    dir: PinDir,
    /// The folder of the pins is watched, since a ring whose programs are gone is only silent.
    unloading: Inotify,
    /// The ring's epoll instance watches this descriptor: it must live as long as the ring.
    _events: MapHandle,
}

#[derive(Default)]
struct Records {
    conns: Vec<Conn>,
    answers: Vec<DnsAnswer>,
    malformed: u64,
}

/// What the ring held.
#[derive(Debug, Default)]
pub struct Drained {
    /// Announcements, oldest first.
    pub conns: Vec<Conn>,
    /// Answers of name servers, oldest first.
    pub answers: Vec<DnsAnswer>,
    /// Records that this version could not read.
    pub malformed: u64,
}

/// Everything the kernel side knows.
#[derive(Debug)]
pub struct Snapshot {
    /// Open and remembered connections, in no order.
    pub conns: Vec<Conn>,
    /// How many of them were in the map of closed connections.
    pub closed: usize,
    /// How many were in the map of flows.
    pub flows: usize,
}

/// What was lost, and what there is room for.
#[derive(Debug)]
pub struct Counters {
    /// The kernel side's own.
    pub stats: Stats,
    /// Entries that fit in each of the maps.
    pub capacity: usize,
    /// Entries in the map of closed connections.
    pub closed: usize,
    /// Entries in the map of flows.
    pub flows: usize,
}

impl Reader {
    /// Opens what [`crate::load::load`] pinned.
    pub fn open(dir: &PinDir) -> Result<Self, ReadError> {
        let shown = dir.path().display().to_string();
        let versions = match dir.versions() {
            Err(PinError::Io { path, source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                return Err(ReadError::Permission(path.display().to_string()));
            }
            versions => versions?,
        };
        let wanted = build_id();
        match versions.iter().find(|version| !version.starts_with(&wanted)) {
            _ if versions.is_empty() => return Err(ReadError::NotLoaded(shown)),
            Some(found) => return Err(ReadError::Version { dir: shown, found: found.clone(), wanted }),
            None => {}
        }
        let unloading =
            watch_unloading(&dir.links()).map_err(|error| ReadError::Pinned(shown.clone(), error))?;
        let closed = open_map(&dir.map(pins::CLOSED), BPF_F_RDONLY)?;
        let flows = open_map(&dir.map(pins::FLOWS), BPF_F_RDONLY)?;
        let stats = open_map(&dir.map(pins::STATS), BPF_F_RDONLY)?;
        let events = open_map(&dir.map(pins::EVENTS), 0)?;

        let records = Rc::new(RefCell::new(Records::default()));
        let sink = Rc::clone(&records);
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&events, move |record| {
                let mut sink = sink.borrow_mut();
                if let Some(conn) = Conn::decode(record) {
                    sink.conns.push(conn);
                } else if let Some(answer) = DnsAnswer::decode(record) {
                    sink.answers.push(answer);
                } else {
                    sink.malformed += 1;
                }
                0
            })
            .map_err(refused("read the ring at", &shown))?;
        let ring = builder.build().map_err(refused("read the ring at", &shown))?;
        let told_pending = RefCell::default();
        let dir = dir.clone();
        Ok(Self { closed, flows, stats, ring, records, told_pending, dir, unloading, _events: events })
    }

    /// Entries that fit in each of the maps of closed connections and of flows.
    #[must_use]
    pub fn max_conns(&self) -> usize {
        self.closed.max_entries() as usize
    }

    /// Becomes readable when the kernel side announces something after a quiet moment.
    #[must_use]
    #[allow(unsafe_code)]
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the epoll descriptor belongs to the ring, which outlives the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(self.ring.epoll_fd()) }
    }

    /// Everything that came since the last call.
    pub fn drain(&self) -> Result<Drained, ReadError> {
        self.ring.consume().map_err(refused("read", "the ring of events"))?;
        let mut records = self.records.borrow_mut();
        Ok(Drained {
            conns: std::mem::take(&mut records.conns),
            answers: std::mem::take(&mut records.answers),
            malformed: std::mem::take(&mut records.malformed),
        })
    }

    /// Becomes readable when the pins go; what [`Self::check_loaded`] looks at.
    #[must_use]
    pub fn unloading_fd(&self) -> BorrowedFd<'_> {
        self.unloading.as_fd()
    }

    /// Fails once the programs were unloaded or replaced.
    pub fn check_loaded(&mut self) -> Result<(), ReadError> {
        match self.unloading.read_events(&mut [0; 1024]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            _ => Err(ReadError::Unloaded(self.dir.path().display().to_string())),
        }
    }

    /// Appends every connection with bytes that were not announced when they came, and takes them for
    /// announced from `now` on, in ns of the boot clock. Nothing where the kernel refused the iterators.
    pub fn pending(&self, into: &mut Vec<Conn>, now: u64) -> Result<(), ReadError> {
        self.iterate(pins::PENDING, into)?;
        let has = |name| self.dir.iterator(name).exists();
        match (has(pins::PENDING_FLOWS), has(pins::PENDING)) {
            (true, _) => self.iterate(pins::PENDING_FLOWS, into),
            (false, true) => self.pending_flows(into, now),
            (false, false) => Ok(()),
        }
    }

    /// Without an iterator nothing can be taken for announced in the kernel: what was told stays with the reader.
    fn pending_flows(&self, into: &mut Vec<Conn>, now: u64) -> Result<(), ReadError> {
        let mut flows = Vec::new();
        values(&self.flows, Conn::decode_pending_flow, &mut flows)
            .map_err(refused("read", "the map of flows"))?;
        let mut told = self.told_pending.borrow_mut();
        let before = std::mem::take(&mut *told);
        for mut conn in flows {
            let bytes = (conn.rx, conn.tx);
            told.insert(conn.ns, bytes);
            if before.get(&conn.ns) != Some(&bytes) {
                conn.ns_trx = now;
                into.push(conn);
            }
        }
        Ok(())
    }

    fn iterate(&self, name: &str, into: &mut Vec<Conn>) -> Result<(), ReadError> {
        let path = self.dir.iterator(name);
        match std::fs::read(&path) {
            Ok(bytes) => into.extend(bytes.chunks_exact(CONN_SIZE).filter_map(Conn::decode)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ReadError::Pinned(path.display().to_string(), error)),
        }
        Ok(())
    }

    /// Whether the ring holds a record that is reserved but not yet written: another look is due.
    #[must_use]
    #[allow(unsafe_code)]
    pub fn has_unfinished(&self) -> bool {
        // SAFETY: both pointers belong to the ring, which lives as long as `self`; index 0 is the ring that
        // `open` added.
        unsafe {
            let ring = libbpf_sys::ring_buffer__ring(self.ring.as_libbpf_object().as_ptr(), 0);
            !ring.is_null() && libbpf_sys::ring__avail_data_size(ring) > 0
        }
    }

    /// Every connection that is open or remembered, in no order.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        // Those that close meanwhile are seen twice rather than not at all.
        let mut conns = self.live()?;
        let flows = values(&self.flows, Conn::decode_flow, &mut conns)
            .map_err(refused("read", "the map of flows"))?;
        let closed = values(&self.closed, Conn::decode_closed, &mut conns)
            .map_err(refused("read", "the map of closed connections"))?;
        // A connection may be remembered twice, by its end and by bytes that were read after that.
        conns.sort_unstable_by_key(|conn| (conn.ns, Reverse(conn.ns_trx)));
        conns.dedup_by_key(|conn| conn.ns);
        Ok(Snapshot { conns, closed, flows })
    }

    /// Every open connection.
    ///
    /// Between two pieces of 32 KiB the kernel's iterator finds its place again by counting the sockets before it
    /// (`bpf_sk_storage_map_seq_find_next`): each that is freed meanwhile makes it pass over one that is open. So it
    /// is read until nothing old turns up that was missing.
    fn live(&self) -> Result<Vec<Conn>, ReadError> {
        let mut conns = Vec::new();
        self.iterate(pins::LIVE, &mut conns)?;
        let newest = conns.iter().map(|conn| conn.ns).max().unwrap_or_default();
        let mut known: HashSet<u64> = conns.iter().map(|conn| conn.ns).collect();
        for _ in 1..LIVE_PASSES {
            let mut again = Vec::new();
            self.iterate(pins::LIVE, &mut again)?;
            again.retain(|conn| known.insert(conn.ns));
            let is_complete = again.iter().all(|conn| conn.ns > newest);
            conns.append(&mut again);
            if is_complete {
                break;
            }
        }
        Ok(conns)
    }

    /// What was lost since the programs were loaded, and how full the maps are.
    pub fn counters(&self) -> Result<Counters, ReadError> {
        let Snapshot { closed, flows, .. } = self.snapshot()?;
        Ok(Counters { stats: self.stats()?, capacity: self.max_conns(), closed, flows })
    }

    /// What was lost since the programs were loaded.
    pub fn stats(&self) -> Result<Stats, ReadError> {
        let value = self
            .stats
            .lookup(&0_u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(refused("read", "the counters"))?;
        Ok(value.as_deref().and_then(Stats::decode).unwrap_or_default())
    }
}

/// Appends a map's values; how many there were.
fn values(
    map: &MapHandle,
    decode: fn(&[u8]) -> Option<Conn>,
    into: &mut Vec<Conn>,
) -> libbpf_rs::Result<usize> {
    let before = into.len();
    let entries = map.lookup_batch(BATCH, MapFlags::ANY, MapFlags::ANY)?;
    into.extend(entries.filter_map(|(_, value)| decode(&value)));
    Ok(into.len() - before)
}

fn watch_unloading(links: &Path) -> io::Result<Inotify> {
    let inotify = Inotify::init()?;
    inotify.watches().add(links, WatchMask::DELETE | WatchMask::DELETE_SELF)?;
    Ok(inotify)
}

fn open_map(path: &Path, flags: u32) -> Result<MapHandle, ReadError> {
    let shown = path.display().to_string();
    let map =
        MapHandle::from_pinned_path_with_file_flags(path, flags).map_err(|source| match source.kind() {
            libbpf_rs::ErrorKind::PermissionDenied => ReadError::Permission(shown.clone()),
            libbpf_rs::ErrorKind::NotFound => ReadError::NotLoaded(shown.clone()),
            _ => ReadError::Refused { action: "open", what: shown.clone(), source },
        })?;
    let layout = (map.key_size() as usize, map.value_size() as usize);
    let known = [(FLOW_KEY_SIZE, FLOW_SIZE), (4, CLOSED_SIZE), (4, STATS_SIZE), (0, 0)];
    if known.contains(&layout) {
        Ok(map)
    } else {
        Err(ReadError::Version { dir: shown, found: format!("layout {layout:?}"), wanted: build_id() })
    }
}

fn refused(action: &'static str, what: &str) -> impl FnOnce(libbpf_rs::Error) -> ReadError {
    let what = what.to_owned();
    move |source| ReadError::Refused { action, what, source }
}
