// SPDX-License-Identifier: GPL-3.0-or-later
//! The event loop: one thread, one `poll`, one time-out.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use hashlink::{LinkedHashMap, LruCache};
use jiff::Timestamp;
use leco_bpf::read::ReadError;
use leco_bpf::read::record::Conn;
use leco_os::clock::{BootNs, boot_ns};
use leco_os::reclaim::give_back;
use leco_os::watch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::Now;
use crate::enrich::labeler::Labeler;
use crate::enrich::names::reverse::REVERSE_QUEUE;
use crate::enrich::peer_names::HELLO_NS;
use crate::history::Memory;
use crate::history::pages::{Cursor, PageQuestion};
use crate::history::question::second_of;
use crate::history::totals::start_of_total;
use crate::outputs::{Outputs, PageWish};
use crate::render::line::Formatter;
use crate::source::kernel_events::{KernelEvents, Losses};
use crate::source::own::is_own;
use crate::systemd::{Signals, Watchdog};

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
    /// Reads the kernel side.
    pub kernel_events: KernelEvents,
    /// Knows names.
    pub labeler: Labeler,
    /// Knows what is new, where that is wanted.
    pub memory: Option<Memory>,
    /// Writes lines.
    pub formatter: Formatter,
    /// Who is told.
    pub outputs: Outputs,
    /// Who wants to know how it is doing.
    pub watchdog: Watchdog,
}

/// What the loop knows besides.
struct Loop {
    pipe: Pipe,
    /// What was lost as it was told last, and when something was lost first.
    losses: Losses,
    lost_ns: BootNs,
    /// Connections whose address has no name yet, the latest for each address.
    unnamed: LruCache<IpAddr, Conn>,
    /// Connections that were told with the number of a user whose name may still come, each as it was told last.
    unnamed_users: LruCache<BootNs, Conn>,
    /// Connections whose process may name its peer yet, the oldest first: until then nobody knows whether it is new.
    undecided: LinkedHashMap<BootNs, Conn>,
}

impl Pipe {
    /// Runs until it is asked to end or the receivers are gone for good.
    pub fn run(self, signals: &Signals) -> Result<(), RunError> {
        let unnamed = LruCache::new(REVERSE_QUEUE);
        let unnamed_users = LruCache::new(self.kernel_events.capacity());
        let undecided = LinkedHashMap::new();
        let losses = Losses::default();
        let mut this = Loop { pipe: self, losses, lost_ns: 0, unnamed, unnamed_users, undecided };
        let result = this.run(signals);
        this.pipe.outputs.write_counts();
        result
    }
}

impl Loop {
    fn run(&mut self, signals: &Signals) -> Result<(), RunError> {
        let mut look_at: Option<BootNs> = Some(boot_ns());
        let mut has_started = false;
        let Pipe { outputs, formatter, .. } = &mut self.pipe;
        outputs.tell_clock(&Now::read(), formatter.machine());
        // What moved before does not count.
        self.count_known()?;
        if self.pipe.memory.is_some() && !self.pipe.outputs.wants_replay() {
            // What moved while no pipe ran is remembered, although nobody reads yet.
            self.replay(&Now::read())?;
        }
        loop {
            if let Some(notice) = watch::take_notice() {
                tracing::warn!("{notice}");
            }
            let drain_at = [look_at, self.pipe.kernel_events.pending_due()].into_iter().flatten().min();
            let wake_at = self.due(drain_at);
            let ready = self.wait(signals, wake_at)?;
            if ready.stop {
                return self.finish();
            }
            let now = self.catch_up(&ready, signals)?;
            if ready.events || drain_at.is_some_and(|at| at <= now.boot) {
                look_at = self.drain(&now)?.then(|| now.boot + LOOK_AGAIN_NS);
            }
            if ready.resolver {
                self.tell_names(&now);
            }
            if ready.users {
                self.tell_users(&now);
            }
            if ready.pages {
                self.take_pages();
            }
            self.decide(&now);
            if !self.serve(&ready.outputs, &now)? {
                return Ok(());
            }
            if !std::mem::replace(&mut has_started, true) {
                give_back();
            }
        }
    }

