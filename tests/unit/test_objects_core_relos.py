"""CO-RE one record at a time: what matches, what the instruction becomes, which records make no sense."""

from __future__ import annotations

import pytest

from bpfjit.btf import CoreRelo, Kind, RawBtf, parse_btf, write_btf
from bpfjit.btf.from_c import btf_from_c
from bpfjit.btf.types import essential
from bpfjit.errors import BpfError, BtfError, LoadError
from bpfjit.isa.encoding import Insn, ld_imm64
from bpfjit.relocate.core import POISON, Value, patch, relocate, resolve
from bpfjit.uapi import bpf as uapi

MOV = Insn(0xB7, 1, imm=4)
LOAD = Insn(0x61, 1, 2, 4)  # r1 = *(u32 *)(r2 + 4)
STORE = Insn(0x63, 1, 2, 4)


def types(source: str) -> RawBtf:
    return parse_btf(write_btf(btf_from_c(source)))


LOCAL = types("""
struct pair { int first; int second; };
struct holder { struct pair pairs[3]; struct { int deep; }; int tail[0]; };
enum level { LOW = 1, HIGH = 5 };
union both { int a; long b; };
struct uses_ptr { struct pair *p; union both *u; };
typedef int (*callback_t)(struct pair *p, int n);
typedef unsigned int word_t;
""")


def find(btf: RawBtf, kind: Kind, name: str) -> int:
    found = btf.find(kind, name)
    assert found is not None
    return found


def relo(access: str, kind: int, name: str = "pair", of: Kind = Kind.STRUCT) -> CoreRelo:
    return CoreRelo(0, LOCAL.find(of, name) or 0, access, kind)  # type: ignore[arg-type]


def test_flavors_end_a_name() -> None:
    assert [essential(n) for n in ("a___b", "a__b", "a___b___c", "___a", "a")] == ["a", "a__b", "a", "___a", "a"]


FIELD = uapi.BPF_CORE_FIELD_BYTE_OFFSET
PATHS = [
    ("pair", "0:1", "struct pair { long pad; int second; };", 8),
    ("pair", "2:1", "struct pair { long pad; int second; };", 2 * 16 + 8),
    ("pair", "0:1", "struct pair { struct { int x; union { int second; }; }; };", 4),
    ("pair", "0:1", "struct pair { int first; };", None),
    ("pair", "0:1", "struct pair { long *second; };", None),
    ("pair", "0:1", "union pair { int first; int second; };", None),
    ("holder", "0:0:2:1", "struct pair { int second; }; struct holder { char c[3]; struct pair pairs[4]; };", 4 + 8),
    ("holder", "0:0:2:1", "struct pair { int second; }; struct holder { struct pair pairs[2]; };", None),
    ("holder", "0:1:0", "struct holder { long x; int deep; };", 8),
    ("holder", "0:2:9", "struct holder { int x; int tail[0]; };", 4 + 36),
]


@pytest.mark.parametrize(("name", "access", "kernel", "offset"), PATHS)
def test_a_path_is_followed_by_names(name: str, access: str, kernel: str, offset: int | None) -> None:
    value = resolve(LOCAL, relo(access, FIELD, name), types(kernel))
    assert (None if value.poison else value.value) == offset
    exists = resolve(LOCAL, relo(access, uapi.BPF_CORE_FIELD_EXISTS, name), types(kernel))
    assert exists.value == (offset is not None)


MATCHES = [
    ("pair", Kind.STRUCT, "struct pair { int second; int first; long more; };", True),
    ("pair", Kind.STRUCT, "struct pair___v2 { int second; int first; };", True),
    ("pair", Kind.STRUCT, "struct pair { unsigned int first; int second; };", False),
    ("pair", Kind.STRUCT, "struct pair { long first; int second; };", False),
    ("pair", Kind.STRUCT, "struct pair { int first; };", False),
    ("level", Kind.ENUM, "enum level { HIGH = 7, LOW = 9, MID = 8 };", True),
    ("level", Kind.ENUM, "enum level { LOW = 1 };", False),
    ("both", Kind.UNION, "union both { long b; int a; };", True),
    ("both", Kind.UNION, "struct both { int a; long b; };", False),
    ("uses_ptr", Kind.STRUCT, "struct pair; union both; struct uses_ptr { struct pair *p; union both *u; };", True),
    ("uses_ptr", Kind.STRUCT, "struct pair; struct both; struct uses_ptr { struct pair *p; struct both *u; };", False),
    ("uses_ptr", Kind.STRUCT, "struct uses_ptr { long *p; long *u; };", False),
    ("callback_t", Kind.TYPEDEF, "struct pair { int x; }; typedef int (*callback_t)(struct pair *q, int m);", True),
    ("callback_t", Kind.TYPEDEF, "struct pair { int x; }; typedef int (*callback_t)(struct pair *q);", False),
    ("callback_t", Kind.TYPEDEF, "struct pair { int x; }; typedef long (*callback_t)(struct pair *q, int n);", False),
    ("word_t", Kind.TYPEDEF, "typedef unsigned int word_t;", True),
    ("word_t", Kind.TYPEDEF, "typedef unsigned long word_t;", False),
]


@pytest.mark.parametrize(("name", "kind", "kernel", "matches"), MATCHES)
def test_types_match_by_names_and_shapes(name: str, kind: Kind, kernel: str, matches: bool) -> None:
    assert resolve(LOCAL, relo("0", uapi.BPF_CORE_TYPE_MATCHES, name, kind), types(kernel)).value == matches


