# What the scripts of the scenarios share. A script runs at the near end, where it is watched, or at the far one.
import ctypes, json, os, select, socket, struct, sys, time

NEAR4, FAR4, NEAR6, FAR6 = "10.83.1.1", "10.83.1.2", "fd83::1", "fd83::2"
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 0
rx = tx = 0


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def tell(port):
    """The other end starts when it reads this."""
    print(port, flush=True)


def result(**more):
    """What this program counted itself, from what its calls returned."""
    print(json.dumps(dict(pid=os.getpid(), rx=rx, tx=tx, **more)), flush=True)


def wait():
    """Keeps everything open until the scenario is over."""
    sys.stdin.read()


def name(text):
    with open("/proc/self/comm", "w") as comm:
        comm.write(text)


def tcp(host=FAR4, **options):
    s = socket.socket(family(host), socket.SOCK_STREAM)
    s.connect((host, PORT))
    return s


def listen(host):
    s = socket.socket(family(host), socket.SOCK_STREAM)
    s.bind((host, 0))
    s.listen()
    tell(s.getsockname()[1])
    return s


def udp(host=None):
    s = socket.socket(family(host or FAR4), socket.SOCK_DGRAM)
    if host:
        s.bind((host, 0))
        tell(s.getsockname()[1])
    return s


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
