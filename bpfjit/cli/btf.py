"""bpfjit btf list | dump: the types that a kernel holds, or an object or file brings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..btf import Btf, Kind, RawBtf, Type, parse_btf
from ..btf.to_c import c_from_btf
from ..btf.types import COMPOSITES, ENUMS
from ..errors import BtfError, ObjectError, UsageError
from ..loader import inspect
from . import common
from .map import out
from .reach import Reach, add_kernel, reach

_LINKAGES = ("static", "global", "extern")
_ENCODINGS = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "btf",
        help="list and print BTF of a mounted kernel, of Linux's, or of an object",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="  show|list [id N]\n  dump id N|map MAP [key|value|kv|all]|prog PROG|file FILE [format raw|c] [root_id N]\n",
    )
    parser.add_argument("verb", choices=("show", "list", "dump"), metavar="VERB", help="show, list, dump")
    parser.add_argument("words", nargs="*", metavar="…", help="the rest, as bpftool takes it")
    add_kernel(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    words = args.words
    if args.verb == "dump" and words[:1] == ["file"]:
        if len(words) < 2:
            raise UsageError("what file?")
        return _print(args, _file_btf(args, words[1]), [], words[2:])
    kinds = ("id", "map", "prog")
    with reach(args, "btf", words, load=bool(words) and words[0] not in kinds) as at:
        return dump(args, at) if args.verb == "dump" else show(args, at)


# -- list --------------------------------------------------------------------------------------------------


def show(args: argparse.Namespace, at: Reach) -> int:
    single = at.is_handle("btf")
    users: dict[str, dict[int, list[int]]] = {}
    for kind in ("prog", "map"):
        with at.each(kind) if not single else _every(at, kind) as fds:
            for fd in fds:
                info = inspect.get_info(at.bpf, fd, kind)
                users.setdefault(kind, {}).setdefault(info["btf_id"], []).append(info["id"])
    with at.each("btf") as fds:
        at.done()
        rows = [_listed(at, fd, users) for fd in fds]
    if common.wants_json(args):
        out(args, rows[0][0] if single else [row for row, _ in rows])
    else:
        sys.stdout.write("".join(text for _, text in rows))
    return common.DONE


def _every(at: Reach, kind: str) -> Any:
    """All objects of a kind, though words that name one of another kind are left."""
    return Reach(at.bpf, [], at.loaded).each(kind)


def _listed(at: Reach, fd: int, users: dict[str, dict[int, list[int]]]) -> tuple[dict[str, Any], str]:
    info = inspect.get_info(at.bpf, fd, "btf")
    number, kernel = info["id"], bool(info["kernel_btf"])
    name = inspect.btf_name(at.bpf, fd) if kernel else ""
    progs, maps = (users.get(kind, {}).get(number, []) for kind in ("prog", "map"))
    row: dict[str, Any] = {"id": number, "size": info["btf_size"], "prog_ids": progs, "map_ids": maps, "kernel": kernel}
    row |= {"name": name} if name else {}
    text = f"{number}: name {f'[{name}]' if name else '<anon>'}  size {info['btf_size']}B"
    for what, found in (("prog_ids", progs), ("map_ids", maps)):
        text += f"  {what} {','.join(map(str, found))}" if found else ""
    return row, text + "\n"


# -- dump --------------------------------------------------------------------------------------------------


def _file_btf(args: argparse.Namespace, path: str) -> Btf:
    """The types in a file: raw BTF, an object's, or a source's."""
    try:
        data = Path(path).read_bytes() if not path.endswith(".c") else b""
    except OSError as e:
        raise ObjectError((e.strerror or "unreadable").lower(), file=path) from None
    if data[:2] == b"\x9f\xeb":
        try:
            return parse_btf(data)
        except BtfError as e:
            raise ObjectError(f"not BTF: {e.cause}", file=path) from None
    types = common.open_source(args, path).spec.btf
    if types is None:
        raise ObjectError("no BTF in it", file=path)
    return types


def dump(args: argparse.Namespace, at: Reach) -> int:
    if at.loaded is not None and not at.words:
        return _print(args, at.loaded.spec.btf or RawBtf(b""), [], [])
    if at.loaded is not None and at.words[0] in ("format", "root_id"):
        types = at.loaded.spec.btf
        if types is None:
            raise UsageError("the object has no BTF")
        return _print(args, types, [], at.words)
    word = at.pop("id N, map MAP, prog PROG or file FILE")
    roots: list[int] = []
    if word == "id":
        text = at.pop("N")
        if not text.isdigit():
            raise UsageError(f"can't parse {text} as ID")
        number = int(text)
    elif word in ("map", "prog"):
        with at.one(word) as fd:
            info = inspect.get_info(at.bpf, fd, word)
        number = info["btf_id"]
        if not number:
            raise OSError(2, f"{word} {info['id']} has no BTF")
        roots = _map_roots(at, info) if word == "map" else []
    else:
        raise UsageError(f"what is '{word}'? Wanted id, map, prog or file")
    return _print(args, inspect.btf_by_id(at.bpf, number), roots, at.words)


def _map_roots(at: Reach, info: inspect.Info) -> list[int]:
    """The types of a map's key and value, as the next word says (kv)."""
    which = at.words.pop(0) if at.words and at.words[0] in ("key", "value", "kv", "all") else "kv"
    ids = {"key": info["btf_key_type_id"], "value": info["btf_value_type_id"]}
    return [ids[word] for word in ("key", "value") if which in (word, "kv") and ids[word]]


