#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A network of hosts that are namespaces, in which every packet waits: what `netem` does, for kernels without it.

    sudo python3 Benchmarks/ranks/relay.py 10.77.0 DELAY_MS [NAMESPACE …]

Makes a TUN interface in each namespace (10.77.0.1 in the first) and one here (10.77.0.254), and carries packets
of 9,000 bytes between them, each that many milliseconds late. Ends with its input.
"""
import ctypes
import fcntl
import heapq
import os
import selectors
import socket
import struct
import subprocess
import sys
import time

NEW_NETWORK, SET_INTERFACE, IS_TUN, NO_HEADER = 0x40000000, 0x400454CA, 0x0001, 0x1000
library = ctypes.CDLL(None, use_errno=True)


def interface(namespace, name, address):
    """A TUN interface in a namespace; its packets come and go by the descriptor."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    if namespace:
        there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        if library.setns(there, NEW_NETWORK):
            sys.exit(f"{namespace}: {os.strerror(ctypes.get_errno())}")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, SET_INTERFACE, struct.pack("16sH22x", name.encode(), IS_TUN | NO_HEADER))
    for line in (f"ip addr add {address}/24 dev {name}", f"ip link set {name} mtu 9000 txqueuelen 10000 up"):
        subprocess.run(line, shell=True, check=True)
    library.setns(home, NEW_NETWORK)
    return tun


def main():
    network, delay, namespaces = sys.argv[1], float(sys.argv[2]) / 1000, sys.argv[3:]
    ports = {f"{network}.{i + 1}": interface(name, "eth0", f"{network}.{i + 1}")
             for i, name in enumerate(namespaces)}
    ports[f"{network}.254"] = interface(None, "attune-tun", f"{network}.254")
    watch = selectors.DefaultSelector()
    for port in ports.values():
        watch.register(port, selectors.EVENT_READ)
    watch.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    waiting, number = [], 0
    while True:
        left = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        for key, _ in watch.select(left):
            if key.fileobj is sys.stdin:
                return
            while True:
                try:
                    packet = os.read(key.fileobj, 65536)
                except BlockingIOError:
                    break
                to = ports.get(socket.inet_ntoa(packet[16:20])) if packet[0] >> 4 == 4 else None
                if to is not None:
                    number += 1
                    heapq.heappush(waiting, (time.monotonic() + delay, number, to, packet))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            try:
                os.write(waiting[0][2], waiting[0][3])
            except BlockingIOError:
                break
            heapq.heappop(waiting)


if __name__ == "__main__":
    main()
