"""Formats compiled, interpreted and on Linux: an iterator over one task prints generated formats, byte for byte the same.

Formats lie in constant maps or are built on the stack; arguments are numbers, strings, addresses, error pointers.
"""

from __future__ import annotations

import itertools
import os
import random
import struct
import sys
from pathlib import Path

import pytest

from bpfjit import open_object
from bpfjit.loader.bpf import Bpf, Buffers
from bpfjit.loader.compile import compile_c
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from runtime import ffi, lib

sys.path.insert(0, str(Path(__file__).parent.parent / "differential"))
import engines

FORMATS = 40
HEAD = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
static const char empty[] = "", short_one[] = "web";
static const char longer[] = "a string of sixty-three bytes, the most that is written in place";
static const char long_one[] = "a string that is longer than what is written in place: the runtime reads all of it again";
static const u8 address[16] = {192, 0, 2, 1, 10, 255, 0, 99, 7, 8, 9, 10, 200, 0, 0, 1};
char text[160];
struct args { u32 room, from, at, fmt; };

/* Text into a buffer that holds a string already, which may be an argument too. */
SEC("syscall") int into(struct args *a)
{
	u32 room = a->room, from = a->from & 127, at = a->at & 127;
	u64 v[2] = { (u64)&text[from], (u64)longer };

	if (room > 32)
		return -1;
	for (int i = 0; i < 40; i++)
		text[i] = 'a' + i % 26;
	text[40] = 0;
	if (a->fmt == 0)
		return bpf_snprintf(&text[at], room, "%s", v, 8);
	if (a->fmt == 1)
		return bpf_snprintf(&text[at], room, "%5s %-4s", (u64[]){ (u64)short_one, (u64)empty }, 16);
	return bpf_snprintf(&text[at], room, "%pI4", v, 8);
}

