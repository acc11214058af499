// SPDX-License-Identifier: GPL-3.0-or-later
//! Who listens: one line for a process, protocol, address and port, over however many sockets, as long as one of them
//! is there.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use leco_bpf::read::record::{Conn, State};
use leco_cli::tunables::{ListenersShown, Tunables};
use leco_os::clock::BootNs;

/// Where a process listens: over several sockets with `SO_REUSEPORT`, or one for each interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    pid: u32,
    started: u64,
    protocol: u16,
    address: IpAddr,
    port: u16,
}

impl Place {
    fn of(conn: &Conn) -> Self {
        let Conn { pid, started, protocol, local, local_port, .. } = *conn;
        Self { pid, started, protocol, address: local, port: local_port }
    }
}

/// Sockets of one place, which stand as the first of them.
#[derive(Debug)]
struct Group {
    first: Conn,
    sockets: HashSet<BootNs>,
}

/// Tells apart what is news of listeners. Whatever else it is given passes as it is.
#[derive(Debug)]
pub struct Listeners {
    shown: ListenersShown,
    groups: HashMap<Place, Group>,
    capacity: usize,
}

impl Listeners {
    /// Shows those that are asked for; of so many at most it is known which belong together.
    #[must_use]
    pub fn new(tunables: &Tunables, capacity: usize) -> Self {
        Self { shown: tunables.listeners, groups: HashMap::new(), capacity }
    }

    /// Whether something was bound that may be a listener's, or a client's.
    #[must_use]
    pub(crate) fn is_candidate(conn: &Conn) -> bool {
        conn.is_listener() && conn.state == State::Connecting
    }

    /// Whether any is asked for.
    #[must_use]
    pub(crate) fn are_shown(&self) -> bool {
        self.shown != ListenersShown::Off
    }

    fn shows(&self, conn: &Conn) -> bool {
        let is_wanted = match self.shown {
            ListenersShown::External => !conn.local.to_canonical().is_loopback(),
            ListenersShown::All => true,
            ListenersShown::Off => false,
        };
        is_wanted && !Self::is_candidate(conn)
    }

    /// What is to be told of what has happened, each thing in its order.
    pub(crate) fn follow(&mut self, conn: Conn) -> Option<Conn> {
        if !conn.is_listener() {
            return Some(conn);
        }
        if !self.shows(&conn) {
            return None;
        }
        let place = Place::of(&conn);
        if conn.is_open() {
            if self.groups.len() >= self.capacity && !self.groups.contains_key(&place) {
                return Some(conn);
            }
            let group =
                self.groups.entry(place).or_insert_with(|| Group { first: conn, sockets: HashSet::new() });
            group.sockets.insert(conn.ns);
            return (group.first.ns == conn.ns).then_some(conn);
        }
        let Some(group) = self.groups.get_mut(&place) else { return Some(conn) };
        // It may be older than all that are there now.
        if !group.sockets.remove(&conn.ns) || !group.sockets.is_empty() {
            return None;
        }
        let group = self.groups.remove(&place)?;
        Some(Conn { ns: group.first.ns, ..conn })
    }

    /// Puts those together that belong together, where these are all that there are.
    pub fn merge(&mut self, conns: &mut Vec<Conn>) {
        let mut listeners: Vec<Conn> = conns.extract_if(.., |conn| conn.is_listener()).collect();
        listeners.retain(|conn| self.shows(conn));
        listeners.sort_unstable_by_key(|conn| (Place::of(conn), conn.ns));
        listeners.dedup_by_key(|conn| conn.ns);
        let known = std::mem::take(&mut self.groups);
        for sockets in listeners.chunk_by(|one, other| Place::of(one) == Place::of(other)) {
            let mut rest = sockets;
            while let Some((together, later)) = take_overlapping(rest) {
                conns.push(self.merged(together, &known));
                rest = later;
            }
        }
    }

    fn merged(&mut self, sockets: &[Conn], known: &HashMap<Place, Group>) -> Conn {
        let first = sockets[0];
        let open: HashSet<BootNs> =
            sockets.iter().filter(|conn| conn.is_open()).map(|conn| conn.ns).collect();
        if open.is_empty() {
            let end = sockets.iter().map(|conn| conn.ns_trx).max().unwrap_or(first.ns_trx);
            return Conn { ns_trx: end, ..first };
        }
        let place = Place::of(&first);
        let first = match known.get(&place) {
            Some(group) => group.first,
            None if first.is_open() => first,
            // Others have gone on.
            None => Conn { state: State::Open, ns_trx: first.ns, ..first },
        };
        if self.groups.len() < self.capacity {
            self.groups.insert(place, Group { first, sockets: open });
        }
        first
    }
}

