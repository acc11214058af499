//! The event loop: one thread, one `poll`, one time-out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use leco_bpf::reader::ReadError;
use leco_bpf::record::Conn;
use leco_core::clock::boot_ns;
use leco_core::event::BootNs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::Now;
use crate::feed::{Feed, Losses};
use crate::labels::Labeler;
use crate::line::Formatter;
use crate::outputs::Output;

/// After a look that found something, the next one comes so much later: longer than the kernel side leaves
/// the pipe asleep after a wakeup (`WAKEUP_INTERVAL_NS`), so that nothing stays behind.
const LOOK_AGAIN_NS: u64 = 11_000_000;

/// Why the pipe had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel side.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// The loop itself.
    #[error("cannot wait for events: {0}")]
    Wait(io::Error),
}

/// Everything between the kernel side and the receivers.
pub struct Pipe {
    feed: Feed,
    labeler: Labeler,
    formatter: Formatter,
    output: Output,
    /// What was lost as it was told last, and when something was lost first.
    losses: Losses,
    lost_ns: BootNs,
}

impl Pipe {
    /// Puts the parts together.
    #[must_use]
    pub fn new(feed: Feed, labeler: Labeler, formatter: Formatter, output: Output) -> Self {
        Self { feed, labeler, formatter, output, losses: Losses::default(), lost_ns: 0 }
    }

    /// Runs until `stop` becomes readable or the receiver is gone for good.
    pub fn run(mut self, stop: &OwnedFd) -> Result<(), RunError> {
        let mut look_at: Option<BootNs> = Some(boot_ns());
        loop {
            let wake_at = [look_at, self.feed.pending_due()].into_iter().flatten().min();
            let Some(ready) = self.wait(stop, wake_at)? else { return Ok(()) };
            if ready.unloading {
                self.feed.check_loaded()?;
            }
            let now = Now::read();
            if ready.events || wake_at.is_some_and(|at| at <= now.boot) {
                look_at = self.drain(&now)?.then(|| now.boot + LOOK_AGAIN_NS);
            }
            if ready.output {
                self.output.look();
            }
            loop {
                if self.output.takes_replay() {
                    self.replay(&now)?;
                }
                if !self.output.flush().map_err(RunError::Output)? {
                    return Ok(());
                }
                // One reader may leave and another come while the first is written to.
                if !self.output.wants_replay() {
                    break;
                }
            }
        }
    }

    /// What is ready; `None` when it is time to stop.
    fn wait(&self, stop: &OwnedFd, until: Option<BootNs>) -> Result<Option<Ready>, RunError> {
        let outputs = self.output.poll();
        let fixed: [(BorrowedFd<'_>, PollFlags); 3] = [
            (stop.as_fd(), PollFlags::IN),
            (self.feed.event_fd(), PollFlags::IN),
            (self.feed.unloading_fd(), PollFlags::IN),
        ];
        let mut fds: Vec<PollFd<'_>> =
            fixed.into_iter().chain(outputs).map(|(fd, wish)| PollFd::from_borrowed_fd(fd, wish)).collect();
        let timeout = until.map(|until| {
            let left = until.saturating_sub(boot_ns());
            #[allow(clippy::cast_possible_wrap)]
            Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as _ }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(RunError::Wait(error.into())),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let ready = Ready {
            events: is_ready(&fds[1]),
            unloading: is_ready(&fds[2]),
            output: fds[3..].iter().any(is_ready),
        };
        Ok((!is_ready(&fds[0])).then_some(ready))
    }

    /// Tells what is new; whether another look is due.
    fn drain(&mut self, now: &Now) -> Result<bool, RunError> {
        let news = self.feed.drain(now.boot)?;
        // A process asks for a name before it connects to what it stands for.
        for answer in &news.answers {
            self.labeler.learn(answer);
        }
        for conn in &news.conns {
            self.tell(conn, now);
        }
        if self.losses != self.feed.losses() {
            self.losses = self.feed.losses();
            self.lost_ns = if self.lost_ns == 0 { now.boot } else { self.lost_ns };
            self.tell_losses(now);
        }
        Ok(news.look_again)
    }

    /// A tool that shows everything has to show, too, when it did not.
    fn tell_losses(&mut self, now: &Now) {
        if self.output.has_reader() {
            let event = self.formatter.losses(&self.losses, self.lost_ns, now);
            self.output.push(self.lost_ns, Rc::from(event));
        }
    }

    /// Tells a new reader what the map holds. The ring is emptied first: what it holds and the map does not
    /// must not come later than what is newer.
    fn replay(&mut self, now: &Now) -> Result<(), RunError> {
        self.drain(now)?;
        for conn in self.feed.replay(now.boot)? {
            self.feed.tell(&conn, now.boot);
            self.tell(&conn, now);
        }
        Ok(())
    }

    /// The labels are asked for even when nobody listens: later the process may be gone.
    fn tell(&mut self, conn: &Conn, now: &Now) {
        let labels = self.labeler.labels(conn, now.boot);
        if self.output.has_reader() {
            self.output.push(conn.ns, Rc::from(self.formatter.event(conn, &labels, now)));
        }
    }
}

struct Ready {
    events: bool,
    unloading: bool,
    output: bool,
}
