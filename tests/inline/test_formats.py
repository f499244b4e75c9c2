"""Formats taken apart when a program is compiled print what the runtime's reader of formats prints, in whatever room."""

from __future__ import annotations

import ctypes
import mmap
import random
from pathlib import Path

import pytest

from bpfjit import open_object
from bpfjit.jit import Engine
from bpfjit.jit.formats import Piece, pieces
from bpfjit.loader.bpf import Buffers
from bpfjit.loader.compile import compile_c
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from runtime import Symbols, ffi, lib

APART = [
    (b"", 0, []),
    (b"a%%b", 0, [Piece(b"a"), Piece(b"%"), Piece(b"b")]),
    (b"%d", 1, [Piece(letter="d")]),
    (b"%-08lx!", 1, [Piece(letter="x", flags=1 | 2 | 16, width=8), Piece(b"!")]),
    (b"%+lli", 1, [Piece(letter="i", flags=4 | 16)]),
    (b"%s %c", 2, [Piece(letter="s"), Piece(b" "), Piece(letter="c")]),
    (b"%-5s,", 1, [Piece(letter="s", flags=1, width=5), Piece(b",")]),
    (b"%p %20px", 2, [Piece(letter="p"), Piece(b" "), Piece(letter="p", width=20, form="x")]),
    (b"%pI4abc!%5pB", 2, [Piece(letter="p", form="I4"), Piece(b"!"), Piece(letter="p", form="B")]),
    (b"%5pks", 1, [Piece(letter="s")]),
]
# Refused, or better left to the runtime: too few arguments, bad letters, wide fields, more text than Linux copies.
WHOLE = [
    (b"%d", 0),
    (b"%", 1),
    (b"%q", 1),
    (b"%ld%lld", 1),
    (b"%pq", 1),
    (b"%pI5", 1),
    (b"%pkq", 1),
    (b"%sx", 1),
    (b"%pusx", 1),
]
WHOLE += [(b"%300d", 1), (b"%99999999999d", 1), (b"\x01", 0), (b"%lc", 1), (b"%.3d", 1), (b"%*d", 2), (b"%s" * 9, 9)]


@pytest.mark.parametrize(("fmt", "nargs", "parts"), APART)
def test_taken_apart(fmt: bytes, nargs: int, parts: list[Piece]) -> None:
    assert pieces(fmt, nargs) == parts


@pytest.mark.parametrize(("fmt", "nargs"), WHOLE)
def test_left_to_the_runtime(fmt: bytes, nargs: int) -> None:
    assert pieces(fmt, nargs) is None


