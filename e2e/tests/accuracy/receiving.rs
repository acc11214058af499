// SPDX-License-Identifier: GPL-3.0-or-later
//! Calls that take long, and looks that come meanwhile: never more is told than was there.

use super::scenarios::{BASE, Scenario, Start};

/// 100 bytes are sent and received before the programs are loaded; what `near` is in the middle of then goes on.
const OLDER: Scenario = Scenario { is_older: true, ..BASE };

/// 5000 bytes every 10 ms as long as there are looks.
const STEADY: &str = "c, _ = listen(FAR4).accept()\n\
                      while not may_go(): feed(c, 5000); time.sleep(0.01)\n\
                      c.close(); wait()";

/// Every call is told.
const ALWAYS: Scenario = Scenario { options: &["--update-interval", "0"], ..BASE };

pub(crate) const ROWS: &[Scenario] = &[
    Scenario {
        what: "TCP: recv() of 100000 with MSG_WAITALL, fed 50000 every 2 s",
        near: "s = tcp(); send(s, 1); send(s, 1); assert received(len(s.recv(100000, socket.MSG_WAITALL))) == 100000\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 2); feed(c, 50000); time.sleep(2); feed(c, 50000); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: several recv() of 100000 with MSG_WAITALL, fed 50000 every 1.2 s",
        near: "s = tcp(); send(s, 1); send(s, 1)\n\
               while received(len(s.recv(100000, socket.MSG_WAITALL))): pass\n\
               assert rx == 201000; result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 2)\n\
              for _ in range(4): feed(c, 50000); time.sleep(1.2)\n\
              feed(c, 1000); c.close(); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: recv() of 200000 with MSG_WAITALL, ended by a FIN after 100000",
        near: "s = tcp(); send(s, 1); send(s, 1); assert received(len(s.recv(200000, socket.MSG_WAITALL))) == 100000\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 2); feed(c, 50000); time.sleep(2); feed(c, 50000); c.close(); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: recv() of 100000 with MSG_WAITALL, ended by its time-out after 50000",
        near: "s = tcp(); send(s, 1); send(s, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 2, 0))\n\
               assert received(len(s.recv(100000, socket.MSG_WAITALL))) == 50000; send(s, 1); recv(s, 700)\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 2); feed(c, 50000); recv(c, 1); feed(c, 700); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: recv() with MSG_WAITALL while another thread sends",
        near: "s = tcp(); done = threading.Event()\n\
               def run():\n    \
                   while not done.is_set(): send(s, 1000); time.sleep(0.02)\n\
               thread = threading.Thread(target=run); thread.start()\n\
               assert received(len(s.recv(100000, socket.MSG_WAITALL))) == 100000; done.set(); thread.join()\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); threading.Thread(target=recv_all, args=(c,), daemon=True).start()\n\
              feed(c, 50000); time.sleep(2); feed(c, 50000); wait()",
        varies: true,
        ..BASE
    },
    Scenario {
        what: "TCP over IPv6: recv() with SO_RCVLOWAT of 60000, fed 50000, after 2 s 60000",
        near: "s = tcp(FAR6); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 60000); send(s, 1); send(s, 1)\n\
               until(lambda: unread(s) == 50000); assert received(len(s.recv(200000))) == 110000; result(raddr=FAR6, rport=PORT)",
        far: "c, _ = listen(FAR6).accept(); recv(c, 2); feed(c, 50000); time.sleep(2); feed(c, 60000); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: MSG_PEEK with MSG_WAITALL, fed 50000 every 2 s, then recv()",
        near: "s = tcp(); send(s, 1); send(s, 1); flags = socket.MSG_PEEK | socket.MSG_WAITALL\n\
               while len(s.recv(100000, flags)) < 100000: pass\n\
               recv(s, 60000); recv(s, 40000); result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 2); feed(c, 50000); time.sleep(2); feed(c, 50000); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: 2 GB into buffers of 1 MiB",
        near: "s = tcp(); buffer = bytearray(1 << 20)\n\
               while received(s.recv_into(buffer)): pass\n\
               assert rx == 2 << 30; result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept()\n\
              for _ in range(2048): feed(c, 1 << 20)\n\
              c.close(); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: recv() during 100 looks",
        near: "s = tcp(); ready(); recv_all(s); result(raddr=FAR4, rport=PORT)",
        far: STEADY,
        looks: 100,
        ..BASE
    },
    Scenario {
        what: "TCP: recv() with MSG_WAITALL during 100 looks",
        near: "s = tcp(); ready()\n\
               while received(len(s.recv(100000, socket.MSG_WAITALL))): pass\n\
               result(raddr=FAR4, rport=PORT)",
        far: STEADY,
        looks: 100,
        ..BASE
    },
    Scenario {
        what: "TCP: 8 threads receive on one socket during 40 looks, half of them with MSG_WAITALL",
        near: "s = tcp(); counts = [0] * 8\n\
               def run(at):\n    \
                   flags = socket.MSG_WAITALL * (at % 2)\n    \
                   while got := len(s.recv(30000, flags)): counts[at] += got\n\
               threads = [threading.Thread(target=run, args=(at,)) for at in range(8)]\n\
               for thread in threads: thread.start()\n\
               ready()\n\
               for thread in threads: thread.join()\n\
               result(raddr=FAR4, rport=PORT, rx=sum(counts))",
        far: "c, _ = listen(FAR4).accept()\n\
              while not may_go(): feed(c, 50000); time.sleep(0.005)\n\
              c.close(); wait()",
        looks: 40,
        ..BASE
    },
    Scenario {
        what: "TCP: 8 threads send over one socket during 40 looks",
        near: "s = tcp(); counts = [0] * 8; done = threading.Event()\n\
               def run(at):\n    \
                   while not done.is_set(): counts[at] += s.send(b'x' * 3000); time.sleep(0.001)\n\
               threads = [threading.Thread(target=run, args=(at,)) for at in range(8)]\n\
               for thread in threads: thread.start()\n\
               ready(); go(); done.set()\n\
               for thread in threads: thread.join()\n\
               result(raddr=FAR4, rport=PORT, tx=sum(counts))",
        far: "c, _ = listen(FAR4).accept(); recv_all(c); wait()",
        looks: 40,
        ..BASE
    },
    Scenario {
        what: "TCP: one send() of 20 MB, taken slowly, during 40 looks",
        near: "s = tcp(); thread = threading.Thread(target=lambda: sent(s.send(b'x' * 20_000_000))); thread.start()\n\
               until(lambda: queued(s)); ready(); thread.join(); assert tx == 20_000_000; result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept()\n\
              while not may_go(): recv(c, 20000); time.sleep(0.01)\n\
              recv_all(c); wait()",
        looks: 40,
        ..BASE
    },
    Scenario {
        what: "TCP: splice() and recv() in turn during 40 looks",
        near: "s = tcp(); r, w = os.pipe(); ready()\n\
               while True:\n    \
                   got = received(os.splice(s.fileno(), w, 5000))\n    \
                   if not got or os.read(r, got) and not received(len(s.recv(3000))): break\n\
               result(raddr=FAR4, rport=PORT)",
        far: STEADY,
        looks: 40,
        ..BASE
    },
    Scenario {
        what: "TCP: splice() and recv() with MSG_WAITALL in turn, fed 30000 every 1.2 s",
        near: "s = tcp(); r, w = os.pipe(); send(s, 1); send(s, 1)\n\
               for _ in range(2):\n    \
                   left = 15000\n    \
                   while left: left -= len(os.read(r, received(os.splice(s.fileno(), w, left))))\n    \
                   assert received(len(s.recv(45000, socket.MSG_WAITALL))) == 45000\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 2)\n\
              for _ in range(4): feed(c, 30000); time.sleep(1.2)\n\
              wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: a parent splices, its child receives, during 40 looks: together never more than came",
        near: "s = tcp(); recv(s, 100); r, w = os.pipe(); back, out = os.pipe(); ready(); rx = 0\n\
               def run(): recv_all(s); os.write(out, b'%d' % rx)\n\
               pid = child(run)\n\
               while got := os.splice(s.fileno(), w, 5000): os.read(r, got)\n\
               reap(pid); result(raddr=FAR4, rport=PORT, rx=None,\n    \
                   lines=[line(pid=pid, comm='child', raddr=FAR4, rport=PORT, rx=int(os.read(back, 30)))])",
        far: STEADY,
        looks: 40,
        ..BASE
    },
    Scenario {
        what: "TCP: a parent and its child receive with MSG_WAITALL over one socket during 40 looks",
        near: "s = tcp(); recv(s, 100); back, out = os.pipe(); ready()\n\
               def take():\n    \
                   while received(len(s.recv(40000, socket.MSG_WAITALL))): pass\n\
               pid = child(lambda: (take(), os.write(out, b'%d' % (rx - 100)))); take()\n\
               reap(pid); result(raddr=FAR4, rport=PORT,\n    \
                   lines=[line(pid=pid, comm='child', raddr=FAR4, rport=PORT, rx=int(os.read(back, 30)))])",
        far: STEADY,
        looks: 40,
        ..BASE
    },
    Scenario {
        what: "older than the programs: blocked in one send() of 20 MB at the load",
        near: "s = tcp(); send(s, 100); recv(s, 100); thread = threading.Thread(target=lambda: sent(s.send(b'x' * 20_000_000)))\n\
               thread.start(); until_blocked(s); ready(); thread.join(); assert tx == 20_000_100\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 100); send(c, 100); go(); recv_all(c); wait()",
        ..OLDER
    },
    Scenario {
        what: "older than the programs: in the middle of recv() with MSG_WAITALL at the load",
        near: "s = tcp(); send(s, 100); recv(s, 100)\n\
               thread = threading.Thread(target=lambda: received(len(s.recv(100000, socket.MSG_WAITALL)))); thread.start()\n\
               until(lambda: has_received(s, 50100) and not unread(s)); ready(); thread.join(); assert rx == 100100\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 100); feed(c, 100); feed(c, 50000); go(); time.sleep(1.2); feed(c, 50000)\n\
              wait()",
        ..OLDER
    },
    Scenario {
        what: "older than the programs: what came is not read yet at the load",
        near: "s = tcp(); send(s, 100); recv(s, 100); until(lambda: unread(s) == 30000); ready(); go(); recv(s, 30000)\n\
               recv(s, 500); result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 100); feed(c, 100); feed(c, 30000); go(); time.sleep(1.2); feed(c, 500)\n\
              wait()",
        ..OLDER
    },
    Scenario {
        what: "older than the programs: threads send and receive all the time",
        near: "s = tcp(); send(s, 100); recv(s, 100); done = threading.Event()\n\
               def run():\n    \
                   while not done.is_set(): send(s, 7000); time.sleep(0.001)\n\
               threads = [threading.Thread(target=run), threading.Thread(target=recv_all, args=(s,))]\n\
               for thread in threads: thread.start()\n\
               ready(); go(); done.set()\n\
               for thread in threads: thread.join()\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 100); feed(c, 100)\n\
              threading.Thread(target=recv_all, args=(c,), daemon=True).start()\n\
              while not may_go(): feed(c, 5000); time.sleep(0.001)\n\
              c.shutdown(socket.SHUT_WR); wait()",
        varies: true,
        ..OLDER
    },
    Scenario {
        what: "older than the programs: splice() before and after the load",
        near: "s = tcp(); send(s, 100); r, w = os.pipe()\n\
               def take(left):\n    \
                   while left: left -= len(os.read(r, received(os.splice(s.fileno(), w, left))))\n\
               take(20000); ready(); go(); take(30000); recv(s, 500); result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 100); feed(c, 20000); go(); feed(c, 30500); wait()",
        ..OLDER
    },
    Scenario {
        what: "TCP: every call is told (`--update-interval 0`), recv() with and without MSG_WAITALL in turn",
        near: "s = tcp(); flags = 0; ready()\n\
               while received(len(s.recv(12000, flags))): send(s, 10); flags ^= socket.MSG_WAITALL\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept()\n\
              threading.Thread(target=recv_all, args=(c,), daemon=True).start()\n\
              while not may_go(): feed(c, 5000); time.sleep(0.01)\n\
              c.shutdown(socket.SHUT_WR); wait()",
        looks: 100,
        ..ALWAYS
    },
    Scenario {
        what: "TCP: every call is told, 8 threads receive and send",
        near: "s = tcp(); counts = [0] * 8; sizes = [0] * 8\n\
               def run(at):\n    \
                   while got := len(s.recv(3000)): counts[at] += got; sizes[at] += s.send(b'x' * (at + 1))\n\
               threads = [threading.Thread(target=run, args=(at,)) for at in range(8)]\n\
               for thread in threads: thread.start()\n\
               ready()\n\
               for thread in threads: thread.join()\n\
               result(raddr=FAR4, rport=PORT, rx=sum(counts), tx=sum(sizes))",
        far: "c, _ = listen(FAR4).accept()\n\
              threading.Thread(target=recv_all, args=(c,), daemon=True).start()\n\
              while not may_go(): feed(c, 50000); time.sleep(0.005)\n\
              c.shutdown(socket.SHUT_WR); wait()",
        looks: 40,
        ..ALWAYS
    },
    Scenario {
        what: "UDP: every call is told, 4 threads receive on a socket with two peers",
        near: "s = udp(NEAR4); lock = threading.Lock(); counts = {}; ends = []\n\
               def run():\n    \
                   while not ends:\n        \
                       try: data, peer = s.recvfrom(2000, socket.MSG_DONTWAIT)\n        \
                       except BlockingIOError: select.select([s], [], [], 0.1); continue\n        \
                       with lock: counts[peer[1]] = counts.get(peer[1], 0) + len(data)\n        \
                       if len(data) == 1: ends.append(peer)\n\
               threads = [threading.Thread(target=run) for _ in range(4)]\n\
               for thread in threads: thread.start()\n\
               for thread in threads: thread.join()\n\
               (a, rx), (b, more) = counts.items()\n\
               result(raddr=FAR4, rport=a, rx=rx, lines=[line(raddr=FAR4, rport=b, rx=more)])",
        far: "s, t = udp(), udp(); to = (NEAR4, PORT)\n\
              for _ in range(500): s.sendto(b'x' * 20, to); t.sendto(b'x' * 300, to); time.sleep(0.001)\n\
              s.sendto(b'x', to); wait()",
        start: Start::Near,
        direction: "in",
        ..ALWAYS
    },
];
