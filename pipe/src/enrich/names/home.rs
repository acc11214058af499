// SPDX-License-Identifier: GPL-3.0-or-later
//! Addresses that no answer names: what points home has as many names as a blocking resolver has entries.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashlink::LruCache;
use leco_bpf::read::record::{Conn, Direction};
use leco_os::clock::BootNs;

/// Local ends that are remembered, by process.
const LOCAL_ADDRESSES: usize = 1024;
/// The interfaces' addresses are read again after this, and only when a name would be shown.
const READ_AGAIN_NS: u64 = 10_000_000_000;
/// Of a list of addresses so many bytes are read: that of a router holds all of its routes.
const LIST_BYTES: u64 = 1 << 20;

/// Loopback, unspecified, multicast and broadcast addresses: no host has them.
pub(crate) fn is_special(address: IpAddr) -> bool {
    match address.to_canonical() {
        // 0.0.0.0/8 is this network (RFC 1122, 3.2.1.3).
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_loopback() || v6.is_multicast(),
    }
}

/// Knows this machine's own addresses.
#[derive(Debug)]
pub(crate) struct Home {
    interfaces: HashSet<IpAddr>,
    read_again: BootNs,
    /// Addresses from which a process spoke, by pid and start. They are home to nobody else: another one may be in
    /// another network namespace, where anybody may have any address.
    spoken_from: LruCache<(u32, u64, IpAddr), ()>,
    read: fn() -> HashSet<IpAddr>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::reading(interfaces)
    }

    pub(super) fn reading(read: fn() -> HashSet<IpAddr>) -> Self {
        Self { interfaces: HashSet::new(), read_again: 0, spoken_from: LruCache::new(LOCAL_ADDRESSES), read }
    }

    /// Learns from the end that is this machine's. What a transparent proxy accepts has its client's peer there.
    pub(crate) fn see(&mut self, conn: &Conn) {
        let local = conn.local.to_canonical();
        if conn.direction == Direction::Outgoing && conn.has_process() && !is_special(local) {
            self.spoken_from.insert((conn.pid, conn.started, local), ());
        }
    }

    /// Whether a connection's peer is this machine, as far as that can be known.
    pub(crate) fn holds(&mut self, conn: &Conn, now: BootNs) -> bool {
        let remote = conn.remote.to_canonical();
        if is_special(remote) || remote == conn.local.to_canonical() {
            return true;
        }
        if now >= self.read_again {
            self.read_again = now.saturating_add(READ_AGAIN_NS);
            self.interfaces = (self.read)();
        }
        self.interfaces.contains(&remote) || self.spoken_from.get(&(conn.pid, conn.started, remote)).is_some()
    }
}

/// Addresses of the interfaces, and their broadcast addresses. A service may have a network namespace of its own: so
/// those of the first process's are read, too.
fn interfaces() -> HashSet<IpAddr> {
    let mut addresses = HashSet::new();
    for process in ["self", "1"] {
        addresses.extend(of_fib_trie(&list(process, "fib_trie")).map(IpAddr::V4));
        addresses.extend(of_if_inet6(&list(process, "if_inet6")).map(IpAddr::V6));
    }
    addresses
}

/// What cannot be read is not known.
fn list(process: &str, name: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{process}/net/{name}")) {
        let _ = file.take(LIST_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `|-- ADDRESS`, below which `/32 host LOCAL` says that it is this machine's.
fn of_fib_trie(text: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut address = None;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.trim_end().parse().ok();
        }
        address.filter(|_| matches!(line.trim_end(), "/32 host LOCAL" | "/32 link BROADCAST"))
    })
}

/// `ADDRESS INDEX …`, where the address is 32 hexadecimal digits.
fn of_if_inet6(text: &str) -> impl Iterator<Item = Ipv6Addr> {
    text.lines().filter_map(|line| {
        let digits = line.split(' ').next().filter(|digits| digits.len() == 32)?;
        Some(Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::names::table::tests::conn;

    #[test]
    fn no_host_has_these() {
        for address in [
            "127.0.0.1",
            "127.255.0.9",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.251",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::fb",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
        ] {
            assert!(is_special(address.parse().unwrap()), "{address}");
        }
        for address in ["192.0.2.1", "10.0.0.255", "fe80::1", "2001:db8::", "::ffff:192.0.2.1"] {
            assert!(!is_special(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn lists_of_the_kernel_are_read() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
            \x20       |-- 192.0.2.0\n              /24 link UNICAST\n           |-- 192.0.2.2\n\
            \x20             /32 host LOCAL\n        |-- 192.0.2.255\n           /32 link BROADCAST\n\
            |-- nonsense\n/32 host LOCAL\n";
        assert_eq!(
            of_fib_trie(trie).collect::<Vec<_>>(),
            [Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 255)]
        );
        let inet6 = "fd000000000000000000000000000002 04 40 00 82     eth0\nshort\n\n\u{17c}\n";
        assert_eq!(of_if_inet6(inet6).collect::<Vec<_>>(), ["fd00::2".parse::<Ipv6Addr>().unwrap()]);
        assert!(interfaces().contains(&IpAddr::from(Ipv4Addr::LOCALHOST)), "of this machine");
    }

    #[test]
    fn where_a_process_spoke_from_is_home_to_that_process() {
        let mut home = Home::reading(|| ["198.51.100.7".parse().unwrap()].into());
        let from = |local: &str, direction| Conn {
            local: local.parse().unwrap(),
            direction,
            ..conn(10, 1000, "192.0.2.1")
        };
        home.see(&from("10.0.0.5", Direction::Outgoing));
        home.see(&from("203.0.113.9", Direction::Incoming));
        assert!(home.holds(&conn(10, 1000, "10.0.0.5"), 1));
        assert!(home.holds(&conn(10, 1000, "::ffff:10.0.0.5"), 1));
        assert!(!home.holds(&conn(11, 1000, "10.0.0.5"), 1), "it may be in another network namespace");
        assert!(!home.holds(&conn(10, 1000, "203.0.113.9"), 1), "as a transparent proxy accepts it");
        assert!(home.holds(&conn(11, 1001, "198.51.100.7"), 1), "an interface has it");
        let same = Conn { local: "10.9.9.9".parse().unwrap(), ..conn(11, 1001, "10.9.9.9") };
        assert!(home.holds(&same, 1), "from an address to itself");
    }
}
