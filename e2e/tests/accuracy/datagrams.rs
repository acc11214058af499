// SPDX-License-Identifier: GPL-3.0-or-later
//! Datagrams, and whose peers they are.

use super::scenarios::{BASE, Scenario, Start, TCP_SERVER, UDP_SERVER};

/// Two addresses at the far end, each with a socket at either port; the first port is told.
const TWO: Scenario = Scenario {
    far: "s = udp(FAR4); port = s.getsockname()[1]\n\
          others = [udp_at(FAR4, OTHER_PORT), udp_at(OTHER4, port), udp_at(OTHER4, OTHER_PORT)]; wait()",
    far_setup: "ip addr add 10.83.1.3/24 dev wire",
    far_cleanup: "ip addr del 10.83.1.3/24 dev wire",
    ..BASE
};

const TWO6: Scenario = Scenario {
    far: "s = udp(FAR6); port = s.getsockname()[1]\n\
          others = [udp_at(FAR6, OTHER_PORT), udp_at(OTHER6, port), udp_at(OTHER6, OTHER_PORT), udp_at(FAR4, port)]\n\
          wait()",
    far_setup: "ip addr add fd83::3/64 dev wire nodad",
    far_cleanup: "ip addr del fd83::3/64 dev wire",
    ..BASE
};

/// The first answers 500 bytes, the second 5000, then the first 700.
const TWO_ANSWERS: Scenario = Scenario {
    far: "s = udp(FAR4); t = udp_at(OTHER4, OTHER_PORT); answer(s, 500); answer(t, 5000); answer(s, 700); wait()",
    ..TWO
};

/// Somebody from outside is first.
const SERVER: Scenario = Scenario { start: Start::Near, direction: "in", ..BASE };

