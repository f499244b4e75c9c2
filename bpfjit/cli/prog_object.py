"""bpftool's verbs on programs in a kernel: show, dump, pin, load, loadall, run."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..btf import Btf, BtfId, FuncInfo, Kind, LineInfo, RawBtf
from ..dataclass import dataclass, field
from ..errors import BtfError, LoadError, UsageError
from ..isa.encoding import CALL, LD_IMM64, Insn, decode
from ..isa.text import disasm
from ..loader import inspect
from ..loader.bpf import Buffers
from ..loader.inspect import Info
from ..loader.map import pin
from ..spec.helpers import HELPER_BY_ID
from ..uapi import bpf as uapi
from . import common
from .map import hexes, nothing, out
from .names import PROG_TYPES
from .reach import Reach, failed, reach, tag_of

if TYPE_CHECKING:
    from ..loader.bpf import OpenBpf

_MOV, _MOV_OFFSETS = 0xBF, (0, 1, 8, 16, 32)
_NAME_BYTES = uapi.BPF_OBJ_NAME_LEN - 1


def _types(bpf: OpenBpf, info: Info) -> RawBtf | None:
    if not info["btf_id"]:
        return None
    try:
        return inspect.btf_by_id(bpf, info["btf_id"])
    except (OSError, BtfError):
        return None


def _functions(info: Info, types: RawBtf | None) -> list[FuncInfo]:
    """The records of func_info, where there are types to name them."""
    if types is None:
        return []
    return [FuncInfo(off, BtfId(type_id)) for off, type_id in struct.iter_unpack("<II", info.arrays["func_info"])]


def full_name(bpf: OpenBpf, fd: int, info: Info) -> str:
    """A program's name; one that fills its 15 bytes is its function's, which may be longer."""
    if len(info.name.encode()) < _NAME_BYTES or not info["nr_func_info"]:
        return info.name
    types = _types(bpf, info)
    functions = _functions(inspect.get_info(bpf, fd, "prog", "func_info"), types)
    return types.type(functions[0].type_id).name if types is not None and functions else info.name


# -- show ------------------------------------------------------------------------------------------------------


def show(args: argparse.Namespace) -> int:
    with reach(args, "prog", args.words) as at:
        single = at.is_handle("prog") and at.words[0] in ("id", "pinned")
        by_word = at.is_handle("prog")
        pins = at.pins() if args.bpffs else {}
        with at.each("prog") as fds:
            at.done()
            rows = [_described(at, fd, pins) for fd in fds]
        if common.wants_json(args):
            out(args, rows[0][0] if single or (by_word and len(rows) == 1) else [row for row, _ in rows])
        else:
            sys.stdout.write("".join(text for _, text in rows))
    return common.DONE


def _loaded_at(boot_ns: int) -> float:
    """Seconds since the epoch of a moment on the boot clock."""
    return time.time() - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - boot_ns) / 1e9


def _described(at: Reach, fd: int, pins: dict[tuple[str, int], list[str]]) -> tuple[dict[str, Any], str]:
    info, told = inspect.get_info(at.bpf, fd, "prog", "map_ids"), inspect.fdinfo(at.bpf, fd)
    kind, name = PROG_TYPES.get(info["type"], f"type {info['type']}"), full_name(at.bpf, fd, info)
    gpl = bool(info.data[uapi.LAYOUTS["bpf_prog_info"].fields["ifindex"][0] + 4] & 1)
    memlock, map_ids = int(told.get("memlock", 0)), info.words("map_ids")
    pinned, when = pins.get(("prog", info["id"]), []), _loaded_at(info["load_time"])
    counts = {n: info[n] for n in ("run_time_ns", "run_cnt")} if info["run_time_ns"] else {}
    counts |= {"recursion_misses": info["recursion_misses"]} if info["recursion_misses"] else {}

    row: dict[str, Any] = {"id": info["id"], "type": kind}
    row |= {"name": name} if name else {}
    row |= {"tag": tag_of(info).hex(), "gpl_compatible": gpl, **counts}
    row |= {"loaded_at": int(when), "uid": info["created_by_uid"], "bytes_xlated": info["xlated_prog_len"]}
    row |= {"jited": bool(info["jited_prog_len"])}
    row |= {"bytes_jited": info["jited_prog_len"]} if info["jited_prog_len"] else {}
    row |= {"bytes_memlock": memlock}
    row |= {"map_ids": map_ids} if map_ids else {}
    row |= {"btf_id": info["btf_id"]} if info["btf_id"] else {}
    row |= {"pinned": pinned} if pinned else {}

    head = f"{info['id']}: {kind}  {f'name {name}  ' if name else ''}tag {tag_of(info).hex()}{'  gpl' if gpl else ''}"
    stamp = datetime.datetime.fromtimestamp(int(when)).astimezone().strftime("%FT%T%z")
    size = f"jited {info['jited_prog_len']}B" if info["jited_prog_len"] else "not jited"
    maps = f"  map_ids {','.join(map(str, map_ids))}" if map_ids else ""
    lines = [
        head + "".join(f" {key} {value}" for key, value in counts.items()),
        f"\tloaded_at {stamp}  uid {info['created_by_uid']}",
        f"\txlated {info['xlated_prog_len']}B  {size}  memlock {memlock}B{maps}",
        *(f"\tpinned {path}" for path in pinned),
        *([f"\tbtf_id {info['btf_id']}"] if info["btf_id"] else []),
    ]
    return row, "\n".join(lines) + "\n"


# -- dump ------------------------------------------------------------------------------------------------------


def signature(types: Btf, func: int) -> str:
    """A function as bpftool declares it: `int filter(struct __sk_buff * skb)`."""
    t = types.type(func)
    proto = types.type(t.ref)
    params = []
    for p in proto.params:
        params.append((_type_only(types, p.type_id) + p.name) if p.type_id else "...")
        if not p.name:
            params[-1] = params[-1].rstrip()
    return f"{_type_only(types, proto.ref)}{t.name}({', '.join(params)})"


_TAGS = {Kind.STRUCT: "struct ", Kind.UNION: "union ", Kind.ENUM: "enum ", Kind.ENUM64: "enum "}


def _type_only(types: Btf, type_id: int) -> str:
    if not type_id:
        return "void "
    t = types.type(type_id)
    if t.kind is Kind.PTR:
        return f"{_type_only(types, t.ref)}* "
    if t.kind is Kind.ARRAY:
        return f"{_type_only(types, t.ref)}[{t.nelems}]"
    if t.kind in (Kind.CONST, Kind.VOLATILE, Kind.RESTRICT):
        return f"{t.kind.name.lower()} {_type_only(types, t.ref)}"
    if t.kind is Kind.FWD:
        return f"{'union' if t.fwd_union else 'struct'} {t.name} "
    if t.kind is Kind.FUNC_PROTO:
        params = ", ".join(_type_only(types, p.type_id).rstrip() for p in t.params)
        return f"{_type_only(types, t.ref)}({params})"
    return f"{_TAGS.get(t.kind, '')}{t.name} "


@dataclass(slots=True)
class Code:
    """What a program's dump is made of."""

    insns: list[Insn]
    raw: bytes
    types: RawBtf | None
    functions: list[FuncInfo]
    lines: dict[int, LineInfo]
    info: Info
    symbols: dict[int, str] = field(default_factory=dict)  # of the live kernel, by address
    call_base: int = 0

    def call_name(self, insn: Insn, named: bool) -> str:
        """What a call calls: a function of the program (by its symbol, if `named`), a helper, a kernel symbol."""
        if insn.src == uapi.BPF_PSEUDO_CALL:
            known = named and insn.imm < len(self.functions)
            return f"pc{insn.off:+d}" + (f"#{self.function(insn.imm)}" if known else "")
        if insn.src == 0 and insn.imm in HELPER_BY_ID:
            return f"bpf_{HELPER_BY_ID[insn.imm].name}#{insn.imm}"
        symbol = self.symbols.get(self.call_base + insn.imm)
        return f"{symbol}#{insn.imm}" if symbol else f"unknown#{insn.imm}"

    def function(self, index: int) -> str:
        """The symbol of one of the program's functions: bpf_prog_TAG_NAME."""
        tags = self.info.arrays["prog_tags"]
        name = self.types.type(self.functions[index].type_id).name if self.types is not None else ""
        return f"bpf_prog_{tags[8 * index : 8 * index + 8].hex()}_{name}"

    def text(self, pc: int, *, named: bool = True) -> str:
        insn = self.insns[pc]
        if insn.code == LD_IMM64:
            second = self.insns[pc + 1].imm if pc + 1 < len(self.insns) else 0
            names = {
                uapi.BPF_PSEUDO_MAP_FD: f"map[id:{insn.imm}]",
                uapi.BPF_PSEUDO_MAP_VALUE: f"map[id:{insn.imm}][0]+{second}",
                uapi.BPF_PSEUDO_FUNC: f"subprog[{insn.imm:+d}]",
            }
            if insn.src in names:
                return f"(18) r{insn.dst} = {names[insn.src]}"
        if insn.code == CALL:
            return f"(85) call {self.call_name(insn, named)}"
        if insn.code == _MOV and insn.off not in _MOV_OFFSETS:  # the verifier's own: Linux prints it as a plain move
            return f"(bf) r{insn.dst} = r{insn.src}"
        return f"({insn.code:02x}) {disasm(self.insns, pc)}"


