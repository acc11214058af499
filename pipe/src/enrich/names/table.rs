// SPDX-License-Identifier: GPL-3.0-or-later
//! Names of peers, from the answers of name servers that processes received: nobody is asked.
//!
//! A connection is named by what its process had asked for last when it connected, and keeps that name. What others
//! asked for counts, too, the less the further they are from that process.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hashlink::LruCache;
use leco_bpf::read::messages::DnsAnswer;
use leco_bpf::read::record::{Conn, Direction};
use leco_os::clock::BootNs;

use crate::enrich::labels::{NameSource, PeerName};
use crate::enrich::names::answer::Answer;
use crate::enrich::names::home::{Home, is_special};
use crate::enrich::names::standing::{Place, Standing};
use crate::enrich::process::Process;

/// Names that are remembered: by address, name and who asked.
pub const NAME_ENTRIES: usize = 8192;
/// Of these so many of one address and user; further ones take the place of the oldest.
const NAMES_OF_ADDRESS: usize = 32;
/// Connections without a name that a later answer of their process may name.
const WAITING: usize = 256;
/// Users below this number are the system's, and so are its resolvers (`SYS_UID_MAX` of login.defs(5)).
const FIRST_ORDINARY_UID: u32 = 1000;

/// For so long after an answer it counts for those who are kin to the process that received it.
const KIN_NS: u64 = 3_600_000_000_000;
/// … for other processes of its user.
const USER_NS: u64 = 600_000_000_000;
/// … for everybody, if the system's resolver received it: as long as it may answer again from its memory, but at
/// least and at most so long.
const SYSTEM_NS: (u64, u64) = (60_000_000_000, 600_000_000_000);
/// So old a connection may be that is named by a later answer of its process.
const LATE_NS: u64 = 2_000_000_000;

/// A process of a user: one that became another user's asked as somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asker {
    pid: u32,
    started: u64,
    uid: u32,
}

/// A name that a process asked for.
#[derive(Debug)]
struct Heard {
    asker: Asker,
    standing: Standing,
    name: Rc<str>,
    /// The first and the last of its answers, between which it asked for no other name of the address.
    first: BootNs,
    last: BootNs,
    /// How long the system's resolver may answer the same again without asking, in ns.
    ttl: u64,
}

impl Heard {
    /// The latest answer before a moment, where there is one.
    fn before(&self, at: BootNs) -> Option<BootNs> {
        (self.first <= at).then_some(self.last.min(at))
    }

    fn lasts_for_everybody(&self) -> u64 {
        self.ttl.clamp(SYSTEM_NS.0, SYSTEM_NS.1)
    }
}

/// Whose answers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    User(u32),
    /// The system's resolver, which asks on behalf of any process.
    System,
}

/// What was heard by one owner, so that nobody pushes out what others heard.
#[derive(Debug)]
struct Share {
    addresses: LruCache<IpAddr, Vec<Heard>>,
    count: usize,
}

/// Remembers which name was asked for by whom, what its addresses are, and the names of connections.
#[derive(Debug)]
pub(crate) struct Names {
    shares: HashMap<Owner, Share>,
    count: usize,
    lifetime: u64,
    /// Answers were heard from then on: an earlier connection may have a name that was not heard.
    since: BootNs,
    /// Names of connections, by begin and peer.
    decided: LruCache<(BootNs, IpAddr), PeerName>,
    /// The latest of the connections that have no name, as they were told last.
    waiting: LruCache<(BootNs, IpAddr), Conn>,
    home: Home,
}