/// Sockets of a place, the oldest first, of which each began before all of those before it had ended; and the rest.
fn take_overlapping(sockets: &[Conn]) -> Option<(&[Conn], &[Conn])> {
    let mut end = sockets.first()?.ns;
    let ends = sockets.iter().take_while(|conn| {
        let overlaps = conn.ns <= end;
        end = end.max(if conn.is_open() { BootNs::MAX } else { conn.ns_trx });
        overlaps
    });
    let count = ends.count();
    Some(sockets.split_at(count))
}

#[cfg(test)]
mod tests {
    use leco_bpf::read::record::Direction;

    use super::*;
    use crate::fixtures;

    fn listeners(shown: ListenersShown) -> Listeners {
        Listeners::new(&Tunables { listeners: shown, ..Tunables::default() }, 100)
    }

    fn open(ns: u64) -> Conn {
        Conn {
            direction: Direction::Listening,
            local_port: 8080,
            remote_port: 0,
            ..fixtures::conn(ns, 7, 0, "0.0.0.0")
        }
    }

    fn closed(ns: u64, end: u64) -> Conn {
        Conn { state: State::Closed, ns_trx: end, ..open(ns) }
    }

    #[test]
    fn sockets_of_a_place_are_one_that_ends_with_the_last_of_them() {
        let mut listeners = listeners(ListenersShown::External);
        assert_eq!(listeners.follow(open(1)), Some(open(1)));
        assert_eq!(listeners.follow(open(2)), None);
        let other = Conn { pid: 8, ..open(3) };
        assert_eq!(listeners.follow(other), Some(other), "another process");
        let port = Conn { local_port: 8081, ..open(4) };
        assert_eq!(listeners.follow(port), Some(port));
        assert_eq!(listeners.follow(closed(1, 5)), None, "another is there");
        assert_eq!(listeners.follow(open(6)), None);
        assert_eq!(listeners.follow(closed(2, 7)), None);
        assert_eq!(listeners.follow(closed(6, 8)), Some(closed(1, 8)));
        assert_eq!(listeners.follow(open(9)), Some(open(9)), "again");
    }

    #[test]
    fn who_comes_later_sees_the_same_ones() {
        let mut following = listeners(ListenersShown::External);
        for conn in [open(1), open(2), closed(1, 5)] {
            following.follow(conn);
        }
        let all = [closed(1, 5), open(2)];
        let mut later = all.to_vec();
        following.merge(&mut later);
        assert_eq!(later, [open(1)]);
        let mut anew = all.to_vec();
        listeners(ListenersShown::External).merge(&mut anew);
        assert_eq!(anew, [open(1)]);
        // One that was forgotten meanwhile is still what it was told as.
        let mut forgotten = vec![open(2)];
        following.merge(&mut forgotten);
        assert_eq!(forgotten, [open(1)]);
        assert_eq!(following.follow(closed(2, 9)), Some(closed(1, 9)));
        let mut ended =
            vec![closed(1, 5), closed(2, 9), closed(11, 12), open(13), fixtures::conn(4, 7, 0, "::1")];
        listeners(ListenersShown::External).merge(&mut ended);
        assert_eq!(ended, [fixtures::conn(4, 7, 0, "::1"), closed(1, 9), closed(11, 12), open(13)]);
    }

    #[test]
    fn those_on_loopback_are_quiet_unless_asked_for() {
        for (address, shown) in [
            ("127.0.0.1", [false, true, false]),
            ("127.9.0.1", [false, true, false]),
            ("::1", [false, true, false]),
            ("::ffff:127.0.0.1", [false, true, false]),
            ("0.0.0.0", [true, true, false]),
            ("192.0.2.1", [true, true, false]),
            ("::", [true, true, false]),
        ] {
            let conn = Conn { local: address.parse().unwrap(), ..open(1) };
            let told = [ListenersShown::External, ListenersShown::All, ListenersShown::Off]
                .map(|shown| listeners(shown).follow(conn).is_some());
            assert_eq!(told, shown, "{address}");
        }
        let candidate = Conn { state: State::Connecting, ..open(1) };
        assert_eq!(listeners(ListenersShown::All).follow(candidate), None);
        let connection = Conn { local: [127, 0, 0, 1].into(), ..fixtures::conn(1, 7, 0, "127.0.0.1") };
        assert_eq!(listeners(ListenersShown::Off).follow(connection), Some(connection));
    }
}
