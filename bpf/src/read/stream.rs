// SPDX-License-Identifier: GPL-3.0-or-later
//! The ring of announcements, and what was not announced: for the one process that tells it to others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use leco_os::watch::Watcher;

use crate::map::Ring;
use crate::place::names;
use crate::place::reader_lock::ReaderLock;
use crate::read::errors::{ReadError, refused};
use crate::read::messages::{DnsAnswer, QuicDatagram, SentName};
use crate::read::reader::{Reader, values};
use crate::read::record::{Conn, Ending};

/// The kernel side with its ring, which one process at a time reads.
pub struct Stream {
    reader: Reader,
    ring: Ring,
    records: Rc<RefCell<Records>>,
    /// Bytes of flows, by `ns`, as they were told before the kernel side announced them.
    told_pending: RefCell<HashMap<u64, (u64, u64)>>,
    /// A ring whose programs are gone is only silent. Nothing where the service manager alone can unload them: it
    /// ends the pipe then.
    unloading: Option<Watcher>,
    /// Nothing where nobody but this process has the descriptors.
    _lock: Option<ReaderLock>,
}

#[derive(Default)]
struct Records {
    conns: Vec<Conn>,
    answers: Vec<DnsAnswer>,
    endings: Vec<Ending>,
    names: Vec<SentName>,
    datagrams: Vec<QuicDatagram>,
    malformed: u64,
}

/// What the ring held.
#[derive(Debug, Default)]
pub struct Drained {
    /// Announcements, oldest first.
    pub conns: Vec<Conn>,
    /// Answers of name servers, oldest first.
    pub answers: Vec<DnsAnswer>,
    /// What ended several connections at once, oldest first; [`Reader::parts`] has them.
    pub endings: Vec<Ending>,
    /// Names that processes sent when they connected, oldest first.
    pub names: Vec<SentName>,
    /// Datagrams in which there may be such names, oldest first.
    pub datagrams: Vec<QuicDatagram>,
    /// Records that this version could not read.
    pub malformed: u64,
}

impl Stream {
    /// Reads the ring from now on, which nobody else may do as long as this lives.
    pub fn new(reader: Reader) -> Result<Self, ReadError> {
        let place = reader.place.shown();
        let unloading = reader.place.watch().map_err(|error| ReadError::Pinned(place.clone(), error))?;
        let lock = reader.place.folder().map(ReaderLock::take).transpose();
        let lock = lock.map_err(refused("lock the maps of", &place))?.transpose();
        let lock = lock.map_err(|holder| ReadError::Taken { place: place.clone(), holder })?;
        let ring = reader.place.ring()?;
        // What happens from now on is seen by the watch.
        if reader.place.is_gone().map_err(refused("inspect the maps of", &place))? {
            return Err(ReadError::Unloaded(place));
        }
        let records = Rc::new(RefCell::new(Records::default()));
        let sink = Rc::clone(&records);
        let ring = Ring::new(ring, move |record| {
            let mut sink = sink.borrow_mut();
            if let Some(conn) = Conn::decode(record) {
                sink.conns.push(conn);
            } else if let Some(answer) = DnsAnswer::decode(record) {
                sink.answers.push(answer);
            } else if let Some(ending) = Ending::decode(record) {
                sink.endings.push(ending);
            } else if let Some(name) = SentName::decode(record) {
                sink.names.push(name);
            } else if let Some(datagram) = QuicDatagram::decode(record) {
                sink.datagrams.push(datagram);
            } else {
                sink.malformed += 1;
            }
        });
        let ring = ring.map_err(refused("read the ring of", &place))?;
        Ok(Self { reader, ring, records, told_pending: RefCell::default(), unloading, _lock: lock })
    }

    /// Becomes readable when the kernel side announces something after a quiet moment.
    #[must_use]
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.ring.epoll_fd()
    }

    /// Everything that came since the last call.
    pub fn drain(&self) -> Result<Drained, ReadError> {
        self.ring.consume().map_err(refused("read", "the ring of events"))?;
        let mut records = self.records.borrow_mut();
        Ok(Drained {
            conns: std::mem::take(&mut records.conns),
            answers: std::mem::take(&mut records.answers),
            endings: std::mem::take(&mut records.endings),
            names: std::mem::take(&mut records.names),
            datagrams: std::mem::take(&mut records.datagrams),
            malformed: std::mem::take(&mut records.malformed),
        })
    }

    /// Becomes readable when the pins go; what [`Self::check_loaded`] looks at. Nothing without pins.
    #[must_use]
    pub fn unloading_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unloading.as_ref().map(AsFd::as_fd)
    }

    /// Fails once the programs were unloaded or replaced.
    pub fn check_loaded(&mut self) -> Result<(), ReadError> {
        let Some(unloading) = &mut self.unloading else { return Ok(()) };
        let unloaded = || ReadError::Unloaded(self.reader.place.shown());
        let mut has_gone = false;
        let is_polling = unloading.read(|_| has_gone = true).map_err(|_| unloaded())?;
        if is_polling {
            if !unloading.is_polling() {
                self.unloading = self.reader.place.watch().map_err(|_| unloaded())?;
            }
            has_gone = self.reader.place.is_gone().map_err(|_| unloaded())?;
        }
        if has_gone { Err(unloaded()) } else { Ok(()) }
    }

    /// Appends every connection with bytes that were not announced when they came, and takes them for
    /// announced from `now` on, in ns of the boot clock. Nothing where the kernel refused the iterators.
    pub fn pending(&self, into: &mut Vec<Conn>, now: u64) -> Result<(), ReadError> {
        let mut take = |name| self.iterate(name, |record| into.extend(Conn::decode(record)));
        take(names::PENDING)?;
        let has = |name| self.place.has_iterator(name);
        match (has(names::PENDING_FLOWS), has(names::PENDING)) {
            (true, _) => take(names::PENDING_FLOWS),
            (false, true) => self.pending_flows(into, now),
            (false, false) => Ok(()),
        }
    }

    /// Without an iterator nothing can be taken for announced in the kernel: what was told stays with the reader.
    fn pending_flows(&self, into: &mut Vec<Conn>, now: u64) -> Result<(), ReadError> {
        let mut flows = Vec::new();
        values(&self.flows, |value| flows.extend(Conn::decode_pending_flow(value)))?;
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

    /// Whether the ring holds a record that is reserved but not yet written: another look is due.
    #[must_use]
    pub fn has_unfinished(&self) -> bool {
        self.ring.has_unfinished()
    }
}

impl Deref for Stream {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}
