"""bpf_seq_printf and bpf_seq_write: the same formats on the live kernel (an iterator) and here (a view), byte for byte."""

from __future__ import annotations

import errno
import os
import random
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from bpf_calls import Calls, load_object, possible_cpus, u32

from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

HEAD = struct.Struct("<IIQqQ16Q")
MEMORY_BYTES, FMT_BYTES, WRITE = 2048, 512, 0xFFFFFFFF
SEED, RANDOM_CASES = 20240601, 1500


@dataclass(frozen=True)
class Case:
    """One call: `fmt` with its NUL, values; `at` gives values that are offsets into `memory`; what must come out."""

    fmt: bytes
    args: tuple[int, ...] = ()
    at: frozenset[int] = frozenset()
    memory: bytes = b""
    data_len: int | None = None
    fmt_size: int | None = None
    want: bytes | int | None = field(default=None, compare=False)

    def pack(self) -> bytes:
        size = len(self.fmt) if self.fmt_size is None else self.fmt_size
        length = 8 * len(self.args) if self.data_len is None else self.data_len
        bits = sum(1 << i for i in self.at)
        args = [a & 0xFFFFFFFFFFFFFFFF for a in self.args] + [0] * (16 - len(self.args))
        head = HEAD.pack(size, length, bits, -12345, 0, *args)
        return head + self.fmt.ljust(FMT_BYTES, b"\0") + self.memory.ljust(MEMORY_BYTES, b"\0")