pub(crate) const ROWS: &[Scenario] = &[
    Scenario {
        what: "UDP: sendto() elsewhere on a connected socket",
        near: "s = udp(); s.connect((FAR4, PORT)); s.send(b'x' * 10); s.sendto(b'x' * 1000, (OTHER4, OTHER_PORT))\n\
               result(raddr=FAR4, rport=PORT, tx=10, lines=[line(raddr=OTHER4, rport=OTHER_PORT, tx=1000)])",
        ..TWO
    },
    Scenario {
        what: "UDP: sendto() elsewhere on a connected socket, before and between what goes to its peer",
        near: "s = udp(); s.connect((FAR4, PORT)); s.sendto(b'x' * 1000, (FAR4, OTHER_PORT)); s.send(b'x' * 10)\n\
               s.sendto(b'x' * 2000, (FAR4, OTHER_PORT)); s.send(b'x' * 20); s.sendto(b'x' * 30, (FAR4, PORT))\n\
               result(raddr=FAR4, rport=PORT, tx=60, lines=[line(raddr=FAR4, rport=OTHER_PORT, tx=3000)])",
        ..TWO
    },
    Scenario {
        what: "UDP over IPv6: sendto() elsewhere on a connected socket",
        near: "s = udp6(); s.connect((FAR6, PORT)); s.send(b'x' * 10); s.sendto(b'x' * 1000, (OTHER6, PORT))\n\
               result(raddr=FAR6, rport=PORT, tx=10, lines=[line(raddr=OTHER6, rport=PORT, tx=1000)])",
        ..TWO6
    },
    Scenario {
        what: "UDP: connect(), connect() to AF_UNSPEC, sendto()",
        near: "s = udp(); s.connect((FAR4, PORT)); disconnect(s); s.sendto(b'x' * 200, (OTHER4, OTHER_PORT))\n\
               result(raddr=OTHER4, rport=OTHER_PORT, tx=200, lines=[])",
        ..TWO
    },
    Scenario {
        what: "UDP: 10 bytes to a peer, connect() to AF_UNSPEC, sendto() to another",
        near: "s = udp(); s.connect((FAR4, PORT)); s.send(b'x' * 10); disconnect(s)\n\
               s.sendto(b'x' * 200, (OTHER4, OTHER_PORT)); s.sendto(b'x' * 1, (OTHER4, OTHER_PORT))\n\
               result(raddr=FAR4, rport=PORT, tx=10, lines=[line(raddr=OTHER4, rport=OTHER_PORT, tx=201)])",
        ..TWO
    },
    Scenario {
        what: "UDP over IPv6: 10 bytes to a peer, connect() to AF_UNSPEC, sendto() to another",
        near: "s = udp6(); s.connect((FAR6, PORT)); s.send(b'x' * 10); disconnect(s)\n\
               s.sendto(b'x' * 200, (OTHER6, OTHER_PORT))\n\
               result(raddr=FAR6, rport=PORT, tx=10, lines=[line(raddr=OTHER6, rport=OTHER_PORT, tx=200)])",
        ..TWO6
    },
    Scenario {
        what: "UDP: another address, the same port",
        near: "s = udp(); s.connect((FAR4, PORT)); s.send(b'x' * 100); s.connect((OTHER4, PORT)); s.send(b'x' * 200)\n\
               result(raddr=FAR4, rport=PORT, tx=100, lines=[line(raddr=OTHER4, rport=PORT, tx=200)])",
        ..TWO
    },
    Scenario {
        what: "UDP: the same address, another port",
        near: "s = udp(); s.connect((FAR4, PORT)); s.send(b'x' * 100); s.connect((FAR4, OTHER_PORT)); s.send(b'x' * 200)\n\
               result(raddr=FAR4, rport=PORT, tx=100, lines=[line(raddr=FAR4, rport=OTHER_PORT, tx=200)])",
        ..TWO
    },
    Scenario {
        what: "UDP: another address after AF_UNSPEC",
        near: "s = udp(); s.connect((FAR4, PORT)); s.send(b'x' * 100); disconnect(s); s.connect((OTHER4, PORT))\n\
               s.send(b'x' * 200); result(raddr=FAR4, rport=PORT, tx=100, lines=[line(raddr=OTHER4, rport=PORT, tx=200)])",
        ..TWO
    },
    Scenario {
        what: "UDP over IPv6: another address, the same port",
        near: "s = udp6(); s.connect((FAR6, PORT)); s.send(b'x' * 100); s.connect((OTHER6, PORT)); s.send(b'x' * 200)\n\
               result(raddr=FAR6, rport=PORT, tx=100, lines=[line(raddr=OTHER6, rport=PORT, tx=200)])",
        ..TWO6
    },
    Scenario {
        what: "UDP over IPv6: the same address, another port",
        near: "s = udp6(); s.connect((FAR6, PORT)); s.send(b'x' * 100); s.connect((FAR6, OTHER_PORT)); s.send(b'x' * 200)\n\
               result(raddr=FAR6, rport=PORT, tx=100, lines=[line(raddr=FAR6, rport=OTHER_PORT, tx=200)])",
        ..TWO6
    },
    Scenario {
        what: "UDP over IPv6: another address after AF_UNSPEC",
        near: "s = udp6(); s.connect((FAR6, PORT)); s.send(b'x' * 100); disconnect(s); s.connect((OTHER6, PORT))\n\
               s.send(b'x' * 200); result(raddr=FAR6, rport=PORT, tx=100, lines=[line(raddr=OTHER6, rport=PORT, tx=200)])",
        ..TWO6
    },
    Scenario {
        what: "UDP: from IPv6 to an IPv4-mapped address, the same port",
        near: "s = udp6(); s.connect((FAR6, PORT)); s.send(b'x' * 100); s.connect(('::ffff:' + FAR4, PORT)); s.send(b'x' * 200)\n\
               result(raddr=FAR6, rport=PORT, tx=100, lines=[line(raddr=FAR4, rport=PORT, tx=200)])",
        ..TWO6
    },
    Scenario {
        what: "UDP over IPv6: two peers, each answers before the next",
        near: "s = udp6(); s.connect((FAR6, PORT)); send(s, 100); assert len(s.recv(9000)) == 500; s.connect((OTHER6, PORT))\n\
               s.send(b'x' * 200); assert len(s.recv(9000)) == 5000\n\
               result(raddr=FAR6, rport=PORT, rx=500, tx=100, lines=[line(raddr=OTHER6, rport=PORT, rx=5000, tx=200)])",
        far: "s = udp(FAR6); t = udp_at(OTHER6, s.getsockname()[1]); answer(s, 500); answer(t, 5000); wait()",
        ..TWO6
    },
    Scenario {
        what: "UDP: a socket of two processes connects to another peer: both go on",
        near: "s = udp(); s.connect((FAR4, PORT)); s.send(b'x' * 10); (r, w), (r2, w2) = os.pipe(), os.pipe()\n\
               def run(): s.send(b'x' * 20); os.write(w2, b'.'); os.read(r, 1); s.send(b'x' * 40)\n\
               pid = child(run); os.read(r2, 1); s.connect((OTHER4, PORT)); s.send(b'x' * 30); os.write(w, b'.'); reap(pid)\n\
               result(raddr=FAR4, rport=PORT, tx=10, lines=[line(raddr=OTHER4, rport=PORT, tx=30),\n    \
                   line(pid=pid, raddr=FAR4, rport=PORT, tx=20), line(pid=pid, raddr=OTHER4, rport=PORT, tx=40)])",
        ..TWO
    },
    Scenario {
        what: "UDP over IPv6: a socket of two processes connects to another peer: only the child goes on",
        near: "s = udp6(); s.connect((FAR6, PORT)); s.send(b'x' * 10); (r, w), (r2, w2) = os.pipe(), os.pipe()\n\
               def run(): s.send(b'x' * 20); os.write(w2, b'.'); os.read(r, 1); s.send(b'x' * 40)\n\
               pid = child(run); os.read(r2, 1); s.connect((OTHER6, PORT)); os.write(w, b'.'); reap(pid)\n\
               result(raddr=FAR6, rport=PORT, tx=10, lines=[\n    \
                   line(pid=pid, raddr=FAR6, rport=PORT, tx=20), line(pid=pid, raddr=OTHER6, rport=PORT, tx=40)])",
        ..TWO6
    },
    Scenario {
        what: "UDP: recv() from one of two peers cannot be told to be from either: `*`",
        near: "s = udp(); s.sendto(b'x' * 10, (FAR4, PORT)); s.sendto(b'x' * 20, (OTHER4, OTHER_PORT))\n\
               received(len(s.recv(9000))); received(len(s.recv(9000)))\n\
               result(raddr=FAR4, rport=PORT, rx=0, tx=10, lines=[line(raddr=OTHER4, rport=OTHER_PORT, tx=20),\n    \
                   line(raddr='0.0.0.0', rport=0, rx=rx, dir=None)])",
        ..TWO_ANSWERS
    },
    Scenario {
        what: "UDP: recv() mixed with recvfrom(), two peers",
        near: "s = udp(); s.sendto(b'x' * 10, (FAR4, PORT)); assert len(s.recvfrom(9000)[0]) == 500\n\
               s.sendto(b'x' * 20, (OTHER4, OTHER_PORT)); assert len(s.recv(9000)) == 5000\n\
               s.sendto(b'x' * 30, (FAR4, PORT)); assert len(s.recvfrom(9000)[0]) == 700\n\
               result(raddr=FAR4, rport=PORT, rx=1200, tx=40, lines=[line(raddr=OTHER4, rport=OTHER_PORT, tx=20),\n    \
                   line(raddr='0.0.0.0', rport=0, rx=5000, dir=None)])",
        ..TWO_ANSWERS
    },
    Scenario {
        what: "UDP: recv() on an unconnected socket with one peer: `*`",
        near: "s = udp(); sent(s.sendto(b'x' * 1200, (FAR4, PORT))); received(len(s.recv(2000)))\n\
               result(raddr=FAR4, rport=PORT, rx=0, lines=[line(raddr='0.0.0.0', rport=0, rx=rx, dir=None)])",
        far: UDP_SERVER,
        ..BASE
    },
    Scenario {
        what: "UDP: read() on an unconnected socket with one peer: `*`",
        near: "s = udp(); sent(s.sendto(b'x' * 1200, (FAR4, PORT))); received(len(os.read(s.fileno(), 2000)))\n\
               result(raddr=FAR4, rport=PORT, rx=0, lines=[line(raddr='0.0.0.0', rport=0, rx=rx, dir=None)])",
        far: UDP_SERVER,
        ..BASE
    },
    Scenario {
        what: "UDP over IPv6: recv() on an unconnected socket with one peer: `*`",
        near: "s = udp6(); sent(s.sendto(b'x' * 1200, (FAR6, PORT))); received(len(s.recv(2000)))\n\
               result(raddr=FAR6, rport=PORT, rx=0, lines=[line(raddr='::', rport=0, rx=rx, dir=None)])",
        far: "s = udp(FAR6); answer(s, 300); wait()",
        ..BASE
    },
    Scenario {
        what: "UDP: recvmmsg() without addresses: the kernel finds out who sent it all the same",
        near: "s = udp(); sent(s.sendto(b'x' * 10, (FAR4, PORT))); into = messages(500, 500, 500)\n\
               while rx < 600: received(sum(m.len for m in into[:libc.recvmmsg(s.fileno(), into, 3, 0x10000, None)]))\n\
               result(raddr=FAR4, rport=PORT, lines=[])",
        far: "s = udp(FAR4); _, peer = s.recvfrom(100)\n\
              for size in (100, 200, 300): s.sendto(b'y' * size, peer)\n\
              wait()",
        ..BASE
    },
    Scenario {
        what: "UDP server that asks for no address: two senders, one line of its own: `*`",
        near: "s = udp(NEAR4); received(len(s.recv(2000))); received(len(s.recv(2000)))\n\
               result(raddr='0.0.0.0', rport=0, lport=s.getsockname()[1], lines=[])",
        far: "s, t = udp(), udp(); s.sendto(b'x' * 20, (NEAR4, PORT)); t.sendto(b'x' * 300, (NEAR4, PORT)); wait()",
        ..SERVER
    },
    Scenario {
        what: "UDP server over IPv6 that asks for no address: `*`",
        near: "s = udp(NEAR6); received(len(s.recv(2000))); received(len(s.recv(2000)))\n\
               result(raddr='::', rport=0, lport=s.getsockname()[1], lines=[])",
        far: "s, t = udp6(), udp6(); s.sendto(b'x' * 20, (NEAR6, PORT)); t.sendto(b'x' * 300, (NEAR6, PORT)); wait()",
        ..SERVER
    },
    Scenario {
        what: "UDP server that asks for no address at first",
        near: "s = udp(NEAR4); received(len(s.recv(2000))); data, peer = s.recvfrom(2000); s.sendto(b'y' * 30, peer)\n\
               result(raddr='0.0.0.0', rport=0, lines=[line(raddr=FAR4, rport=peer[1], rx=len(data), tx=30)])",
        far: "s = udp(); s.sendto(b'x' * 20, (NEAR4, PORT)); s.sendto(b'x' * 300, (NEAR4, PORT)); wait()",
        ..SERVER
    },
    Scenario {
        what: "UDP server: two peers, their answers exchanged in time",
        near: "s = udp(NEAR4); got = [s.recvfrom(2000), s.recvfrom(2000)]; (a, one), (b, two) = got\n\
               s.sendto(b'y' * 70, two); s.sendto(b'y' * 7, one)\n\
               result(raddr=FAR4, rport=one[1], rx=len(a), tx=7, lines=[line(raddr=FAR4, rport=two[1], rx=len(b), tx=70)])",
        far: "s, t = udp(), udp(); s.sendto(b'x' * 20, (NEAR4, PORT)); t.sendto(b'x' * 300, (NEAR4, PORT)); wait()",
        ..SERVER
    },
    Scenario {
        what: "forking UDP server: a child answers the first peer, and ends",
        near: "s = udp(NEAR4); data, peer = s.recvfrom(2000); received(len(data))\n\
               pid = child(lambda: s.sendto(b'y' * 30, peer)); reap(pid)\n\
               result(raddr=FAR4, rport=peer[1], state='open',\n    \
                   lines=[line(pid=pid, comm='child', raddr=FAR4, rport=peer[1], tx=30)]); wait()",
        far: "s = udp(); s.sendto(b'x' * 20, (NEAR4, PORT)); s.recvfrom(100); wait()",
        ..SERVER
    },
    Scenario {
        what: "forking UDP server over IPv6: a child answers the first peer, and ends",
        near: "s = udp(NEAR6); data, peer = s.recvfrom(2000); received(len(data))\n\
               pid = child(lambda: s.sendto(b'y' * 30, peer)); reap(pid)\n\
               result(raddr=FAR6, rport=peer[1], state='open',\n    \
                   lines=[line(pid=pid, comm='child', raddr=FAR6, rport=peer[1], tx=30)]); wait()",
        far: "s = udp6(); s.sendto(b'x' * 20, (NEAR6, PORT)); s.recvfrom(100); wait()",
        ..SERVER
    },
    Scenario {
        what: "forking UDP server: a child for each of two peers, which then goes on with it",
        near: "s = udp(NEAR4); (a, one), (b, two) = s.recvfrom(2000), s.recvfrom(2000); lines = []\n\
               for peer, size in ((one, 30), (two, 40)):\n    \
                   pid = child(lambda: (s.sendto(b'y' * size, peer), s.recvfrom(2000))); reap(pid)\n    \
                   lines.append(line(pid=pid, comm='child', raddr=FAR4, rport=peer[1], rx=5, tx=size))\n\
               lines.append(line(raddr=FAR4, rport=two[1], rx=len(b)))\n\
               result(raddr=FAR4, rport=one[1], rx=len(a), lines=lines)",
        far: "s, t = udp(), udp(); s.sendto(b'x' * 20, (NEAR4, PORT)); t.sendto(b'x' * 300, (NEAR4, PORT))\n\
              for one in (s, t): one.sendto(b'z' * 5, one.recvfrom(100)[1])\n\
              wait()",
        ..SERVER
    },
    Scenario {
        what: "UDP: a datagram of 0 bytes, connected",
        near: "s = udp(); s.connect((FAR4, PORT)); s.send(b''); result(raddr=FAR4, rport=PORT, lines=[])",
        ..TWO
    },
    Scenario {
        what: "UDP: a datagram of 0 bytes, unconnected, then another to a second peer",
        near: "s = udp(); s.sendto(b'', (FAR4, PORT)); s.sendto(b'', (OTHER4, OTHER_PORT))\n\
               result(raddr=FAR4, rport=PORT, lines=[line(raddr=OTHER4, rport=OTHER_PORT)])",
        ..TWO
    },
    Scenario {
        what: "UDP server: a datagram of 0 bytes comes in",
        near: "s = udp(NEAR4); data, peer = s.recvfrom(2000); assert not data; result(raddr=FAR4, rport=peer[1], lines=[])",
        far: "s = udp(); s.sendto(b'', (NEAR4, PORT)); wait()",
        ..SERVER
    },
    Scenario {
        what: "UDP over IPv6: datagrams of 0 bytes each way",
        near: "s = udp6(); s.sendto(b'', (FAR6, PORT)); s.recvfrom(100); result(raddr=FAR6, rport=PORT, lines=[])",
        far: "s = udp(FAR6); answer(s, 0); wait()",
        ..BASE
    },
    Scenario {
        what: "UDP: recv() of 100 bytes with MSG_TRUNC, which returns 1000",
        near: "s = udp(); s.connect((FAR4, PORT)); send(s, 10)\n\
               assert libc.recv(s.fileno(), ctypes.create_string_buffer(100), 100, socket.MSG_TRUNC) == 1000\n\
               received(100); result(raddr=FAR4, rport=PORT)",
        far: "s = udp(FAR4); answer(s, 1000); wait()",
        ..BASE
    },
    Scenario {
        what: "UDP over IPv6: recvfrom() of 100 bytes with MSG_TRUNC, then of 0 bytes",
        near: "s = udp6(); sent(s.sendto(b'x' * 10, (FAR6, PORT)))\n\
               assert s.recvfrom_into(bytearray(100), 100, socket.MSG_TRUNC)[0] == 1000\n\
               sent(s.sendto(b'x' * 10, (FAR6, PORT))); address = ctypes.create_string_buffer(28)\n\
               assert libc.recvfrom(s.fileno(), None, 0, socket.MSG_TRUNC, address, ctypes.byref(ctypes.c_uint(28))) == 500\n\
               received(100); result(raddr=FAR6, rport=PORT)",
        far: "s = udp(FAR6); answer(s, 1000); answer(s, 500); wait()",
        ..BASE
    },
    Scenario {
        what: "UDP: a receiver of multicast and broadcast has a line for each sender",
        near: "s = udp(); s.bind(('', 0)); group = socket.inet_aton('239.1.2.3') + socket.inet_aton(NEAR4)\n\
               s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group); tell(s.getsockname()[1])\n\
               got = [s.recvfrom(2000) for _ in range(3)]\n\
               one, *others = [line(raddr=peer[0], rport=peer[1], rx=len(data)) for data, peer in got]\n\
               assert len({peer for _, peer in got}) == 3; result(**one, lines=others)",
        far: "s, t, u = udp_at(FAR4), udp_at(OTHER4), udp_at(FAR4)\n\
              s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(FAR4)); s.sendto(b'x' * 100, ('239.1.2.3', PORT))\n\
              t.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); t.sendto(b'x' * 200, ('10.83.1.255', PORT))\n\
              u.sendto(b'x' * 300, (NEAR4, PORT)); wait()",
        start: Start::Near,
        direction: "in",
        ..TWO
    },
    Scenario {
        what: "UDP: multicast and broadcast from one socket: both end with it",
        near: "s = udp(); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)\n\
               s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(NEAR4))\n\
               s.sendto(b'x' * 100, ('239.1.2.3', 1009)); s.sendto(b'x' * 200, ('10.83.1.255', 1009))\n\
               result(raddr='239.1.2.3', rport=1009, tx=100, lines=[line(raddr='10.83.1.255', rport=1009, tx=200)])",
        ..BASE
    },
    Scenario {
        what: "UDP over IPv6: multicast and unicast from one socket: both end with it",
        near: "s = udp6(); s.sendto(b'x' * 100, ('ff02::1:9', 1009, 0, socket.if_nametoindex('wire')))\n\
               s.sendto(b'x' * 200, (FAR6, PORT))\n\
               result(raddr='ff02::1:9', rport=1009, tx=100, lines=[line(raddr=FAR6, rport=PORT, tx=200)])",
        ..TWO6
    },
    Scenario {
        what: "UDP: all 40 peers of a socket end with it",
        near: "s = udp(); s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(NEAR4))\n\
               one, *others = [line(raddr='239.1.3.%d' % n, rport=1009, tx=2 * n) for n in range(1, 41)]\n\
               for _ in range(2):\n    \
                   for n in range(1, 41): s.sendto(b'x' * n, ('239.1.3.%d' % n, 1009))\n\
               result(**one, lines=others)",
        ..BASE
    },
    Scenario {
        what: "UDP: one sendmmsg() to three peers",
        near: "s = udp(); out = name_peers(messages(100, 200, 300), (FAR4, PORT), (OTHER4, OTHER_PORT), (FAR4, OTHER_PORT))\n\
               assert libc.sendmmsg(s.fileno(), out, 3, 0) == 3, ctypes.get_errno()\n\
               result(raddr=FAR4, rport=PORT, tx=100, lines=[\n    \
                   line(raddr=OTHER4, rport=OTHER_PORT, tx=200), line(raddr=FAR4, rport=OTHER_PORT, tx=300)])",
        ..TWO
    },
    Scenario {
        what: "UDP over IPv6: one sendmmsg() on a connected socket, one of three datagrams elsewhere",
        near: "s = udp6(); s.connect((FAR6, PORT)); out = name_peers(messages(100, 200, 300), None, (OTHER6, PORT), None)\n\
               assert libc.sendmmsg(s.fileno(), out, 3, 0) == 3, ctypes.get_errno()\n\
               result(raddr=FAR6, rport=PORT, tx=400, lines=[line(raddr=OTHER6, rport=PORT, tx=200)])",
        ..TWO6
    },
    Scenario {
        what: "UDP server: one recvmmsg() from two peers, with their addresses",
        near: "s = udp(NEAR4)\n\
               into = ask_peers(messages(500, 500, 500)); assert libc.recvmmsg(s.fileno(), into, 3, 0, None) == 3\n\
               ports = [struct.unpack_from('!H', address, 2)[0] for address in into.peers]; assert ports[0] == ports[2] != ports[1]\n\
               result(raddr=FAR4, rport=ports[0], rx=320, lines=[line(raddr=FAR4, rport=ports[1], rx=50)])",
        far: "s, t = udp(), udp(); to = (NEAR4, PORT)\n\
              s.sendto(b'x' * 20, to); t.sendto(b'x' * 50, to); s.sendto(b'x' * 300, to); wait()",
        ..SERVER
    },
    Scenario {
        what: "UDP: sendto() elsewhere on a connected socket fails, then send()",
        near: "s = udp(); s.connect((FAR4, PORT)); send(s, 10)\n\
               try: s.sendto(b'x' * 1000, ('192.0.2.1', 9))\n\
               except OSError: pass\n\
               send(s, 20); result(raddr=FAR4, rport=PORT, lines=[])",
        ..TWO
    },
    Scenario {
        what: "UDP: two sockets of one thread, two peers each in turn",
        near: "s, t = udp(), udp(); one, two = (FAR4, PORT), (OTHER4, OTHER_PORT); s.bind(('', 0)); t.bind(('', 0))\n\
               for n in range(100): s.sendto(b'x', one); t.sendto(b'x' * 10, two); s.sendto(b'x' * 100, two); t.sendto(b'x' * 7, one)\n\
               (a, b) = (s.getsockname()[1], t.getsockname()[1])\n\
               result(raddr=FAR4, rport=PORT, lport=a, tx=100, lines=[line(raddr=OTHER4, rport=OTHER_PORT, lport=a, tx=10000),\n    \
                   line(raddr=FAR4, rport=PORT, lport=b, tx=700), line(raddr=OTHER4, rport=OTHER_PORT, lport=b, tx=1000)])",
        ..TWO
    },
    Scenario {
        what: "UDP: two threads send over one socket, each to a peer of its own",
        near: "s = udp()\n\
               def run(peer, size):\n    \
                   for _ in range(3000): s.sendto(b'x' * size, peer)\n\
               threads = [threading.Thread(target=run, args=args) for args in (((FAR4, PORT), 3), ((OTHER4, OTHER_PORT), 50))]\n\
               for thread in threads: thread.start()\n\
               for thread in threads: thread.join()\n\
               result(raddr=FAR4, rport=PORT, tx=9000, lines=[line(raddr=OTHER4, rport=OTHER_PORT, tx=150000)])",
        ..TWO
    },
    Scenario {
        what: "UDP: two threads begin at the same moment, each with a peer of its own: 100 sockets",
        near: "gate = threading.Barrier(2); lines = []; held = []\n\
               def run(s, peer, size):\n    \
                   gate.wait()\n    \
                   for _ in range(3): s.sendto(b'x' * size, peer)\n\
               for _ in range(100):\n    \
                   s = udp(); s.bind(('', 0)); lport = s.getsockname()[1]; held.append(s)\n    \
                   threads = [threading.Thread(target=run, args=(s, *args)) for args in (((FAR4, PORT), 3), ((OTHER4, OTHER_PORT), 50))]\n    \
                   for thread in threads: thread.start()\n    \
                   for thread in threads: thread.join()\n    \
                   lines.append(line(raddr=FAR4, rport=PORT, lport=lport, tx=9))\n    \
                   lines.append(line(raddr=OTHER4, rport=OTHER_PORT, lport=lport, tx=150))\n\
               for s in held: s.close()\n\
               result(**lines[0], lines=lines[1:])",
        ..TWO
    },
    Scenario {
        what: "UDP: two threads send over one connected socket, one of them elsewhere",
        near: "s = udp(); s.connect((FAR4, PORT))\n\
               def run(to, size):\n    \
                   for _ in range(3000): to(b'x' * size)\n\
               elsewhere = lambda data: s.sendto(data, (OTHER4, OTHER_PORT))\n\
               threads = [threading.Thread(target=run, args=args) for args in ((s.send, 3), (elsewhere, 50))]\n\
               for thread in threads: thread.start()\n\
               for thread in threads: thread.join()\n\
               result(raddr=FAR4, rport=PORT, tx=9000, lines=[line(raddr=OTHER4, rport=OTHER_PORT, tx=150000)])",
        ..TWO
    },
    Scenario {
        what: "UDP: recv() that fails, and recv() that only looks (MSG_PEEK), then recvfrom(): no further line",
        near: "s = udp()\n\
               try: s.recv(100, socket.MSG_DONTWAIT)\n\
               except BlockingIOError: sent(s.sendto(b'x' * 1200, (FAR4, PORT)))\n\
               assert len(s.recv(100, socket.MSG_PEEK)) == 100; received(len(s.recvfrom(2000)[0]))\n\
               result(raddr=FAR4, rport=PORT, lines=[])",
        far: UDP_SERVER,
        ..BASE
    },
    Scenario {
        what: "UDP: a child receives by recv() what its parent asked for: a line of the child's own: `*`",
        near: "s = udp(); sent(s.sendto(b'x' * 1200, (FAR4, PORT))); pid = child(lambda: s.recv(2000)); reap(pid)\n\
               result(raddr=FAR4, rport=PORT, lines=[line(pid=pid, comm='child', raddr='0.0.0.0', rport=0, rx=300, dir=None)])",
        far: UDP_SERVER,
        ..BASE
    },
    Scenario {
        what: "TCP: sendto() with another address goes to the peer",
        near: "s = tcp(); sent(s.sendto(b'x' * 70000, ('192.0.2.1', 9))); recv(s, 12345); result(raddr=FAR4, rport=PORT, lines=[])",
        far: TCP_SERVER,
        ..BASE
    },
    Scenario {
        what: "TCP Fast Open: a sendto() that connects",
        near: "s = socket.socket(); sent(s.sendto(b'x' * 70000, socket.MSG_FASTOPEN, (FAR4, PORT))); recv(s, 12345)\n\
               result(raddr=FAR4, rport=PORT, lines=[])",
        far: TCP_SERVER,
        ..BASE
    },
];