SEC("iter/task") int all(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;

	if (!ctx->task)
		return 0;
"""
NUMBERS = ["0", "1", "-1", "9", "-10", "123456789", "0x7fffffff", "0x80000000", "0xffffffffffffffff", "1ull << 63", "65"]
STRINGS = ["empty", "short_one", "longer", "long_one", "0", "(void *)8"]


def conversion(rng: random.Random) -> tuple[str, str]:
    """A conversion and what it is given."""
    flags = "".join(rng.sample("0+- ", rng.choice([0, 0, 0, 1, 2])))
    width = rng.choice(["", "", "", "1", "7", "24", "100"])
    kind = rng.choice(["number"] * 4 + ["string"] * 2 + ["address", "pointer", "symbol"])
    if kind == "string":
        return "%" + flags + width + rng.choice(["s", "s", "s", "pks"]), rng.choice(STRINGS)
    if kind == "address":
        return "%" + flags + width + rng.choice(["pi4", "pI4", "pi6", "pI6"]), rng.choice(["address", "0"])
    if kind == "pointer":
        return "%" + flags + width + rng.choice(["px", "pK", "p"]), rng.choice(["0", "-1", "-4095", "-22"])
    if kind == "symbol":
        return "%" + flags + width + rng.choice(["ps", "pS", "pB"]), "0x1234"
    letter = rng.choice(["d", "i", "u", "x", "X", "ld", "lu", "lx", "llu", "lld", "llX", "c"])
    return "%" + flags + width + letter, rng.choice(NUMBERS)


def formats(seed: int) -> list[tuple[str, list[str]]]:
    rng, found = random.Random(seed), []
    for _ in range(FORMATS):
        fmt, args = "", []
        for _ in range(rng.randrange(1, 5)):
            spec, arg = conversion(rng)
            fmt += rng.choice(["", " ", "x=", "a piece of text ", "%%", "\t"]) + spec
            args.append(arg)
            # A letter behind %s or %p would be a part of it.
            fmt += rng.choice(["", ",", ";"]) if "s" in spec or "p" in spec else ""
            fmt += " " if fmt[-1].isalnum() and ("s" in spec or "p" in spec) else ""
        found.append((fmt + "\n", args))
    return found


def source(seed: int) -> str:
    out = [HEAD]
    for i, (fmt, args) in enumerate(formats(seed)):
        text = fmt.replace("\n", "\\n").replace("\t", "\\t")
        # Built on the stack: an array of its own, filled each time.
        kind = f'char fmt[] = "{text}"' if i % 3 == 0 else f'static const char fmt[] = "{text}"'
        values = ", ".join(f"(u64)({arg})" for arg in args)
        out.append(f"{{ {kind}; u64 v[] = {{ {values} }}; bpf_seq_printf(seq, fmt, sizeof(fmt), v, sizeof(v)); }}\n")
    return "".join([*out, "return 0; }\n"])


@pytest.fixture(scope="module", params=[1, 2])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    (folder / "formats.bpf.c").write_text(source(request.param))
    (folder / "formats.bpf.o").write_bytes(compile_c(folder / "formats.bpf.c"))
    return folder / "formats.bpf.o"


def printed(bpf: Bpf, built: Path, kernel: Kernel | None = None) -> bytes:
    with open_object(built).load(bpf, only=["all"]) as it:
        if kernel is not None:
            kernel.tasks.create(os.getpid())
        link = it.attach_prog(it.progs["all"], os.getpid().to_bytes(4, "little"))
        fd = bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link.fd).pack()))
        text = b""
        try:
            if kernel is None:
                while more := os.read(fd, 1 << 16):
                    text += more
            else:
                while more := kernel.caller.fds.get(fd).read(kernel.caller, 1 << 16):
                    text += more
        finally:
            bpf.close(fd)
            link.close()
    return text


def test_compiled_interpreted_and_live(built: Path) -> None:
    texts = {}
    for name, options in (("first tier", {}), ("optimised", {"tiered": False}), ("interpreter", {"engine": "interp"})):
        with Kernel(**options) as kernel:
            texts[name] = printed(kernel.bpf, built, kernel)
    texts["live"] = printed(engines.need_live(), built)
    for name, text in texts.items():
        assert text.split(b"\n") == texts["live"].split(b"\n"), name
    assert len(texts["live"]) > 20 * FORMATS


def test_all_of_them_are_compiled(built: Path) -> None:
    """Those of the stack too, and there LLVM finds the stores: nothing is compared at run time."""
    with Kernel(tiered=False) as kernel, open_object(built).load(kernel.bpf, only=["all"]) as it:
        verified = kernel.caller.fds.get(it.progs["all"].fd).object.verified
        assert kernel.jit.ir(verified).count("  store i64 %") >= FORMATS
        assert kernel.jit.ir(verified).count("icmp ult i64") >= FORMATS, "one way in place for each"


def snprintf(bpf: Bpf, built: Path) -> list[tuple[int, bytes]]:
    """Buffers of several sizes, beside and over the string that is an argument."""
    found = []
    with open_object(built).load(bpf, only=["into"]) as it:
        (bss,) = [m for m in it.maps.values() if m.spec.section == ".bss"]
        for room, start, at, fmt in itertools.product((0, 1, 5, 16, 32), (0, 20, 36, 40, 100), (0, 30, 45), (0, 1, 2)):
            keep, ctx = Buffers(), struct.pack("<4I", room, start, at, fmt)
            bss.update(bytes(4), bytes(bss.spec.value_size))
            raw = bytearray(uapi.TestRun(prog_fd=it.progs["into"].fd, ctx_in=keep.put(ctx), ctx_size_in=16).pack())
            bpf(uapi.BPF_PROG_TEST_RUN, raw)
            found.append((uapi.TestRun.unpack(raw).retval, bss.lookup(bytes(4)) or b""))
    return found


def test_snprintf_over_its_own_arguments(built: Path) -> None:
    live = snprintf(engines.need_live(), built)
    for options in ({}, {"tiered": False}, {"engine": "interp"}):
        with Kernel(**options) as kernel:
            assert snprintf(kernel.bpf, built) == live, options


def test_trace_printk_of_strings(tmp_path: Path) -> None:
    """Short ones are written in place, a long one is the runtime's, wherever the format lies."""
    (tmp_path / "trace.bpf.c").write_text(
        HEAD.partition("char text")[0]
        + 'SEC("syscall") int prog(void *ctx)\n{ char fmt[] = "%s built %5s";\n'
        + 'bpf_printk("%s,%-9s|%px", short_one, longer, 7ul);\nbpf_printk("%s", long_one);\n'
        + "bpf_trace_printk(fmt, sizeof(fmt), short_one, short_one); return 0; }\n"
    )
    texts = []
    for options in ({}, {"tiered": False}, {"engine": "interp"}):
        with Kernel(**options) as kernel, open_object(tmp_path / "trace.bpf.c").load(kernel.bpf) as it:
            raw = bytearray(uapi.TestRun(prog_fd=it.progs["prog"].fd).pack())
            kernel.bpf(uapi.BPF_PROG_TEST_RUN, raw)
            buf = ffi.new("char[]", 1000)
            texts.append(ffi.unpack(buf, lib.rt_trace_read(kernel.native.ptr, buf, 1000)))
            if "engine" not in options:
                ir = kernel.jit.ir(kernel.caller.fds.get(it.progs["prog"].fd).object.verified)
                assert ir.count("call i64 @rt_trace_text") == 3
    assert texts[0] == texts[1] == texts[2]
    assert b"web built   web" in texts[0]