class Printer:
    """Runs cases in one kernel: (return value of the helper, text, errno of the read)."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.object = load_object(calls, "runtime_format", ["iter_case" if calls.is_live else "view_case"])
        (prog,) = self.object.progs.values()
        self.fd = self.object.maps["cases"].fd
        if calls.is_live:
            self.link = self.object.attach_prog(prog, u32(os.getpid()))
        else:
            assert calls.kernel is not None
            calls.kernel.cgroups.create("/c")
            self.link = self.object.attach_prog(prog)
            self.link.pin("/sys/fs/bpf/v")
            self.link.pin("/sys/fs/cgroup/c/v")

    def close(self) -> None:
        self.link.close()
        self.object.close()

    def _read(self) -> bytes:
        if self.calls.kernel is not None:
            return self.calls.kernel.read_bytes("/sys/fs/cgroup/c/v")
        fd = self.calls.call(uapi.BPF_ITER_CREATE, uapi.IterCreate(link_fd=self.link.fd))
        assert fd >= 0
        try:
            text = b""
            while more := os.read(fd, 1 << 16):
                text += more
            return text
        finally:
            os.close(fd)

    def run(self, case: Case) -> tuple[int, bytes, int]:
        assert self.calls.update(self.fd, bytes(4), case.pack()) == 0
        text, error = b"", 0
        try:
            text = self._read()
        except OSError as e:
            error = e.errno or 0
        packed = self.calls.lookup(self.fd, bytes(4), HEAD.size + FMT_BYTES + MEMORY_BYTES)
        assert isinstance(packed, bytes)
        return HEAD.unpack_from(packed)[3], text, error


@pytest.fixture
def printer(calls: Calls) -> Iterator[Printer]:
    made = Printer(calls)
    yield made
    made.close()


@pytest.fixture
def both(sim: Calls, live: Calls) -> Iterator[tuple[Printer, Printer]]:
    ours, theirs = Printer(sim), Printer(live)
    yield ours, theirs
    ours.close()
    theirs.close()


def z(fmt: str | bytes) -> bytes:
    return (fmt.encode() if isinstance(fmt, str) else fmt) + b"\0"


NEG = -5
BIG = 0xFEDCBA9876543210
MEM = b"hello\0" + bytes(10) + bytes([192, 0, 2, 1]) + bytes(12) + bytes(range(0x20, 0x30)) + b"x" * 700 + b"\0"
STR, IP4, IP6, LONG = 0, 16, 32, 48


def mem(fmt: str, *args: int, at: tuple[int, ...] | None = None, want: bytes | int | None = None) -> Case:
    """Arguments are offsets into MEM (those listed in `at`, or all)."""
    return Case(z(fmt), args, frozenset(range(len(args)) if at is None else at), MEM, want=want)


BAD = """%I4 %I6 %pI5 %*d %.3d %.5s %#x %o %hd %hhd %zu %jd %td %f %g %e %a %n %m %pa %pd %pU %ph %pM %pV %pG %pD %pe %pO
%pf %pF %pR %pr %pb %pi %pI %pi7 %pk %pu %pkd %L %q %lc %ls %lp %llld %Lx %tx %Z %5 %l %ll %- %0 %sa %s1 %pksa %s\xe9 %s\x80
%p\xe9 %p\x80 %5sd"""
# What differs from one boot to the next only in its hash.
ALIKE = ("%p.", "%p:%d", "%p", "%p-", "%px-", "%p:%px", "%psx", "%pSb", "%pxyz", "%pKx", "%20px", "%-20px|")
# Every row of facts/seq_file.md's table. `want`: text, or the helper's errno.
TABLE: tuple[Case, ...] = (
    Case(z("%d %i %u %x %X"), (NEG, NEG, NEG, BIG, BIG), want=b"-5 -5 4294967291 76543210 76543210"),
    Case(z("%ld %li %lu"), (NEG, 7, NEG), want=b"-5 7 18446744073709551611"),
    Case(z("%lx %lX"), (BIG, BIG), want=b"fedcba9876543210 FEDCBA9876543210"),
    Case(z("%lld %lli %llu %llx"), (NEG, 7, NEG, BIG), want=b"-5 7 18446744073709551611 fedcba9876543210"),
    Case(z("%d"), (1 << 32,), want=b"0"),
    Case(z("[%c]"), (0x141,), want=b"[A]"),
    Case(z("[%c]"), (0,), want=b"[\0]"),
    Case(z("%5d|%-5d|%05d|%+d|% d|%-05d"), (42,) * 6, want=b"   42|42   |00042|+42| 42|42   "),
    Case(z("%016llx"), (0xABC,), want=b"0000000000000abc"),
    mem("%5c|%10s|%-10s|", 65, STR, STR, at=(1, 2), want=b"    A|     hello|hello     |"),
    Case(z("%1000d"), (1,), want=b" " * 999 + b"1"),
    mem("%s", STR, want=b"hello"),
    Case(z("[%s]"), (0,), want=b"[]"),
    Case(z("[%s]"), (0xDEAD,), want=b"[]"),
    mem("%pks|%20pks|", STR, STR, want=b"hello|hello|"),
    Case(z("[%pks %pus]"), (0, 0), want=b"[ ]"),
    Case(z("%p|%pK"), (0, 0), want=b"0" * 16 + b"|" + b"0" * 16),
    Case(z("%px"), (0xFFFF888812345678,), want=b"ffff888812345678"),
    Case(z("%px|%20px|%-20px|"), (0x12, 0x12, 0x12), want=None),
    Case(z("%pB|%pS|%pSR|%ps"), (0x1234,) * 4, want=b"0x1234|0x1234|0x1234|0x1234"),
    mem("%pI4|%pi4|%20pI4|", IP4, IP4, IP4, want=b"192.0.2.1|192.000.002.001|192.0.2.1|"),
    Case(z("%pI4|%pi4"), (0, 0), want=b"0.0.0.0|000.000.000.000"),
    mem("%pI6|%pi6", IP6, IP6, want=b"2021:2223:2425:2627:2829:2a2b:2c2d:2e2f|202122232425262728292a2b2c2d2e2f"),
    mem("%pI6c|%pI4h|%pI6cx!", IP6, IP4, IP6, want=None),
    Case(z("%i4"), (9,), want=b"94"),
    Case(z(b"\x80\xff\xc3\xa9 %% %d"), (1,), want=b"\x80\xff\xc3\xa9 % 1"),
    Case(z("\t\n\v\f\r"), want=b"\t\n\v\f\r"),
    Case(z("%d %d"), (1,), want=-errno.EINVAL),
    Case(z("%d"), (1, 2, 3), want=b"1"),
    Case(z("%d" * 12), tuple(range(12)), want=b"01234567891011"),
    Case(z("%d" * 13), tuple(range(13)), want=-errno.EINVAL),
    Case(z("%d"), tuple(range(13)), want=-errno.EINVAL),
    Case(z("%d"), (1, 2), data_len=12, want=-errno.EINVAL),
    Case(z("%d"), (1,), data_len=0, want=-errno.EINVAL),
    Case(b"abc", want=-errno.EINVAL),
    Case(b"abc%d", (1,), want=-errno.EINVAL),
    Case(z("cut\0%n"), want=b"cut"),
    Case(z(""), want=b""),
    mem("%s", LONG, want=b"x" * 511),
    mem("%.0s", LONG, want=-errno.EINVAL),
    Case(z("%s%s%d"), (LONG, LONG, 7), frozenset({0, 1}), MEM[: LONG + 255] + b"\0", want=-errno.ENOSPC),
    mem("%s%s", LONG, LONG, want=-errno.ENOSPC),
    *(
        Case(z(f), (1, 2, 3), want=-errno.EINVAL)
        for f in BAD.split()
    ),
    Case(z("%"), (1,), want=-errno.EINVAL),
    Case(z("abc %"), (1,), want=-errno.EINVAL),
    *(Case(z(bytes([c])), want=-errno.EINVAL) for c in (*range(1, 9), *range(14, 32), 127)),
    *(Case(z(f), (0x1234, 0x1234)) for f in ALIKE),
)  # fmt: skip


def show(case: Case) -> str:
    return repr(case.fmt[:40])


def plain(text: bytes) -> bytes:
    """Hashed pointers differ from boot to boot: their shape stays."""
    return re.sub(rb"(?<![0-9a-f])0{8}[0-9a-f]{8}(?![0-9a-f])", b"<hashed pointer>", text)


@pytest.mark.parametrize("case", [c for c in TABLE if c.want is not None], ids=show)
def test_every_row_of_the_table(sim: Calls, case: Case, printer_cache: dict[str, Printer]) -> None:
    printer = printer_cache["sim"]
    check_row(printer, case)


@pytest.fixture(scope="module")
def printer_cache() -> Iterator[dict[str, Printer]]:
    with Kernel(1) as kernel:
        printer = Printer(Calls(kernel.bpf, possible_cpus(), kernel))
        yield {"sim": printer}
        printer.close()


def check_row(printer: Printer, case: Case) -> None:
    ret, text, error = printer.run(case)
    if isinstance(case.want, bytes):
        assert (ret, text, error) == (0, case.want, 0)
    else:
        assert (ret, text, error) == (case.want, b"", 0)


def test_the_table_is_what_linux_does(live: Calls) -> None:
    printer = Printer(live)
    for case in TABLE:
        if case.want is not None:
            check_row(printer, case)
    printer.close()


def test_table_on_both_kernels(both: tuple[Printer, Printer]) -> None:
    for case in TABLE:
        ours, theirs = (p.run(case) for p in both)
        assert (ours[0], plain(ours[1]), ours[2]) == (theirs[0], plain(theirs[1]), theirs[2]), case.fmt


# -- formats by the hundred ----------------------------------------------------------------------------


INTEGERS = (0, 1, 9, 10, 99, 100, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
TEXT = b"abc 019.,:-_()[]%\t\n\x80\xa0\xd7\xfe\xff"


class Maker:
    """Builds a random case piece by piece: mostly good formats, arguments at the edges, strings and addresses in memory."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.fmt = b""
        self.args: list[int] = []
        self.at: set[int] = set()
        self.memory = bytearray(rng.randbytes(64) + bytes(16))

    def case(self) -> Case:
        for _ in range(self.rng.randint(1, 6)):
            self.piece()
        if self.rng.random() < 0.05 and self.args:
            self.args.pop()
            self.at.discard(len(self.args))
        return Case(z(self.fmt[: FMT_BYTES - 1]), tuple(self.args), frozenset(self.at), bytes(self.memory))

    def piece(self) -> None:
        rng = self.rng
        kind = rng.random()
        if kind < 0.25:
            self.fmt += bytes(rng.choice(TEXT) for _ in range(rng.randint(1, 5))).replace(b"%", b"%%")
            return
        if kind < 0.28:
            self.fmt += bytes([rng.choice([c for c in range(1, 256) if c != ord("%")])])
            return
        spec = "%" + "".join(rng.choice("-+ 0") for _ in range(rng.choice((0, 0, 1, 2, 3))))
        if rng.random() < 0.45:
            spec += str(rng.choice((1, 2, 3, 5, 8, 10, 16, 17, 20, 33, 100)))
        if rng.random() < 0.03:
            spec += rng.choice((".3", ".", "*", "#", "h"))
        kinds = (self.integer, self.character, self.string, self.address, self.pointer)
        self.fmt += (spec + rng.choices(kinds, (55, 7, 16, 12, 10))[0]()).encode()

    def integer(self) -> str:
        self.args.append(self.rng.choice((*INTEGERS, self.rng.getrandbits(64))))
        return self.rng.choice(("", "l", "ll")) + self.rng.choice("diuxX")

    def character(self) -> str:
        self.args.append(self.rng.getrandbits(16))
        return "c"

    def string(self) -> str:
        rng, form = self.rng, self.rng.choice(("s", "s", "pks", "pus"))
        text = bytes(rng.randint(1, 255) for _ in range(rng.choice((0, 1, 3, 10, 40, 100, 240)))) + b"\0"
        # %pus reads user memory: Linux's map values are not, ours have no such wall.
        if len(self.memory) + len(text) <= MEMORY_BYTES and form != "pus" and rng.random() < 0.9:
            self.point(len(self.memory))
            self.memory += text
        else:
            self.args.append(rng.choice((0, 1, 0xDEAD000000000000)))
        return form

    def address(self) -> str:
        if self.rng.random() < 0.85:
            self.point(self.rng.randint(0, 48))
        else:
            self.args.append(self.rng.choice((0, 0x10)))
        return self.rng.choice(("pI4", "pi4", "pI6", "pi6", "pI4b", "pI6c"))

    def pointer(self) -> str:
        form = self.rng.choice(("px", "p", "pK", "pS", "ps", "pB"))
        hashed = form in ("p", "pK")  # only what is not hashed can be compared
        edges = (0, 2**64 - 1, 2**64 - 4095) if hashed else (0, 1, 0x1234, 4096, 2**64 - 1, 2**64 - 4096)
        self.args.append(self.rng.choice(edges))
        return form

    def point(self, offset: int) -> None:
        self.at.add(len(self.args))
        self.args.append(offset)