def _code(bpf: OpenBpf, fd: int) -> Code:
    arrays = ("xlated_prog_insns", "func_info", "line_info", "prog_tags")
    info = inspect.get_info(bpf, fd, "prog", *arrays)
    if not info["xlated_prog_len"]:
        raise OSError(1, "no instructions returned: who asks wants CAP_BPF")
    raw, types = info.arrays["xlated_prog_insns"], _types(bpf, info)
    lines = {x[0]: LineInfo(*x) for x in struct.iter_unpack("<IIII", info.arrays["line_info"])} if types is not None else {}
    code = Code(decode(raw), raw, types, _functions(info, types), lines, info)
    if any(i.code == CALL and i.src == 0 and i.imm not in HELPER_BY_ID for i in code.insns):
        code.symbols = _kernel_symbols()
        code.call_base = next((a for a, name in code.symbols.items() if name == "__bpf_call_base"), 0)
    return code


def _kernel_symbols() -> dict[int, str]:
    """Linux's symbols by address, as far as they are told; none of a simulated kernel's calls needs them."""
    try:
        rows = (line.split()[:3] for line in Path("/proc/kallsyms").read_text().splitlines())
        return {int(addr, 16): name for addr, _, name in rows if int(addr, 16)}
    except OSError:
        return {}


