// SPDX-License-Identifier: GPL-3.0-or-later
//! MPTCP, at both ends.

use super::scenarios::{BASE, Scenario, Start};

const OUTGOING: Scenario = Scenario {
    near_setup: "sysctl -qw net.mptcp.enabled=1",
    far_setup: "sysctl -qw net.mptcp.enabled=1",
    ..BASE
};
const INCOMING: Scenario = Scenario { start: Start::Near, direction: "in", ..OUTGOING };

/// A second address, which is used as an endpoint once both ends have heard of each other: before, they refuse it.
const NEAR_ADDRESS: &str = "sysctl -qw net.mptcp.enabled=1; ip mptcp limits set subflows 2 add_addr_accepted 2\n\
                            ip addr add 10.83.1.11/24 dev wire";
const FAR_ADDRESS: &str = "sysctl -qw net.mptcp.enabled=1; ip mptcp limits set subflows 2 add_addr_accepted 2\n\
                           ip addr add 10.83.1.12/24 dev wire";
const LIMITS: &str = "sysctl -qw net.mptcp.enabled=1; ip mptcp limits set subflows 2 add_addr_accepted 2";
const NO_NEAR_SUBFLOWS: &str = "ip mptcp endpoint flush; ip addr del 10.83.1.11/24 dev wire";
const NO_FAR_SUBFLOWS: &str = "ip mptcp endpoint flush; ip addr del 10.83.1.12/24 dev wire";

