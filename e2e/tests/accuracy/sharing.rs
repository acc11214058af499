// SPDX-License-Identifier: GPL-3.0-or-later
//! Sockets of several processes, and who they are.

use super::scenarios::{BASE, Scenario, Start, TCP_SERVER};

const INCOMING: Scenario = Scenario { start: Start::Near, direction: "in", ..BASE };

/// A peer that sends 100 bytes, and takes what comes.
const CLIENT: &str = "s = tcp(NEAR4); send(s, 100); recv_all(s); wait()";
const SINK: &str = "c, _ = listen(FAR4).accept(); recv_all(c); wait()";

pub(crate) const ROWS: &[Scenario] = &[
    Scenario {
        what: "incoming TCP as in sshd: the parent reads, its child writes: both incoming",
        near: "c, peer = listen(NEAR4).accept(); recv(c, 100)\n\
               pid = child(lambda: send(c, 2000)); reap(pid)\n\
               result(raddr=FAR4, rport=peer[1], lines=[line(pid=pid, comm='child', raddr=FAR4, rport=peer[1], tx=2000)])",
        far: CLIENT,
        ..INCOMING
    },
    Scenario {
        what: "incoming TCP as in sshd, over IPv6: the child ends first",
        near: "c, peer = listen(NEAR6).accept(); recv(c, 100)\n\
               pid = child(lambda: send(c, 2000)); reap(pid); send(c, 3)\n\
               result(raddr=FAR6, rport=peer[1], state='open',\n    \
                   lines=[line(pid=pid, comm='child', raddr=FAR6, rport=peer[1], tx=2000)]); wait()",
        far: "s = tcp(NEAR6); send(s, 100); recv_all(s); wait()",
        ..INCOMING
    },
    Scenario {
        what: "incoming TCP handed over by SCM_RIGHTS after it was read: both incoming",
        near: "one, two = socket.socketpair(); c, peer = listen(NEAR4).accept(); here = c.fileno()\n\
               def run():\n    \
                   one.close(); c.close(); _, (fd,), _, _ = socket.recv_fds(two, 1, 1); s = socket.socket(fileno=fd); s.send(b'y' * 50)\n    \
                   assert len(s.recv(100)) == 9\n\
               recv(c, 100); pid = child(run); socket.send_fds(one, [b'.'], [here]); reap(pid)\n\
               result(raddr=FAR4, rport=peer[1], lines=[line(pid=pid, comm='child', raddr=FAR4, rport=peer[1], rx=9, tx=50)])",
        far: "s = tcp(NEAR4); send(s, 100); recv(s, 50); send(s, 9); wait()",
        ..INCOMING
    },
    Scenario {
        what: "TCP handed over by SCM_RIGHTS: the receiver ends, the socket goes on",
        near: "one, two = socket.socketpair()\n\
               def run(): _, (fd,), _, _ = socket.recv_fds(two, 1, 1); socket.socket(fileno=fd).send(b'y' * 50)\n\
               pid = child(run); s = tcp(); send(s, 100); socket.send_fds(one, [b'.'], [s.fileno()]); reap(pid); send(s, 11)\n\
               result(raddr=FAR4, rport=PORT, state='open',\n    \
                   lines=[line(pid=pid, comm='child', raddr=FAR4, rport=PORT, tx=50)]); wait()",
        far: SINK,
        ..BASE
    },
    Scenario {
        what: "TCP: a program started by vfork() sends over an inherited socket, and ends",
        near: "s = tcp(); send(s, 100); s.set_inheritable(True)\n\
               p = subprocess.Popen(['head', '-c', '5000', '/dev/zero'], stdout=s.fileno()); assert p.wait() == 0\n\
               result(raddr=FAR4, rport=PORT, state='open',\n    \
                   lines=[line(pid=p.pid, comm='head', raddr=FAR4, rport=PORT, tx=5000)]); wait()",
        far: SINK,
        ..BASE
    },
    Scenario {
        what: "TCP: the socket goes with its second process, the first one lives on",
        near: "s = tcp(); send(s, 100); (r, w), (r2, w2) = os.pipe(), os.pipe()\n\
               def run(): s.send(b'x' * 23); os.write(w, b'.'); os.read(r2, 1)\n\
               pid = child(run); os.read(r, 1); s.close(); os.write(w2, b'.'); reap(pid)\n\
               result(raddr=FAR4, rport=PORT, lines=[line(pid=pid, comm='child', raddr=FAR4, rport=PORT, tx=23)]); wait()",
        far: SINK,
        ..BASE
    },
    Scenario {
        what: "TCP: 20 further processes of a socket, one after another",
        near: "s = tcp(); send(s, 1); lines = []\n\
               for n in range(1, 21):\n    \
                   pid = child(lambda: s.send(b'x' * n)); reap(pid)\n    \
                   lines.append(line(pid=pid, comm='child', raddr=FAR4, rport=PORT, tx=n))\n\
               result(raddr=FAR4, rport=PORT, state='open', lines=lines); wait()",
        far: SINK,
        ..BASE
    },
    Scenario {
        what: "UDP: a further process of a connected socket ends, the socket goes on",
        near: "s = udp(); s.connect((FAR4, PORT)); send(s, 100); pid = child(lambda: s.send(b'x' * 23)); reap(pid)\n\
               result(raddr=FAR4, rport=PORT, state='open',\n    \
                   lines=[line(pid=pid, comm='child', raddr=FAR4, rport=PORT, tx=23)]); wait()",
        far: "s = udp(FAR4); wait()",
        ..BASE
    },
    Scenario {
        what: "UDP: a further process of an unconnected socket sends to two peers, and ends",
        near: "s = udp(); s.sendto(b'x' * 100, (FAR4, PORT))\n\
               def run(): s.sendto(b'x' * 23, (FAR4, PORT)); s.sendto(b'x' * 42, (FAR4, 1009))\n\
               pid = child(run); reap(pid); result(raddr=FAR4, rport=PORT, tx=100, state='open',\n    \
                   lines=[line(pid=pid, raddr=FAR4, rport=PORT, tx=23), line(pid=pid, raddr=FAR4, rport=1009, tx=42)]); wait()",
        far: "s = udp(FAR4); t = udp_at(FAR4, OTHER_PORT); wait()",
        ..BASE
    },
    Scenario {
        what: "UDP server: a child goes on with the peer while its parent waits: both incoming",
        near: "s = udp(NEAR4); data, peer = s.recvfrom(2000); received(len(data)); s.connect(peer)\n\
               pid = child(lambda: (s.send(b'y' * 30), s.recv(100))); reap(pid)\n\
               result(raddr=FAR4, rport=peer[1], lines=[line(pid=pid, raddr=FAR4, rport=peer[1], rx=5, tx=30)])",
        far: "s = udp(); s.sendto(b'x' * 20, (NEAR4, PORT)); _, peer = s.recvfrom(100); s.sendto(b'x' * 5, peer); wait()",
        ..INCOMING
    },
    Scenario {
        what: "the user is the effective one: root that became 54321",
        near: "os.seteuid(54321); s = tcp(); send(s, 70000); recv(s, 12345); result(raddr=FAR4, rport=PORT, uid=54321)",
        far: TCP_SERVER,
        ..BASE
    },
    Scenario {
        what: "the user is the effective one: a program that 54321 started as root",
        near: "os.setreuid(54321, 0); s = tcp(); send(s, 70000); recv(s, 12345); result(raddr=FAR4, rport=PORT, uid=0)",
        far: TCP_SERVER,
        ..BASE
    },
    Scenario {
        what: "the user is the effective one: incoming, accepted as 54321",
        near: "s = listen(NEAR4); os.seteuid(54321); c, _ = s.accept(); recv(c, 100); result(raddr=FAR4, uid=54321)",
        far: CLIENT,
        ..INCOMING
    },
    Scenario {
        what: "the user is the effective one: older than the programs",
        near: "os.seteuid(54321); s = tcp(); send(s, 70000); recv(s, 12345); result(raddr=FAR4, rport=PORT, uid=54321); wait()",
        far: TCP_SERVER,
        state: "open",
        is_older: true,
        ..BASE
    },
];