def _starts(code: Code) -> Iterator[int]:
    pc = 0
    while pc < len(code.insns):
        yield pc
        pc += 2 if code.insns[pc].code == LD_IMM64 else 1


def xlated_text(code: Code, *, opcodes: bool, linum: bool) -> str:
    protos = {f.insn_off: f.type_id for f in code.functions}
    found = []
    for pc in _starts(code):
        if code.types is not None and pc in protos:
            found.append(f"{signature(code.types, protos[pc])}:")
        line = code.lines.get(pc)
        if code.types is not None and line is not None:
            place = (
                f" [file:{code.types.string(line.file_name_off)} line_num:{line.line} line_col:{line.column}]"
                if linum
                else ""
            )
            found.append(f"; {code.types.string(line.line_off).lstrip()}{place}")
        found.append(f"{pc:4}: {code.text(pc)}")
        if opcodes:
            size = 16 if code.insns[pc].code == LD_IMM64 else 8
            found.append("       " + code.raw[8 * pc : 8 * pc + size].hex(" "))
    return "\n".join(found) + "\n"


def xlated_json(code: Code, *, opcodes: bool, linum: bool) -> list[dict[str, Any]]:
    protos = {f.insn_off: f.type_id for f in code.functions}
    found = []
    for pc in _starts(code):
        insn, row = code.insns[pc], dict[str, Any]()
        if code.types is not None and pc in protos:
            row["proto"] = signature(code.types, protos[pc])
        line = code.lines.get(pc)
        if code.types is not None and line is not None:
            row["src"] = code.types.string(line.line_off).lstrip()
            if linum:
                row |= {"file": code.types.string(line.file_name_off)}
                row |= {key: n for key, n in (("line_num", line.line), ("line_col", line.column)) if n}
        row["disasm"] = code.text(pc)
        if opcodes:
            raw = code.raw[8 * pc : 8 * pc + (16 if insn.code == LD_IMM64 else 8)]
            row["opcodes"] = {
                "code": f"0x{insn.code:02x}",
                "src_reg": f"0x{insn.src:x}",
                "dst_reg": f"0x{insn.dst:x}",
                "off": hexes(raw[2:4]),
                "imm": hexes(raw[4:]),
            }
        found.append(row)
    return found


