// SPDX-License-Identifier: GPL-3.0-or-later
//! What unit tests of this package begin with.

use std::net::Ipv4Addr;
use std::rc::Rc;

use leco_bpf::read::record::{Conn, Direction, State, Tcp};

use crate::enrich::labels::{Labels, NameSource, PeerName, Who};

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

/// Of a process of this name, with a peer that an answer of a name server named.
pub(crate) fn labels(program: &str, name: Option<&str>) -> Labels {
    let who = Who { comm: program.into(), ..Who::nobody() };
    let name = name.map(|name| PeerName { text: name.into(), source: NameSource::Dns });
    Labels {
        who: Rc::new(who),
        name,
        proxied: None,
        alpn: None,
        system: None,
        country: None,
        is_new: false,
        comm_now: None,
    }
}
