// SPDX-License-Identifier: GPL-3.0-or-later
//! Connections in the order in which they are reported: the map first, then the ring, each thing once.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use hashlink::LinkedHashMap;
use leco_bpf::read::ReadError;
use leco_bpf::read::messages::{DnsAnswer, QuicDatagram, SentName};
use leco_bpf::read::reader::Reader;
use leco_bpf::read::record::{Conn, LISTEN_WAIT, State, Stats};
use leco_bpf::read::stream::{Drained, Stream};
use leco_cli::tunables::Tunables;
use leco_os::clock::{BootNs, boot_ns, thread_cpu_time};

use crate::enrich::process::{is_alive, is_gone, sees_all_processes};
use crate::source::listeners::Listeners;

/// What was already told, so that it is not told twice.
#[derive(Debug, Default)]
pub struct Reported {
    /// What was told last of each connection, by `ns`, in the order in which it was told.
    latest: LinkedHashMap<BootNs, Latest>,
    /// Everything up to this `ns_trx` that is not in `latest` was told, and forgotten since.
    horizon: BootNs,
    lifetime: u64,
    capacity: usize,
}

/// What was told of a connection.
#[derive(Debug, Clone)]
struct Latest {
    ns_trx: BootNs,
    state: State,
    /// Bytes, in and out.
    moved: u64,
    /// All of it, while it goes on.
    open: Option<Box<Conn>>,
}

impl Latest {
    fn of(conn: &Conn) -> Self {
        let moved = conn.rx.wrapping_add(conn.tx);
        let open = conn.is_open().then(|| Box::new(*conn));
        Self { ns_trx: conn.ns_trx, state: conn.state, moved, open }
    }

    /// Whether a connection is over just as it was then: it may end with its process, and later with its socket.
    fn has_ended_like(&self, conn: &Conn) -> bool {
        !conn.is_open() && self.state == conn.state && self.moved == conn.rx.wrapping_add(conn.tx)
    }
}

impl Reported {
    /// Remembers so many connections for so long.
    #[must_use]
    pub fn new(capacity: usize, lifetime: Duration) -> Self {
        let lifetime = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
        Self { lifetime, capacity: capacity.max(1), ..Self::default() }
    }

    /// Whether this is news, and from now on it is not.
    pub fn tell(&mut self, conn: &Conn, now: BootNs) -> bool {
        let known = self.latest.get(&conn.ns);
        let is_news = conn.ns_trx > known.map_or(self.horizon, |known| known.ns_trx)
            && known.is_none_or(|known| !known.has_ended_like(conn));
        if !is_news {
            return false;
        }
        self.latest.remove(&conn.ns);
        self.latest.insert(conn.ns, Latest::of(conn));
        while let Some(oldest) = self.latest.front().map(|(_, latest)| latest.ns_trx)
            && (self.latest.len() > self.capacity || now.saturating_sub(oldest) > self.lifetime)
        {
            self.latest.pop_front();
            self.horizon = self.horizon.max(oldest);
        }
        true
    }

    /// A connection that goes on, as it was told last.
    fn open(&self, ns: BootNs) -> Option<Conn> {
        self.latest.get(&ns).and_then(|latest| latest.open.as_deref()).copied()
    }

    /// Connections that were told as open and are not among these, all that there are: as ended at a moment of the
    /// boot clock, before which all of these were read.
    fn gone(&self, known: &[Conn], ns: BootNs) -> Vec<Conn> {
        let known: HashSet<BootNs> = known.iter().map(|conn| conn.ns).collect();
        let open = self.latest.values().filter_map(|latest| latest.open.as_deref());
        let gone = open.filter(|conn| conn.ns_trx < ns && !known.contains(&conn.ns));
        gone.map(|conn| Conn { state: State::Closed, ns_trx: ns, ..*conn }).collect()
    }
}

/// When to ask the kernel side for bytes that came too soon after an announcement to be announced.
///
/// The kernel side announces by itself whatever comes an interval after the last time. So one look an
/// interval after the last sign of life finds everything, and while there is none no look is due. A look visits every
/// socket that is open: of very many, looks are as rare as what they cost makes them.
#[derive(Debug, Default)]
pub struct PendingLook {
    /// How long announcements are held back, in ns, with a margin for the kernel's tick; zero: not at all.
    interval: u64,
    last_sign: BootNs,
    due: Option<BootNs>,
    /// Until then looks would cost too much.
    paced_until: BootNs,
}

