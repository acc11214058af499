// SPDX-License-Identifier: GPL-3.0-or-later
//! One who reads: what is still to be sent to it.

use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use leco_os::clock::BootNs;

use super::clock::{ClockField, ClockSent};
use super::queue::Queue;
use super::writer::Writer;

/// A reader's queue, and what is on its way.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) queue: Queue,
    pub(crate) writer: Writer,
    /// What it knows of the clock.
    pub(crate) clock_sent: ClockSent,
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
}

impl Reader {
    pub(crate) fn new(limits: QueueLimits, batch: usize) -> Self {
        Self {
            queue: Queue::new(limits.connections, limits.rate_limit),
            writer: Writer::new(batch),
            clock_sent: ClockSent::default(),
            wants_replay: true,
            is_replayed_to: false,
        }
    }

    /// Another one came in its place, or nobody.
    pub(crate) fn start_anew(&mut self, wants_replay: bool) {
        self.queue.clear();
        self.writer.reset();
        self.clock_sent.forget();
        self.wants_replay = wants_replay;
        self.is_replayed_to = false;
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

    pub(crate) fn push(&mut self, ns: BootNs, event: &Rc<[u8]>, now: BootNs) {
        self.queue.push(ns, Rc::clone(event), now);
    }

    pub(crate) fn flush(&mut self, file: impl Write, clock: &ClockField) -> io::Result<()> {
        self.writer.write(file, &mut self.queue, &mut self.clock_sent, clock)
    }

    /// Whether there is nothing left to be sent now.
    pub(crate) fn is_done(&self) -> bool {
        self.queue.is_empty() && self.writer.is_idle()
    }
}
