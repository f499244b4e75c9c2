"""What verdicts and native code depend on beside their program: this version of ours, and this processor."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

from bpfjit import __version__
from bpfjit.sha256 import sha256

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What a user's side does comes to bpf(2) as bytes; what file systems do changes no program.
_APART = ("__pycache__", "cli", "elf", "fs", "include", "loader")


@functools.cache
def fingerprint() -> str:
    digest = sha256(__version__.encode())
    for line in sorted(line for part in ("bpfjit", "kernfs_sim", "runtime") for line in _files(part)):
        digest.update(line.encode())
    digest.update(_processor().encode())
    return digest.hexdigest()


def _files(part: str) -> Iterator[str]:
    with os.scandir(os.path.join(_ROOT, part)) as found:
        for entry in found:
            if entry.name.endswith((".py", ".so", ".btf")):
                status = entry.stat()
                yield f"{part}/{entry.name} {status.st_size} {status.st_mtime_ns}\n"
            elif entry.name not in _APART and entry.is_dir(follow_symlinks=False):
                yield from _files(f"{part}/{entry.name}")


def _processor() -> str:
    """The processor's model and abilities: code is made for all that it can do."""
    wanted = ("model name", "flags", "Features", "CPU part")
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            text = file.read(1 << 14).decode(errors="replace").split("\n\n")[0]  # one processor's: they are alike
    except OSError:
        text = ""
    return os.uname().machine + "\n".join(line for line in text.splitlines() if line.startswith(wanted))
