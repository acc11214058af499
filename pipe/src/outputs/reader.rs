// SPDX-License-Identifier: GPL-3.0-or-later
//! One who reads: what is still to be sent to it.

use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use leco_os::clock::BootNs;

use super::clock::{ClockField, ClockSent};
use super::queue::Queue;
use super::stored::{Stored, StoredWish};
use super::writer::Writer;

/// A reader's queue, and what is on its way.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) queue: Queue,
    pub(crate) writer: Writer,
    /// What it knows of the clock.
    pub(crate) clock_sent: ClockSent,
    /// What it is told first, where that is wanted.
    pub(crate) stored: Stored,
    pub(crate) wish: Option<StoredWish>,
    /// It has to be told everything that is known.
    pub(crate) wants_replay: bool,
    /// It is being told: what comes now is for it, although it is old to others.
    is_replayed_to: bool,
}

/// How large the queue of each reader may grow, and how fast it is served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) connections: usize,
    pub(crate) rate_limit: Duration,
    pub(crate) stored: Option<StoredWish>,
}

impl Reader {
    pub(crate) fn new(limits: QueueLimits, batch: usize) -> Self {
        let mut reader = Self {
            queue: Queue::new(limits.connections, limits.rate_limit),
            writer: Writer::new(batch),
            clock_sent: ClockSent::default(),
            stored: Stored::Told,
            wish: limits.stored,
            wants_replay: false,
            is_replayed_to: false,
        };
        reader.greet();
        reader
    }

    /// Somebody came who knows nothing.
    pub(crate) fn greet(&mut self) {
        self.queue.clear();
        self.stored = if self.wish.is_some() { Stored::Wanted(None) } else { Stored::Told };
        self.wants_replay = self.wish.is_none();
    }

    /// Another one came in its place, or nobody.
    pub(crate) fn start_anew(&mut self, is_read: bool) {
        self.greet();
        self.writer.reset();
        self.clock_sent.forget();
        self.is_replayed_to = false;
        if !is_read {
            (self.wants_replay, self.stored) = (false, Stored::Told);
        }
    }

    /// Begins or ends telling it everything.
    pub(crate) fn set_replayed_to(&mut self, begins: bool) {
        self.is_replayed_to = begins && std::mem::take(&mut self.wants_replay);
        if self.is_replayed_to {
            self.clock_sent.forget();
        }
    }

    pub(crate) fn is_replayed_to(&self) -> bool {
        self.is_replayed_to
    }

    pub(crate) fn push(&mut self, ns: BootNs, event: &Rc<[u8]>, is_open: bool, now: BootNs) {
        if self.is_live() {
            self.queue.push(ns, Rc::clone(event), is_open, now);
        }
    }

    fn is_live(&self) -> bool {
        self.wish.is_none_or(|wish| wish.is_live)
    }

    /// Whether it was told all that it will ever be.
    pub(crate) fn is_over(&self) -> bool {
        !self.is_live() && matches!(self.stored, Stored::Told) && self.writer.is_idle()
    }

    pub(crate) fn flush(&mut self, file: impl Write, clock: &ClockField) -> io::Result<()> {
        let is_live = self.is_live();
        let Self { queue, writer, clock_sent, stored, wants_replay, .. } = self;
        writer.write(file, |batch, limit| {
            if matches!(stored, Stored::Told) {
                queue.fill(batch, limit, clock_sent, clock);
                return;
            }
            stored.fill(batch, limit, clock_sent, clock);
            *wants_replay |= is_live && matches!(stored, Stored::Told);
        })
    }

    /// Whether there is nothing left to be sent now.
    pub(crate) fn is_done(&self) -> bool {
        self.queue.is_empty() && self.writer.is_idle()
    }
}

#[cfg(test)]
mod tests {
    use leco_cli::history::Moment;

    use super::*;
    use crate::history::pages::{Cursor, Page};

    fn reader(is_live: bool) -> Reader {
        let stored = Some(StoredWish { since: Moment::Days(0), is_live });
        Reader::new(QueueLimits { connections: 10, rate_limit: Duration::ZERO, stored }, 8)
    }

    fn flushed(reader: &mut Reader) -> String {
        let mut out = Vec::new();
        reader.flush(&mut out, &ClockField::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn take(reader: &mut Reader, lines: &str, has_more: bool) {
        assert!(matches!(reader.stored, Stored::Wanted(_)));
        reader.stored = Stored::Asked(1);
        let cursor = Cursor { head: "".into(), since: 0, until: 1, at: 1, place: None };
        let page = Page { lines: lines.into(), next: has_more.then_some(cursor) };
        reader.stored.take(2, &mut None);
        reader.stored.take(1, &mut Some(page));
    }

    #[test]
    fn what_is_stored_comes_first_then_what_is_known_and_then_events() {
        let mut reader = reader(true);
        reader.push(1, &Rc::from(*b"event\n"), true, 0);
        assert_eq!(flushed(&mut reader), "");
        take(&mut reader, "first\nsecond\n", true);
        assert_eq!(flushed(&mut reader), "first\nsecond\n");
        assert!(!reader.wants_replay && !reader.is_over());
        take(&mut reader, "third\n", false);
        assert_eq!(flushed(&mut reader), "third\nevent\n");
        assert!(reader.wants_replay && !reader.is_over());
        // Another reader of the same fifo begins anew.
        reader.start_anew(true);
        assert!(matches!(reader.stored, Stored::Wanted(None)) && !reader.wants_replay);
    }

    #[test]
    fn where_nothing_follows_it_is_over_then() {
        let mut reader = reader(false);
        reader.push(1, &Rc::from(*b"event\n"), true, 0);
        assert!(!reader.is_over());
        take(&mut reader, "all\n", false);
        assert_eq!(flushed(&mut reader), "all\n");
        assert!(reader.is_over() && !reader.wants_replay);
    }
}