impl Names {
    /// Remembers names for so long after the latest answer that gave them, and those of so many connections. Answers
    /// are heard from now on.
    pub(crate) fn new(lifetime: Duration, connections: usize, now: BootNs) -> Self {
        Self {
            shares: HashMap::new(),
            count: 0,
            lifetime: u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX),
            since: now,
            decided: LruCache::new(connections),
            waiting: LruCache::new(WAITING),
            home: Home::new(),
        }
    }

    /// From now on names of so many connections are remembered.
    pub(crate) fn remember(&mut self, connections: usize) {
        self.decided = LruCache::new(connections.max(1));
    }

    /// Learns from an answer; what is none is ignored. It counts for the process that received it and others of
    /// its user, and for everybody if that user is the system. Returns connections that it came too late for and
    /// names all the same.
    pub(crate) fn learn(&mut self, answer: &DnsAnswer, standing: &Standing, now: BootNs) -> Vec<Conn> {
        let parse = if answer.is_over_tcp { Answer::from_tcp } else { Answer::parse };
        // Any host may answer: for its own domain (RFC 6762, 3).
        let is_allowed =
            |said: &Answer| !answer.is_multicast || said.name.rsplit('.').next() == Some("local");
        let said = parse(&answer.payload).into_iter().filter(is_allowed);
        said.flat_map(|said| self.learn_name(said, answer, standing, now)).collect()
    }

    fn learn_name(
        &mut self,
        said: Answer,
        answer: &DnsAnswer,
        standing: &Standing,
        now: BootNs,
    ) -> Vec<Conn> {
        let Answer { name, addresses, ttl } = said;
        let name: Rc<str> = name.into();
        let asker = Asker { pid: answer.pid, started: answer.started, uid: answer.uid };
        let is_system =
            answer.uid < FIRST_ORDINARY_UID && !answer.is_in_user_ns && standing.place == Place::Host;
        let is_system = is_system && !answer.is_multicast;
        let owners = [Some(Owner::User(answer.uid)), is_system.then_some(Owner::System)];
        for &address in addresses.iter().filter(|address| !is_special(**address)) {
            for owner in owners.into_iter().flatten() {
                let heard = Heard {
                    asker,
                    standing: standing.clone(),
                    name: Rc::clone(&name),
                    first: answer.ns,
                    last: answer.ns,
                    ttl: u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX),
                };
                self.hear(owner, address, heard);
            }
        }
        let is_for = |conn: &Conn| {
            (conn.pid, conn.started, conn.uid) == (asker.pid, asker.started, asker.uid)
                && (conn.ns..=conn.ns.saturating_add(LATE_NS)).contains(&answer.ns)
        };
        let late: Vec<Conn> = self
            .waiting
            .iter()
            .filter(|((_, remote), conn)| is_for(conn) && addresses.contains(remote))
            .map(|(_, conn)| *conn)
            .collect();
        late.into_iter()
            .filter(|conn| {
                let is_named = !self.home.holds(conn, now);
                if is_named {
                    self.keep(conn, &PeerName { text: Rc::clone(&name), source: NameSource::Dns });
                }
                is_named
            })
            .collect()
    }

    fn hear(&mut self, owner: Owner, address: IpAddr, heard: Heard) {
        let share = self
            .shares
            .entry(owner)
            .or_insert_with(|| Share { addresses: LruCache::new_unbounded(), count: 0 });
        let list = share.addresses.entry(address).or_insert_with(Vec::new);
        let latest =
            list.iter_mut().filter(|known| known.asker == heard.asker).max_by_key(|known| known.last);
        if let Some(known) = latest.filter(|known| known.name == heard.name && known.last <= heard.first) {
            *known = Heard { first: known.first, ..heard };
            return;
        }
        if list.len() >= NAMES_OF_ADDRESS
            && let Some((oldest, _)) = list.iter().enumerate().min_by_key(|(_, known)| known.last)
        {
            list[oldest] = heard;
            return;
        }
        list.push(heard);
        share.count += 1;
        self.count += 1;
        while self.count > NAME_ENTRIES {
            self.forget_some();
        }
    }

    /// Who asks for most gives way.
    fn forget_some(&mut self) {
        let Some((&owner, share)) = self.shares.iter_mut().max_by_key(|(_, share)| share.count) else {
            return;
        };
        let gone = share.addresses.remove_lru().map_or(0, |(_, list)| list.len());
        share.count -= gone;
        self.count -= gone;
        if share.count == 0 {
            self.shares.remove(&owner);
        }
    }

    /// The name that a connection has already.
    pub(crate) fn known(&mut self, conn: &Conn) -> Option<PeerName> {
        self.decided.get(&key(conn)).cloned()
    }

    /// Whether some answer gave a connection's peer this name, to its user or to the system.
    pub(crate) fn has_heard(&mut self, conn: &Conn, name: &str) -> bool {
        let remote = conn.remote.to_canonical();
        [Owner::User(conn.uid), Owner::System].into_iter().any(|owner| {
            let list = self.shares.get_mut(&owner).and_then(|share| share.addresses.get(&remote));
            list.is_some_and(|list| list.iter().any(|heard| *heard.name == *name))
        })
    }

    /// Whether nobody outside of this machine has a connection's peer's address.
    pub(crate) fn is_home(&mut self, conn: &Conn, now: BootNs) -> bool {
        self.home.holds(conn, now)
    }

    /// A connection had this name already, before this pipe.
    pub(crate) fn restore(&mut self, ns: BootNs, remote: IpAddr, name: PeerName) {
        self.decided.insert((ns, remote.to_canonical()), name);
    }

    /// From now on a connection has this name.
    pub(crate) fn keep(&mut self, conn: &Conn, name: &PeerName) {
        self.waiting.remove(&key(conn));
        self.decided.insert(key(conn), name.clone());
    }

    /// Names a connection that has no name, by what was heard before it began: by its process, then by those who are
    /// kin to it, then by its user, then by the system. `line` tells the processes that started its own.
    pub(crate) fn decide(
        &mut self,
        conn: &Conn,
        place: &Place,
        line: impl FnOnce() -> Rc<[Process]>,
        now: BootNs,
    ) -> Option<PeerName> {
        self.home.see(conn);
        if !conn.has_process() {
            return None;
        }
        let found = self.find(conn, place, line).filter(|_| !self.home.holds(conn, now));
        if let Some(name) = &found {
            self.keep(conn, name);
        } else if conn.ns >= self.since && conn.ns.saturating_add(LATE_NS) >= now {
            self.waiting.insert(key(conn), *conn);
        }
        found
    }

    fn find(&mut self, conn: &Conn, place: &Place, line: impl FnOnce() -> Rc<[Process]>) -> Option<PeerName> {
        let remote = conn.remote.to_canonical();
        let of = |heard: &Heard, source| Some(PeerName { text: Rc::clone(&heard.name), source });
        let lasts = |ns: u64| ns.min(self.lifetime);
        let asker = Asker { pid: conn.pid, started: conn.started, uid: conn.uid };
        let mut later = None;
        if let Some(list) = self.shares.get_mut(&Owner::User(conn.uid)).and_then(|s| s.addresses.get(&remote))
        {
            let newest = |is_wanted: &dyn Fn(&Heard) -> bool, lasts: u64| {
                newest(list.iter().filter(|heard| is_wanted(heard)), conn.ns, |_| lasts)
            };
            if let Some(heard) = newest(&|heard| heard.asker == asker, self.lifetime) {
                return of(heard, NameSource::Dns);
            }
            // A peer that calls was asked for by nobody: what others call that address is no more than a guess.
            if conn.direction == Direction::Incoming {
                return None;
            }
            let others: Vec<&Heard> =
                list.iter().filter(|heard| heard.asker != asker && heard.standing.place == *place).collect();
            if others.iter().any(|heard| !heard.standing.line.is_empty() && heard.first <= conn.ns) {
                for relative in line().iter() {
                    let kin = others.iter().copied().filter(|heard| heard.standing.line.contains(relative));
                    if let Some(heard) = self::newest(kin, conn.ns, |_| lasts(KIN_NS)) {
                        return of(heard, NameSource::User);
                    }
                }
            }
            if let Some(heard) = self::newest(others.into_iter(), conn.ns, |_| lasts(USER_NS)) {
                return of(heard, NameSource::User);
            }
            let can_be_late = conn.ns >= self.since;
            later = list
                .iter()
                .filter(|heard| can_be_late && heard.asker == asker && heard.first > conn.ns)
                .filter(|heard| heard.first - conn.ns <= LATE_NS)
                .min_by_key(|heard| heard.first)
                .and_then(|heard| of(heard, NameSource::Dns));
        }
        if conn.direction == Direction::Incoming {
            return None;
        }
        let system = self.shares.get_mut(&Owner::System).and_then(|share| share.addresses.get(&remote));
        let system = system.and_then(|list| {
            newest(list.iter(), conn.ns, |heard| lasts(heard.lasts_for_everybody()))
                .and_then(|heard| of(heard, NameSource::System))
        });
        system.or(later)
    }
}