impl PendingLook {
    /// A kernel counts time in ticks of at most 10 ms: that much later nothing is held back any more.
    const MARGIN: Duration = Duration::from_millis(20);
    /// So many times as long as a look took nothing is looked for: a visit of 72,000 sockets takes some 95 ms.
    const PAUSE: u32 = 250;
    const LONGEST_PAUSE: Duration = Duration::from_mins(1);

    /// For a kernel side that holds announcements back so long.
    #[must_use]
    pub fn new(update_interval: Duration) -> Self {
        let interval =
            if update_interval.is_zero() { Duration::ZERO } else { update_interval + Self::MARGIN };
        Self { interval: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX), ..Self::default() }
    }

    /// Something was announced.
    pub fn saw_a_sign(&mut self, now: BootNs) {
        if self.interval > 0 {
            self.last_sign = now;
            self.due.get_or_insert(now.saturating_add(self.interval));
        }
    }

    /// A look took so much CPU: it is at most 0.4 % of the time until the next one, which is not more than a minute.
    pub fn took(&mut self, cpu: Duration, now: BootNs) {
        let pause = cpu.saturating_mul(Self::PAUSE).min(Self::LONGEST_PAUSE);
        self.paced_until = now.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Whether to look now; the next look follows from what it finds.
    pub fn is_due(&mut self, now: BootNs) -> bool {
        if self.due().is_none_or(|due| due > now) {
            return false;
        }
        let next = self.last_sign.saturating_add(self.interval);
        self.due = (next > now).then_some(next);
        true
    }

    /// When the next look is due.
    #[must_use]
    pub fn due(&self) -> Option<BootNs> {
        self.due.map(|due| due.max(self.paced_until))
    }
}

/// What no reader can be told any more, counted since the pipe started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Connections, at most, that found the ring full and that the kernel side has forgotten since.
    pub connections: u64,
    /// Sockets that were not counted, for lack of memory.
    pub sockets: u64,
    /// Packets from outside that a firewall dropped, faster than they could be told.
    pub blocked: u64,
    /// Answers of name servers.
    pub answers: u64,
    /// Records of another version.
    pub malformed: u64,
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.connections, "connection"),
            (self.sockets, "uncounted socket"),
            (self.blocked, "blocked packet"),
            (self.answers, "name"),
            (self.malformed, "unreadable record"),
        ];
        f.write_str("lost:")?;
        let some = counts.iter().filter(|(count, _)| *count > 0);
        for (index, (count, what)) in some.enumerate() {
            let (comma, plural) = (if index > 0 { "," } else { "" }, if *count == 1 { "" } else { "s" });
            write!(f, "{comma} {count} {what}{plural}")?;
        }
        Ok(())
    }
}

/// What came since the last look.
#[derive(Debug)]
pub struct News {
    /// Connections, oldest first.
    pub conns: Vec<Conn>,
    /// Answers of name servers, oldest first.
    pub answers: Vec<DnsAnswer>,
    /// Names that processes sent when they connected, oldest first.
    pub names: Vec<SentName>,
    /// Datagrams in which there may be such names, oldest first.
    pub datagrams: Vec<QuicDatagram>,
    /// Whether another look is due soon.
    pub look_again: bool,
}

/// Reads the kernel side.
pub struct KernelEvents {
    reader: Stream,
    reported: Reported,
    pending: PendingLook,
    /// When to look who of those that bound a socket still waits.
    bound: PendingLook,
    listeners: Listeners,
    /// Counters at the last look, and when the pipe started.
    last: Stats,
    first: Stats,
    losses: Losses,
    overflows: Overflows,
    replay: Replay,
}

/// What of all that is known a new reader is told first.
#[derive(Debug, Clone, Copy)]
pub struct Replay {
    /// Active within so many ns.
    window: u64,
    skip_dead_pids: bool,
}

impl Replay {
    /// As the tunables say.
    #[must_use]
    pub fn new(tunables: &Tunables) -> Self {
        let window = u64::try_from(tunables.replay_window.as_nanos()).unwrap_or(u64::MAX);
        Self { window, skip_dead_pids: tunables.replay_skip_dead_pids }
    }

