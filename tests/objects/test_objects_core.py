"""CO-RE against kernels that the tests lay out themselves: the answers stand here, worked out by hand from C's rules."""

from __future__ import annotations

import struct
import subprocess
from typing import Any

import pytest
from objects_support import Compile, Load, global_var, kernel_of, read_global, run

from bpfjit.btf import Kind, parse_btf, write_btf
from bpfjit.errors import LoadError, VerifierError
from bpfjit.loader import LoadedObject, open_object
from bpfjit.loader.bpf import kernel_btf
from kernfs_sim import Kernel

# struct sample: a at 8, narrow (2 bytes here) at 12, in at 16 = {pad, x, y[8]}, bitfields in the word at 56.
OTHER = kernel_of("""
struct pad { int before; };
struct inner { long pad; int x; int y[8]; };
enum color { NONE = -1, RED = 10, GREEN = 20 };
enum huge { SMALL = 1, LARGE = 0x300000000 };
enum sign { MINUS = -7, PLUS = 7 };
typedef int number_t;
struct sample {
    long only_new;
    unsigned int a;
    short narrow;
    struct inner in;
    unsigned int filler : 9;
    int bits : 6;
    unsigned int sbits : 4;
    struct { union { int anon_b; long anon_a; }; };
    struct inner many[3];
    enum color paint;
};
struct same_shape { void *p; int a; int more; };
struct other_shape { long a; };
struct choice { int a; };
""")

# inner: pad 0, x 8, y 12..44, size 48. sample: only_new 0, a 8, narrow 12, in 16..64, bitfield word 64..68,
# anonymous 72..80, many 80..224, paint 224, size 232.
ANSWERS = {
    "OFF_A": 8, "OFF_NARROW": 12, "OFF_Y2": 16 + 12 + 8, "OFF_ANON_B": 72, "OFF_MANY1_X": 80 + 48 + 8, "OFF_NEW": 0,
    "SIZE_A": 4, "SIZE_NARROW": 2, "SIZE_IN": 48,
    "EXISTS_A": 1, "EXISTS_MISSING": 0, "EXISTS_NEW": 1, "EXISTS_GONE": 0,
    "SIGNED_A": 0, "SIGNED_NARROW": 1, "SIGNED_PAINT": 1,
    "BITS_OFF": 64, "BITS_SIZE": 4, "BITS_LSHIFT": 64 - (9 + 6), "BITS_RSHIFT": 64 - 6, "SBITS_SIGNED": 0,
    "TYPE_SAMPLE": 1, "TYPE_GONE": 0, "TYPE_NUMBER": 1, "TYPE_CHOICE": 0, "SIZEOF_SAMPLE": 232, "SIZEOF_GONE": 0,
    "MATCH_SAME": 1, "MATCH_OTHER": 0, "ID_KERNEL": OTHER.find(Kind.STRUCT, "sample"), "ID_GONE": 0,
    "ENUM_GREEN": 20, "ENUM_HAS_GREEN": 1, "ENUM_HAS_BLUE": 0, "ENUM_LARGE": 0x300000000, "ENUM_MINUS": -7,
    "ENUM_FLAVOR": 20,
}  # fmt: skip


def questions(loaded: LoadedObject) -> list[str]:
    btf = loaded.spec.btf
    assert btf is not None
    found = btf.find(Kind.ENUM, "questions")
    assert found is not None
    return [v.name for v in btf.type(found).values]


@pytest.mark.parametrize("cpu", ["v2", "v3", "v4"])
def test_every_kind_of_relocation_gets_the_other_kernels_answer(load: Load, cpu: str) -> None:
    loaded = load("core_fields", cpu=cpu, btf=OTHER)
    run(loaded, "ask")
    out = read_global(loaded, "out")
    assert isinstance(out, list)
    answers = dict(zip(questions(loaded), out, strict=False))
    local = answers.pop("ID_LOCAL")
    assert loaded.spec.btf is not None and loaded.spec.btf.type(local).name == "sample"
    assert answers == ANSWERS


def memory(loaded: LoadedObject, contents: bytes) -> None:
    section, offset, size = global_var(loaded, "memory")
    m = next(m for m in loaded.maps.values() if m.spec.section == section)
    raw = bytearray(m.lookup(bytes(4)))
    raw[offset : offset + size] = contents.ljust(size, b"\0")
    m.update(bytes(4), bytes(raw))


WIDE = kernel_of("""
struct wide { unsigned long first; unsigned char *pointer; unsigned long grows; unsigned short shrinks; };
struct signs { int value; };
struct lacks { long other; int here; };
struct flags { int other : 20; int mid : 7; unsigned int low : 3; };
""")


def test_loads_and_stores_follow_the_width_of_unsigned_fields(load: Load) -> None:
    loaded = load("core_loads", btf=WIDE)
    memory(loaded, struct.pack("<QQQHH", 0, 0, 70000, 11, 0xFFFF))
    assert run(loaded, "read_wide") == 70011
    run(loaded, "write_wide")
    section, offset, _ = global_var(loaded, "memory")
    m = next(m for m in loaded.maps.values() if m.spec.section == section)
    assert m.lookup(bytes(4))[offset + 16 : offset + 24] == struct.pack("<Q", 0x1020304)