    /// When to wake up at the latest, if at all.
    fn due(&mut self, drain_at: Option<BootNs>) -> Option<BootNs> {
        let memory_at = self.pipe.memory.as_ref().and_then(Memory::due);
        let timers =
            [drain_at, self.pipe.outputs.due(), self.pipe.watchdog.due(), memory_at, self.undecided_due()];
        timers.into_iter().flatten().min()
    }

    /// Does what is due before events are read; the moment at which all else of this turn happens.
    fn catch_up(&mut self, ready: &Ready, signals: &Signals) -> Result<Now, RunError> {
        if ready.unloading {
            self.pipe.kernel_events.check_loaded()?;
        }
        if ready.reopen {
            signals.take_reopen();
            self.pipe.outputs.reopen();
        }
        let now = Now::read();
        self.pipe.watchdog.keep_time(now.boot);
        if let Some(memory) = &mut self.pipe.memory {
            memory.keep_time(now.boot);
        }
        if ready.cgroups {
            self.pipe.labeler.follow_cgroups(now.boot);
        }
        Ok(now)
    }

    /// Writes to the receivers what they take; `false` where they are gone for good.
    fn serve(&mut self, ready: &[PollFlags], now: &Now) -> Result<bool, RunError> {
        self.pipe.outputs.set_clock(now);
        self.pipe.outputs.look(ready, now.boot);
        self.pipe.outputs.keep_time(now.boot);
        loop {
            if self.pipe.outputs.wants_replay() {
                self.replay(now)?;
            }
            // After what is told first: all that is known by now is in them.
            self.ask_for_pages(now);
            if !self.pipe.outputs.flush().map_err(RunError::Output)? {
                return Ok(false);
            }
            // One reader may leave and another come while the first is written to.
            if !self.pipe.outputs.wants_replay() && !self.pipe.outputs.wants_page() {
                return Ok(true);
            }
        }
    }

    /// Asks for what receivers want of what is stored.
    fn ask_for_pages(&mut self, now: &Now) {
        let Pipe { outputs, memory, formatter, .. } = &mut self.pipe;
        for PageWish { receiver, since, filter, from } in outputs.page_wishes() {
            let from = from.unwrap_or_else(|| {
                let until = now.wall.as_second();
                let zone = formatter.time_zone();
                let since = start_of_total(second_of(&since, until, zone), until, zone);
                let begin = Timestamp::from_second(since).unwrap_or(now.wall);
                Cursor { head: formatter.history(begin, now).into(), since, until, at: now.boot, place: None }
            });
            let question = PageQuestion { receiver, filter, from, written: None };
            let refusal = match memory {
                Some(memory) => memory.ask(question, now.boot).err(),
                None => Some(question.refusal("the pipe stores nothing")),
            };
            if let Some(page) = refusal {
                outputs.take_page(receiver, page);
            }
        }
    }

    /// Hands out what was read of what is stored.
    fn take_pages(&mut self) {
        let Pipe { outputs, memory, .. } = &mut self.pipe;
        for (receiver, page) in memory.iter_mut().flat_map(Memory::take_pages) {
            outputs.take_page(receiver, page);
        }
    }

    /// Tells what is known until now, and waits a moment for receivers that take it.
    fn finish(&mut self) -> Result<(), RunError> {
        Watchdog::stopping();
        let now = Now::read();
        self.drain(&now)?;
        self.count_known()?;
        self.remember_undecided(&now);
        self.pipe.outputs.set_clock(&now);
        self.pipe.outputs.release_all();
        let end = now.boot + FLUSH_NS;
        while self.pipe.outputs.flush().map_err(RunError::Output)? && !self.pipe.outputs.is_flushed() {
            let left = end.saturating_sub(boot_ns());
            let (fds, revents) = wait_for(&self.pipe.outputs.poll(), Some(left)).map_err(RunError::Wait)?;
            if fds == 0 {
                break;
            }
            self.pipe.outputs.look(&revents, now.boot);
        }
        if let Some(memory) = &mut self.pipe.memory {
            memory.finish();
        }
        Ok(())
    }

