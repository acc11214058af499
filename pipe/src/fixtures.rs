// SPDX-License-Identifier: GPL-3.0-or-later
//! What unit tests of this package begin with.

use std::net::Ipv4Addr;

use leco_bpf::read::record::{Conn, Direction, State, Tcp};

/// An outgoing TCP connection of a process, open and without traffic; its times are in ns.
pub(crate) fn conn(ns: u64, pid: u32, uid: u32, remote: &str) -> Conn {
    Conn {
        ns,
        ns_trx: ns,
        rx: 0,
        tx: 0,
        cgroup: 0,
        started: 0,
        socket: 0,
        local: Ipv4Addr::UNSPECIFIED.into(),
        remote: remote.parse().unwrap(),
        pid,
        uid,
        local_port: 0,
        remote_port: 443,
        protocol: 6,
        is_packet: false,
        direction: Direction::Outgoing,
        state: State::Open,
        comm: [0; 16],
        exec: 0,
        tcp: Tcp::default(),
        iface: [0; 16],
    }
}
