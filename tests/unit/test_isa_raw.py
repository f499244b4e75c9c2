"""`bpfjit raw`: the protocol of ISA suites, and what it says to bad input."""

from __future__ import annotations

import io
import json

import pytest

from bpfjit.cli.main import main
from bpfjit.isa.asm import assemble
from bpfjit.isa.encoding import encode


def run(monkeypatch: pytest.MonkeyPatch, stdin: str | bytes, *args: str) -> int:
    raw = stdin if isinstance(stdin, bytes) else stdin.encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))
    try:
        return main(["raw", *args])
    except SystemExit as e:
        return int(e.code or 0)


def hex_of(text: str) -> str:
    return encode(assemble(text)).hex(" ")


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_r1_is_the_memory_and_r2_its_length(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    code = hex_of("r0 = *(u16 *)(r1 +1)\nr0 <<= 8\nr0 += r2\nexit")
    assert run(monkeypatch, f"\n{code}\n", " aa 01\t02  ", "--engine", engine) == 0
    assert capsys.readouterr().out == "20103\n"
    assert run(monkeypatch, code, "aa0102", "--engine", engine, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"r0": "20103"}


def test_without_memory_r1_and_r2_are_zero(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, hex_of("r0 = r1\nr0 |= r2\nexit")) == 0
    assert capsys.readouterr().out == "0\n"


@pytest.mark.parametrize(
    ("stdin", "args", "cause"),
    [
        ("", (), "no instructions"),
        (" \n", (), "no instructions"),
        ("b7", (), "not a multiple of 8"),
        ("b70", (), "not hex"),
        ("zz", (), "not hex"),
        (b"\xff\xfe\x00", (), "not hex"),
        ("é" * 8, (), "not hex"),
        (hex_of("r0 = 0\nexit"), ("0",), "MEM_HEX is not hex"),
        (hex_of("r0 = 0\nexit"), ("no",), "MEM_HEX is not hex"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stdin: str | bytes,
    args: tuple[str, ...],
    cause: str,
) -> None:
    assert run(monkeypatch, stdin, *args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bpfjit: error: ")
    assert cause in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "memory", "cause"),
    [
        ("exit", "", "R0 !read_ok"),
        ("r0 = *(u8 *)(r1 +2)\nexit", "0011", "invalid access to memory, mem_size=2 off=2 size=1"),
        ("r0 = *(u8 *)(r1 +0)\nexit", "", "R1 invalid mem access 'scalar'"),
        ("r0 = 0\nr1 = *(u64 *)(r10 -520)\nexit", "", "invalid read from stack R10 off=-520 size=8"),
        ("r0 = 0\ngoto -2", "", "infinite loop detected"),
        ("r0 = 0\ngoto +9\nexit", "", "jump out of range"),
        ("r0 = 0\ncall #99999\nexit", "", "invalid func unknown#99999"),
        ("r0 = 0", "", "last insn is not an exit or jmp"),
        ("r3 = 1\nlock *(u32 *)(r1 +1) += r3\nr0 = 0\nexit", "0000000000000000", "misaligned value access off"),
    ],
)
def test_a_refused_program_is_exit_1_with_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str, memory: str, cause: str
) -> None:
    assert run(monkeypatch, hex_of(code), memory) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bpfjit: error: program raw: ")
    assert cause in err.splitlines()[0]
    assert "processed" in err


@pytest.mark.parametrize("byte", [0x00, 0x0F, 0x18, 0x8D, 0xB8, 0xC4, 0xE7, 0xEF, 0xFF])
def test_garbage_is_refused_not_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], byte: int) -> None:
    assert run(monkeypatch, bytes([byte] * 16).hex() + hex_of("r0 = 0\nexit")) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_huge_program_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    body = "\n".join(["r0 = *(u8 *)(r1 +0)", *["r0 += 1"] * 3000, "exit"])
    assert run(monkeypatch, hex_of(body), "05", "--engine", "interp") == 0
    assert capsys.readouterr().out == "bbd\n"


def test_more_instructions_than_linux_takes_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, (hex_of("r0 = 0") * 1_000_001)) == 1
    assert "1000001 instructions, wanted 1 to 1000000" in capsys.readouterr().err.splitlines()[0]
