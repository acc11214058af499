// SPDX-License-Identifier: GPL-3.0-or-later
//! Whatever is in a map or in the ring is a record of this version, or none.
#![no_main]

use leco_bpf::read::messages::{DnsAnswer, QuicDatagram, SentName};
use leco_bpf::read::program::Program;
use leco_bpf::read::record::{Closed, Conn, Ending};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let closed = Closed::decode(bytes).and_then(|closed| match closed {
        Closed::Conn(conn) => Some(conn),
        Closed::Socket { .. } => None,
    });
    let conns = [Conn::decode(bytes), Conn::decode_flow(bytes), Conn::decode_pending_flow(bytes), closed];
    for conn in conns.into_iter().flatten() {
        assert!(!conn.comm().contains(&0) && !conn.iface().contains(&0));
        assert!(conn.tcp.state_name().is_none_or(|name| !name.is_empty()));
        if let Some(ending) = Ending::decode(bytes) {
            let _ = ending.ended(&conn);
        }
    }
    let program = Program::decode(bytes);
    assert!(program.is_none_or(|program| program.parents.len() <= 6 && program.exe.len() < 1024));
    assert!(DnsAnswer::decode(bytes).is_none_or(|answer| answer.payload.len() <= 512));
    let name = SentName::decode(bytes);
    assert!(name.is_none_or(|name| name.name.len() <= 255 && name.alpn.len() <= 32));
    assert!(QuicDatagram::decode(bytes).is_none_or(|datagram| datagram.payload.len() <= 4096));
});
