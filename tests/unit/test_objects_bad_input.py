"""Files that are wrong: one clear line that names the file (and section or program) and the cause, of the right class."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfjit.btf import Btf, Kind, Member, RawBtf, SecVar, Type, parse_btf, parse_btf_ext, validate, write_btf
from bpfjit.btf.types import VOID_TYPE, BtfId
from bpfjit.elf.link import read_object
from bpfjit.elf.reader import read_elf
from bpfjit.errors import BpfError, BtfError, CompileError, LoadError, ObjectError
from bpfjit.loader import open_object
from bpfjit.loader.compile import compile_c, find_compiler
from kernfs_sim import Kernel

PROGRAMS = Path(__file__).resolve().parent.parent / "objects"
HEAD = '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_core_read.h>\n'
TAIL = '\nchar _license[] SEC("license") = "GPL";\n'


@pytest.fixture(scope="module")
def good() -> bytes:
    return compile_c(PROGRAMS / "maps.bpf.c")


def refused(data: bytes, kind: type[BpfError]) -> str:
    with pytest.raises(BpfError) as e:
        read_object(data, "bad", "bad.bpf.o")
    assert type(e.value) is kind, f"{type(e.value).__name__}: {e.value}"
    assert str(e.value).startswith("bad.bpf.o") and "\n" not in str(e.value)
    return str(e.value)


def patched(data: bytes, at: int, value: int, size: int = 2) -> bytes:
    return data[:at] + value.to_bytes(size, "little") + data[at + size :]


def section_at(data: bytes, name: bytes) -> int:
    """Where the header of that section stands."""
    shoff, _, _, _, _, _, count, names = struct.unpack_from("<QIHHHHHH", data, 40)
    strings = struct.unpack_from("<Q", data, shoff + 64 * names + 24)[0]
    for i in range(count):
        (off,) = struct.unpack_from("<I", data, shoff + 64 * i)
        if data[strings + off :].startswith(name + b"\0"):
            return shoff + 64 * i
    raise KeyError(name)


def field(data: bytes, section: bytes, which: int) -> int:
    return int(struct.unpack_from("<Q", data, section_at(data, section) + which)[0])


OFFSET, SIZE, LINK = 24, 32, 40


# -- ELF: no object at all, exit code 2 -----------------------------------------------------------------


def test_what_is_no_elf_file_is_said_so() -> None:
    assert "empty" in refused(b"", ObjectError)
    assert "not an ELF file" in refused(b"#!/bin/sh\n", ObjectError)
    assert "truncated" in refused(b"\x7fELF\x02\x01\x01", ObjectError)


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (4, 1, "32-bit little-endian"),
        (5, 2, "big-endian"),
        (16, 2, "ET_EXEC"),
        (18, 62, "machine 62, wanted BPF"),
        (40, 1 << 20, "truncated"),
        (60, 0xFFF0, "truncated"),
    ],
)
def test_an_elf_header_that_is_no_bpf_objects(good: bytes, at: int, value: int, why: str) -> None:
    size = 1 if at < 16 else 8 if at == 40 else 2
    assert why in refused(patched(good, at, value, size), ObjectError)


def test_a_count_of_sections_may_stand_in_the_first(good: bytes) -> None:
    """Where there are too many for the header's fields (the System V ABI's e_shnum 0 and SHN_XINDEX)."""
    shoff, count, names = struct.unpack_from("<Q", good, 40)[0], *struct.unpack_from("<HH", good, 60)
    large = patched(patched(good, 60, 0), 62, 0xFFFF)
    large = patched(patched(large, shoff + SIZE, count, 8), shoff + LINK, names, 4)
    plain, found = read_elf(good, "a"), read_elf(large, "a")
    assert [s.name for s in found.sections.values()] == [s.name for s in plain.sections.values()] != []
    assert "section headers end" in refused(patched(large, shoff + SIZE, 1 << 60, 8), ObjectError)
    assert "names are in section" in refused(patched(good, 62, 0xFF00), ObjectError)
    assert "headers of 63 bytes" in refused(patched(good, 58, 63), ObjectError)


def test_sections_and_tables_stay_within_the_file(good: bytes) -> None:
    symtab = section_at(good, b".symtab")
    assert "past the end" in refused(patched(good, section_at(good, b".maps") + SIZE, 1 << 40, 8), ObjectError)
    assert "multiple of" in refused(patched(good, symtab + SIZE, 25, 8), ObjectError)
    assert "name outside" in refused(patched(good, field(good, b".symtab", OFFSET) + 24, 0x7FFFFFFF, 4), ObjectError)
    assert "STRTAB" in refused(patched(good, symtab + LINK, 0, 4), ObjectError)
    rel = field(good, b".relsyscall", OFFSET)
    assert "symbol 16777215" in refused(patched(good, rel + 12, 0xFFFFFF, 4), ObjectError)


def test_a_directory_a_missing_and_an_unreadable_file(tmp_path: Path) -> None:
    for path, why in ((tmp_path, "a directory"), (tmp_path / "none.o", "no such file"), (Path("/dev/null"), "regular")):
        with pytest.raises(ObjectError, match=why):
            open_object(path)
    with pytest.raises(ObjectError, match="no such file"):
        open_object(tmp_path / "none.bpf.c")


def test_a_name_that_would_break_the_line_is_shown_as_an_escape() -> None:
    assert str(LoadError("two\nlines", section="\x1b[31m")) == "section \\x1b[31m: two\\nlines"


# -- code: an object's own faults, exit code 1 --------------------------------------------------------------


def test_code_relocations_and_functions_make_sense(good: bytes) -> None:
    rel, symtab = field(good, b".relsyscall", OFFSET), field(good, b".symtab", OFFSET)
    assert "outside the instructions" in refused(patched(good, rel, 1 << 20, 8), LoadError)
    assert "relocation of kind 99" in refused(patched(good, rel + 8, 99, 4), LoadError)
    count = field(good, b".symtab", SIZE) // 24
    functions = [symtab + 24 * i for i in range(count) if good[symtab + 24 * i + 4] & 15 == 2]
    assert "does not fit" in refused(patched(good, functions[0] + 16, 1 << 20, 8), LoadError)
    code = section_at(good, b"syscall")
    assert "not a multiple of 8" in refused(patched(good, code + SIZE, field(good, b"syscall", SIZE) - 3, 8), ObjectError)


def load_text(text: str, tmp_path: Path) -> None:
    source = tmp_path / "bad.bpf.c"
    source.write_text(HEAD + text + TAIL)
    with Kernel() as kernel:
        try:
            open_object(source).load(kernel.bpf).close()
        finally:
            assert not list(kernel.maps) and not list(kernel.progs) and len(kernel.btfs) == 1
            assert len(kernel.caller.fds) == 0


MAP = "struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, %s); __type(key, u32); __type(value, %s); }"
MAP += ' m SEC(".maps");'
PROG = 'SEC("%s") int prog(void *ctx) { return 0; }'
BAD_OBJECTS = {
    "a map of zero entries": (MAP % (0, "u32"), r"map m \(hash of 0 entries, key 4 and value 4 bytes\) refused"),
    "a map of absurd size": (MAP % (2000000000, "struct { char c[1 << 20]; }"), r"map m .* refused"),
    "a map without type": ('struct { __uint(max_entries, 1); } m SEC(".maps");', "map m: map type isn't specified"),
    "an unknown attribute": ('struct { __uint(type, 1); __uint(colour, 2); } m SEC(".maps");', "unknown attribute 'colour'"),
    "conflicting sizes": (
        'struct { __uint(type, 1); __uint(key_size, 8); __type(key, u32); } m SEC(".maps");',
        "key of 4 bytes conflicts with key_size 8",
    ),
    "a map that is no struct": ('int m SEC(".maps");', "map m: defined by a (VOID|INT)"),
    "a bad pinning": ('struct { __uint(type, 1); __uint(pinning, 7); } m SEC(".maps");', "pinning 7, wanted 0 to 1"),
    "an unknown section": (PROG % "nonsense/here", "section nonsense/here, program prog: unknown section"),
    "an unknown view": (PROG % "view/nothing", "program prog: unknown view target 'nothing'"),
    "an unknown iterator": (PROG % "iter/nothing", "program prog: unknown iterator target 'nothing'"),
    "an unknown tracepoint": (PROG % "tp_btf/nothing", "program prog: unknown tracepoint 'nothing'"),
    "a section without its target": (PROG % "tp_btf", "program prog: no target"),
    "struct_ops": (PROG % "struct_ops/x", "program prog: struct_ops programs are not supported"),
    "an unknown helper": (
        'static long (*no_helper)(void) = (void *)9999; SEC("syscall") int prog(void *ctx) { return no_helper(); }',
        "program prog: invalid func unknown#9999",
    ),
    "an unresolved extern": (
        'extern int nowhere(void) __ksym; SEC("syscall") int prog(void *ctx) { return nowhere(); }',
        "program prog: unresolved extern nowhere",
    ),
    "a missing field in reach": (
        "struct task_struct___x { int no_such; } __attribute__((preserve_access_index));"
        'SEC("raw_tp/x") int prog(void *ctx) { struct task_struct___x *t = (void *)bpf_get_current_task_btf();'
        " return t->no_such; }",
        r"program prog: no field_byte_offset of struct task_struct___x\.no_such",
    ),
    "a huge .bss": ('char big[3000000000UL]; SEC("syscall") int prog(void *ctx) { return big[5]; }', "bad.bss|BTF"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_OBJECTS)
def test_an_object_with_faults_of_its_own_is_refused_by_name(name: str, tmp_path: Path) -> None:
    text, why = BAD_OBJECTS[name]
    with pytest.raises(BpfError, match=why) as e:
        load_text(text, tmp_path)
    assert not isinstance(e.value, ObjectError | BtfError | CompileError), "exit code 1"
    assert "\n" not in str(e.value)


def test_two_programs_of_one_name_are_refused(good: bytes) -> None:
    two = compile_c(PROGRAMS / "subprogs.bpf.c")
    names = field(two, b".strtab", OFFSET)
    at = two.index(b"\0calls_beside\0", names) + 1
    text = refused(two[:at] + b"calls\0" + two[at + 6 :], LoadError)
    assert "section syscall: two programs are called calls" in text


# -- BTF: a file that cannot be read, exit code 2 --------------------------------------------------------------


def table(*types: Type) -> RawBtf:
    return parse_btf(write_btf(Btf([VOID_TYPE, *types])))


INT = Type(Kind.INT, "int", 4, bits=32, encoding=1, signed=True)


def struct_of(size: int, *members: Member) -> Type:
    return Type(Kind.STRUCT, "s", size, members=members)


BAD_TYPES: dict[str, tuple[tuple[Type, ...], str]] = {
    "a wild type id": ((Type(Kind.PTR, ref=BtfId(99)),), "refers to type 99 of 2"),
    "a typedef of itself": ((Type(Kind.TYPEDEF, "t", ref=BtfId(1)),), "chain of modifiers"),
    "a pointer to itself": ((Type(Kind.PTR, ref=BtfId(1)),), "leads to itself"),
    "pointers in a ring": ((Type(Kind.PTR, ref=BtfId(2)), Type(Kind.CONST, ref=BtfId(1))), "leads to itself"),
    "an array of itself": ((Type(Kind.ARRAY, ref=BtfId(1), index_id=BtfId(2), nelems=1), INT), "leads to itself"),
    "a struct in itself": ((struct_of(4, Member("a", BtfId(1), 0)),), "contains itself"),
    "a member past the end": ((struct_of(4, Member("a", BtfId(2), 32)), INT), "ends past 4 bytes"),
    "an int of no bits": ((Type(Kind.INT, "int", 4, bits=0),), "0 bits in 4 bytes"),
    "a function of no prototype": ((INT, Type(Kind.FUNC, "f", ref=BtfId(1))), "no function prototype"),
    "a section of types": ((INT, Type(Kind.DATASEC, ".data", 4, secvars=(SecVar(BtfId(1), 0, 4),))), "no variable"),
    "a name without end": ((Type(Kind.INT, "x" * 600, 4, bits=32),), "name of 600 characters"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TYPES)
def test_types_that_mislead_their_readers_are_refused(name: str) -> None:
    types, why = BAD_TYPES[name]
    with pytest.raises(BtfError, match=why):
        validate(table(*types))


def test_structures_that_hold_each_other_twice_at_every_level_take_no_time() -> None:
    start = time.monotonic()
    btf = table(
        INT, *(Type(Kind.UNION, "", 4, members=(Member("", BtfId(n), 0), Member("", BtfId(n), 0))) for n in range(1, 28))
    )
    validate(btf)
    assert btf.align_of(len(btf) - 1) == 4
    assert time.monotonic() - start < 2


HEADER = {"magic": (0, 2), "version": (2, 1), "hdr_len": (4, 4), "type_off": (8, 4), "type_len": (12, 4), "str_off": (16, 4)}


@pytest.mark.parametrize("name", HEADER)
def test_a_btf_header_is_checked(name: str) -> None:
    at, size = HEADER[name]
    data = write_btf(Btf([VOID_TYPE, INT]))
    with pytest.raises(BtfError):
        validate(parse_btf(patched(data, at, 0x7777 if size > 1 else 9, size)))
    with pytest.raises(BtfError, match="shorter than"):
        parse_btf(data[:20])


def test_corrupt_btf_in_an_object_names_file_and_section(good: bytes) -> None:
    for section, at in ((b".BTF", 2), (b".BTF.ext", 0), (b".BTF.ext", 12)):
        text = refused(patched(good, field(good, section, OFFSET) + at, 0x7F7F7F7F, 4), BtfError)
        assert f"section {section.decode()}" in text


def ext(records: bytes, length: int | None = None) -> bytes:
    size = len(records) if length is None else length
    return struct.pack("<HBBIIIIIII", 0xEB9F, 1, 0, 32, 0, size, 0, 0, 0, 0) + records


BAD_EXT: dict[str, tuple[bytes, str]] = {
    "a magic": (bytes(32), "magic"),
    "a length past the end": (ext(bytes(8), 4000), "past the end"),
    "records too small": (ext(struct.pack("<III", 4, 0, 1)), "record of 4 bytes"),
    "a huge count": (ext(struct.pack("<III", 8, 0, 0x7FFFFFFF)), "does not fit"),
    "no records": (ext(struct.pack("<III", 8, 0, 0)), "0 records"),
    "a wild name": (ext(struct.pack("<IIIII", 8, 999, 1, 0, 1)), "string offset 999"),
    "a wild type": (ext(struct.pack("<IIIII", 8, 0, 1, 0, 77)), "type id 77"),
    "half a header": (ext(struct.pack("<II", 8, 0)), "inside a header"),
}


@pytest.mark.parametrize("name", BAD_EXT)
def test_btf_ext_is_checked(name: str) -> None:
    data, why = BAD_EXT[name]
    with pytest.raises(BtfError, match=why):
        parse_btf_ext(data, table(INT))


# -- the compiler ------------------------------------------------------------------------------------------------


def test_a_source_that_does_not_compile_names_its_line(tmp_path: Path) -> None:
    source = tmp_path / "wrong.bpf.c"
    source.write_text("int x;\nint y = z;\n")
    with pytest.raises(CompileError, match=r"wrong\.bpf\.c: line 2: use of undeclared identifier 'z'"):
        compile_c(source)
    with pytest.raises(CompileError, match="cpu 'v9', wanted one of v1, v2, v3, v4"):
        compile_c(source, cpu="v9")


def find(monkeypatch: pytest.MonkeyPatch, which: Callable[[str], str | None], ziglang: bool) -> list[str]:
    monkeypatch.delenv("BPFJIT_CC", raising=False)
    monkeypatch.setattr("shutil.which", which)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if ziglang else None)
    return find_compiler()


def test_clang_comes_first_then_the_ziglang_wheel_then_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    clang = "/usr/bin/clang-17"
    assert find(monkeypatch, lambda n: clang if n == "clang-17" else None, True) == [clang, "-target", "bpf"]
    assert find(monkeypatch, lambda n: None, True)[1:] == ["-m", "ziglang", "cc", "-target", "bpfel-freestanding"]
    with pytest.raises(CompileError, match="no clang found") as e:
        find(monkeypatch, lambda n: None, False)
    assert "\n" not in str(e.value)


def test_a_chosen_compiler_gets_the_target_that_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    for chosen, target in (
        ("mycc -v", "bpf"),
        ("python3 -m ziglang cc", "bpfel-freestanding"),
        ("/x/zig cc", "bpfel-freestanding"),
    ):
        monkeypatch.setenv("BPFJIT_CC", chosen)
        assert find_compiler() == [*chosen.split(), "-target", target]
