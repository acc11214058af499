//! The event loop: one thread, one `poll`, one time-out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use leco_bpf::reader::ReadError;
use leco_bpf::record::Conn;
use leco_core::clock::boot_ns;
use leco_core::event::BootNs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::Now;
use crate::feed::{Feed, Losses};
use crate::labels::Labeler;
use crate::line::Formatter;
use crate::outputs::Outputs;
use crate::service::{Signals, Watchdog};

/// After a look that found something, the next one comes so much later: longer than the kernel side leaves
/// the pipe asleep after a wakeup (`WAKEUP_INTERVAL_NS`), so that nothing stays behind.
const LOOK_AGAIN_NS: u64 = 11_000_000;
/// When it is asked to end, receivers have so long to take what is queued for them.
const FLUSH_NS: u64 = 800_000_000;

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
    outputs: Outputs,
    watchdog: Watchdog,
    /// What was lost as it was told last, and when something was lost first.
    losses: Losses,
    lost_ns: BootNs,
}

impl Pipe {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        feed: Feed,
        labeler: Labeler,
        formatter: Formatter,
        outputs: Outputs,
        watchdog: Watchdog,
    ) -> Self {
        Self { feed, labeler, formatter, outputs, watchdog, losses: Losses::default(), lost_ns: 0 }
    }

    /// Runs until it is asked to end or the receivers are gone for good.
    pub fn run(mut self, signals: &Signals) -> Result<(), RunError> {
        let mut look_at: Option<BootNs> = Some(boot_ns());
        loop {
            let drain_at = [look_at, self.feed.pending_due()].into_iter().flatten().min();
            let timers = [drain_at, self.outputs.due(), self.watchdog.due()];
            let ready = self.wait(signals, timers.into_iter().flatten().min())?;
            if ready.stop {
                return self.finish();
            }
            if ready.unloading {
                self.feed.check_loaded()?;
            }
            if ready.reopen {
                signals.take_reopen();
                self.outputs.reopen();
            }
            let now = Now::read();
            self.watchdog.keep_time(now.boot);
            if ready.cgroups {
                self.labeler.follow_cgroups(now.boot);
            }
            if ready.events || drain_at.is_some_and(|at| at <= now.boot) {
                look_at = self.drain(&now)?.then(|| now.boot + LOOK_AGAIN_NS);
            }
            self.outputs.look(&ready.outputs, now.boot);
            self.outputs.keep_time(now.boot);
            loop {
                if self.outputs.wants_replay() {
                    self.replay(&now)?;
                }
                if !self.outputs.flush().map_err(RunError::Output)? {
                    return Ok(());
                }
                // One reader may leave and another come while the first is written to.
                if !self.outputs.wants_replay() {
                    break;
                }
            }
        }
    }

    /// Tells what is known until now, and waits a moment for receivers that take it.
    fn finish(&mut self) -> Result<(), RunError> {
        self.watchdog.stopping();
        let now = Now::read();
        self.drain(&now)?;
        let end = now.boot + FLUSH_NS;
        while self.outputs.flush().map_err(RunError::Output)? && !self.outputs.is_flushed() {
            let left = end.saturating_sub(boot_ns());
            let (fds, revents) = wait_for(&self.outputs.poll(), Some(left)).map_err(RunError::Wait)?;
            if fds == 0 {
                break;
            }
            self.outputs.look(&revents, now.boot);
        }
        Ok(())
    }

    /// What is ready, at the latest at a moment.
    fn wait(&self, signals: &Signals, until: Option<BootNs>) -> Result<Ready, RunError> {
        let mut fds: Vec<(BorrowedFd<'_>, PollFlags)> = vec![
            (signals.stop_fd(), PollFlags::IN),
            (signals.reopen_fd(), PollFlags::IN),
            (self.feed.event_fd(), PollFlags::IN),
            (self.feed.unloading_fd(), PollFlags::IN),
        ];
        let cgroups = self.labeler.cgroups_fd();
        fds.extend(cgroups.map(|fd| (fd, PollFlags::IN)));
        let outputs_at = fds.len();
        fds.extend(self.outputs.poll());
        let left = until.map(|until| until.saturating_sub(boot_ns()));
        let (_, revents) = wait_for(&fds, left).map_err(RunError::Wait)?;
        let is_ready = |at: usize| !revents[at].is_empty();
        Ok(Ready {
            stop: is_ready(0),
            reopen: is_ready(1),
            events: is_ready(2),
            unloading: is_ready(3),
            cgroups: cgroups.is_some() && is_ready(4),
            outputs: revents[outputs_at..].to_vec(),
        })
    }

    /// Tells what is new; whether another look is due.
    fn drain(&mut self, now: &Now) -> Result<bool, RunError> {
        let news = self.feed.drain(now.boot)?;
        // A process asks for a name before it connects to what it stands for.
        for answer in &news.answers {
            self.labeler.learn(answer);
        }
        for conn in &news.conns {
            self.tell(conn, true, now);
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
        if self.outputs.has_reader() {
            let event = self.formatter.losses(&self.losses, self.lost_ns, now);
            self.outputs.push(self.lost_ns, event.line, &Rc::from(event.json), now.boot);
        }
    }

    /// Tells new readers what the map holds. The ring is emptied first: what it holds and the map does not
    /// must not come later than what is newer.
    fn replay(&mut self, now: &Now) -> Result<(), RunError> {
        self.drain(now)?;
        self.outputs.begin_replay();
        for conn in self.feed.replay(now.boot)? {
            let is_news = self.feed.tell(&conn, now.boot);
            self.tell(&conn, is_news, now);
        }
        self.outputs.end_replay();
        Ok(())
    }

    /// The labels are asked for even when nobody listens: later the process may be gone.
    fn tell(&mut self, conn: &Conn, is_news: bool, now: &Now) {
        let labels = self.labeler.labels(conn, now.boot);
        if self.outputs.has_reader() {
            let event = self.formatter.event(conn, &labels, now);
            let json = Rc::from(event.json);
            if is_news {
                self.outputs.push(conn.ns, event.line, &json, now.boot);
            } else {
                self.outputs.push_old(conn.ns, event.line, &json, now.boot);
            }
        }
    }
}

/// Sleeps until something is ready or so many ns passed: how many are, and what each is ready for.
fn wait_for(wishes: &[(BorrowedFd<'_>, PollFlags)], ns: Option<u64>) -> io::Result<(usize, Vec<PollFlags>)> {
    let mut fds: Vec<PollFd<'_>> =
        wishes.iter().map(|(fd, wish)| PollFd::from_borrowed_fd(fd.as_fd(), *wish)).collect();
    let timeout = ns.and_then(|ns| Timespec::try_from(Duration::from_nanos(ns)).ok());
    let count = match poll(&mut fds, timeout.as_ref()) {
        Ok(count) => count,
        Err(rustix::io::Errno::INTR) => 0,
        Err(error) => return Err(error.into()),
    };
    Ok((count, fds.iter().map(PollFd::revents).collect()))
}

struct Ready {
    stop: bool,
    reopen: bool,
    events: bool,
    unloading: bool,
    cgroups: bool,
    /// What each of the outputs' descriptors is ready for.
    outputs: Vec<PollFlags>,
}