def test_random_formats_print_what_linux_prints(both: tuple[Printer, Printer]) -> None:
    """BPFJIT_FORMATS=N runs more of them."""
    rng = random.Random(SEED)
    errors = 0
    for _ in range(int(os.environ.get("BPFJIT_FORMATS", RANDOM_CASES))):
        case = Maker(rng).case()
        ours, theirs = (p.run(case) for p in both)
        assert ours == theirs, (case.fmt, case.args, case.at)
        errors += theirs[0] < 0
    assert errors > RANDOM_CASES // 30, "good and bad formats, both in numbers"


# -- pointers ------------------------------------------------------------------------------------------


def test_pointers_are_hashed_to_the_same_16_digits_every_time(printer: Printer) -> None:
    ret, text, _ = printer.run(Case(z("%p %p %pK"), (0, 0, 0), frozenset({0, 1, 2}), MEM))
    first, second, third = text.split()
    assert ret == 0 and first == second == third
    assert re.fullmatch(rb"0{8}[0-9a-f]{8}", first) and first != b"0" * 16


def test_width_on_a_hashed_pointer_leaves_8_digits(printer: Printer) -> None:
    _, text, _ = printer.run(Case(z("[%20p]"), (0,), frozenset({0}), MEM))
    assert re.fullmatch(rb"\[ {12,19}[0-9a-f]{1,8}\]", text), text


# -- sizes ---------------------------------------------------------------------------------------------


def test_output_that_cannot_fit_is_eoverflow_and_the_read_fails_on_linux(live: Calls, sim: Calls) -> None:
    theirs = Printer(live)
    assert theirs.run(Case(z("%99999d"), (1,))) == (-errno.EOVERFLOW, b"", errno.E2BIG)
    theirs.close()
    # A view has no such limit: its buffer doubles and the program runs again.
    ours = Printer(sim)
    assert ours.run(Case(z("%99999d"), (1,))) == (0, b" " * 99998 + b"1", 0)
    ours.close()


def test_seq_write_of_nothing_is_fine(printer: Printer) -> None:
    assert printer.run(Case(b"", data_len=0, fmt_size=WRITE)) == (0, b"", 0)


def test_seq_write_passes_every_byte(printer: Printer) -> None:
    data = bytes(range(256)) * 8
    assert printer.run(Case(b"", data_len=len(data), fmt_size=WRITE, memory=data)) == (0, data, 0)


def test_a_bad_format_prints_nothing_even_after_good_pieces(printer: Printer) -> None:
    assert printer.run(Case(z("printed %d %n"), (1, 2))) == (-errno.EINVAL, b"", 0)