/// What was heard last before a moment, of what still counts then.
fn newest<'h>(
    heard: impl Iterator<Item = &'h Heard>,
    at: BootNs,
    lasts: impl Fn(&Heard) -> u64,
) -> Option<&'h Heard> {
    heard
        .filter_map(|heard| Some((heard.before(at)?, heard)))
        .filter(|(last, heard)| at - last < lasts(heard))
        .max_by_key(|(last, heard)| (*last, heard.first))
        .map(|(_, heard)| heard)
}

/// Connections are told apart by their begin; one that gets another peer is named again.
fn key(conn: &Conn) -> (BootNs, IpAddr) {
    (conn.ns, conn.remote.to_canonical())
}

#[cfg(test)]
pub(crate) mod tests {
    use hickory_proto::rr::rdata::SRV;
    use hickory_proto::rr::{Name, RData};

    use super::*;
    use crate::enrich::names::answer::tests::{answer_to, record};
    use crate::fixtures;

    const SECOND: u64 = 1_000_000_000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;

    /// A connection that begins in the first second.
    pub(crate) fn conn(pid: u32, uid: u32, remote: &str) -> Conn {
        Conn { started: u64::from(pid), ..fixtures::conn(SECOND, pid, uid, remote) }
    }

    fn standing(place: Place, line: &[u32]) -> Standing {
        let line = line.iter().map(|&pid| Process { pid, started: u64::from(pid) }).collect();
        Standing { place, line }
    }