def dump(args: argparse.Namespace, kind: str, words: list[str]) -> int:
    """dump xlated|jited PROG [file FILE] [opcodes] [linum], dump xlated PROG visual"""
    if kind not in ("xlated", "jited"):
        raise UsageError(f"dump {kind} wants a SOURCE: only what is compiled here has it")
    with reach(args, "prog", words, load=False) as at, at.one("prog") as fd:
        options, path = set(), ""
        while at.words:
            word = at.words.pop(0)
            if word == "file":
                path = at.pop("FILE")
            elif word in _DUMP_OPTIONS[kind]:
                options.add(word)
            else:
                raise UsageError(f"what is '{word}'? Wanted {', '.join(('file', *_DUMP_OPTIONS[kind]))}")
        if "visual" in options and (path or len(options) > 1):
            raise UsageError("visual goes with no other option")
        if path:
            _to_file(path, inspect.get_info(at.bpf, fd, "prog", f"{kind}_prog_insns").arrays[f"{kind}_prog_insns"])
            return nothing(args)
        if kind == "jited":
            return _dump_jited(args, at.bpf, fd)
        code = _code(at.bpf, fd)
        if "visual" in options:
            return _dump_graph(args, code)
        how = {"opcodes": "opcodes" in options, "linum": "linum" in options}
        if common.wants_json(args):
            out(args, xlated_json(code, **how))
        else:
            sys.stdout.write(xlated_text(code, **how))
    return common.DONE


_DUMP_OPTIONS = {"xlated": ("opcodes", "linum", "visual"), "jited": ("opcodes", "linum")}


def _dump_graph(args: argparse.Namespace, code: Code) -> int:
    from .prog_graph import graph_text

    if common.wants_json(args):
        return nothing(args)  # bpftool has no graph in JSON either
    sys.stdout.write(graph_text(code))
    return common.DONE


def _to_file(path: str, data: bytes) -> None:
    try:
        Path(path).write_bytes(data)
    except OSError as e:
        raise UsageError(f"cannot write: {(e.strerror or '').lower()}", file=path) from None


def _dump_jited(args: argparse.Namespace, bpf: OpenBpf, fd: int) -> int:
    """Each function's native code in hexadecimal, by the address that it lies at."""
    info = inspect.get_info(bpf, fd, "prog", "jited_prog_insns", "jited_ksyms", "jited_func_lens", "func_info", "prog_tags")
    if not info["jited_prog_len"]:
        raise OSError(1, "no native code returned: the program has none, or who asks wants CAP_BPF")
    types, at, rows = _types(bpf, info), 0, []
    functions = _functions(info, types)
    code = Code([], b"", types, functions, {}, info)
    for i, (addr, size) in enumerate(zip(info.words("jited_ksyms", 8), info.words("jited_func_lens"), strict=True)):
        name = code.function(i) if i < len(functions) else f"bpf_prog_{info.arrays['prog_tags'][8 * i : 8 * i + 8].hex()}"
        rows.append((name, addr, info.arrays["jited_prog_insns"][at : at + size]))
        at += size
    if common.wants_json(args):
        out(args, [{"name": name, "addr": f"{addr:#x}", "code": hexes(data)} for name, addr, data in rows])
        return common.DONE
    for name, addr, data in rows:
        print(f"{name}:" if data else f"{name}: no code of its own")
        for i in range(0, len(data), 16):
            print(f"{addr + i:16x}:\t{data[i : i + 16].hex(' ')}")
    return common.DONE


# -- pin, load -------------------------------------------------------------------------------------------------


def pin_prog(args: argparse.Namespace) -> int:
    with reach(args, "prog", args.words) as at, at.one("prog") as fd:
        path = at.pop("FILE")
        at.done()
        pin(at.bpf, fd, at.path(path))
    return nothing(args)


