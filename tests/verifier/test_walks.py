"""Programs that are walked as Linux walks them: every register's state on the way, instructions processed, states kept."""

from __future__ import annotations

import pytest
from bpf_text import assemble
from judges import Case, Live
from test_verdicts_of_cases import ids
from walks import difference

_PAUSE = "call ktime_get_ns; call ktime_get_ns; r0 = 1; r0 = 2; r0 = 3; r0 = 4; r0 = 5; r0 = 6; r0 = 7"
_USE = "r0 = 0; r7 &= 7; r8 &= 7; r1 = value[array]; r1 += r7; r1 += r8; r0 = *(u8 *)(r1 + 0); exit"


def _two_ways(first: str, second: str) -> str:
    return f"{first}; call ktime_get_ns; r9 = r0; if r9 > 5 goto b; {_PAUSE}; goto j; b: {second}; {_PAUSE}; j: {_USE}"


_APART = "r1 = value[array]; r7 = *(u64 *)(r1 + 0); r8 = *(u64 *)(r1 + 8)"
WALKS = {
    "numbers_named_alone_keep_their_ids": _two_ways(
        "call ktime_get_ns; r7 = r0; call ktime_get_ns; r8 = r0; r0 = 0", "r8 = r7"
    ),
    "numbers_without_ids_cover_copies": _two_ways(_APART, "r8 = r7"),
    "a_moved_number_covers_no_copy": _two_ways(f"{_APART}; r9 = r7; r7 += 1; r9 = 0", "r8 = r7"),
    "a_moved_copy_covers_one_moved_alike": _two_ways(
        "call ktime_get_ns; r7 = r0; r8 = r7; r8 += 2", "call ktime_get_ns; r7 = r0; r8 = r7; r8 += 2"
    ),
    "mask_of_a_sign": "call ktime_get_ns; r0 s>>= 63; r0 &= 15; r1 = r0; exit",
    "mask_of_a_sign_in_the_low_half": "call ktime_get_ns; w0 s>>= 31; r2 = 7; r0 &= r2; r1 = r0; exit",
    "packet_pointers_beyond_the_end": (
        "r2 = *(u32 *)(r1 + 0); r3 = *(u32 *)(r1 + 4); r2 += 8; if r2 >= r3 goto a; r4 = *(u8 *)(r2 + 0); a: r5 = r2\n"
        "if r3 > r5 goto b; r0 = 1; if r3 >= r2 goto b; b: r0 = 0; exit"
    ),
    "range_and_bits_have_one_number_in_common": (
        "call get_prandom_u32; r1 = r0; r0 &= 8; if r0 s< 1 goto out; r2 = r0\n"
        "r1 &= 0x100; if r1 <= 15 goto out; r2 = r1; out: r0 = 0; exit"
    ),
    "rounds_that_leave_more_on_the_stack": (
        "r1 = r10; r1 += -48; r2 = 0; r3 = 3; call kfunc bpf_iter_num_new; again: r1 = r10; r1 += -48\n"
        "call kfunc bpf_iter_num_next; if r0 == 0 goto out; r7 = *(u32 *)(r0 + 0); r9 = value[array]; *(u64 *)(r10 - 32)"
        " = r9; goto again; out: r1 = r10; r1 += -48; call kfunc bpf_iter_num_destroy; r0 = 0; exit"
    ),
    "spills_and_fills_of_all_sizes": (
        "call ktime_get_ns; r0 &= 0xffff; *(u64 *)(r10 - 8) = r0; *(u16 *)(r10 - 16) = r0; *(u8 *)(r10 - 24) = r0\n"
        "r1 = *(u32 *)(r10 - 8); r2 = *(u16 *)(r10 - 16); r3 = *(u8 *)(r10 - 24); r4 = *(s8 *)(r10 - 8)\n"
        "r5 = *(u64 *)(r10 - 16)\n"
        "if r1 > 9 goto out; r0 = r2; r0 = r3; out: r0 = 0; exit"
    ),
}


@pytest.mark.parametrize("text", WALKS.values(), ids=WALKS)
def test_a_program_is_walked_as_on_linux(text: str, live: Live) -> None:
    code = assemble(text, id_of=ids(live.btf))
    found = difference(live, Case("xdp", tuple(code.insns), code.maps))
    assert found is None, f"\n{found}"