def test_bitfields_are_read_where_the_kernel_has_them(load: Load) -> None:
    loaded = load("core_loads", btf=WIDE)
    memory(loaded, struct.pack("<I", 5 << 27 | (-3 & 0x7F) << 20 | 0xFFFFF))
    assert run(loaded, "bitfields") == 5 * 1000 - 3


def test_a_field_that_is_missing_does_no_harm_out_of_reach(load: Load) -> None:
    assert run(load("core_loads", btf=WIDE), "guarded") == 4


def test_a_field_that_is_missing_is_an_error_in_reach(load: Load) -> None:
    with pytest.raises(VerifierError, match=r"program unguarded: no field_byte_offset of struct lacks\.not_here"):
        load("core_loads", btf=WIDE, only=["unguarded"])


@pytest.mark.parametrize("log_level", [0, 1, 4])
def test_which_relocation_is_missing_is_said_at_every_log_level(bpf: Any, compiled: Compile, log_level: int) -> None:
    none = kernel_of("struct wide { unsigned int first; };")
    obj = open_object(compiled("core_loads"), btf=none)
    with LoadedObject(obj, bpf) as loaded, pytest.raises(VerifierError, match=r"struct wide\.(grows|shrinks)"):
        loaded.create_maps()
        loaded.load_prog(obj.progs["read_wide"], log_level)


def test_a_signed_field_of_another_width_is_not_read(load: Load) -> None:
    other = kernel_of("struct signs { long pad; short value; };")
    with pytest.raises(VerifierError, match="a field of 2 bytes in this kernel, not 4, that may be signed"):
        load("core_loads", btf=other, only=["read_signed"])


def test_candidates_that_disagree_are_ambiguous_and_those_that_agree_are_not(kernel: Kernel, compiled: Compile) -> None:
    twice = kernel_of("struct lacks { int here; int not_here; }; struct lacks___b { long a; int not_here; };")
    obj = open_object(compiled("core_loads"), btf=twice)
    with pytest.raises(LoadError, match=r"struct lacks\.not_here is ambiguous: 4 or 8"):
        obj.load(kernel.bpf, only=["unguarded"])
    agreeing = kernel_of("struct lacks { int here; int not_here; }; struct lacks___b { char a[4]; int not_here; };")
    open_object(compiled("core_loads"), btf=agreeing).load(kernel.bpf, only=["unguarded"]).close()


TASK = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
long out[6];
SEC("syscall") int ask(void *ctx)
{
	out[0] = bpf_core_field_offset(struct task_struct, pid);
	out[1] = bpf_core_field_offset(struct task_struct, comm);
	out[2] = bpf_core_field_offset(struct cgroup, kn);
	out[3] = bpf_core_type_size(struct task_struct);
	out[4] = bpf_core_enum_value(enum bpf_map_type, BPF_MAP_TYPE_LRU_HASH);
	out[5] = bpf_core_field_size(struct task_struct, comm);
	return 0;
}
char _license[] SEC("license") = "GPL";
"""


def test_against_the_kernel_at_hand_the_answers_are_those_of_its_own_types(load: Load, bpf: Any) -> None:
    loaded = load(text=TASK)
    run(loaded, "ask")
    types = kernel_btf(bpf)

    def offset(name: str, member: str) -> int:
        found = types.find(Kind.STRUCT, name)
        assert found is not None
        return next(m.bit_offset // 8 for m in types.type(found).members if m.name == member)

    task = types.find(Kind.STRUCT, "task_struct")
    assert task is not None
    wanted = [
        offset("task_struct", "pid"),
        offset("task_struct", "comm"),
        offset("cgroup", "kn"),
        types.type(task).size,
        9,
        16,
    ]
    assert read_global(loaded, "out") == wanted


def test_linux_reads_through_relocated_pointers_what_it_knows_itself(live: Any, compiled: Compile) -> None:
    """The independent judge is the running kernel: bpf_get_current_pid_tgid() against task->tgid by CO-RE."""
    text = '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_core_read.h>\n'
    text += 'SEC("syscall") int ask(void *ctx) { struct task_struct *t = (void *)bpf_get_current_task();'
    text += " u32 tgid = BPF_CORE_READ(t, tgid), group = BPF_CORE_READ(t, group_leader, tgid);"
    text += ' return tgid == bpf_get_current_pid_tgid() >> 32 && group == tgid; }\nchar _license[] SEC("license") = "GPL";\n'
    with open_object(compiled(text=text)).load(live) as loaded:
        assert run(loaded, "ask") == 1


def test_bpftool_lays_out_the_live_structures_as_we_read_them(live: Any) -> None:
    """sizeof of a few structures as `bpftool btf dump` prints them."""
    try:
        listing = subprocess.run(
            ["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "raw"],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError) as e:
        pytest.skip(f"no bpftool: {e}")
    types = kernel_btf(live)
    checked = 0
    for line in listing.splitlines():
        if line.startswith("[") and " STRUCT '" in line and "(anon)" not in line:
            type_id, rest = line[1:].split("]", 1)
            t = types.type(int(type_id))
            assert f" STRUCT '{t.name}' size={t.size} vlen={len(t.members)}" in rest
            checked += 1
    assert checked > 1000


def test_btf_written_by_us_is_read_by_us_the_same() -> None:
    again = parse_btf(write_btf(OTHER))
    assert [again.type(i) for i in range(len(again))] == [OTHER.type(i) for i in range(len(OTHER))]