    /// What is ready, at the latest at a moment.
    fn wait(&self, signals: &Signals, until: Option<BootNs>) -> Result<Ready, RunError> {
        let mut fds: Vec<(BorrowedFd<'_>, PollFlags)> = vec![
            (signals.stop_fd(), PollFlags::IN),
            (signals.reopen_fd(), PollFlags::IN),
            (self.pipe.kernel_events.event_fd(), PollFlags::IN),
            (self.pipe.labeler.users_fd(), PollFlags::IN),
        ];
        let (cgroups, resolver) = (self.pipe.labeler.cgroups_fd(), self.pipe.labeler.resolver_fd());
        let unloading = self.pipe.kernel_events.unloading_fd();
        let mut add = |fd: Option<_>| {
            fds.extend(fd.map(|fd| (fd, PollFlags::IN)));
            fd.map(|_| fds.len() - 1)
        };
        let pages = self.pipe.memory.as_ref().and_then(Memory::pages_fd);
        let (unloading_at, cgroups_at, resolver_at) = (add(unloading), add(cgroups), add(resolver));
        let pages_at = add(pages);
        let outputs_at = fds.len();
        fds.extend(self.pipe.outputs.poll());
        let left = until.map(|until| until.saturating_sub(boot_ns()));
        let (_, revents) = wait_for(&fds, left).map_err(RunError::Wait)?;
        let is_ready = |at: usize| !revents[at].is_empty();
        Ok(Ready {
            stop: is_ready(0),
            reopen: is_ready(1),
            events: is_ready(2),
            users: is_ready(3),
            unloading: unloading_at.is_some_and(is_ready),
            cgroups: cgroups_at.is_some_and(is_ready),
            resolver: resolver_at.is_some_and(is_ready),
            pages: pages_at.is_some_and(is_ready),
            outputs: revents[outputs_at..].to_vec(),
        })
    }

    /// Tells what is new; whether another look is due.
    fn drain(&mut self, now: &Now) -> Result<bool, RunError> {
        let news = self.pipe.kernel_events.drain(now.boot)?;
        // A process asks for a name before it connects to what it stands for.
        let mut named = Vec::new();
        for answer in &news.answers {
            named.extend(self.pipe.labeler.learn(answer, now.boot));
        }
        let peers = self.pipe.labeler.peers();
        peers.expect_sent(self.pipe.kernel_events.reads_hellos());
        let mut sent: Vec<BootNs> = news.names.iter().filter_map(|name| peers.learn_sent(name)).collect();
        sent.extend(news.datagrams.iter().filter_map(|datagram| peers.learn_quic(datagram, now.boot)));
        for conn in &news.conns {
            self.tell(conn, true, now);
        }
        named.extend(sent.into_iter().filter_map(|ns| self.pipe.kernel_events.open(ns)));
        // Earlier connections that got a name by it are told anew.
        for conn in named.iter().filter(|conn| news.conns.iter().all(|told| told.ns != conn.ns)) {
            self.tell(conn, true, now);
        }
        if self.losses != self.pipe.kernel_events.losses() {
            self.losses = self.pipe.kernel_events.losses();
            self.pipe.outputs.count_losses(&self.losses);
            self.lost_ns = if self.lost_ns == 0 { now.boot } else { self.lost_ns };
            self.tell_losses(now);
        }
        Ok(news.look_again)
    }

    /// Counts what the kernel side holds, where anything is counted.
    fn count_known(&mut self) -> Result<(), RunError> {
        if self.pipe.outputs.counts() {
            let now = boot_ns();
            for conn in self.pipe.kernel_events.known()?.iter().filter(|conn| !is_own(conn)) {
                let labels = self.pipe.labeler.labels(conn, now);
                self.pipe.outputs.count(conn, &labels);
            }
        }
        Ok(())
    }

    /// A tool that shows everything has to show, too, when it did not.
    fn tell_losses(&mut self, now: &Now) {
        if self.pipe.outputs.has_reader() {
            let event = self.pipe.formatter.losses(&self.losses, self.lost_ns, now);
            self.pipe.outputs.push(self.lost_ns, event.line, &Rc::from(event.json), false, now.boot);
        }
    }

    /// Tells new readers what the map holds. The ring is emptied first: what it holds and the map does not
    /// must not come later than what is newer.
    fn replay(&mut self, now: &Now) -> Result<(), RunError> {
        self.drain(now)?;
        self.pipe.outputs.begin_replay();
        for conn in self.pipe.kernel_events.replay(now.boot)? {
            let is_news = self.pipe.kernel_events.tell(&conn, now.boot);
            self.tell(&conn, is_news, now);
        }
        self.pipe.outputs.end_replay();
        Ok(())
    }