    /// What a process received.
    pub(crate) fn answer(pid: u32, uid: u32, ns: u64, name: &str, address: &str) -> DnsAnswer {
        let question = format!("{name}.");
        let payload = answer_to(&question, &[(&question, record(address))]);
        DnsAnswer {
            ns,
            started: u64::from(pid),
            cgroup: 0,
            pid,
            uid,
            is_in_user_ns: false,
            is_over_tcp: false,
            is_multicast: false,
            full_len: 0,
            payload,
        }
    }

    /// What is asked and answered in tests, on the machine itself if nothing else is said.
    struct Learned(Names);

    impl Learned {
        fn new() -> Self {
            let mut names = Names::new(Duration::from_secs(24 * 3600), 100, 0);
            names.home = Home::reading(|| ["198.51.100.1".parse().unwrap()].into());
            Self(names)
        }

        fn learn(&mut self, pid: u32, uid: u32, ns: u64, name: &str, address: &str) -> Vec<Conn> {
            self.learn_as(&answer(pid, uid, ns, name, address), &[])
        }

        fn learn_as(&mut self, answer: &DnsAnswer, line: &[u32]) -> Vec<Conn> {
            self.0.learn(answer, &standing(Place::Host, line), answer.ns)
        }

        /// The name at a moment, and by whose answer.
        fn name(&mut self, conn: &Conn, now: u64) -> Option<(String, NameSource)> {
            self.name_as(conn, &standing(Place::Host, &[]), now)
        }

        fn name_as(&mut self, conn: &Conn, standing: &Standing, now: u64) -> Option<(String, NameSource)> {
            let line = || Rc::clone(&standing.line);
            let found = self.0.known(conn).or_else(|| self.0.decide(conn, &standing.place, line, now));
            found.map(|name| (name.text.to_string(), name.source))
        }
    }

    fn at(ns: u64, conn: Conn) -> Conn {
        Conn { ns, ..conn }
    }

    #[allow(clippy::unnecessary_wraps, reason = "it stands beside `None`")]
    fn named(name: &str, source: NameSource) -> Option<(String, NameSource)> {
        Some((name.to_owned(), source))
    }

    #[test]
    fn a_connection_keeps_the_name_that_was_asked_for_last_before_it() {
        let mut learned = Learned::new();
        learned.learn(10, 1000, SECOND, "a.test", "192.0.2.1");
        let first = at(2 * SECOND, conn(10, 1000, "192.0.2.1"));
        let another = at(2 * SECOND + 1, conn(12, 1000, "192.0.2.1"));
        assert_eq!(learned.name(&first, 3 * SECOND), named("a.test", NameSource::Dns));
        assert_eq!(learned.name(&another, 3 * SECOND), named("a.test", NameSource::User));
        assert_eq!(learned.learn(10, 1000, 4 * SECOND, "b.test", "192.0.2.1"), []);
        let second = at(5 * SECOND, conn(10, 1000, "::ffff:192.0.2.1"));
        assert_eq!(learned.name(&second, 5 * SECOND), named("b.test", NameSource::Dns));
        for now in [5 * SECOND, 30 * HOUR] {
            assert_eq!(learned.name(&first, now), named("a.test", NameSource::Dns), "it keeps it");
            assert_eq!(learned.name(&another, now), named("a.test", NameSource::User));
        }
    }

