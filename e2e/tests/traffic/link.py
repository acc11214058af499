# SPDX-License-Identifier: GPL-3.0-or-later
"""A slow link between two network namespaces: a tun device in each, and what passes between them.

link.py NEAR FAR DEVICE DELAY LOSS: paths of the namespaces, name of the devices, seconds one way, and of how many large
packets that leave NEAR one is lost (0: none). Says "up" when it is there; ends with its standard input.
"""
import contextlib
import ctypes
import fcntl
import heapq
import os
import select
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x1, 0x1000, 0x40000000
LARGE = 500
libc = ctypes.CDLL(None, use_errno=True)


def device(namespace, name):
    with open(namespace) as file:
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), namespace)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


near, far = (device(namespace, sys.argv[3]) for namespace in sys.argv[1:3])
delay, loss = float(sys.argv[4]), int(sys.argv[5])
print("up", flush=True)
under_way, large = [], 0
while True:
    wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
    ready = select.select([0, near, far], [], [], wait)[0]
    if 0 in ready and not os.read(0, 1):
        break
    for tun, other in (near, far), (far, near):
        if tun not in ready:
            continue
        packet = os.read(tun, 65536)
        if tun == near and len(packet) > LARGE:
            large += 1
            if loss and large % loss == 0:
                continue
        heapq.heappush(under_way, (time.monotonic() + delay, large, other, packet))
    while under_way and under_way[0][0] <= time.monotonic():
        _, _, tun, packet = heapq.heappop(under_way)
        # An end that is not up yet takes none.
        with contextlib.suppress(OSError):
            os.write(tun, packet)
