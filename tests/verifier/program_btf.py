"""BTF for assembled programs: a FUNC for each function, its parameters, and source lines."""

from __future__ import annotations

from collections.abc import Collection

from bpf_text import Code

from bpfjit.btf import Btf, Kind, parse_btf
from bpfjit.btf.types import VOID_TYPE, BtfId, Member, Param, Type
from bpfjit.btf.write import write_btf

_INT = BtfId(1)
_FIXED = {
    "int": _INT,
    "struct two *": BtfId(3),
    "struct __sk_buff *": BtfId(5),
    "void *": BtfId(6),
    "int *": BtfId(7),
    "struct xdp_md *": BtfId(9),
    "struct task_struct *": BtfId(11),
}
_TYPES = [
    VOID_TYPE,
    Type(Kind.INT, "int", 4, bits=32, signed=True, encoding=1),
    Type(Kind.STRUCT, "two", 8, members=(Member("a", _INT, 0), Member("b", _INT, 32))),
    Type(Kind.PTR, ref=BtfId(2)),
    Type(Kind.STRUCT, "__sk_buff", 4, members=(Member("len", _INT, 0),)),
    Type(Kind.PTR, ref=BtfId(4)),
    Type(Kind.PTR),
    Type(Kind.PTR, ref=_INT),
    Type(Kind.STRUCT, "xdp_md", 4, members=(Member("data", _INT, 0),)),
    Type(Kind.PTR, ref=BtfId(8)),
    Type(Kind.STRUCT, "task_struct", 4, members=(Member("pid", _INT, 0),)),
    Type(Kind.PTR, ref=BtfId(10)),
]
Funcs = tuple[tuple[int, int], ...]
Lines = tuple[tuple[int, int, int, int], ...]


def program_btf(
    code: Code, globals_: dict[str, list[str]], source: list[str], voids: Collection[str] = ()
) -> tuple[bytes, Funcs, Lines]:
    """The BTF bytes, func_info (instruction, type) and line_info (instruction, file, line, number << 10).

    voids: functions that return nothing.
    """
    types = list(_TYPES)
    starts = {"main": 0} | {name: code.labels[name] for name in code.functions}
    funcs = []
    for name, start in sorted(starts.items(), key=lambda item: item[1]):
        declared = [p.split(" arg:") for p in globals_.get(name, [])]
        params = tuple(Param(f"p{i}", _FIXED[p]) for i, (p, *_) in enumerate(declared))
        types.append(Type(Kind.FUNC_PROTO, ref=BtfId(0) if name in voids else _INT, params=params))
        types.append(Type(Kind.FUNC, name, ref=BtfId(len(types) - 1), linkage=int(name in globals_ or start == 0)))
        func = BtfId(len(types) - 1)
        funcs.append((start, func))
        for i, (_, *tags) in enumerate(declared):
            types += [Type(Kind.DECL_TAG, f"arg:{tag}", ref=func, component=i) for tag in tags]
    names = ["case.bpf.c", *source]
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    offsets = [1 + sum(len(n.encode()) + 1 for n in names[:i]) for i in range(len(names))]
    data = write_btf(Btf(types), strings)
    parse_btf(data)
    rows = [(0, offsets[1] if source else 0)] if source else []
    rows += [(i, offsets[i + 1]) for i in range(1, len(source))]
    starting = [start for start, _ in funcs if source and start >= len(source)]
    rows += [(start, offsets[-1]) for start in starting]
    return data, tuple(funcs), tuple((pc, offsets[0], at, (pc + 1) << 10) for pc, at in rows)
