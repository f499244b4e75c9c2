"""Instructions as text and back: every valid instruction, labels, and what is no instruction."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bpfjit.isa.asm import AsmError, assemble
from bpfjit.isa.encoding import CALL, Insn, decode, encode, ld_imm64
from bpfjit.isa.ops import ALU_OPS, ATOMIC_OPS, CMPXCHG, JUMP_OPS, LOAD_ACQ, STORE_REL
from bpfjit.isa.text import disasm

DST, SRC, OFF = 3, 7, -24


def forms() -> Iterator[Insn]:
    """Every valid instruction of one slot, with its operands' places marked by DST, SRC, OFF and 5."""
    for (code, off), op in ALU_OPS.items():
        for cls, x in itertools.product((4, 7), (0, 8)):
            if (op.name == "neg" and x) or (off > 1 and not x) or (op.name == "movsx32" and cls == 4):
                continue
            yield Insn(code | cls | x, DST, SRC if x else 0, off, 0 if x or op.name == "neg" else 5)
    for code, bits in itertools.product((0xD4, 0xDC, 0xD7), (16, 32, 64)):
        yield Insn(code, DST, 0, 0, bits)
    for code in (0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91, 0x63, 0x6B, 0x73, 0x7B):
        yield Insn(code, DST, SRC, OFF)
    for code in (0x62, 0x6A, 0x72, 0x7A):
        yield Insn(code, DST, 0, OFF, 5)
    for code, imm in itertools.product((0xC3, 0xDB), (*ATOMIC_OPS, CMPXCHG)):
        yield Insn(code, DST, SRC, OFF, imm)
    for code, imm in itertools.product((0xC3, 0xCB, 0xD3, 0xDB), (LOAD_ACQ, STORE_REL)):
        yield Insn(code, DST, SRC, OFF, imm)
    for code, cls, x in itertools.product(JUMP_OPS, (5, 6), (0, 8)):
        yield Insn(code | cls | x, DST, SRC if x else 0, OFF, 0 if x else 5)
    yield from (Insn(0x05, 0, 0, OFF), Insn(0x06, 0, 0, 0, 5), Insn(0xE5, 0, 0, OFF), Insn(0x95))
    yield from (Insn(CALL, 0, 0, 0, 5), Insn(CALL, 0, 1, 0, 5), Insn(CALL, 0, 2, 0, 5))
    for size in (0x00, 0x08, 0x10):
        yield from (Insn(0x20 | size, 0, 0, 0, 5), Insn(0x40 | size, 0, SRC, 0, 5))


FORMS = list(forms())
_FIXED_IMM = {insn for insn in FORMS if insn.imm != 5}


@settings(max_examples=1500, deadline=None)
@given(
    some.sampled_from(FORMS),
    some.integers(0, 10),
    some.integers(0, 10),
    some.integers(-(1 << 15), (1 << 15) - 1),
    some.integers(-(1 << 31), (1 << 31) - 1) | some.sampled_from((-(1 << 31), -1, 0, 1, (1 << 31) - 1)),
)
def test_text_of_an_instruction_assembles_to_it(form: Insn, dst: int, src: int, off: int, imm: int) -> None:
    insn = form._replace(
        dst=dst if form.dst == DST else form.dst,
        src=src if form.src == SRC else form.src,
        off=off if form.off == OFF else form.off,
        imm=imm if form.imm == 5 else form.imm,
    )
    text = disasm([insn], 0)
    assert "BUG" not in text
    assert assemble(text) == [insn], text


@pytest.mark.parametrize("form", FORMS, ids=lambda insn: f"{insn.code:02x}.{insn.src}.{insn.off}.{insn.imm:x}")
def test_every_form_of_instruction_assembles_from_its_text(form: Insn) -> None:
    assert assemble(disasm([form], 0)) == [form]


@given(some.integers(0, 10), some.integers(0, (1 << 64) - 1))
def test_ld_imm64_assembles_from_its_text(dst: int, value: int) -> None:
    pair = ld_imm64(dst, value)
    assert assemble(disasm(pair, 0)) == list(pair)
    assert assemble(f"r{dst} = {value} ll") == list(pair)


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (ld_imm64(1, 3, 1), "r1 = map[fd:3]"),
        (ld_imm64(1, 3 | 8 << 32, 2), "r1 = map[fd:3][0]+8"),
        ((Insn(0x18, 2, 4, 0, -5), Insn(0)), "r2 = subprog[-5]"),
    ],
)
def test_references_are_spelt_out_on_request(pair: tuple[Insn, Insn], text: str) -> None:
    assert disasm(pair, 0, references=True) == text
    assert assemble(text) == list(pair)


def test_labels_calls_and_helpers_by_name() -> None:
    text = """
        r2 = &body              ; the address of a function
        r1 = 4
        r3 = 0
        r4 = 0
        call bpf_loop
        if w0 s> 2 goto out
        call add
        gotol out
    out:
        exit
    body:
        7: (b7) r0 = 0          ; as a log has it
        exit
    add:
        r0 = r1
        exit
    """
    by_number = [
        *(Insn(0x18, 2, 4, 0, 9), Insn(0), Insn(0xB7, 1, 0, 0, 4), Insn(0xB7, 3), Insn(0xB7, 4), Insn(CALL, imm=181)),
        *(Insn(0x66, 0, 0, 2, 2), Insn(CALL, 0, 1, 0, 4), Insn(0x06, imm=0), Insn(0x95)),
        *(Insn(0xB7), Insn(0x95), Insn(0xBF, 0, 1), Insn(0x95)),
    ]
    assert assemble(text) == by_number


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("r1 = ", "no instruction"),
        ("r11 = 1", "no register 11"),
        ("r1 += 0x100000000", "does not fit 32 bits"),
        ("r1 = w2", "one width"),
        ("if r1 == w2 goto +1", "one width"),
        ("goto nowhere", "no label nowhere"),
        ("goto +40000", "does not fit 16 bits"),
        ("r1 = *(u8 *)(r2 +40000)", "does not fit"),
        ("r1 = *(s64 *)(r2 +0)", "no sign"),
        ("r1 = (s8)5", "no immediate"),
        ("x:\nx:", "already"),
        ("r2 = atomic_fetch_add((u32 *)(r1 +0), r3)", "operand's register"),
        ("r1 = bswap16 r2", "no instruction"),
        ("call bpf_no_such_helper", "no label"),
    ],
)
def test_what_is_no_instruction_names_its_line(text: str, cause: str) -> None:
    with pytest.raises(AsmError, match=cause) as e:
        assemble("exit\n" + text)
    assert e.value.line >= 2


@given(some.binary(max_size=64))
def test_any_bytes_have_a_text(data: bytes) -> None:
    if len(data) % 8:
        with pytest.raises(ValueError, match="multiple of 8"):
            decode(data)
        return
    insns = decode(data)
    assert encode(insns) == data
    for pc in range(len(insns)):
        assert disasm(insns, pc)