    /// Tells connections anew whose address has a name now.
    fn tell_names(&mut self, now: &Now) {
        for address in self.pipe.labeler.peers().take_resolved(now.boot) {
            if let Some(conn) = self.unnamed.remove(&address) {
                self.tell(&conn, true, now);
            }
        }
    }

    /// Tells connections anew whose user has a name now.
    fn tell_users(&mut self, now: &Now) {
        let named = self.pipe.labeler.take_users(now.boot);
        let awaited =
            std::mem::replace(&mut self.unnamed_users, LruCache::new(self.pipe.kernel_events.capacity()));
        // The oldest first, as they were told.
        for (ns, conn) in awaited {
            if named.contains(&conn.uid) {
                self.tell(&conn, true, now);
            } else if self.pipe.labeler.awaits_user(conn.uid) {
                self.unnamed_users.insert(ns, conn);
            }
        }
    }

    /// When to call [`Self::decide`].
    fn undecided_due(&self) -> Option<BootNs> {
        let is_full = self.undecided.len() > self.pipe.kernel_events.capacity();
        self.undecided.front().map(|(ns, _)| if is_full { 0 } else { ns.saturating_add(HELLO_NS) })
    }

    /// Tells connections anew that are the first of their program with their peer, whose process named none.
    fn decide(&mut self, now: &Now) {
        while self.undecided_due().is_some_and(|due| due <= now.boot) {
            let Some((ns, conn)) = self.undecided.pop_front() else { return };
            let conn = self.pipe.kernel_events.open(ns).unwrap_or(conn);
            let labels = self.pipe.labeler.labels(&conn, now.boot);
            let memory = self.pipe.memory.as_mut();
            if memory.is_some_and(|memory| memory.see(&conn, &labels, now)) {
                self.tell(&conn, true, now);
            }
        }
    }

    /// The pipe ends before it is known who their peers are: they are remembered by what is known.
    fn remember_undecided(&mut self, now: &Now) {
        let Some(memory) = &mut self.pipe.memory else { return };
        for (ns, conn) in std::mem::take(&mut self.undecided) {
            let conn = self.pipe.kernel_events.open(ns).unwrap_or(conn);
            let labels = self.pipe.labeler.labels(&conn, now.boot);
            memory.see(&conn, &labels, now);
        }
    }

    /// The labels are asked for even when nobody listens: later the process may be gone.
    fn tell(&mut self, conn: &Conn, is_news: bool, now: &Now) {
        // What it sends to receivers would make events that make it send; what it asks for names, too.
        if is_own(conn) {
            return;
        }
        let mut labels = self.pipe.labeler.labels(conn, now.boot);
        if let Some(memory) = &mut self.pipe.memory {
            if self.pipe.labeler.peers().may_come(conn, now.boot) {
                self.undecided.entry(conn.ns).or_insert(*conn);
            } else {
                self.undecided.remove(&conn.ns);
                labels.is_new = memory.see(conn, &labels, now);
            }
        }
        if let Some(memory) = &mut self.pipe.memory {
            memory.keep_name(conn, &labels, now);
            memory.count(conn, &labels, now);
        }
        self.pipe.outputs.count(conn, &labels);
        if labels.name.is_none() && !conn.is_listener() && self.pipe.labeler.resolver_fd().is_some() {
            self.unnamed.insert(conn.remote.to_canonical(), *conn);
        }
        if conn.has_process() && self.pipe.labeler.awaits_user(conn.uid) {
            self.unnamed_users.insert(conn.ns, *conn);
        }
        if self.pipe.outputs.has_reader() {
            let event = self.pipe.formatter.event(conn, &labels, now);
            let json = Rc::from(event.json);
            if is_news {
                self.pipe.outputs.push(conn.ns, event.line, &json, conn.is_open(), now.boot);
            } else {
                self.pipe.outputs.push_old(conn.ns, event.line, &json, conn.is_open(), now.boot);
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

#[allow(clippy::struct_excessive_bools, reason = "each is a descriptor of its own")]
struct Ready {
    stop: bool,
    reopen: bool,
    events: bool,
    unloading: bool,
    cgroups: bool,
    resolver: bool,
    users: bool,
    pages: bool,
    /// What each of the outputs' descriptors is ready for.
    outputs: Vec<PollFlags>,
}