    /// Oldest first.
    pub fn of(self, reader: &Reader, listeners: &mut Listeners, now: BootNs) -> Result<Vec<Conn>, ReadError> {
        let mut conns = reader.snapshot()?.conns;
        listeners.merge(&mut conns);
        // When they ended is not known: they count as seen last when they were used last.
        end_with_processes(&mut conns, 0);
        conns.retain(|conn| {
            // A port is open however long ago that was, and whoever has it now.
            if conn.is_listener() && conn.is_open() {
                return true;
            }
            now.saturating_sub(conn.ns_trx) <= self.window
                && (!self.skip_dead_pids || !conn.has_process() || is_alive(conn.pid, conn.started))
        });
        conns.sort_by_key(|conn| conn.ns_trx);
        Ok(conns)
    }
}

impl KernelEvents {
    /// Starts where nothing was told yet.
    pub fn new(reader: Stream, tunables: &Tunables) -> Result<Self, ReadError> {
        // What waits in the ring is replayed from the sockets and the maps.
        reader.drain()?;
        let reported = Reported::new(2 * reader.max_conns(), tunables.cache_conn_ts);
        let stats = reader.stats()?;
        let mut pending = PendingLook::new(stats.update_interval);
        // Sockets may have been in use before.
        pending.saw_a_sign(boot_ns());
        let mut bound = PendingLook::new(LISTEN_WAIT);
        let mut listeners = Listeners::new(tunables, 2 * reader.max_conns());
        if listeners.are_shown() {
            bound.saw_a_sign(boot_ns());
            listeners.merge(&mut reader.listening()?);
        }
        Ok(Self {
            reader,
            reported,
            pending,
            bound,
            listeners,
            last: stats,
            first: stats,
            losses: Losses::default(),
            overflows: Overflows::default(),
            replay: Replay::new(tunables),
        })
    }