def load(args: argparse.Namespace) -> int:
    """load OBJ FILE, loadall OBJ DIR: [pinmaps DIR]"""
    every = args.verb == "loadall"
    with reach(args, "prog", args.words, load=False) as at:
        source, path, maps_dir = at.pop("OBJ"), at.pop("DIR" if every else "FILE"), ""
        while at.words:
            word = at.words.pop(0)
            if word != "pinmaps":
                raise UsageError(f"what is '{word}'? Wanted pinmaps DIR")
            maps_dir = at.pop("DIR")
        obj = common.open_source(args, source)
        if not obj.progs:
            raise LoadError("no programs in it", file=source)
        with obj.load(at.bpf) as loaded:
            first, *rest = loaded.progs.values()
            pinned = [(first.fd, path)]
            if every:
                _mkdir(at, path)
                pinned = [(p.fd, f"{path.rstrip('/')}/{p.name}") for p in (first, *rest)]
            if maps_dir:
                _mkdir(at, maps_dir)
                # bpffs takes no dots in names.
                pinned += [(m.fd, f"{maps_dir.rstrip('/')}/{m.name.replace('.', '_')}") for m in loaded.maps.values()]
            for fd, where in pinned:
                pin(at.bpf, fd, at.path(where))
    return nothing(args)


def _mkdir(at: Reach, path: str) -> None:
    """A directory in bpffs, made through the file system that shows it."""
    try:
        Path(path).mkdir(exist_ok=True)
    except OSError as e:
        raise failed(path, e) from None


# -- attach, detach --------------------------------------------------------------------------------------------

_ATTACH_TYPES = {
    "sk_msg_verdict": uapi.BPF_SK_MSG_VERDICT,
    "sk_skb_verdict": uapi.BPF_SK_SKB_VERDICT,
    "sk_skb_stream_verdict": uapi.BPF_SK_SKB_STREAM_VERDICT,
    "sk_skb_stream_parser": uapi.BPF_SK_SKB_STREAM_PARSER,
    "flow_dissector": uapi.BPF_FLOW_DISSECTOR,
}


def attach(args: argparse.Namespace) -> int:
    """attach|detach PROG ATTACH_TYPE [MAP]: MAP is one of sockets; a flow dissector is this network namespace's."""
    command = uapi.BPF_PROG_ATTACH if args.verb == "attach" else uapi.BPF_PROG_DETACH
    with reach(args, "prog", args.words, load=False) as at, at.one("prog") as fd, contextlib.ExitStack() as stack:
        name, target = at.pop("ATTACH_TYPE"), 0
        if name not in _ATTACH_TYPES:
            raise UsageError(f"attach type {name}: wanted {', '.join(_ATTACH_TYPES)}")
        if name != "flow_dissector":
            target = stack.enter_context(at.one("map"))
        at.done()
        attr = uapi.ProgAttach(target_fd=target, attach_bpf_fd=fd, attach_type=_ATTACH_TYPES[name])
        try:
            at.bpf(command, bytearray(attr.pack()))
        except OSError as e:
            raise failed(f"failed prog {args.verb}", e) from None
    return nothing(args)


# -- run -------------------------------------------------------------------------------------------------------

_INPUTS = ("data_in", "data_out", "ctx_in", "ctx_out")
_SIZES = ("data_size_out", "ctx_size_out")


def run(args: argparse.Namespace, words: list[str]) -> int:
    """run PROG data_in FILE [data_out FILE [data_size_out N]] [ctx_in FILE [ctx_out FILE [ctx_size_out N]]] [repeat N]"""
    given: dict[str, str] = {}
    with reach(args, "prog", words, load=False) as at, at.one("prog") as fd:
        while at.words:
            word = at.words.pop(0)
            if word not in (*_INPUTS, *_SIZES, "repeat") or word in given:
                raise UsageError(f"what is '{word}'? Wanted {', '.join((*_INPUTS, *_SIZES, 'repeat'))}")
            given[word] = at.pop(word.upper())
        if "data_in" not in given and "ctx_in" not in given:
            raise UsageError("wanted data_in FILE or ctx_in FILE")
        return _run(args, at.bpf, fd, given)


