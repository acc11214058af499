# SPDX-License-Identifier: GPL-3.0-or-later
# What the scripts of the scenarios share. A script runs at the near end, where it is watched, or at the far one.
import array, ctypes, fcntl, json, os, select, socket, struct, subprocess, sys, threading, time

NEAR4, FAR4, NEAR6, FAR6 = "10.83.1.1", "10.83.1.2", "fd83::1", "fd83::2"
# Addresses that a scenario's setup adds to the far end, and a port there beside PORT.
OTHER4, OTHER6, OTHER_PORT = "10.83.1.3", "fd83::3", 1009
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 0
rx = tx = fed = 0


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def tell(port):
    """The other end starts when it reads this."""
    print(port, flush=True)


def line(**fields):
    """A further line of a result: of this process, unless it says otherwise."""
    return dict(dict(pid=os.getpid(), rx=0, tx=0), **fields)


def result(**more):
    """What this program counted itself, from what its calls returned."""
    print(json.dumps(line(**dict(dict(rx=rx, tx=tx), **more))), flush=True)


def ready():
    """What the scenario is about may be done now; both ends then go on from go()."""
    print("ready", flush=True)


def may_go():
    return bool(select.select([0], [], [], 0)[0]) and bool(os.read(0, 1))


def go():
    os.read(0, 1)


def wait():
    """Keeps everything open until the scenario is over."""
    while os.read(0, 1):
        pass


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def child(run):
    """A process of its own that does this and exits; its id."""
    pid = os.fork()
    if not pid:
        name("child")
        run()
        os._exit(0)
    return pid


def reap(pid):
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"


def name(text):
    with open("/proc/self/comm", "w") as comm:
        comm.write(text)


def tcp(host=FAR4, protocol=0):
    s = socket.socket(family(host), socket.SOCK_STREAM, protocol)
    s.connect((host, PORT))
    return s


def listen(host, protocol=0):
    s = socket.socket(family(host), socket.SOCK_STREAM, protocol)
    s.bind((host, 0))
    s.listen()
    tell(s.getsockname()[1])
    return s


def until_blocked(s):
    """Until a thread's send fills what the kernel takes, and does not go on."""
    before = 0
    while not (now := queued(s)) or now != before:
        before = now
        time.sleep(0.1)


def queued(s):
    """Bytes that wait to be sent or acknowledged (SIOCOUTQ)."""
    return struct.unpack("i", fcntl.ioctl(s, 0x5411, bytes(4)))[0]


def unread(s):
    """FIONREAD"""
    return struct.unpack("i", fcntl.ioctl(s, 0x541B, bytes(4)))[0]


def has_received(s, count):
    """tcpi_bytes_received of struct tcp_info."""
    return struct.unpack_from("Q", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136), 128)[0] >= count


MPTCP = 262


def mptcp(host=FAR4):
    return tcp(host, MPTCP)


def mptcp_listen(host):
    return listen(host, MPTCP)


def mptcp_info(s):
    """struct mptcp_info (linux/mptcp.h); raises where the connection fell back to TCP."""
    return s.getsockopt(284, 1, 200)


def is_mptcp(s):
    return bool(mptcp_info(s))


def subflows(s):
    """Those beside the first (mptcpi_subflows)."""
    return mptcp_info(s)[0]


def endpoint(text):
    """Another address of this end, for connections that are there, too."""
    subprocess.run("ip mptcp endpoint add " + text, shell=True, check=True)


def udp(host=None):
    s = socket.socket(family(host or FAR4), socket.SOCK_DGRAM)
    if host:
        s.bind((host, 0))
        tell(s.getsockname()[1])
    return s


def udp6():
    return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)


def udp_at(host, port=None):
    """A socket of the far end with this address; nobody is told."""
    s = socket.socket(family(host), socket.SOCK_DGRAM)
    s.bind((host, port or 0))
    return s


def disconnect(s):
    """connect() to AF_UNSPEC."""
    nowhere = ctypes.create_string_buffer(28)
    assert libc.connect(s.fileno(), nowhere, 28) == 0, ctypes.get_errno()


def sent(count):
    global tx
    tx += count
    return count


def received(count):
    global rx
    rx += count
    return count


def send(s, count):
    while count:
        count -= sent(s.send(b"x" * min(count, 1 << 20)))


def recv(s, count):
    while count:
        got = received(len(s.recv(count)))
        assert got, "the peer closed too early"
        count -= got


def recv_all(s):
    while received(len(s.recv(65536))):
        pass


def feed(s, count):
    """Sends, and says before how much has been put in then."""
    global fed
    fed += count
    print(json.dumps(dict(at=time.clock_gettime_ns(time.CLOCK_BOOTTIME), fed=fed)), flush=True)
    s.sendall(b"x" * count)


def answer(s, size):
    """One datagram in, one of this size out."""
    _, peer = s.recvfrom(65536)
    s.sendto(b"y" * size, peer)


libc = ctypes.CDLL(None, use_errno=True)


class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(iovec)),
        ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", msghdr), ("len", ctypes.c_uint)]


def messages(*sizes):
    """Buffers for sendmmsg and recvmmsg."""
    headers = (mmsghdr * len(sizes))()
    buffers = []
    for header, size in zip(headers, sizes):
        buffer = ctypes.create_string_buffer(size)
        vector = iovec(ctypes.cast(buffer, ctypes.c_void_p), size)
        header.hdr.iov = ctypes.pointer(vector)
        header.hdr.iovlen = 1
        buffers += [buffer, vector]
    headers.buffers = buffers
    return headers


def name_peers(headers, *peers):
    """Addresses for sendmmsg, each a host and a port; None leaves it out."""
    headers.peers = []
    for header, peer in zip(headers, peers):
        if peer:
            host, port = peer
            head = struct.pack("=H", family(host)) + struct.pack("!H", port)
            if family(host) == socket.AF_INET6:
                head += bytes(4)
            address = ctypes.create_string_buffer(head + socket.inet_pton(family(host), host) + bytes(8))
            header.hdr.name = ctypes.cast(address, ctypes.c_void_p)
            header.hdr.namelen = 28 if family(host) == socket.AF_INET6 else 16
            headers.peers.append(address)
    return headers


def ask_peers(headers):
    """Room for addresses of recvmmsg."""
    headers.peers = [ctypes.create_string_buffer(28) for _ in headers]
    for header, address in zip(headers, headers.peers):
        header.hdr.name = ctypes.cast(address, ctypes.c_void_p)
        header.hdr.namelen = 28
    return headers
