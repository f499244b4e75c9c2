"""A process that changes step by step, as its stdin says: one word a step, answered with "done"."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import sys
import threading


def main() -> None:
    where = sys.argv[1]
    libc = ctypes.CDLL(None)
    kept: dict[str, object] = {}
    stop = threading.Event()
    ready = threading.Event()
    file = os.open(f"{where}/file", os.O_RDWR | os.O_CREAT)
    kept["tcp"] = tcp = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)

    def thread() -> None:
        ready.set()
        stop.wait()

    for line in sys.stdin:
        match line.strip():
            case "write":
                os.write(file, b"x" * 5000)
            case "open":
                for i in range(70):  # beyond what a table has room for at first
                    kept[f"{i}"] = os.open(f"{where}/{i}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            case "close":
                for i in range(0, 70, 2):
                    os.close(int(str(kept.pop(f"{i}"))))
            case "replace":  # the same number, another file
                os.close(file)
                file = os.open("/dev/null", os.O_RDONLY)
            case "map":
                with open(f"{where}/1", "r+b") as f:
                    f.truncate(1 << 16)
                    kept["map"] = mmap.mmap(f.fileno(), 1 << 16)
                kept["anonymous"] = mmap.mmap(-1, 1 << 20)
            case "unmap":
                del kept["map"]
                kept["anonymous"].close()  # type: ignore[attr-defined]
            case "rename":
                libc.prctl(15, b"another name", 0, 0, 0)
            case "threads":
                for _ in range(3):
                    ready = threading.Event()
                    threading.Thread(target=thread, daemon=True).start()
                    ready.wait()
            case "join":
                stop.set()
                while len(os.listdir("/proc/self/task")) > 1:
                    pass
            case "listen":
                tcp.bind(("::1", 0))
                tcp.listen(3)
            case "exec":
                os.dup2(file, 40, inheritable=True)
                os.execvp("cat", ["cat"])
        print("done", flush=True)


main()