pub(crate) const ROWS: &[Scenario] = &[
    Scenario {
        what: "MPTCP at both ends, outgoing",
        near: "s = mptcp(FAR4); send(s, 70000); recv(s, 12345); assert is_mptcp(s)\n\
               result(raddr=FAR4, rport=PORT, proto='tcp', lines=[])",
        far: "l = mptcp_listen(FAR4); c, _ = l.accept(); recv(c, 70000); send(c, 12345); wait()",
        ..OUTGOING
    },
    Scenario {
        what: "MPTCP at both ends, outgoing: the accepting end writes first",
        near: "s = mptcp(FAR4); recv(s, 12345); send(s, 70000); assert is_mptcp(s)\n\
               result(raddr=FAR4, rport=PORT, proto='tcp', lines=[])",
        far: "l = mptcp_listen(FAR4); c, _ = l.accept(); send(c, 12345); recv(c, 70000); wait()",
        ..OUTGOING
    },
    Scenario {
        what: "MPTCP over IPv6 at both ends, outgoing",
        near: "s = mptcp(FAR6); send(s, 70000); recv(s, 12345); assert is_mptcp(s)\n\
               result(raddr=FAR6, rport=PORT, proto='tcp', lines=[])",
        far: "l = mptcp_listen(FAR6); c, _ = l.accept(); recv(c, 70000); send(c, 12345); wait()",
        ..OUTGOING
    },
    Scenario {
        what: "MPTCP at both ends, incoming: the connecting end writes first",
        near: "s = mptcp_listen(NEAR4); c, peer = s.accept(); recv(c, 1000); send(c, 2000); assert is_mptcp(c)\n\
               result(raddr=FAR4, rport=peer[1], lport=s.getsockname()[1], proto='tcp', lines=[])",
        far: "s = mptcp(NEAR4); send(s, 1000); recv(s, 2000); wait()",
        ..INCOMING
    },
    Scenario {
        what: "MPTCP at both ends, incoming: the accepting end writes first",
        near: "s = mptcp_listen(NEAR4); c, peer = s.accept(); send(c, 2000); recv(c, 1000); assert is_mptcp(c)\n\
               result(raddr=FAR4, rport=peer[1], lport=s.getsockname()[1], proto='tcp', lines=[])",
        far: "s = mptcp(NEAR4); recv(s, 2000); send(s, 1000); wait()",
        ..INCOMING
    },
    Scenario {
        what: "MPTCP over IPv6 at both ends, incoming: the accepting end writes first",
        near: "s = mptcp_listen(NEAR6); c, peer = s.accept(); send(c, 2000); recv(c, 1000); assert is_mptcp(c)\n\
               result(raddr=FAR6, rport=peer[1], lport=s.getsockname()[1], proto='tcp', lines=[])",
        far: "s = mptcp(NEAR6); recv(s, 2000); send(s, 1000); wait()",
        ..INCOMING
    },
    Scenario {
        what: "MPTCP at both ends, incoming, still open",
        near: "s = mptcp_listen(NEAR4); c, peer = s.accept(); recv(c, 1000); send(c, 2000)\n\
               result(raddr=FAR4, rport=peer[1], lport=s.getsockname()[1], proto='tcp', lines=[]); wait()",
        far: "s = mptcp(NEAR4); send(s, 1000); recv(s, 2000); wait()",
        state: "open",
        ..INCOMING
    },
    Scenario {
        what: "MPTCP at both ends, incoming: the peer closes first",
        near: "s = mptcp_listen(NEAR4); c, peer = s.accept(); recv_all(c); send(c, 2000); c.close()\n\
               result(raddr=FAR4, rport=peer[1], lport=s.getsockname()[1], proto='tcp', lines=[]); wait()",
        far: "s = mptcp(NEAR4); send(s, 1000); s.shutdown(socket.SHUT_WR); recv_all(s); s.close(); wait()",
        ..INCOMING
    },
    Scenario {
        what: "MPTCP, incoming, that falls back to TCP: the peer knows only that",
        near: "s = mptcp_listen(NEAR4); c, peer = s.accept(); recv(c, 1000); send(c, 2000)\n\
               result(raddr=FAR4, rport=peer[1], lport=s.getsockname()[1], proto='tcp', lines=[])",
        far: "s = tcp(NEAR4); send(s, 1000); recv(s, 2000); wait()",
        ..INCOMING
    },
    Scenario {
        what: "MPTCP, incoming, that falls back to TCP: the accepting end writes first",
        near: "s = mptcp_listen(NEAR4); c, peer = s.accept(); send(c, 2000); recv(c, 1000)\n\
               result(raddr=FAR4, rport=peer[1], lport=s.getsockname()[1], proto='tcp', lines=[])",
        far: "s = tcp(NEAR4); recv(s, 2000); send(s, 1000); wait()",
        ..INCOMING
    },
    Scenario {
        what: "MPTCP, outgoing, that falls back to TCP: the accepting end writes first",
        near: "s = mptcp(FAR4); recv(s, 12345); send(s, 70000); result(raddr=FAR4, rport=PORT, proto='tcp', lines=[])",
        far: "c, _ = listen(FAR4).accept(); send(c, 12345); recv(c, 70000); wait()",
        ..OUTGOING
    },
    Scenario {
        what: "MPTCP, outgoing, with a second subflow: one line",
        near: "s = mptcp(FAR4); send(s, 1000); recv(s, 1); endpoint('10.83.1.11 dev wire subflow')\n\
               until(lambda: subflows(s) == 1); send(s, 3_000_000); recv(s, 12345)\n\
               result(raddr=FAR4, rport=PORT, proto='tcp', lines=[])",
        far: "l = mptcp_listen(FAR4); c, _ = l.accept(); recv(c, 1000); send(c, 1); recv(c, 3_000_000); send(c, 12345); wait()",
        near_setup: NEAR_ADDRESS,
        far_setup: LIMITS,
        near_cleanup: NO_NEAR_SUBFLOWS,
        far_cleanup: "ip mptcp endpoint flush",
        ..BASE
    },
    Scenario {
        what: "MPTCP, incoming, with a second subflow: one line",
        near: "s = mptcp_listen(NEAR4); c, peer = s.accept(); recv(c, 1000); send(c, 1); until(lambda: subflows(c) == 1)\n\
               send(c, 3_000_000); recv(c, 2_000_000)\n\
               result(raddr=FAR4, rport=peer[1], lport=s.getsockname()[1], proto='tcp', lines=[])",
        far: "s = mptcp(NEAR4); send(s, 1000); recv(s, 1); endpoint('10.83.1.12 dev wire subflow'); recv(s, 3_000_000); send(s, 2_000_000); wait()",
        near_setup: LIMITS,
        far_setup: FAR_ADDRESS,
        near_cleanup: "ip mptcp endpoint flush",
        far_cleanup: NO_FAR_SUBFLOWS,
        ..INCOMING
    },
    Scenario {
        what: "MPTCP, outgoing, with a second subflow to an address that the peer announces: one line",
        near: "s = mptcp(FAR4); send(s, 1000); recv(s, 1); send(s, 1); until(lambda: subflows(s) == 1); send(s, 3_000_000); recv(s, 12345)\n\
               result(raddr=FAR4, rport=PORT, proto='tcp', lines=[])",
        far: "l = mptcp_listen(''); c, _ = l.accept(); recv(c, 1000); send(c, 1); recv(c, 1); endpoint('10.83.1.12 signal'); recv(c, 3_000_000); send(c, 12345); wait()",
        near_setup: LIMITS,
        far_setup: FAR_ADDRESS,
        near_cleanup: "ip mptcp endpoint flush",
        far_cleanup: NO_FAR_SUBFLOWS,
        ..BASE
    },
    Scenario {
        what: "MPTCP: a socket of two processes, incoming",
        near: "s = mptcp_listen(NEAR4); c, peer = s.accept(); recv(c, 1000)\n\
               pid = child(lambda: send(c, 2000)); reap(pid); send(c, 5)\n\
               result(raddr=FAR4, rport=peer[1], lines=[line(pid=pid, comm='child', raddr=FAR4, rport=peer[1], tx=2000)])",
        far: "s = mptcp(NEAR4); send(s, 1000); recv(s, 2005); wait()",
        ..INCOMING
    },
    Scenario {
        what: "MPTCP: nobody listens there",
        near: "s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)\n\
               try: s.connect((FAR4, 9))\n\
               except ConnectionRefusedError: result(raddr=FAR4, rport=9, proto='tcp', lines=[])",
        state: "refused",
        ..OUTGOING
    },
];
