"""Loader programs run by hand, as a light skeleton does it; those of bpftool are read out of its C header."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from both import Side, compiled

from bpfjit import open_object
from bpfjit.isa.encoding import decode
from bpfjit.loader.generate import generate
from bpfjit.uapi import bpf as uapi

CTX, MAP, PROG = struct.Struct("<IIIIQ"), struct.Struct("<iIQ"), struct.Struct("<i")


@dataclass
class Light:
    """Instructions, data and the names in the context's order."""

    insns: bytes
    data: bytes
    maps: list[str]
    progs: list[str]
    result: int = 0
    fds: dict[str, int] = field(default_factory=dict)
    log: str = ""

    @property
    def ctx_bytes(self) -> int:
        return CTX.size + MAP.size * len(self.maps) + PROG.size * len(self.progs)

    def run(
        self,
        side: Side,
        *,
        flags: int = 0,
        entries: dict[str, int] | None = None,
        values: dict[str, int] | None = None,
        ctx_bytes: int | None = None,
    ) -> int:
        """Make the loader's map and program, run it, let go of both: a refusal's -errno, or what the loader returned."""
        held: list[int] = []
        try:
            m = side.map(value=len(self.data), map_name=b"__loader.map")
            held.append(m)
            assert side.update(m, self.data) == 0
            assert side.call(uapi.BPF_MAP_FREEZE, uapi.MapElem(map_fd=m)) == 0
            prog = side.load(decode(self.insns), uapi.BPF_PROG_TYPE_SYSCALL, fds=[m], license=b"Dual BSD/GPL\0")
            self.log = side.log
            if prog < 0:
                return prog
            held.append(prog)
            ctx = CTX.pack(self.ctx_bytes, flags, 0, 0, 0)
            for name in self.maps:
                ctx += MAP.pack(0, (entries or {}).get(name, 0), (values or {}).get(name, 0))
            ctx = (ctx + bytes(PROG.size * len(self.progs))).ljust(ctx_bytes or 0, b"\0")
            result, self.result, after = side.run(prog, ctx[: ctx_bytes or len(ctx)])
            if result or self.result:
                return result or self.result
            places = [CTX.size + MAP.size * i for i in range(len(self.maps))]
            places += [CTX.size + MAP.size * len(self.maps) + PROG.size * i for i in range(len(self.progs))]
            for name, at in zip((*self.maps, *self.progs), places, strict=True):
                self.fds[name] = side.own(PROG.unpack_from(after, at)[0])
            return 0
        finally:
            for fd in held:
                side.close(fd)


def ours(name: str, side: Side) -> Light:
    """The loader program that bpfjit makes of an object."""
    made = generate(open_object(compiled(name)), side.bpf.config())
    return Light(made.insns, made.data, [m.name for m in made.maps], [p.name for p in made.progs])


def bpftool(name: str) -> Light:
    """The loader program that bpftool makes of an object; a skip where there is no bpftool."""
    if shutil.which("bpftool") is None:
        pytest.skip("no bpftool")
    object_path = Path(compiled(name))
    path = object_path.with_name(f"{name}.o")  # bpftool names things after the file
    path.write_bytes(object_path.read_bytes())
    return read_header(_skeleton(path))


def signs() -> bool:
    """Whether bpftool is one that signs (7.7 and later)."""
    if shutil.which("bpftool") is None:
        return False
    done = subprocess.run(["bpftool", "gen", "help"], capture_output=True, text=True, check=False)
    return "--sign" in done.stdout + done.stderr


def bpftool_signed(name: str, key: Path, cert: Path) -> tuple[Light, bytes]:
    """bpftool's loader program and its signature over it."""
    head = _skeleton(Path(compiled(name)), "-S", "-k", str(key), "-i", str(cert))
    found = re.search(r'opts_sig\[\][^=]* = "((?:\\[\s\S])*?[^"]*)";', head)
    assert found is not None
    return read_header(head), _c_string(found[1])


def _skeleton(path: Path, *how: str) -> str:
    argv = ["bpftool", "gen", "skeleton", "-L", *how, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_header(head: str) -> Light:
    """The loader program of a C light skeleton."""
    # Older ones assign the literals, newer ones keep them in arrays.
    literals = re.findall(r'opts[._](data|insn)s?(?:\[\][^=]*)? = (?:\(void \*\))?"((?:\\[\s\S])*?[^"]*)";', head)
    blobs = {what: _c_string(text) for what, text in literals}
    for what, size in re.findall(r"opts\.(data|insn)s?_sz = (\d+);", head):
        assert len(blobs[what]) == int(size)
    maps = re.findall(r"struct bpf_map_desc (\w+);", head)
    progs = re.findall(r"struct bpf_prog_desc (\w+);", head)
    return Light(blobs["insn"], blobs["data"], maps, progs)


def _c_string(text: str) -> bytes:
    """The bytes of a C string literal made of \\x and \\0 escapes, its line ends escaped."""
    return bytes(int(x or "0", 16) for x in re.findall(r"\\(?:x([0-9a-fA-F]{2})|0)", text))