    #[test]
    fn who_calls_is_named_by_what_the_called_process_asked_for_alone() {
        let mut learned = Learned::new();
        learned.learn(10, 1000, SECOND, "a.test", "192.0.2.1");
        learned.learn(1, 101, SECOND, "system.test", "192.0.2.1");
        let called = |pid| Conn {
            direction: Direction::Incoming,
            ..at(2 * SECOND + u64::from(pid), conn(pid, 1000, "192.0.2.1"))
        };
        assert_eq!(learned.name(&called(10), 3 * SECOND), named("a.test", NameSource::Dns));
        assert_eq!(learned.name(&called(12), 3 * SECOND), None);
        let nobody = Conn { uid: 1001, ..called(13) };
        assert_eq!(learned.name(&nobody, 3 * SECOND), None);
    }

    #[test]
    fn what_is_seen_late_is_named_by_what_was_known_when_it_began() {
        let mut learned = Learned::new();
        for (second, name) in [(1, "a.test"), (3, "b.test"), (5, "a.test"), (7, "a.test"), (9, "c.test")] {
            learned.learn(10, 1000, second * SECOND, name, "192.0.2.1");
        }
        for (second, name) in [(2, "a.test"), (4, "b.test"), (6, "a.test"), (8, "a.test"), (10, "c.test")] {
            let conn = at(second * SECOND, conn(10, 1000, "192.0.2.1"));
            assert_eq!(learned.name(&conn, HOUR), named(name, NameSource::Dns), "{second}");
        }
    }

    #[test]
    fn a_later_answer_names_young_connections_of_its_own_process_that_have_no_name() {
        let mut learned = Learned::new();
        let old = at(SECOND, conn(10, 1000, "192.0.2.1"));
        let young = at(4 * SECOND, conn(10, 1000, "192.0.2.1"));
        let of_another = at(4 * SECOND + 1, conn(11, 1000, "192.0.2.1"));
        let has_one = at(4 * SECOND + 2, conn(10, 1000, "192.0.2.2"));
        learned.learn(10, 1000, 2 * SECOND, "before.test", "192.0.2.2");
        for conn in [&old, &young, &of_another, &has_one] {
            let _ = learned.name(conn, 4 * SECOND + 3);
        }
        // As it was told last, not as it began.
        let latest = Conn { rx: 7, ..young };
        assert_eq!(learned.name(&latest, 5 * SECOND), None);
        assert_eq!(learned.learn(10, 1000, 5 * SECOND, "late.test", "192.0.2.1"), [latest]);
        assert_eq!(learned.learn(10, 1000, 5 * SECOND, "late.test", "192.0.2.2"), []);
        assert_eq!(learned.name(&young, 6 * SECOND), named("late.test", NameSource::Dns));
        assert_eq!(learned.name(&old, 6 * SECOND), None, "too old");
        assert_eq!(learned.name(&of_another, 6 * SECOND), None, "it asked for nothing");
        assert_eq!(learned.name(&has_one, 6 * SECOND), named("before.test", NameSource::Dns));
        // The same where the answer is heard first.
        let mut again = Learned::new();
        again.learn(10, 1000, 5 * SECOND, "late.test", "192.0.2.1");
        assert_eq!(again.name(&young, 6 * SECOND), named("late.test", NameSource::Dns));
        assert_eq!(again.name(&old, 6 * SECOND), None);
        assert_eq!(again.name(&of_another, 6 * SECOND), None);
    }

