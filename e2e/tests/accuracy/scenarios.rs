// SPDX-License-Identifier: GPL-3.0-or-later
//! What is done, by whom, and how it has to be reported: the ground that the other files of rows build on.

/// Which end has to be there first: it tells its port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Near,
    Far,
}

/// A few lines of Python at each end, or a shell command after `$ `. The near end is watched, and prints what it
/// counted.
///
/// With `lines=` in its result it names further lines, and there may be none beside them; then no event of them has
/// another peer or direction, either.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) what: &'static str,
    pub(crate) near: &'static str,
    pub(crate) far: &'static str,
    pub(crate) start: Start,
    pub(crate) direction: &'static str,
    pub(crate) state: &'static str,
    /// Shell commands at either end, before and after.
    pub(crate) near_setup: &'static str,
    pub(crate) far_setup: &'static str,
    pub(crate) near_cleanup: &'static str,
    pub(crate) far_cleanup: &'static str,
    /// The connection is there before the programs are loaded.
    pub(crate) is_older: bool,
    /// Options of the loader, such as levels of hooks other than what the kernel offers.
    pub(crate) options: &'static [&'static str],
    /// So many times another reader looks at what is known while the scenario waits for it: `ready()`, `go()`.
    pub(crate) looks: u32,
    /// How many bytes it moves depends on the machine. With looks it always does.
    pub(crate) varies: bool,
    /// It concerns no process of this machine.
    pub(crate) is_stranger: bool,
}

pub(crate) const BASE: Scenario = Scenario {
    what: "",
    near: "",
    far: "",
    start: Start::Far,
    direction: "out",
    state: "closed",
    near_setup: "",
    far_setup: "",
    near_cleanup: "",
    far_cleanup: "",
    is_older: false,
    options: &[],
    looks: 0,
    varies: false,
    is_stranger: false,
};

pub(crate) const TCP_SERVER: &str = "c, _ = listen(FAR4).accept(); recv(c, 70000); send(c, 12345); wait()";
pub(crate) const TCP_SINK: &str = "c, _ = listen(FAR4).accept(); recv_all(c); wait()";
pub(crate) const UDP_SERVER: &str = "s = udp(FAR4); answer(s, 300); wait()";
/// A rule of a firewall at the near end.
macro_rules! firewall {
    ($rule:literal) => {
        concat!(
            "nft add table inet t; nft add chain inet t out '{ type filter hook output priority 0; }'; ",
            "nft add chain inet t in '{ type filter hook input priority 0; }'; ",
            $rule
        )
    };
}
const UNLIMITED_ICMP: &str = "sysctl -qw net.ipv4.icmp_ratelimit=0";
const NO_FIREWALL: &str = "nft flush ruleset";