def _count(given: dict[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not text.isdigit() or int(text) >= 1 << 32:
        raise UsageError(f"{name} {text}: no 32-bit number")
    return int(text)


def _run(args: argparse.Namespace, bpf: OpenBpf, fd: int, given: dict[str, str]) -> int:
    from .prog_source import read_input

    data, ctx = (bytearray(read_input(given.get(name))) for name in ("data_in", "ctx_in"))
    data_out = bytearray(_count(given, "data_size_out", 256 * 1024)) if "data_out" in given else bytearray()
    ctx_out = bytearray(_count(given, "ctx_size_out", max(len(ctx), 256))) if "ctx_out" in given else bytearray()
    keep, repeat = Buffers(), _count(given, "repeat", 1)
    attr = uapi.TestRun(
        prog_fd=fd,
        data_in=keep.put(data),
        data_size_in=len(data),
        data_out=keep.put(data_out),
        data_size_out=len(data_out),
        ctx_in=keep.put(ctx),
        ctx_size_in=len(ctx),
        ctx_out=keep.put(ctx_out),
        ctx_size_out=len(ctx_out),
        repeat=repeat if data else 0,
    )
    raw = bytearray(attr.pack())
    try:
        bpf(uapi.BPF_PROG_TEST_RUN, raw)
    except OSError as e:
        raise failed("failed to run program", e) from None
    done = uapi.TestRun.unpack(raw)
    row: dict[str, Any] = {}
    for name, came in (("data_out", data_out[: done.data_size_out]), ("ctx_out", ctx_out[: done.ctx_size_out])):
        if given.get(name) == "-":
            row[name] = list(came)
        elif name in given:
            _to_file(given[name], bytes(came))
    row |= {"retval": done.retval, "duration": done.duration}
    if common.wants_json(args):
        out(args, row)
    else:
        for name in ("data_out", "ctx_out"):
            if name in row:
                sys.stdout.write(_hexdump(bytes(data_out[: done.data_size_out] if name == "data_out" else ctx_out)))
        average = " (average)" if repeat > 1 else ""
        print(f"Return value: {done.retval}, duration{average}: {done.duration}ns")
    return common.DONE


def _hexdump(data: bytes) -> str:
    """Sixteen bytes a line: offset, hexadecimal, and the characters where there are some."""
    lines = []
    for at in range(0, len(data), 16):
        line = data[at : at + 16]
        pairs = " ".join(line[i : i + 2].hex() for i in range(0, len(line), 2))
        text = "".join(chr(c) if 32 <= c < 127 else "." for c in line)
        lines.append(f"{at:07x}\t{pairs:<39} | {text[:8]} {text[8:]}".rstrip() + "\n")
    return "".join(lines)


# -- tracelog --------------------------------------------------------------------------------------------------

_STREAMS = {"stdout": 1, "stderr": 2}  # enum bpf_stream_id
_PIPE = "/sys/kernel/tracing/trace_pipe"


def tracelog(args: argparse.Namespace) -> int:
    """tracelog: what programs print with bpf_printk(). tracelog stdout|stderr PROG: what one has in that stream."""
    words = list(args.words)
    if not words:
        with reach(args, "prog", [], load=False) as at:
            entry = getattr(at.bpf, "entry", None)
            path = f"{entry.path}{_PIPE}" if entry is not None else _PIPE
        with open(path, "rb", buffering=0) as pipe:
            while data := pipe.read(1 << 16):
                sys.stdout.write(data.decode("utf-8", "replace"))
                sys.stdout.flush()
        return common.DONE
    stream = _STREAMS.get(words.pop(0))
    if stream is None:
        raise UsageError(f"what is '{args.words[0]}'? Wanted stdout or stderr")
    with reach(args, "prog", words, load=False) as at, at.one("prog") as fd:
        at.done()
        text = b""
        while True:
            keep, buf = Buffers(), bytearray(1 << 16)
            attr = uapi.ProgStreamRead(stream_buf=keep.put(buf), stream_buf_len=len(buf), stream_id=stream, prog_fd=fd)
            try:
                n = at.bpf(uapi.BPF_PROG_STREAM_READ_BY_FD, bytearray(attr.pack()))
            except OSError as e:
                raise failed("failed to read the stream", e) from None
            if not n:
                break
            text += buf[:n]
    if common.wants_json(args):
        out(args, {"stream": text.decode("utf-8", "replace")})
    else:
        sys.stdout.write(text.decode("utf-8", "replace"))
    return common.DONE


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "show": show,
    "list": show,
    "pin": pin_prog,
    "load": load,
    "loadall": load,
    "tracelog": tracelog,
    "attach": attach,
    "detach": attach,
}