    #[test]
    fn what_began_before_anything_was_heard_has_no_name() {
        let begun = at(4 * SECOND, conn(10, 1000, "192.0.2.1"));
        for is_told_first in [false, true] {
            let mut learned = Learned::new();
            learned.0.since = 4 * SECOND + 1;
            if is_told_first {
                assert_eq!(learned.name(&begun, 5 * SECOND), None);
            }
            assert_eq!(learned.learn(10, 1000, 5 * SECOND, "other.test", "192.0.2.1"), []);
            assert_eq!(learned.name(&begun, 6 * SECOND), None);
        }
    }

    #[test]
    fn the_nearest_who_asked_counts_and_the_further_the_shorter() {
        let mut learned = Learned::new();
        // 10 has the parents 9 and 8; 20, 30 and 40 are a helper of its own, of 9 and of 8; 50 is not kin.
        let itself = standing(Place::Host, &[10, 9, 8]);
        let kin: [(u32, &[u32]); 4] = [(20, &[20, 10, 9, 8]), (30, &[30, 9, 8]), (40, &[40, 8]), (50, &[50])];
        let mut answers: Vec<_> = kin
            .iter()
            .map(|(pid, line)| (answer(*pid, 1000, SECOND, &format!("by{pid}.test"), "192.0.2.1"), *line))
            .collect();
        answers.push((answer(1, 101, SECOND, "by1.test", "192.0.2.1"), &[]));
        let begins = |ns: u64| at(ns, conn(10, 1000, "192.0.2.1"));
        // From the furthest to the nearest.
        for (now, (answer, line)) in (2 * SECOND..).zip(answers.iter().rev()) {
            learned.learn_as(answer, line);
            let source = if answer.uid == 101 { NameSource::System } else { NameSource::User };
            let expected = named(&format!("by{}.test", answer.pid), source);
            assert_eq!(learned.name_as(&begins(now), &itself, now), expected);
        }
        learned.learn(10, 1000, SECOND, "own.test", "192.0.2.1");
        for (after, expected) in [(23 * HOUR, named("own.test", NameSource::Dns)), (24 * HOUR, None)] {
            assert_eq!(learned.name_as(&begins(SECOND + after), &itself, SECOND + after), expected);
        }
        let other = standing(Place::Host, &[60, 9]);
        let begins = |ns: u64| at(ns, conn(60, 1000, "192.0.2.1"));
        for (after, expected) in [(59 * MINUTE, named("by20.test", NameSource::User)), (HOUR, None)] {
            let found = learned.name_as(&begins(SECOND + after), &other, SECOND + after);
            assert_eq!(found.map(|(_, source)| source), expected.map(|(_, source)| source), "{after}");
        }
        let stranger = |ns: u64| at(ns, conn(70, 1000, "192.0.2.1"));
        assert!(learned.name(&stranger(10 * MINUTE), 10 * MINUTE).is_some());
        assert_eq!(learned.name(&stranger(10 * MINUTE + SECOND), 11 * MINUTE), None);
        // Records of a minute: the resolver asks again after that.
        let elsewhere = |ns: u64| at(ns, conn(80, 1001, "192.0.2.1"));
        assert_eq!(learned.name(&elsewhere(MINUTE), MINUTE), named("by1.test", NameSource::System));
        assert_eq!(learned.name(&elsewhere(MINUTE + SECOND), MINUTE + SECOND), None);
    }

    #[test]
    fn a_forged_answer_names_nothing_for_other_users() {
        let mut learned = Learned::new();
        learned.learn(10, 1000, SECOND, "bank.test", "192.0.2.66");
        let begun = |conn| at(2 * SECOND, conn);
        assert_eq!(learned.name(&begun(conn(20, 1001, "192.0.2.66")), 2 * SECOND), None);
        assert_eq!(learned.name(&begun(conn(0, 1000, "192.0.2.66")), 2 * SECOND), None, "of no process");
        // The system's resolver asks for all.
        learned.learn(1, 101, SECOND, "real.test", "192.0.2.66");
        let real = named("real.test", NameSource::System);
        assert_eq!(learned.name(&begun(conn(20, 1001, "192.0.2.66")), 2 * SECOND), real);
        assert_eq!(
            learned.name(&at(3 * SECOND, conn(10, 1000, "192.0.2.66")), 3 * SECOND),
            named("bank.test", NameSource::Dns)
        );
    }