FORMATS = 40
HEAD = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
char _license[] SEC("license") = "GPL";
char text[128];
struct args { u64 v[4]; u64 room; };
"""
VALUES = [
    0,
    1,
    9,
    10,
    42,
    99,
    100,
    12345,
    99999999,
    10**8,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    10**12,
    10**19,
    2**63,
    2**64 - 1,
]


def formats(rng: random.Random, count: int) -> list[str]:
    """Formats of one to four conversions, most of which are taken apart."""
    found = []
    for _ in range(count):
        fmt = ""
        for _ in range(rng.randrange(1, 5)):
            fmt += rng.choice(["", " ", "x=", "a longer piece of text ", "%%", "\\\\t", "0123456"]).replace("\\\\t", "\\t")
            flags = "".join(rng.sample("0+- ", rng.choice([0, 0, 0, 1, 2])))
            width = rng.choice(["", "", "", "3", "12", "40"])
            fmt += "%" + flags + width + rng.choice(["d", "i", "u", "x", "X", "ld", "lu", "lx", "llu", "lld", "llX", "c"])
        found.append(fmt + rng.choice(["", "\\n", "end"]))
    return found


def source(fmts: list[str]) -> str:
    """One program of bpf_snprintf a format, and one iterator that prints all of them."""
    out = [HEAD]
    numbers = "args->v[0], args->v[1], args->v[2], args->v[3]"
    for i, fmt in enumerate(fmts):
        out.append(f'SEC("syscall") int p{i}(struct args *args) {{ u64 room = args->room;\n')
        out.append("if (room > sizeof(text)) return -1;\n")
        out.append(f'static const char fmt[] = "{fmt}"; u64 v[] = {{ {numbers} }};\n')
        out.append("return bpf_snprintf(text, room, fmt, v, sizeof(v)); }\n")
    out.append('SEC("iter/task") int all(struct bpf_iter__task *ctx) { struct seq_file *seq = ctx->meta->seq;\n')
    out.append('struct task_struct *task = ctx->task; if (!task) return 0;\nstatic const char string[] = "a string";\n')
    for i, fmt in enumerate(fmts):
        values = ", ".join(f"{VALUES[(i + 5 * n) % len(VALUES)]:#x}ull" for n in range(4))
        out.append(f'{{ static const char fmt[] = "{fmt}|%s,%s\\n"; u64 v[] = {{ {values}, 0, 0 }};\n')
        count = fmt.replace("%%", "").count("%")
        out.append(f"v[{count}] = (u64)string; v[{count + 1}] = (u64)task->comm;\n")
        out.append("bpf_seq_printf(seq, fmt, sizeof(fmt), v, sizeof(v)); bpf_seq_write(seq, string, sizeof(string)); }\n")
    out.append("return 0; }\n")
    return "".join(out)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    (folder / "formats.bpf.c").write_text(source(formats(random.Random(7), FORMATS)))
    (folder / "formats.bpf.o").write_bytes(compile_c(folder / "formats.bpf.c"))
    return folder / "formats.bpf.o"


def snprintf(engine: str, built: Path) -> list[tuple[int, bytes]]:
    rng, found = random.Random(8), []
    with Kernel(engine=engine, tiered=False) as kernel:
        it = open_object(built).load(kernel.bpf, only=[f"p{i}" for i in range(FORMATS)])
        (bss,) = [m for m in it.maps.values() if m.spec.section == ".bss"]
        for name in it.progs:
            for room in (128, 64, 20, 8, 1, 0):
                keep = Buffers()
                ctx = b"".join(rng.choice(VALUES).to_bytes(8, "little") for _ in range(4)) + room.to_bytes(8, "little")
                bss.update(bytes(4), bytes([0xAA]) * bss.spec.value_size)
                attr = uapi.TestRun(prog_fd=it.progs[name].fd, ctx_in=keep.put(ctx), ctx_size_in=len(ctx))
                raw = bytearray(attr.pack())
                kernel.bpf(uapi.BPF_PROG_TEST_RUN, raw)
                found.append((uapi.TestRun.unpack(raw).retval, bss.lookup(bytes(4))))
        it.close()
    return found


def test_snprintf_in_every_room(built: Path) -> None:
    assert snprintf("jit", built) == snprintf("interp", built)


def iterated(engine: str, built: Path, tasks: int) -> list[bytes | int]:
    """What reads of an iterator bring, an errno where one fails; enough tasks overflow a buffer many times."""
    with Kernel(engine=engine, tiered=False) as kernel:
        root = kernel.cgroups.root
        for i in range(tasks):
            kernel.tasks.create(100 + i, f"task {i}", root)
        it = open_object(built).load(kernel.bpf, only=["all"])
        link = it.attach()["all"]
        attr = bytearray(uapi.IterCreate(link_fd=link.fd).pack())
        fd = kernel.bpf(uapi.BPF_ITER_CREATE, attr)
        found: list[bytes | int] = []
        while True:
            try:
                data = kernel.caller.fds.get(fd).read(kernel.caller, 1 << 16)
            except OSError as e:
                found.append(e.errno or -1)
                break
            if not data:
                break
            found.append(data)
        it.close()
    return found


def test_seq_printf_over_many_buffers(built: Path) -> None:
    assert iterated("jit", built, 24) == iterated("interp", built, 24)


def test_no_format_is_read_at_run_time(built: Path) -> None:
    with Kernel() as kernel:
        it = open_object(built).load(kernel.bpf, only=["all", "p0"])
        ir = {name: kernel.jit.ir(kernel.caller.fds.get(p.fd).object.verified) for name, p in it.progs.items()}
        assert ir["all"].count("call i64 @rt_seq_printf") == ir["all"].count("@rt_put_text(ptr %") // 2 == FORMATS
        assert "@rt_put_" in ir["p0"]
        it.close()


def test_words_just_stored_are_written_as_words() -> None:
    """One load of them all as a vector would wait until each has reached the cache."""
    walks = Path(__file__).parent.parent.parent / "benchmarks" / "iterators" / "walks.bpf.c"
    with Kernel() as kernel, open_object(walks).load(kernel.bpf, only=["elements_write"]) as it:
        optimised = kernel.jit.ir_listing(kernel.caller.fds.get(it.progs["elements_write"].fd).object.verified)
        assert not any(wide in optimised for wide in ("memcpy", "load i128", "load <2 x i64>"))


def test_one_call_that_the_compiler_made_of_two() -> None:
    """clang merges the calls at the ends of two ways; the format is then what the way brings."""
    example = Path(__file__).parent.parent.parent / "examples" / "wait_latency.bpf.c"
    with Kernel() as kernel:
        it = open_object(example).load(kernel.bpf)
        prog = kernel.caller.fds.get(it.progs["wait_show"].fd).object
        assert kernel.jit.ir(prog.verified).count("call ptr @rt_put_u64") == 3
        it.close()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ('"%d of %llu, %c", args->v[0], args->v[1], 65', b"-7 of 10000000000000000000, A"),
        ('"%lld|%5u|%s|%llu", args->v[0], 12, "text", args->v[1]', b"-7|   12|text|10000000000000000000"),
    ],
    ids=["printk", "vprintk"],
)
def test_trace_printk(tmp_path: Path, arguments: str, line: bytes) -> None:
    path = tmp_path / "trace.bpf.c"
    path.write_text(HEAD + 'SEC("syscall") int prog(struct args *args)\n' + f"{{ bpf_printk({arguments}); return 0; }}\n")
    texts = []
    for engine in ("jit", "interp"):
        with Kernel(engine=engine, tiered=False) as kernel:
            it = open_object(path).load(kernel.bpf)
            ir = Engine().ir(kernel.caller.fds.get(it.progs["prog"].fd).object.verified)
            assert ir.count("call i64 @rt_trace_text") == 1
            keep = Buffers()
            ctx = (2**64 - 7).to_bytes(8, "little") + (10**19).to_bytes(8, "little") + bytes(24)
            attr = uapi.TestRun(prog_fd=it.progs["prog"].fd, ctx_in=keep.put(ctx), ctx_size_in=len(ctx))
            kernel.bpf(uapi.BPF_PROG_TEST_RUN, bytearray(attr.pack()))
            buf = ffi.new("char[]", 100)
            texts.append(ffi.unpack(buf, lib.rt_trace_read(kernel.native.ptr, buf, 100)))
            it.close()
    assert texts[0] == texts[1] and line in texts[0]


def test_text_at_the_end_of_a_page() -> None:
    """A string is read no further than its page unless it goes on; what is bad, or long, is another's to print."""
    page, libc = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True)
    area = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    put = ffi.cast("char *(*)(char *, u64, u64)", Symbols()["rt_put_text"])
    out = ffi.new("char[]", 80)
    Kernel().close()  # faults are a kernel's from then on, not pytest's
    assert libc.mprotect(ctypes.c_void_p(start + page), page, 0) == 0
    try:
        for length in (0, 1, 7, 15, 16, 17, 31, 32, 47, 48, 62, 63, 64, 70):
            for back in range(80):  # bytes of the string, with its NUL, that the page has
                ctypes.memset(start + page - 80, ord("x"), 80)
                at = start + page - back
                fits = length < back
                if fits:
                    ctypes.memset(at + length, 0, 1)
                end = put(out, at, 64)
                assert (end != ffi.NULL) == (fits and length < 64), (length, back)
                if end != ffi.NULL:
                    assert (end - out, ffi.buffer(out, length)[:]) == (length, b"x" * length)
    finally:
        assert libc.mprotect(ctypes.c_void_p(start + page), page, 3) == 0


FIELDS = [
    (v, w)
    for v in (0, 1, 9, 10, 99, 100, -1, -9, -10, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
    for w in (0, 1, 2, 3, 8, 128)
]


@pytest.mark.parametrize("fill", " 0")
def test_numbers_to_the_right_of_a_field(fill: str) -> None:
    out, symbols = ffi.new("char[]", 160), Symbols()
    for value, width in FIELDS:
        for name, number in (("rt_put_field_s64", value), ("rt_put_field_u64", value % 2**64)):
            put = ffi.cast("char *(*)(char *, u64, u64, u64)", symbols[name])
            end = put(out, number % 2**64, width, ord(fill))
            wanted = format(number, f"{fill if fill == '0' else ''}{width or 1}d")
            assert ffi.buffer(out, end - out)[:] == wanted.encode()