EXISTS = [
    ("pair", Kind.STRUCT, "struct pair { long other; };", True),
    ("pair", Kind.STRUCT, "union pair { int first; };", False),
    ("level", Kind.ENUM, "enum level { SMALL = 1, LARGE = 0x100000000 };", True),
    ("word_t", Kind.TYPEDEF, "typedef int word_t;", True),
    ("word_t", Kind.TYPEDEF, "typedef int *word_t;", False),
    ("callback_t", Kind.TYPEDEF, "struct s { int x; }; typedef int (*callback_t)(struct s *p, long n);", True),
    ("callback_t", Kind.TYPEDEF, "typedef int (*callback_t)(int *a, long b);", False),
]


@pytest.mark.parametrize(("name", "kind", "kernel", "exists"), EXISTS)
def test_types_exist_by_kind_all_the_way_down(name: str, kind: Kind, kernel: str, exists: bool) -> None:
    assert resolve(LOCAL, relo("0", uapi.BPF_CORE_TYPE_EXISTS, name, kind), types(kernel)).value == exists


NONSENSE = [
    relo("0:9", FIELD),
    relo("0:0:0", FIELD),
    relo("0:0:7:0", FIELD, "holder"),
    relo("", FIELD),
    relo("0:-1", FIELD),
    relo("0:x", FIELD),
    relo("0:" * 70 + "0", FIELD),
    relo("0:99999999999999999999", FIELD),
    relo("5", uapi.BPF_CORE_ENUMVAL_VALUE, "level", Kind.ENUM),
    relo("0:1", uapi.BPF_CORE_ENUMVAL_VALUE, "level", Kind.ENUM),
    relo("1", uapi.BPF_CORE_TYPE_SIZE),
    relo("0", 99),
    CoreRelo(0, 4000, "0", uapi.BPF_CORE_TYPE_EXISTS),  # type: ignore[arg-type]
    CoreRelo(0, 4000, "0", uapi.BPF_CORE_TYPE_ID_LOCAL),  # type: ignore[arg-type]
    CoreRelo(0, 0, "0:0", FIELD),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("record", NONSENSE, ids=lambda r: f"{r.kind} {r.access[:20]}")
def test_a_record_that_does_not_fit_its_types_is_refused(record: CoreRelo) -> None:
    with pytest.raises(BtfError):
        resolve(LOCAL, record, LOCAL)
    with pytest.raises(LoadError, match="program p"):
        relocate([MOV], [record], LOCAL, LOCAL, "p")


PATCHES = [
    ([MOV], Value(12, 4), [MOV._replace(imm=12)]),
    ([MOV], Value(0xFFFFFFFF, 4), [MOV._replace(imm=-1)]),
    ([LOAD], Value(12, 4, 4, 4), [LOAD._replace(off=12)]),
    ([LOAD], Value(12, 4, 8, 4), [LOAD._replace(code=0x79, off=12)]),
    ([LOAD], Value(12, 4, 1, 4), [LOAD._replace(code=0x71, off=12)]),
    ([STORE], Value(12, 4, 2, 4), [STORE._replace(code=0x6B, off=12)]),
    ([LOAD], Value(12, 4, 8, 4, resizable=False), [POISON]),
    ([MOV], Value(12, 4, 8, 4, resizable=False), [MOV._replace(imm=12)]),
    ([MOV], Value(0, poison="gone"), [POISON]),
    ([*ld_imm64(1, 4)], Value(1 << 40, 4), [*ld_imm64(1, 1 << 40)]),
    ([*ld_imm64(1, 4)], Value(-1, 4), [*ld_imm64(1, (1 << 64) - 1)]),
    ([*ld_imm64(1, 4)], Value(0, poison="gone"), [POISON, POISON]),
]


@pytest.mark.parametrize(("insns", "value", "becomes"), PATCHES)
def test_what_an_instruction_becomes(insns: list[Insn], value: Value, becomes: list[Insn]) -> None:
    changed = list(insns)
    patch(changed, relo("0:1", FIELD), value)
    assert changed == becomes


REFUSED = [
    ([MOV._replace(imm=5)], Value(12, 4), "holds 5 and not 4"),
    ([LOAD._replace(off=6)], Value(12, 4, 4, 4), "holds 6 and not 4"),
    ([LOAD], Value(40000, 4, 4, 4), "does not fit"),
    ([MOV], Value(1 << 32, 4), "does not fit"),
    ([LOAD], Value(12, 4, 3, 4), "has 3 bytes here"),
    ([LOAD], Value(12, 4, 8, 2), "has 8 bytes here, not 2"),
    ([Insn(0xDB, 1, 2, 4)], Value(12, 4, 4, 8), "has 4 bytes here"),  # an atomic operation
    ([Insn(0xBF, 1, 2)], Value(12, 0), "at opcode 0xbf"),
    ([Insn(0x95)], Value(12), "at opcode 0x95"),
    ([ld_imm64(1, 4)[0]], Value(12, 4), "half an instruction"),
    ([], Value(12), "instruction 0 of 0"),
]


@pytest.mark.parametrize(("insns", "value", "why"), REFUSED)
def test_an_instruction_that_cannot_hold_the_value_or_did_not_hold_its_own(
    insns: list[Insn], value: Value, why: str
) -> None:
    with pytest.raises(LoadError, match=why):
        patch(list(insns), relo("0:1", FIELD), value)


def test_comparing_hostile_types_ends_in_an_error() -> None:
    """Prototypes that take each other many times over would be compared 30^32 times."""
    levels = ["typedef int (*f0)(int);"]
    levels += [f"typedef int (*f{n})({', '.join([f'f{n - 1}'] * 30)});" for n in range(1, 12)]
    deep = types("".join(levels))
    record = CoreRelo(0, find(deep, Kind.TYPEDEF, "f11"), "0", uapi.BPF_CORE_TYPE_EXISTS)  # type: ignore[arg-type]
    with pytest.raises(BpfError, match="takes more than"):
        resolve(deep, record, deep)