    /// Whoever gets the numbers of processes of others by starting many learns nothing, and tells nothing.
    #[test]
    fn a_process_learns_nothing_from_one_that_had_its_number() {
        let mut learned = Learned::new();
        for uid in 1000..1100 {
            let answer = answer(10, uid, SECOND, &format!("evil{uid}.test"), "192.0.2.1");
            learned.learn_as(&answer, &[10, 9]);
        }
        let itself = standing(Place::Host, &[10, 9]);
        let victim = at(2 * SECOND, conn(10, 2000, "192.0.2.1"));
        assert_eq!(learned.name_as(&victim, &itself, 2 * SECOND), None, "another user's");
        learned.learn_as(&answer(10, 2000, 3 * SECOND, "before.test", "192.0.2.1"), &[]);
        let later = Conn { started: 11, ..at(4 * SECOND, conn(10, 2000, "192.0.2.1")) };
        assert_eq!(
            learned.name(&later, 4 * SECOND),
            named("before.test", NameSource::User),
            "not its own, only its user's"
        );
        let much_later = Conn { started: 11, ..at(20 * MINUTE, conn(10, 2000, "192.0.2.1")) };
        assert_eq!(learned.name(&much_later, 20 * MINUTE), None);
        // Nor does a later answer of the successor name what the predecessor left open.
        let left = at(30 * MINUTE, conn(10, 2000, "192.0.2.9"));
        assert_eq!(learned.name(&left, 30 * MINUTE), None);
        let successor = DnsAnswer { started: 11, ..answer(10, 2000, 30 * MINUTE + 1, "x.test", "192.0.2.9") };
        assert_eq!(learned.learn_as(&successor, &[]), []);
        let other_user = answer(10, 2001, 30 * MINUTE + 1, "y.test", "192.0.2.9");
        assert_eq!(learned.learn_as(&other_user, &[]), []);
        assert_eq!(learned.name(&left, 30 * MINUTE + 2), None);
    }

    #[test]
    fn root_of_a_container_is_not_the_system() {
        let container = standing(Place::Container("docker:0123".into()), &[10, 9]);
        let other_container = standing(Place::Container("docker:4567".into()), &[]);
        let unknown = standing(Place::Unknown, &[]);
        let host = standing(Place::Host, &[]);
        let answer = answer(10, 0, SECOND, "a.test", "192.0.2.1");
        let in_user_ns = DnsAnswer { is_in_user_ns: true, uid: 33, ..answer.clone() };
        for (answer, place) in [(&answer, &container), (&answer, &unknown), (&in_user_ns, &host)] {
            let mut learned = Learned::new();
            learned.0.learn(answer, place, SECOND);
            let begun = |conn| at(2 * SECOND, conn);
            for uid in [0, 1000] {
                for elsewhere in [&host, &other_container] {
                    let found = learned.name_as(&begun(conn(20, uid, "192.0.2.1")), elsewhere, 2 * SECOND);
                    assert_eq!(found, None, "{uid} {place:?} {elsewhere:?}");
                }
            }
            let within = at(3 * SECOND, conn(30, answer.uid, "192.0.2.1"));
            assert_eq!(learned.name_as(&within, place, 3 * SECOND), named("a.test", NameSource::User));
        }
        // What the machine's own resolver asks for, it may have asked for a container.
        let mut learned = Learned::new();
        learned.learn(1, 0, SECOND, "b.test", "192.0.2.1");
        let within = at(2 * SECOND, conn(30, 0, "192.0.2.1"));
        assert_eq!(learned.name_as(&within, &container, 2 * SECOND), named("b.test", NameSource::System));
    }

