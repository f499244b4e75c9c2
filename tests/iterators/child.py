"""A process to be looked at: two threads, files, a pipe, sockets, mapped memory. Says "ready", ends with its stdin."""

from __future__ import annotations

import mmap
import os
import socket
import sys
import threading


def main() -> None:
    where = sys.argv[1]
    with open(f"{where}/plain", "w+b") as plain:
        plain.write(bytes(8192))
        plain.seek(100)
        shared = mmap.mmap(plain.fileno(), 4096)
        appended = os.open(f"{where}/appended", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        directory = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        pipe = os.pipe()
        sockets = [
            socket.socket(socket.AF_INET6, socket.SOCK_STREAM),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            *socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        ]
        sockets[0].bind(("::1", 0))
        sockets[0].listen(5)
        sockets[1].bind(("127.0.0.1", 0))
        threading.Thread(target=threading.Event().wait, daemon=True, name="second").start()
        print("ready", flush=True)
        sys.stdin.read()
        os._exit(0 if (shared, appended, directory, pipe) else 1)


main()
