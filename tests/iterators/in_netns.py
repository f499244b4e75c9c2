"""Run in a network namespace of its own: fills it and prints, as JSON, what both kernels' iterators and the files say."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from kernfs_sim import Kernel

from .worlds import Live, Simulated, World

LINKS = """link set lo up
link add left type veth peer name right
link set left up
link set right up
-6 addr add 2001:db8::1/64 dev left nodad
-6 route add 2001:db8:1::/48 via 2001:db8::2 dev left metric 77
-6 route add blackhole 2001:db8:7::/48
-6 route add 2001:db8:9::/64 dev right proto 33
-6 route add default via 2001:db8::3 dev left"""


def show(world: World, prog: str) -> str:
    fd = world.open(world.link(prog))
    return b"".join(world.drain(fd, 65536)).decode("utf-8", "surrogateescape")


def _connected(address: tuple[str, int]) -> socket.socket:
    """A connection to an address of ours, once the links are up."""
    end = time.monotonic() + 20
    while True:
        made = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        try:
            made.connect(address)
            return made
        except OSError as e:
            made.close()
            if e.errno not in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL) or time.monotonic() > end:
                raise
        time.sleep(0.05)


def main() -> None:
    for line in LINKS.splitlines():
        subprocess.run(["ip", *line.split()], check=True)
    held = [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0), socket.socket(socket.AF_INET6, socket.SOCK_STREAM)]
    held[0].bind((4242, 0x11))
    held[1].bind(("2001:db8::1", 8080))
    held[1].listen(7)
    held.append(_connected(("2001:db8::1", 8080)))
    held.append(held[1].accept()[0])
    held[2].sendall(b"twelve bytes")
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        held.append(socket.socket(family, socket.SOCK_DGRAM))
        held[-1].bind((address, 5353))
    for port in (7001, 7002, 7003):  # of both families, as their hashes have them
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            held.append(socket.socket(family, socket.SOCK_STREAM))
            held[-1].bind((address, port))
            held[-1].listen()
            held.append(socket.create_connection((address, port)))
            held.append(held[-2].accept()[0])
            held.append(socket.socket(family, socket.SOCK_DGRAM))
            held[-1].bind((address, port))
    held.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    held[-1].bind("\0abstract")
    held[-1].listen()
    closing = [socket.socket(socket.AF_INET6, socket.SOCK_STREAM)]
    closing[0].bind(("::1", 9090))
    closing[0].listen()
    closing.append(_connected(("::1", 9090)))
    peer = closing[0].accept()[0]
    closing[1].close()  # who closes first is left in TIME_WAIT
    peer.recv(1)
    peer.close()
    time.sleep(0.5)  # a delayed ACK's timer counts among a socket's users until it has run
    path = Path(sys.argv[1])
    progs = ("netlink", "routes", "tcp", "udp", "unix_sockets")
    live = Live(path)

    def files() -> dict[str, str]:
        return {n: Path(f"/proc/self/net/{n}").read_text() for n in ("netlink", "ipv6_route")}

    for _ in range(20):  # until nothing changes meanwhile: a route's users come and go with what is under way
        found = {"file": files(), "live": {prog: show(live, prog) for prog in progs}}
        with Kernel.from_host() as kernel:
            sim = Simulated(kernel, path)
            found["sim"] = {prog: show(sim, prog) for prog in progs}
            sim.obj.close()
        if files() == found["file"]:
            break
        time.sleep(0.1)
    print(json.dumps(found))
    live.obj.close()


if __name__ == "__main__":
    main()