pub(crate) const ROWS: &[Scenario] = &[
    Scenario {
        what: "TCP: send 70000, receive 12345",
        near: "s = tcp(); send(s, 70000); recv(s, 12345); result(raddr=FAR4, rport=PORT)",
        far: TCP_SERVER,
        ..BASE
    },
    Scenario {
        what: "TCP over IPv6",
        near: "s = tcp(FAR6); send(s, 70000); recv(s, 12345); result(raddr=FAR6, rport=PORT)",
        far: "c, _ = listen(FAR6).accept(); recv(c, 70000); send(c, 12345); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP to an IPv4-mapped address: shown as IPv4",
        near: "s = tcp('::ffff:' + FAR4); send(s, 70000); recv(s, 12345); result(raddr=FAR4, rport=PORT)",
        far: TCP_SERVER,
        ..BASE
    },
    Scenario {
        what: "TCP: connect and close, no bytes",
        near: "s = tcp(); result(raddr=FAR4, rport=PORT)",
        far: "listen(FAR4).accept(); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: connect, no bytes, still open",
        near: "s = tcp(); result(raddr=FAR4, rport=PORT); wait()",
        far: "listen(FAR4).accept(); wait()",
        state: "open",
        ..BASE
    },
    Scenario {
        what: "TCP: read on after the own end was shut down",
        near: "s = tcp(); send(s, 1000); s.shutdown(socket.SHUT_WR); recv_all(s); result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv_all(c); send(c, 50000); c.close(); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: 100 MB through non-blocking sockets",
        near: "s = tcp(); s.setblocking(False)\n\
               left = 100_000_000\n\
               while left:\n    \
                   select.select([], [s], [])\n    \
                   left -= sent(s.send(b'x' * min(left, 300_000)))\n\
               result(raddr=FAR4, rport=PORT)",
        far: TCP_SINK,
        ..BASE
    },
    Scenario {
        what: "incoming TCP, accepted",
        near: "c, _ = listen(NEAR4).accept(); recv(c, 1000); send(c, 2000); result(raddr=FAR4)",
        far: "s = tcp(NEAR4); send(s, 1000); recv(s, 2000); wait()",
        start: Start::Near,
        direction: "in",
        ..BASE
    },
    Scenario {
        what: "incoming TCP over IPv6",
        near: "c, _ = listen(NEAR6).accept(); recv(c, 1000); send(c, 2000); result(raddr=FAR6)",
        far: "s = tcp(NEAR6); send(s, 1000); recv(s, 2000); wait()",
        start: Start::Near,
        direction: "in",
        ..BASE
    },
    Scenario {
        what: "incoming TCP, accepted, no bytes",
        near: "c, _ = listen(NEAR4).accept(); result(raddr=FAR4); wait()",
        far: "s = tcp(NEAR4); wait()",
        start: Start::Near,
        direction: "in",
        state: "open",
        ..BASE
    },
    Scenario {
        what: "incoming TCP, a child accepts: charged to the child",
        near: "s = listen(NEAR4)\n\
               if os.fork():\n    wait()\n\
               else:\n    name('child'); c, _ = s.accept(); result(raddr=FAR4, comm='child'); wait()",
        far: "s = tcp(NEAR4); wait()",
        start: Start::Near,
        direction: "in",
        state: "open",
        ..BASE
    },
    Scenario {
        what: "incoming TCP, a child serves what its parent accepted",
        near: "s = listen(NEAR4); c, _ = s.accept()\n\
               if os.fork():\n    c.close(); wait()\n\
               else:\n    name('child'); recv(c, 10); send(c, 20); result(raddr=FAR4, comm='child')",
        far: "s = tcp(NEAR4); send(s, 10); recv(s, 20); wait()",
        start: Start::Near,
        direction: "in",
        ..BASE
    },
    Scenario {
        what: "TCP: nobody listens there",
        near: "s = socket.socket()\n\
               try: s.connect((FAR4, 9))\n\
               except ConnectionRefusedError: result(raddr=FAR4, rport=9)",
        state: "refused",
        ..BASE
    },
    Scenario {
        what: "TCP: the peer resets",
        near: "s = tcp(); send(s, 10)\n\
               try: recv(s, 1)\n\
               except ConnectionResetError: result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n\
              recv(c, 10); c.close(); wait()",
        state: "reset",
        ..BASE
    },
    Scenario {
        what: "TCP: nobody answers until the kernel gives up",
        near: "s = socket.socket()\n\
               try: s.connect(('10.83.1.77', 9))\n\
               except TimeoutError: result(raddr='10.83.1.77', rport=9)",
        near_setup: "ip neigh add 10.83.1.77 lladdr 02:00:00:00:00:77 dev wire; sysctl -qw net.ipv4.tcp_syn_retries=1",
        near_cleanup: "ip neigh del 10.83.1.77 dev wire",
        state: "timeout",
        ..BASE
    },
    Scenario {
        what: "TCP: the process gives up before anybody answers",
        near: "s = socket.socket(); s.setblocking(False)\n\
               try: s.connect(('10.83.1.77', 9))\n\
               except BlockingIOError: result(raddr='10.83.1.77', rport=9)",
        near_setup: "ip neigh add 10.83.1.77 lladdr 02:00:00:00:00:77 dev wire",
        near_cleanup: "ip neigh del 10.83.1.77 dev wire",
        state: "unanswered",
        ..BASE
    },
    Scenario {
        what: "TCP: a router knows no way",
        near: "s = socket.socket()\n\
               try: s.connect(('10.99.0.1', 9))\n\
               except OSError: result(raddr='10.99.0.1', rport=9)",
        near_setup: "ip route add 10.99.0.0/16 via 10.83.1.2",
        near_cleanup: "ip route del 10.99.0.0/16",
        far_setup: "sysctl -qw net.ipv4.ip_forward=1; ip route add unreachable 10.99.0.0/16",
        far_cleanup: "sysctl -qw net.ipv4.ip_forward=0; ip route del unreachable 10.99.0.0/16",
        state: "unreachable",
        ..BASE
    },
    Scenario {
        what: "TCP: the own firewall drops the connect",
        near: "s = socket.socket(); s.settimeout(0.3)\n\
               try: s.connect((FAR4, 9))\n\
               except TimeoutError: result(raddr=FAR4, rport=9)",
        near_setup: firewall!("nft add rule inet t out tcp dport 9 drop"),
        near_cleanup: NO_FIREWALL,
        state: "blocked",
        ..BASE
    },
    Scenario {
        what: "TCP: the own firewall rejects the connect",
        near: "s = socket.socket()\n\
               try: s.connect((FAR4, 9))\n\
               except OSError: result(raddr=FAR4, rport=9)",
        near_setup: firewall!("nft add rule inet t out tcp dport 9 reject"),
        near_cleanup: NO_FIREWALL,
        state: "blocked",
        ..BASE
    },
    Scenario {
        what: "UDP: the own firewall drops what is sent",
        near: "s = udp()\n\
               try: s.sendto(b'x', (FAR4, 9))\n\
               except PermissionError: result(raddr=FAR4, rport=9)",
        near_setup: firewall!("nft add rule inet t out udp dport 9 drop"),
        near_cleanup: NO_FIREWALL,
        state: "blocked",
        ..BASE
    },
    Scenario {
        what: "the own firewall drops a connection from outside: no process is named",
        near: "s = listen(NEAR4); result(raddr=FAR4, lport=s.getsockname()[1]); wait()",
        far: "s = socket.socket(); s.settimeout(0.3)\n\
              try: s.connect((NEAR4, PORT))\n\
              except TimeoutError: wait()",
        near_setup: firewall!("nft add rule inet t in tcp flags syn drop"),
        near_cleanup: NO_FIREWALL,
        start: Start::Near,
        direction: "in",
        state: "blocked",
        is_stranger: true,
        ..BASE
    },
    Scenario {
        what: "the own firewall drops what comes in over an established connection",
        near: "s = tcp(); send(s, 100); recv(s, 50)\n\
               os.system('nft add rule inet t in tcp sport %d drop' % PORT)\n\
               send(s, 1); result(raddr=FAR4, rport=PORT); wait()",
        far: "c, _ = listen(FAR4).accept(); recv(c, 100); send(c, 50); recv(c, 1); send(c, 7); wait()",
        near_setup: firewall!("true"),
        near_cleanup: NO_FIREWALL,
        state: "blocked",
        ..BASE
    },
    Scenario {
        what: "UDP, connected",
        near: "s = udp(); s.connect((FAR4, PORT)); send(s, 1200); recv(s, 300); result(raddr=FAR4, rport=PORT)",
        far: UDP_SERVER,
        ..BASE
    },
    Scenario {
        what: "UDP, unconnected",
        near: "s = udp(); sent(s.sendto(b'x' * 1200, (FAR4, PORT))); received(len(s.recvfrom(2000)[0]))\n\
               result(raddr=FAR4, rport=PORT)",
        far: UDP_SERVER,
        ..BASE
    },
    Scenario {
        what: "UDP over IPv6, unconnected",
        near: "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); sent(s.sendto(b'x' * 1200, (FAR6, PORT)))\n\
               received(len(s.recvfrom(2000)[0])); result(raddr=FAR6, rport=PORT)",
        far: "s = udp(FAR6); answer(s, 300); wait()",
        ..BASE
    },
    Scenario {
        what: "UDP to an IPv4-mapped address: shown as IPv4",
        near: "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n\
               sent(s.sendto(b'x' * 1200, ('::ffff:' + FAR4, PORT))); received(len(s.recvfrom(2000)[0]))\n\
               result(raddr=FAR4, rport=PORT)",
        far: UDP_SERVER,
        ..BASE
    },
    Scenario {
        what: "UDP: one of 50 peers of a socket",
        near: "s = udp()\n\
               for other in range(20000, 20050): s.sendto(b'x' * 10, (FAR4, other))\n\
               sent(s.sendto(b'x' * 1200, (FAR4, PORT)))\n\
               while True:\n    \
                   try: got = s.recvfrom(2000)\n    \
                   except ConnectionRefusedError: continue\n    \
                   break\n\
               received(len(got[0])); result(raddr=FAR4, rport=PORT); wait()",
        far: UDP_SERVER,
        state: "open",
        ..BASE
    },
    Scenario {
        what: "UDP: a socket that connects to a second peer",
        near: "s = udp(); s.connect(('10.83.1.77', 9)); s.send(b'x' * 77); s.connect((FAR4, PORT)); send(s, 1200)\n\
               recv(s, 300); result(raddr=FAR4, rport=PORT)",
        far: UDP_SERVER,
        ..BASE
    },
    Scenario {
        what: "UDP: nobody listens there",
        far_setup: UNLIMITED_ICMP,
        near: "s = udp(); s.connect((FAR4, 9)); send(s, 5)\n\
               try: s.recv(10)\n\
               except ConnectionRefusedError: result(raddr=FAR4, rport=9)",
        state: "refused",
        ..BASE
    },
    Scenario {
        what: "UDP: nobody listens there, and the process does not ask",
        far_setup: UNLIMITED_ICMP,
        near: "s = udp(); s.connect((FAR4, 9)); send(s, 5); result(raddr=FAR4, rport=9); wait()",
        state: "refused",
        ..BASE
    },
    Scenario {
        what: "UDP server: the first datagram comes in",
        near: "s = udp(NEAR4); data, peer = s.recvfrom(2000); received(len(data)); sent(s.sendto(b'y' * 30, peer))\n\
               result(raddr=FAR4, rport=peer[1])",
        far: "s = udp(); s.sendto(b'x' * 20, (NEAR4, PORT)); s.recvfrom(100); wait()",
        start: Start::Near,
        direction: "in",
        ..BASE
    },
    Scenario {
        what: "UDP: a datagram is cut to the buffer: what the process got counts",
        near: "s = udp(); s.connect((FAR4, PORT)); send(s, 10); received(len(s.recv(100))); result(raddr=FAR4, rport=PORT)",
        far: UDP_SERVER,
        ..BASE
    },
    Scenario {
        what: "MSG_PEEK counts nothing",
        near: "s = tcp(); send(s, 70000); s.recv(100, socket.MSG_PEEK); s.recv(9000, socket.MSG_PEEK)\n\
               recv(s, 12345); result(raddr=FAR4, rport=PORT)",
        far: TCP_SERVER,
        ..BASE
    },
    Scenario {
        what: "calls that fail count nothing",
        near: "s = tcp(); s.setblocking(False)\n\
               for _ in range(5):\n    \
                   try: s.recv(10)\n    \
                   except BlockingIOError: pass\n\
               s.setblocking(True); send(s, 70000); recv(s, 12345); result(raddr=FAR4, rport=PORT)",
        far: TCP_SERVER,
        ..BASE
    },
    Scenario {
        what: "sendfile()",
        near: "f = open('/tmp/leco-e2e-file', 'w+b'); f.write(b'x' * 300000); f.flush(); s = tcp(); at = 0\n\
               while at < 300000: at += sent(os.sendfile(s.fileno(), f.fileno(), at, 300000 - at))\n\
               os.remove(f.name); result(raddr=FAR4, rport=PORT)",
        far: TCP_SINK,
        ..BASE
    },
    Scenario {
        what: "splice() into a socket",
        near: "r, w = os.pipe(); s = tcp()\n\
               for _ in range(10):\n    \
                   os.write(w, b'x' * 5000); left = 5000\n    \
                   while left: left -= sent(os.splice(r, s.fileno(), left))\n\
               result(raddr=FAR4, rport=PORT)",
        far: TCP_SINK,
        ..BASE
    },
    Scenario {
        what: "splice() out of a socket",
        near: "r, w = os.pipe(); s = tcp(); send(s, 1000); recv(s, 77); left = 4923\n\
               while left:\n    \
                   got = received(os.splice(s.fileno(), w, left)); left -= got; os.read(r, got)\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 1000); send(c, 5000); wait()",
        ..BASE
    },
    Scenario {
        what: "MSG_ZEROCOPY, and its notes from the error queue",
        near: "s = tcp(); s.setsockopt(socket.SOL_SOCKET, 60, 1); sent(s.send(b'x' * 50000, 0x4000000))\n\
               select.select([], [], [s], 2); s.recvmsg(100, 200, 0x2000); recv(s, 10); result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 50000); send(c, 10); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP_ZEROCOPY_RECEIVE",
        near: "import mmap\n\
               s = tcp(); send(s, 1); time.sleep(0.1); length = 1 << 18\n\
               libc.mmap.restype = ctypes.c_void_p\n\
               area = libc.mmap(None, ctypes.c_size_t(length), 1, 1, s.fileno(), ctypes.c_size_t(0)); left = 200000\n\
               while left:\n    \
                   zc = bytearray(struct.pack('QIIIiQIIiI4x', area, min(left, length), 0, 0, 0, 0, 0, 0, 0, 0)); size = ctypes.c_uint(24)\n    \
                   raw = (ctypes.c_char * len(zc)).from_buffer(zc)\n    \
                   assert libc.getsockopt(s.fileno(), 6, 35, raw, ctypes.byref(size)) == 0, ctypes.get_errno()\n    \
                   mapped, skip = struct.unpack_from('II', zc, 8); left -= received(mapped)\n    \
                   if skip or not mapped:\n        \
                       got = received(len(s.recv(min(left, skip or 1)))); left -= got\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 1); send(c, 200000); wait()",
        ..BASE
    },
    Scenario {
        what: "io_uring: send 5000, receive 300",
        near: "$ exec \"$PEER\" '' tcp 10.83.1.2:$1 uring-send 5000 uring-recv 300 report",
        far: "c, _ = listen(FAR4).accept(); recv(c, 5000); send(c, 300); wait()",
        ..BASE
    },
    Scenario {
        what: "sendmmsg() and recvmmsg() of several datagrams",
        near: "s = udp(); s.connect((FAR4, PORT)); out = messages(100, 200, 300)\n\
               assert libc.sendmmsg(s.fileno(), out, 3, 0) == 3; sent(sum(m.len for m in out)); into = messages(500, 500, 500)\n\
               time.sleep(0.1); count = libc.recvmmsg(s.fileno(), into, 3, 0, None); assert count == 3, count\n\
               received(sum(m.len for m in into)); result(raddr=FAR4, rport=PORT)",
        far: "s = udp(FAR4)\n\
              for _ in range(3): answer(s, 55)\n\
              wait()",
        ..BASE
    },
    Scenario {
        what: "UDP GSO: one call, five datagrams",
        near: "s = udp(); s.connect((FAR4, PORT)); s.setsockopt(17, 103, 1000); send(s, 4500); recv(s, 3)\n\
               result(raddr=FAR4, rport=PORT)",
        far: "s = udp(FAR4)\n\
              for _ in range(5): _, peer = s.recvfrom(2000)\n\
              s.sendto(b'yyy', peer); wait()",
        ..BASE
    },
    Scenario {
        what: "UDP GRO: several datagrams, few calls",
        near: "s = udp(); s.setsockopt(17, 104, 1); s.connect((FAR4, PORT)); send(s, 10)\n\
               while rx < 4500: received(len(s.recv(65535)))\n\
               result(raddr=FAR4, rport=PORT)",
        far: "s = udp(FAR4); _, peer = s.recvfrom(2000); s.connect(peer); s.setsockopt(17, 103, 1000); s.send(b'x' * 4500); wait()",
        ..BASE
    },
    Scenario {
        what: "a socket shared by two processes: the parent's part",
        near: "s = tcp(); send(s, 100)\n\
               if not os.fork():\n    name('child'); send(s, 23); s.recv(5); os._exit(0)\n\
               os.wait(); recv(s, 7); result(raddr=FAR4, rport=PORT); wait()",
        far: "c, _ = listen(FAR4).accept(); recv(c, 123); send(c, 5); time.sleep(0.3); send(c, 7); wait()",
        state: "open",
        ..BASE
    },
    Scenario {
        what: "a socket shared by two processes: the child's part",
        near: "s = tcp(); send(s, 100); r, w = os.pipe()\n\
               if os.fork():\n    os.wait(); recv(s, 7); wait()\n\
               else:\n    tx = 0; name('child'); send(s, 23); recv(s, 5); result(raddr=FAR4, rport=PORT, comm='child')",
        far: "c, _ = listen(FAR4).accept(); recv(c, 123); send(c, 5); time.sleep(0.3); send(c, 7); wait()",
        state: "closed",
        ..BASE
    },
    Scenario {
        what: "older than the programs: bytes from before count, too",
        near: "s = tcp(); send(s, 70000); recv(s, 12345); result(raddr=FAR4, rport=PORT); wait()",
        far: TCP_SERVER,
        state: "open",
        is_older: true,
        ..BASE
    },
    Scenario {
        what: "older than the programs, incoming",
        near: "s = listen(NEAR4); c, _ = s.accept(); recv(c, 1000); send(c, 2000); result(raddr=FAR4); wait()",
        far: "s = tcp(NEAR4); send(s, 1000); recv(s, 2000); wait()",
        start: Start::Near,
        direction: "in",
        state: "open",
        is_older: true,
        ..BASE
    },
    Scenario {
        what: "accepted from a listener older than the programs",
        near: "s = listen(NEAR4); result(raddr=FAR4); c, _ = s.accept(); wait()",
        far: "time.sleep(1); s = tcp(NEAR4); wait()",
        start: Start::Near,
        direction: "in",
        state: "open",
        is_older: true,
        ..BASE
    },
    Scenario {
        what: "MPTCP",
        near: "s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.connect((FAR4, PORT)); send(s, 70000)\n\
               recv(s, 12345); result(raddr=FAR4, rport=PORT, proto='tcp')",
        far: TCP_SERVER,
        ..BASE
    },
    Scenario {
        what: "a raw socket that nobody answers (`raw=cgroup_skb`)",
        near: "s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253); sent(s.sendto(b'x' * 40, (FAR4, 0)))\n\
               sent(s.sendto(b'x' * 2, (FAR4, 0))); result(raddr=FAR4, proto='253')",
        options: &["--hook", "raw=cgroup_skb"],
        ..BASE
    },
    Scenario {
        what: "ping over a raw socket: 3 × 64 bytes out, 3 × 84 in, with the headers",
        near: "p = __import__('subprocess').Popen(['ping', '-nqc3', '-i0.1', FAR4], stdout=-3); p.wait(); sent(192); received(252)\n\
               os.getpid = lambda: p.pid; result(raddr=FAR4, proto='1', comm='ping')",
        near_setup: "sysctl -qw net.ipv4.ping_group_range='1 0'",
        ..BASE
    },
    Scenario {
        what: "ping over a ping socket: 3 × 64 bytes each way",
        near: "p = __import__('subprocess').Popen(['ping', '-nqc3', '-i0.1', FAR4], stdout=-3); p.wait(); sent(192); received(192)\n\
               os.getpid = lambda: p.pid; result(raddr=FAR4, proto='1', comm='ping')",
        near_setup: "sysctl -qw net.ipv4.ping_group_range='0 2147483647'",
        ..BASE
    },
    Scenario {
        what: "ping over IPv6",
        near: "p = __import__('subprocess').Popen(['ping', '-nqc3', '-i0.1', FAR6], stdout=-3); p.wait(); sent(192); received(192)\n\
               os.getpid = lambda: p.pid; result(raddr=FAR6, proto='58', comm='ping')",
        near_setup: "sysctl -qw net.ipv4.ping_group_range='0 2147483647'",
        ..BASE
    },
    Scenario {
        what: "curl: a page of 30000 bytes",
        near: "$ curl -s -A leco -o /dev/null -w '{\"raddr\":\"%{remote_ip}\",\"rport\":%{remote_port},\"tx\":%{size_request},\
               \"rx0\":%{size_header},\"rx1\":%{size_download}}' http://10.83.1.2:$1/page > /tmp/leco-e2e-curl & \
               pid=$!; wait $pid; python3 -c 'import json,sys; d=json.load(open(\"/tmp/leco-e2e-curl\")); \
               d.update(pid=int(sys.argv[1]), rx=d[\"rx0\"]+d[\"rx1\"], comm=\"curl\"); print(json.dumps(d))' $pid",
        far: "c, _ = listen(FAR4).accept(); c.recv(1000); send(c, 0)\n\
              c.sendall(b'HTTP/1.0 200 OK\\r\\nContent-Length: 30000\\r\\n\\r\\n' + b'x' * 30000); wait()",
        ..BASE
    },
    Scenario {
        what: "nc: sends 100000 bytes",
        near: "$ head -c 100000 /dev/zero | nc -N 10.83.1.2 $1 & pid=$!; wait $pid; \
               echo \"{\\\"pid\\\": $pid, \\\"raddr\\\": \\\"10.83.1.2\\\", \\\"rport\\\": $1, \\\"tx\\\": 100000, \\\"rx\\\": 0, \\\"comm\\\": \\\"nc\\\"}\"",
        far: "c, _ = listen(FAR4).accept(); recv_all(c); c.close(); wait()",
        ..BASE
    },
];
