"""Mounts as /proc/self/mountinfo tells of them, and ours among them. Reading it never waits for a file system."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ..dataclass import dataclass

FSTYPE = "fuse.bpfjit"


@dataclass(frozen=True, slots=True)
class MountEntry:
    """What is mounted on a directory; `dev` as "major:minor"."""

    mount_id: int
    dev: str
    path: str
    fstype: str
    options: str

    @property
    def owner(self) -> int:
        """The uid that made a FUSE mount."""
        found = re.search(r"(?:^|,)user_id=(\d+)", self.options)
        return int(found[1]) if found else 0

    @property
    def control(self) -> bytes:
        """The abstract address of the Unix socket by which a mount of ours is controlled."""
        return b"\0bpfjit/" + self.dev.encode()


def mounts() -> Iterator[MountEntry]:
    """Every mount that this process sees, oldest first."""
    with open("/proc/self/mountinfo", "rb") as f:
        lines = f.read().splitlines()
    for line in lines:
        fields = line.split(b" ")
        dash = fields.index(b"-")
        path = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), fields[4])
        texts = [os.fsdecode(raw) for raw in (fields[2], path, fields[dash + 1], fields[dash + 3])]
        yield MountEntry(int(fields[0]), *texts)


def mounted_on(directory: str) -> MountEntry | None:
    """What was mounted last on a directory (an absolute path without links), or None."""
    found = None
    for entry in mounts():
        if entry.path == directory:
            found = entry
    return found