    /// Connections that the kernel side remembers.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.reader.max_conns()
    }

    /// Whether the programs read names that processes send.
    #[must_use]
    pub fn reads_hellos(&self) -> bool {
        self.last.reads_hellos
    }

    /// Becomes readable when there is something to drain.
    #[must_use]
    pub fn event_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.reader.event_fd()
    }

    /// Becomes readable when the programs are unloaded; nothing where that ends the pipe anyway.
    #[must_use]
    pub fn unloading_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.reader.unloading_fd()
    }

    /// Fails once the programs are unloaded.
    pub fn check_loaded(&mut self) -> Result<(), ReadError> {
        self.reader.check_loaded()
    }

    /// When to drain although nothing is readable.
    #[must_use]
    pub fn pending_due(&self) -> Option<BootNs> {
        [self.pending.due(), self.bound.due()].into_iter().flatten().min()
    }

    /// Everything that is news.
    pub fn drain(&mut self, now: BootNs) -> Result<News, ReadError> {
        let mut drained = self.reader.drain()?;
        let mut conns = std::mem::take(&mut drained.conns);
        let found = !conns.is_empty()
            || !drained.answers.is_empty()
            || !drained.endings.is_empty()
            || !drained.names.is_empty()
            || !drained.datagrams.is_empty()
            || drained.malformed > 0;
        let look_again = found || self.reader.has_unfinished();
        if self.pending.is_due(now) {
            let before = thread_cpu_time();
            self.reader.pending(&mut conns, now)?;
            self.pending.took(thread_cpu_time().saturating_sub(before), now);
            conns.sort_by_key(|conn| conn.ns_trx);
        }
        if !conns.is_empty() {
            self.pending.saw_a_sign(now);
        }
        if self.listeners.are_shown() && conns.iter().any(Listeners::is_candidate) {
            self.bound.saw_a_sign(now);
        }
        if self.bound.is_due(now) {
            conns.extend(self.reader.listening()?);
            conns.sort_by_key(|conn| conn.ns_trx);
        }
        if !drained.endings.is_empty() {
            conns.extend(self.reader.parts(&drained.endings)?);
            conns.sort_by_key(|conn| conn.ns_trx);
        }
        if look_again {
            let stats = self.reader.stats()?;
            self.losses.malformed += drained.malformed;
            self.losses.sockets = stats.sockets_skipped - self.first.sockets_skipped;
            self.losses.blocked = stats.blocked_skipped - self.first.blocked_skipped;
            self.losses.answers = stats.dns_skipped - self.first.dns_skipped;
            if stats.ring_dropped != self.last.ring_dropped {
                self.reconcile(&stats, &mut conns, now)?;
            }
            self.last = stats;
        }
        let conns = conns.into_iter().filter_map(|conn| self.listeners.follow(conn));
        let conns = conns.filter(|conn| self.reported.tell(conn, now)).collect();
        let Drained { answers, names, datagrams, .. } = drained;
        Ok(News { conns, answers, names, datagrams, look_again })
    }

    /// What the ring could not take is still in the kernel, unless so much came that it was forgotten there.
    fn reconcile(&mut self, stats: &Stats, conns: &mut Vec<Conn>, now: BootNs) -> Result<(), ReadError> {
        let dropped = stats.ring_dropped - self.last.ring_dropped;
        self.overflows.tell(dropped, now);
        let start = boot_ns();
        let mut snapshot = self.reader.snapshot()?;
        self.listeners.merge(&mut snapshot.conns);
        end_with_processes(&mut snapshot.conns, now);
        // Their end is lost, but not that they ended. Packets from outside have no socket that could go.
        if sees_all_processes() {
            snapshot.conns.extend(self.reported.gone(&snapshot.conns, start));
        }
        let forgotten = |added: u64, kept: usize| added.saturating_sub(kept as u64);
        // Of closed connections the latest are kept, as many as fit.
        let kept = self.reader.max_conns();
        let lost = forgotten(stats.closed_added - self.last.closed_added, kept)
            + forgotten(stats.flows_added - self.last.flows_added, snapshot.flows);
        self.losses.connections += lost.min(dropped);
        conns.extend(snapshot.conns);
        conns.sort_by_key(|conn| conn.ns_trx);
        Ok(())
    }

    /// What was lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// A connection that goes on, as it was told last.
    #[must_use]
    pub fn open(&self, ns: BootNs) -> Option<Conn> {
        self.reported.open(ns)
    }

    /// What a new reader is told first, oldest first.
    pub fn replay(&mut self, now: BootNs) -> Result<Vec<Conn>, ReadError> {
        self.replay.of(&self.reader, &mut self.listeners, now)
    }

    /// All that the kernel side holds now, however old.
    pub fn known(&self) -> Result<Vec<Conn>, ReadError> {
        let mut conns = self.reader.snapshot()?.conns;
        end_with_processes(&mut conns, 0);
        Ok(conns)
    }

    /// Marks a replayed connection as told; tells whether it was news to the other readers.
    pub fn tell(&mut self, conn: &Conn, now: BootNs) -> bool {
        self.reported.tell(conn, now)
    }
}

/// How often the ring was full, which is said at most once a minute.
#[derive(Debug, Default)]
struct Overflows {
    unreported: u64,
    reported: Option<BootNs>,
}

impl Overflows {
    const PAUSE_NS: u64 = 60_000_000_000;

    fn tell(&mut self, count: u64, now: BootNs) {
        self.unreported += count;
        if self.reported.is_none_or(|reported| now.saturating_sub(reported) >= Self::PAUSE_NS) {
            let times =
                if self.unreported == 1 { "once".to_owned() } else { format!("{} times", self.unreported) };
            tracing::info!("the ring buffer was full {times}, reading sockets and maps instead");
            (self.unreported, self.reported) = (0, Some(now));
        }
    }
}