def _print(args: argparse.Namespace, types: Btf, roots: list[int], words: list[str]) -> int:
    as_c = False
    while words:
        word, value, words = words[0], words[1] if len(words) > 1 else "", words[2:]
        if word == "format" and value in ("raw", "c"):
            as_c = value == "c"
        elif word == "root_id" and value.isdigit():
            roots = [*roots, int(value)]
        else:
            raise UsageError(f"what is '{word} {value}'? Wanted format raw|c, root_id N".rstrip())
    if as_c:
        if common.wants_json(args):
            raise UsageError("JSON output for C-syntax dumping is not supported")
        sys.stdout.write(c_from_btf(types, _all_but(types, roots) if roots else (), banner=""))
        return common.DONE
    shown = [(i, types.type(i)) for i in roots] if roots else list(types.items())
    if common.wants_json(args):
        out(args, {"types": [_json(i, t) for i, t in shown]})
    else:
        sys.stdout.write("".join(f"{_text(types, i, t)}\n" for i, t in shown))
    return common.DONE


def _all_but(types: Btf, roots: list[int]) -> list[Any]:
    """Every type that the roots do not need."""
    needed: set[int] = set()
    todo = list(roots)
    while todo:
        type_id = todo.pop()
        if type_id and type_id not in needed:
            needed.add(type_id)
            t = types.type(type_id)
            todo += [t.ref, t.index_id, *(m.type_id for m in t.members), *(p.type_id for p in t.params)]
            todo += [v.type_id for v in t.secvars]
    return [i for i, _ in types.items() if i not in needed]


def _kind(t: Type) -> str:
    return "UNKN" if t.kind is Kind.VOID else t.kind.name


def _fields(t: Type) -> Iterator[tuple[str, Any]]:
    """What a type says of itself beside kind and name, in bpftool's order."""
    if t.kind is Kind.INT:
        yield from (("size", t.size), ("bits_offset", t.bit_offset), ("nr_bits", t.bits))
        yield "encoding", _ENCODINGS.get(t.encoding, "UNKN")
    elif t.kind is Kind.ARRAY:
        yield from (("type_id", t.ref), ("index_type_id", t.index_id), ("nr_elems", t.nelems))
    elif t.kind in COMPOSITES:
        yield from (("size", t.size), ("vlen", len(t.members)))
    elif t.kind in ENUMS:
        yield from (("encoding", "SIGNED" if t.signed else "UNSIGNED"), ("size", t.size), ("vlen", len(t.values)))
    elif t.kind is Kind.FWD:
        yield "fwd_kind", "union" if t.fwd_union else "struct"
    elif t.kind in (Kind.FUNC, Kind.VAR):
        yield from (("type_id", t.ref), ("linkage", _LINKAGES[t.linkage] if t.linkage < 3 else "(unknown)"))
    elif t.kind is Kind.FUNC_PROTO:
        yield from (("ret_type_id", t.ref), ("vlen", len(t.params)))
    elif t.kind is Kind.DATASEC:
        yield from (("size", t.size), ("vlen", len(t.secvars)))
    elif t.kind is Kind.FLOAT:
        yield "size", t.size
    elif t.kind is Kind.DECL_TAG:
        yield from (("type_id", t.ref), ("component_idx", t.component))
    else:
        yield "type_id", t.ref


def _parts(t: Type) -> tuple[str, list[dict[str, Any]]]:
    """What a type consists of: the JSON key, and a row for each part."""
    if t.kind in COMPOSITES:
        return "members", [
            {"name": m.name or "(anon)", "type_id": m.type_id, "bits_offset": m.bit_offset}
            | ({"bitfield_size": m.bitfield_bits} if m.bitfield_bits else {})
            for m in t.members
        ]
    if t.kind in ENUMS:
        return "values", [{"name": v.name, "val": v.value} for v in t.values]
    if t.kind is Kind.FUNC_PROTO:
        return "params", [{"name": p.name or "(anon)", "type_id": p.type_id} for p in t.params]
    if t.kind is Kind.DATASEC:
        return "vars", [{"type_id": v.type_id, "offset": v.offset, "size": v.size} for v in t.secvars]
    return "", []


def _json(type_id: int, t: Type) -> dict[str, Any]:
    key, parts = _parts(t)
    return {"id": type_id, "kind": _kind(t), "name": t.name or "(anon)", **dict(_fields(t))} | ({key: parts} if key else {})


def _text(types: Btf, type_id: int, t: Type) -> str:
    gap = ", " if t.kind is Kind.VAR else " "
    lines = [f"[{type_id}] {_kind(t)} '{t.name or '(anon)'}' " + gap.join(f"{k}={v}" for k, v in _fields(t))]
    suffix = ("LL" if t.signed else "ULL") if t.kind is Kind.ENUM64 else ""
    for part in _parts(t)[1]:
        name = f"'{part.pop('name')}' " if "name" in part else ""
        line = "\t" + name + " ".join(f"{k}={v}{suffix}" for k, v in part.items())
        if t.kind is Kind.DATASEC and part["type_id"] < len(types):
            var = types.type(part["type_id"])
            line += f" ({_kind(var)} '{var.name or '(anon)'}')"
        lines.append(line)
    return "\n".join(lines)