    #[test]
    fn what_points_home_names_nothing() {
        let mut learned = Learned::new();
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "224.0.0.251",
            "255.255.255.255",
            "ff02::1",
        ] {
            learned.learn(10, 1000, SECOND, "ads.test", address);
            let found = learned.name(&at(2 * SECOND, conn(10, 1000, address)), 2 * SECOND);
            assert_eq!(found, None, "{address}");
            assert_eq!(learned.learn(10, 1000, 3 * SECOND, "ads.test", address), [], "{address}");
        }
        assert_eq!(learned.0.count, 0);
        // Of an interface, from where the process spoke, and from an address to itself.
        for address in ["198.51.100.1", "10.0.0.7", "10.0.0.8"] {
            learned.learn(10, 1000, SECOND, "ads.test", address);
        }
        let spoke = Conn { local: "10.0.0.7".parse().unwrap(), ..conn(10, 1000, "192.0.2.1") };
        assert_eq!(learned.name(&spoke, 2 * SECOND), None);
        let itself = Conn { local: "10.0.0.8".parse().unwrap(), ..conn(10, 1000, "10.0.0.8") };
        for conn in [conn(10, 1000, "198.51.100.1"), conn(10, 1000, "10.0.0.7"), itself] {
            assert_eq!(learned.name(&at(2 * SECOND, conn), 2 * SECOND), None, "{conn:?}");
            assert_eq!(learned.learn(10, 1000, 3 * SECOND, "ads.test", &conn.remote.to_string()), []);
        }
    }

    #[test]
    fn each_name_of_a_response_is_learned() {
        let mut learned = Learned::new();
        let server = |target| RData::SRV(SRV::new(0, 0, 5222, Name::from_ascii(target).unwrap()));
        let service = "_xmpp-client._tcp.example.test.";
        let payload = answer_to(
            service,
            &[
                ("b.example.test.", record("192.0.2.2")),
                (service, server("a.example.test.")),
                (service, server("b.example.test.")),
                ("a.example.test.", record("192.0.2.1")),
            ],
        );
        let late = at(2 * SECOND, conn(10, 1000, "192.0.2.2"));
        assert_eq!(learned.name(&late, 2 * SECOND), None);
        let answer = DnsAnswer { payload, ..answer(10, 1000, 3 * SECOND, "x.test", "192.0.2.9") };
        assert_eq!(learned.learn_as(&answer, &[]), [late]);
        assert_eq!(learned.name(&late, 3 * SECOND), named("b.example.test", NameSource::Dns));
        let begun = at(4 * SECOND, conn(10, 1000, "192.0.2.1"));
        assert_eq!(learned.name(&begun, 4 * SECOND), named("a.example.test", NameSource::Dns));
    }

    #[test]
    fn whoever_asks_for_much_pushes_out_only_his_own() {
        let mut learned = Learned::new();
        learned.learn(10, 1000, SECOND, "mine.test", "192.0.2.1");
        for number in 0..3 * u32::try_from(NAME_ENTRIES).unwrap() {
            let [.., a, b, c] = number.to_be_bytes();
            learned.learn(20, 1001, SECOND, "flood.test", &format!("10.{a}.{b}.{c}"));
        }
        for number in 0..3 * NAMES_OF_ADDRESS {
            learned.learn(20, 1001, SECOND, &format!("n{number}.test"), "192.0.2.1");
        }
        assert_eq!(learned.0.count, NAME_ENTRIES);
        let kept: usize = learned
            .0
            .shares
            .values()
            .flat_map(|share| share.addresses.iter())
            .map(|(_, list)| list.len())
            .sum();
        assert_eq!(kept, NAME_ENTRIES);
        let mine = at(2 * SECOND, conn(10, 1000, "192.0.2.1"));
        assert_eq!(learned.name(&mine, 2 * SECOND), named("mine.test", NameSource::Dns));
    }

    #[test]
    fn names_of_connections_are_bounded_and_come_back_as_they_were() {
        let mut learned = Learned::new();
        learned.learn(10, 1000, SECOND, "a.test", "192.0.2.1");
        let first = at(2 * SECOND, conn(10, 1000, "192.0.2.1"));
        for number in 0..200 {
            let name = learned.name(&at(2 * SECOND + number, first), 3 * SECOND);
            assert_eq!(name, named("a.test", NameSource::Dns));
        }
        learned.learn(10, 1000, 4 * SECOND, "b.test", "192.0.2.1");
        assert_eq!(learned.0.decided.len(), 100);
        assert!(learned.0.known(&first).is_none());
        assert_eq!(learned.name(&first, 5 * SECOND), named("a.test", NameSource::Dns));
        // A connection that gets another peer is named by that one.
        let moved = Conn { remote: "192.0.2.9".parse().unwrap(), ..first };
        assert_eq!(learned.name(&moved, 5 * SECOND), None);
    }
}