/// Ends what a process did over a socket that others still use, where it ended while nobody read, at a moment.
fn end_with_processes(conns: &mut [Conn], ns: BootNs) {
    for part in conns.iter_mut().filter(|conn| conn.socket != 0 && conn.is_open()) {
        if is_gone(part.pid, part.started) {
            part.state = State::Closed;
            part.ns_trx = part.ns_trx.max(ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn conn(ns: u64, ns_trx: u64) -> Conn {
        Conn { ns_trx, ..fixtures::conn(ns, 0, 0, "0.0.0.0") }
    }

    #[test]
    fn each_thing_is_told_once() {
        let mut reported = Reported::new(100, Duration::from_secs(1));
        assert!(reported.tell(&conn(1, 5), 5));
        assert!(!reported.tell(&conn(1, 5), 5), "again");
        assert!(!reported.tell(&conn(1, 4), 5), "older");
        assert!(reported.tell(&conn(1, 6), 6), "newer");
        assert!(reported.tell(&conn(2, 3), 6), "another connection");
    }

    #[test]
    fn what_ended_with_its_process_does_not_end_again_with_its_socket() {
        let mut reported = Reported::new(100, Duration::from_secs(1));
        let closed = |ns_trx| Conn { state: State::Closed, ..conn(1, ns_trx) };
        assert!(reported.tell(&conn(1, 5), 5));
        assert!(reported.tell(&closed(6), 6));
        assert!(!reported.tell(&closed(9), 9));
        assert!(reported.tell(&Conn { rx: 1, ..closed(10) }, 10), "bytes that were read after that");
        assert!(reported.tell(&Conn { rx: 1, state: State::Reset, ..closed(11) }, 11), "it was another end");
        assert!(reported.tell(&Conn { rx: 1, ..conn(1, 12) }, 12), "its process goes on with it");
    }

    #[test]
    fn what_is_nowhere_any_more_has_ended() {
        let mut reported = Reported::new(100, Duration::from_secs(1));
        for open in [conn(1, 5), conn(2, 6), Conn { state: State::Closed, ..conn(3, 7) }, conn(4, 9)] {
            assert!(reported.tell(&open, 9));
        }
        // The last one began while all others were looked for.
        let gone = reported.gone(&[conn(2, 6)], 9);
        assert_eq!(gone, [Conn { state: State::Closed, ..conn(1, 9) }]);
    }

    #[test]
    fn held_back_bytes_are_looked_for_an_interval_after_the_last_sign_and_then_never() {
        let ms = |ms: u64| ms * 1_000_000;
        let mut look = PendingLook::new(Duration::from_secs(1));
        assert!(!look.is_due(ms(10)) && look.due().is_none(), "nothing happened yet");
        look.saw_a_sign(ms(100));
        look.saw_a_sign(ms(600));
        assert_eq!(look.due(), Some(ms(1120)));
        assert!(!look.is_due(ms(1119)));
        assert!(look.is_due(ms(1120)));
        assert_eq!(look.due(), Some(ms(1620)), "what came after the second sign");
        assert!(look.is_due(ms(1620)));
        assert_eq!(look.due(), None, "silence costs nothing");
        look.took(Duration::from_micros(300), ms(1620));
        look.saw_a_sign(ms(1630));
        assert_eq!(look.due(), Some(ms(2650)), "of few sockets a look costs nothing");
        assert!(look.is_due(ms(2650)));
        look.took(Duration::from_millis(96), ms(2650));
        look.saw_a_sign(ms(2700));
        assert_eq!(look.due(), Some(ms(26_650)), "of very many it is rare");
        assert!(!look.is_due(ms(26_649)));
        look.took(Duration::from_secs(3), ms(2650));
        assert_eq!(look.due(), Some(ms(62_650)), "but there is one");
        assert!(look.is_due(ms(62_650)));
        let mut never = PendingLook::new(Duration::ZERO);
        never.saw_a_sign(ms(1));
        assert_eq!(never.due(), None, "nothing is held back");
    }

    #[test]
    fn only_what_was_lost_is_named() {
        let losses = Losses { connections: 3, answers: 1, ..Losses::default() };
        assert_eq!(losses.to_string(), "lost: 3 connections, 1 name");
    }

    #[test]
    fn what_was_forgotten_is_not_told_again() {
        let mut reported = Reported::new(2, Duration::from_secs(1));
        for ns in 1..=4 {
            assert!(reported.tell(&conn(ns, ns * 10), 50));
        }
        assert_eq!(reported.latest.len(), 2);
        assert!(!reported.tell(&conn(1, 10), 50));
        assert!(reported.tell(&conn(1, 51), 51));
        assert!(reported.tell(&conn(9, 2_000_000_000), 2_000_000_000));
        assert_eq!(reported.latest.len(), 1, "the others are older than a second");
    }
}
