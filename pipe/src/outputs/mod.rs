//! Receivers of events, each with a queue of its own, so that none can hurt another.

mod fifo;
mod queue;
mod stdout;
mod writer;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::Rc;

use leco_core::event::BootNs;
use rustix::event::PollFlags;

pub use self::fifo::FifoError;
use self::fifo::FifoOutput;
use self::queue::Queue;
use self::stdout::Stdout;

#[derive(Debug)]
enum Target {
    Stdout(Stdout),
    Fifo(FifoOutput),
}

/// Where events go.
#[derive(Debug)]
pub struct Output {
    target: Target,
    queue: Queue,
    wants_replay: bool,
}

impl Output {
    /// Events on standard output; the queue holds so many connections.
    pub fn stdout(capacity: usize) -> io::Result<Self> {
        Ok(Self { target: Target::Stdout(Stdout::open()?), queue: Queue::new(capacity), wants_replay: true })
    }

    /// Events into a fifo, made with this mode where it is missing.
    pub fn fifo(path: &Path, mode: u32, capacity: usize) -> Result<Self, FifoError> {
        let fifo = FifoOutput::open(path, mode)?;
        let wants_replay = fifo.has_reader();
        Ok(Self { target: Target::Fifo(fifo), queue: Queue::new(capacity), wants_replay })
    }

    /// Descriptors to wait for, and what for.
    pub fn poll(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        match &self.target {
            Target::Stdout(stdout) => stdout.poll().into_iter().collect(),
            Target::Fifo(fifo) => fifo.poll().collect(),
        }
    }

    /// Follows what happened to readers; to be called whenever one of the descriptors is ready.
    pub fn look(&mut self) {
        if let Target::Fifo(fifo) = &mut self.target {
            if fifo.look() {
                self.queue.clear();
                self.wants_replay = true;
            }
            if !fifo.has_reader() {
                self.queue.clear();
                self.wants_replay = false;
            }
        }
    }

    /// Whether a reader came who has to be told everything; asked once per reader.
    pub fn takes_replay(&mut self) -> bool {
        std::mem::take(&mut self.wants_replay)
    }

    /// Whether such a reader waits.
    #[must_use]
    pub fn wants_replay(&self) -> bool {
        self.wants_replay
    }

    /// Whether anybody would get an event now.
    #[must_use]
    pub fn has_reader(&self) -> bool {
        match &self.target {
            Target::Stdout(_) => true,
            Target::Fifo(fifo) => fifo.has_reader(),
        }
    }

    /// Queues an encoded event of the connection `ns`.
    pub fn push(&mut self, ns: BootNs, event: Rc<[u8]>) {
        if self.has_reader() {
            self.queue.push(ns, event);
        }
    }

    /// Writes what the receiver takes; `false` when it is gone for good.
    pub fn flush(&mut self) -> io::Result<bool> {
        match &mut self.target {
            Target::Stdout(stdout) => stdout.flush(&mut self.queue),
            Target::Fifo(fifo) => {
                if !self.queue.is_empty() {
                    self.wants_replay |= fifo.flush(&mut self.queue);
                }
                Ok(true)
            }
        }
    }
}
