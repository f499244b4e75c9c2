"""bpfjit map show | create | dump | update | lookup | …: bpftool's verbs on maps."""

from __future__ import annotations

import argparse
import contextlib
import errno
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ..btf import RawBtf
from ..btf.values import value_tree
from ..errors import BtfError, UsageError
from ..loader import inspect
from ..loader.inspect import MapFd
from ..loader.map import pin
from ..spec.map_types import MAP_TYPE_NAMES
from ..uapi import bpf as uapi
from . import common, jsonw
from .reach import HANDLES, Reach, add_kernel, failed, reach

_TYPES = {name: number for number, name in MAP_TYPE_NAMES.items()}
_UPDATE_FLAGS = {"any": uapi.BPF_ANY, "noexist": uapi.BPF_NOEXIST, "exist": uapi.BPF_EXIST}
# Maps whose values name other objects: what the words after `value` may be.
_VALUE_KINDS = {
    uapi.BPF_MAP_TYPE_PROG_ARRAY: "prog",
    uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS: "map",
    uapi.BPF_MAP_TYPE_HASH_OF_MAPS: "map",
}


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "map",
        help="show and change maps of a mounted kernel, of Linux's, or of an object",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_HELP,
    )
    parser.add_argument("verb", choices=tuple(_VERBS), metavar="VERB", help=", ".join(_VERBS))
    parser.add_argument("words", nargs="*", metavar="…", help="the rest, as bpftool takes it")
    add_kernel(parser)
    parser.set_defaults(command=command)


_HELP = """MAP is id N, name NAME or pinned FILE; SOURCE before it is a .bpf.c or an object, loaded into a kernel of its own.
DATA is bytes: decimal, 0x…, or hexadecimal after the word hex.

  show|list [MAP]              create FILE type TYPE key SIZE value SIZE entries N name NAME [flags F] [inner_map MAP]
  dump MAP                     lookup MAP key DATA       getnext MAP [key DATA]    delete MAP key DATA
  update MAP [key DATA] [value DATA|MAP|PROG] [any|exist|noexist]
  pin MAP FILE                 freeze MAP                peek|pop|dequeue MAP      push|enqueue MAP value DATA
  event_pipe MAP [cpu N index M]: what programs put into a perf event array, until interrupted (no mounted kernel)
"""


def command(args: argparse.Namespace) -> int:
    verb = _VERBS[args.verb]
    with reach(args, "map", args.words, load=args.verb != "create") as at:
        return verb(args, at)


def out(args: argparse.Namespace, value: Any) -> None:
    """A value as JSON on stdout, as -j and -p want it."""
    sys.stdout.write(jsonw.text(value, pretty=args.pretty) + "\n")


def nothing(args: argparse.Namespace) -> int:
    """What bpftool says in JSON when there is nothing to say."""
    if common.wants_json(args):
        out(args, None)
    return common.DONE


# -- showing -----------------------------------------------------------------------------------------------


def show(args: argparse.Namespace, at: Reach) -> int:
    single = at.is_handle("map") and at.words[0] != "name"
    pins = at.pins() if args.bpffs else {}
    with at.each("map") as fds:
        at.done()
        rows = [_described(at, fd, pins) for fd in fds]
        single = single or (len(rows) == 1 and "name" in args.words)
        if common.wants_json(args):
            out(args, rows[0][0] if single else [row for row, _ in rows])
        else:
            sys.stdout.write("".join(text for _, text in rows))
    return common.DONE


def _described(at: Reach, fd: int, pins: dict[tuple[str, int], list[str]]) -> tuple[dict[str, Any], str]:
    """A map as bpftool shows it: the JSON object, and the text."""
    info, told = inspect.get_info(at.bpf, fd, "map"), inspect.fdinfo(at.bpf, fd)
    kind = MAP_TYPE_NAMES.get(info["type"], str(info["type"]))
    memlock, frozen = int(told.get("memlock", 0)), int(told.get("frozen", 0))
    pinned = pins.get(("map", info["id"]), [])
    row: dict[str, Any] = {"id": info["id"], "type": kind}
    row |= {"name": info.name} if info.name else {}
    row |= {"flags": info["map_flags"], "bytes_key": info["key_size"], "bytes_value": info["value_size"]}
    row |= {"max_entries": info["max_entries"], "bytes_memlock": memlock, "frozen": frozen}
    row |= {"btf_id": info["btf_id"]} if info["btf_id"] else {}
    row |= {"pinned": pinned} if pinned else {}
    name = f"name {info.name}  " if info.name else ""
    lines = [
        f"{info['id']}: {kind}  {name}flags {info['map_flags']:#x}",
        f"\tkey {info['key_size']}B  value {info['value_size']}B  max_entries {info['max_entries']}  memlock {memlock}B",
        *(f"\tpinned {path}" for path in pinned),
    ]
    last = [f"btf_id {info['btf_id']}" if info["btf_id"] else "", "frozen" if frozen else ""]
    if any(last):
        lines.append("\t" + "  ".join(filter(None, last)))
    return row, "\n".join(lines) + "\n"


# -- elements ----------------------------------------------------------------------------------------------


def hexes(data: bytes) -> list[str]:
    return [f"0x{byte:02x}" for byte in data]


def hex_lines(data: bytes) -> str:
    """Bytes in hexadecimal, sixteen to a line with a gap in the middle."""
    lines = []
    for start in range(0, len(data), 16):
        line = data[start : start + 16]
        lines.append("  ".join(line[i : i + 8].hex(" ") for i in range(0, len(line), 8)))
    return "\n".join(lines)


def _types(at: Reach, m: MapFd) -> RawBtf | None:
    """The BTF of a map's elements, None where it has none or it cannot be read."""
    if not m.info["btf_id"] or not m.info["btf_value_type_id"]:
        return None
    try:
        return inspect.btf_by_id(at.bpf, m.info["btf_id"])
    except (OSError, BtfError):
        return None


def _cpus(m: MapFd, value: bytes) -> list[bytes]:
    return [value[i : i + m.value_size] for i in range(0, len(value), m.stride)] if m.per_cpu else [value]


def _typed(m: MapFd, types: RawBtf, key: bytes, value: bytes) -> dict[str, Any]:
    """An element by BTF, as it stands under "formatted"."""
    row: dict[str, Any] = {}
    if m.info["btf_key_type_id"]:
        row["key"] = value_tree(types, m.info["btf_key_type_id"], key)
    trees = [value_tree(types, m.info["btf_value_type_id"], one) for one in _cpus(m, value)]
    if m.per_cpu:
        row["values"] = [{"cpu": cpu, "value": tree} for cpu, tree in enumerate(trees)]
    else:
        row["value"] = trees[0]
    return row


def _element(m: MapFd, types: RawBtf | None, key: bytes, value: bytes) -> dict[str, Any]:
    """An element in JSON: bytes, and what they mean by BTF."""
    row: dict[str, Any] = {"key": hexes(key)}
    if m.per_cpu:
        row["values"] = [{"cpu": cpu, "value": hexes(one)} for cpu, one in enumerate(_cpus(m, value))]
    else:
        row["value"] = hexes(value)
    return row | ({"formatted": _typed(m, types, key, value)} if types is not None else {})


def _plain_element(m: MapFd, key: bytes, value: bytes | None) -> str:
    """An element without BTF, as text."""
    parts = [f"key:\n{hex_lines(key)}"] if key else []
    if value is None:
        parts.append("\nNot found")
    elif m.per_cpu:
        parts += [f"value (CPU {cpu:02}):\n{hex_lines(one)}" for cpu, one in enumerate(_cpus(m, value))]
    else:
        parts.append(f"value:\n{hex_lines(value)}")
    return "\n".join(parts) + "\n"


def dump(args: argparse.Namespace, at: Reach) -> int:
    several = not at.is_handle("map") or at.words[0] == "name"
    with at.each("map") as fds:
        at.done()
        if several and len(fds) != 1 and not (at.loaded or "name" in args.words):
            raise UsageError(f"which map? Wanted {' or '.join(f'{h} …' for h in HANDLES['map'])}")
        for i, fd in enumerate(fds):
            if i and not common.wants_json(args):
                sys.stdout.write("\n")
            if len(fds) > 1 and not common.wants_json(args):
                sys.stdout.write(_described(at, fd, {})[1].splitlines()[0] + "\n")
            _dump_one(args, at, MapFd(at.bpf, fd))
    return common.DONE


def _dump_one(args: argparse.Namespace, at: Reach, m: MapFd) -> None:
    types = _types(at, m)
    elements = list(_elements(m))
    if common.wants_json(args):
        out(
            args,
            [_element(m, types, key, value) if value is not None else _unread(key, why) for key, value, why in elements],
        )
    elif types is not None:
        rows = [_typed(m, types, key, value) for key, value, _ in elements if value is not None]
        sys.stdout.write(jsonw.text(rows, pretty=True, plain=True) + "\n")
    else:
        found = 0
        for key, value, why in elements:
            if value is None:
                sys.stdout.write(f"key:\n{hex_lines(key)}\nvalue:\n{why}\n")
            else:
                found += 1
                sys.stdout.write(_plain_element(m, key, value))
        sys.stdout.write(f"Found {found} element{'s' if found != 1 else ''}\n")


def _elements(m: MapFd) -> Iterator[tuple[bytes, bytes | None, str]]:
    """Every element: key, value, and why there is none to be had."""
    if not m.key_size:
        return  # queues, stacks, bloom filters have no keys to walk
    for key in m.all_keys():
        try:
            yield key, m.lookup(key), ""
        except OSError as e:
            if e.errno != errno.ENOENT:
                yield key, None, (e.strerror or "").lower()
            elif m.info["type"] in _VALUE_KINDS:
                yield key, None, "<no entry>"


def _unread(key: bytes, why: str) -> dict[str, Any]:
    return {"key": hexes(key), "value": {"error": why}}


def lookup(args: argparse.Namespace, at: Reach) -> int:
    with at.one("map") as fd:
        m = MapFd(at.bpf, fd)
        key = _key(at, m)
        at.done()
        return _show_element(args, at, m, key, lambda: m.lookup(key))


def _show_element(args: argparse.Namespace, at: Reach, m: MapFd, key: bytes, read: Callable[[], bytes]) -> int:
    try:
        value = read()
    except OSError as e:
        if e.errno != errno.ENOENT:
            raise failed("lookup", e) from None
        if common.wants_json(args):
            out(args, None)
        else:
            sys.stdout.write(_plain_element(m, key, None))
        return common.FAILED
    types = _types(at, m)
    if common.wants_json(args):
        out(args, _element(m, types, key, value))
    elif types is not None:
        sys.stdout.write(jsonw.text(_typed(m, types, key, value), pretty=True, plain=True) + "\n")
    else:
        sys.stdout.write(_plain_element(m, key, value))
    return common.DONE


def getnext(args: argparse.Namespace, at: Reach) -> int:
    with at.one("map") as fd:
        m = MapFd(at.bpf, fd)
        key = _key(at, m) if at.words else None
        at.done()
        try:
            following = m.next_key(key)
        except OSError as e:
            raise failed("can't get next key", e) from None
        if common.wants_json(args):
            out(args, {"key": hexes(key) if key is not None else None, "next_key": hexes(following)})
        else:
            shown = f"key:\n{hex_lines(key)}" if key is not None else "key: None"
            sys.stdout.write(f"{shown}\nnext key:\n{hex_lines(following)}\n")
    return common.DONE


# -- changing ----------------------------------------------------------------------------------------------


def _data(at: Reach, what: str, size: int) -> bytes:
    """The bytes that the next words say; `size` of them."""
    base, words = 0, at.words
    if words and words[0] == "hex":
        base = 16
        words.pop(0)
    found = bytearray()
    while words and len(found) < size:
        try:
            value = int(words[0], base)
        except ValueError:
            break
        if not 0 <= value < 256:
            raise UsageError(f"{what}: {words[0]} is no byte")
        found.append(value)
        words.pop(0)
    if len(found) != size:
        raise UsageError(f"{what} expected {size} bytes got {len(found)}")
    return bytes(found)


def _key(at: Reach, m: MapFd) -> bytes:
    if at.pop("key DATA") != "key":
        raise UsageError("wanted key DATA")
    return _data(at, "key", m.key_size)


def _value(at: Reach, m: MapFd, stack: contextlib.ExitStack) -> bytes:
    """The value that the next words say, every CPU's for per-CPU maps. Objects are named, and held open meanwhile."""
    if at.pop("value DATA") != "value":
        raise UsageError("wanted value DATA")
    kind = _VALUE_KINDS.get(m.info["type"])
    if kind is not None:
        return stack.enter_context(at.one(kind)).to_bytes(4, "little")
    value = _data(at, "value", m.value_size)
    return value.ljust(m.stride, b"\0") * at.bpf.possible_cpus() if m.per_cpu else value


def update(args: argparse.Namespace, at: Reach) -> int:
    with contextlib.ExitStack() as stack:
        m = MapFd(at.bpf, stack.enter_context(at.one("map")))
        key = _key(at, m) if m.key_size else b""
        value = _value(at, m, stack) if m.value_size else b""
        flags = 0
        if at.words:
            word = at.pop("flags")
            if word not in _UPDATE_FLAGS:
                raise UsageError(f"update flags {word}: wanted {', '.join(_UPDATE_FLAGS)}")
            flags = _UPDATE_FLAGS[word]
        at.done()
        try:
            m.update(key, value, flags)
        except OSError as e:
            raise failed("update failed", e) from None
    return nothing(args)


def delete(args: argparse.Namespace, at: Reach) -> int:
    with at.one("map") as fd:
        m = MapFd(at.bpf, fd)
        key = _key(at, m)
        at.done()
        try:
            m.call(uapi.BPF_MAP_DELETE_ELEM, key)
        except OSError as e:
            raise failed("delete failed", e) from None
    return nothing(args)


def push(args: argparse.Namespace, at: Reach) -> int:
    with contextlib.ExitStack() as stack:
        m = MapFd(at.bpf, stack.enter_context(at.one("map")))
        value = _value(at, m, stack)
        at.done()
        try:
            m.update(b"", value)
        except OSError as e:
            raise failed("update failed", e) from None
    return nothing(args)


def _take(cmd: int) -> Callable[[argparse.Namespace, Reach], int]:
    def take(args: argparse.Namespace, at: Reach) -> int:
        with at.one("map") as fd:
            m = MapFd(at.bpf, fd)
            at.done()
            try:
                value = m.lookup(b"", cmd)
            except OSError as e:
                if e.errno == errno.ENOENT:
                    raise OSError(e.errno, "empty map") from None
                raise failed("lookup failed", e) from None
            if common.wants_json(args):
                out(args, _element(m, _types(at, m), b"", value))
            else:
                sys.stdout.write(f"value: {value.hex(' ')}\n")
        return common.DONE

    return take


def freeze(args: argparse.Namespace, at: Reach) -> int:
    with at.one("map") as fd:
        at.done()
        try:
            at.bpf(uapi.BPF_MAP_FREEZE, bytearray(uapi.MapElem(map_fd=fd).pack()))
        except OSError as e:
            raise failed("failed to freeze map", e) from None
    return nothing(args)


def pin_map(args: argparse.Namespace, at: Reach) -> int:
    with at.one("map") as fd:
        path = at.pop("FILE")
        at.done()
        pin(at.bpf, fd, at.path(path))
    return nothing(args)


def create(args: argparse.Namespace, at: Reach) -> int:
    path = at.pop("FILE")
    attr = uapi.MapCreate()
    numbers = {"key": "key_size", "value": "value_size", "entries": "max_entries", "flags": "map_flags"}
    with contextlib.ExitStack() as stack:
        while at.words:
            word = at.words.pop(0)
            if word == "type":
                name = at.pop("TYPE")
                if name not in _TYPES:
                    raise UsageError(f"unrecognized map type: {name}")
                attr.map_type = _TYPES[name]
            elif word == "name":
                attr.map_name = at.pop("NAME").encode()[: uapi.BPF_OBJ_NAME_LEN - 1]
            elif word == "inner_map":
                attr.inner_map_fd = stack.enter_context(at.one("map"))
            elif word in numbers:
                text = at.pop(word.upper())
                try:
                    setattr(attr, numbers[word], int(text, 0))
                    attr.pack()
                except (ValueError, struct.error):
                    raise UsageError(f"{word} {text}: no 32-bit number") from None
            else:
                raise UsageError(f"what is '{word}'? Wanted type, key, value, entries, name, flags or inner_map")
        if not attr.map_name:
            raise UsageError("map name not specified")
        try:
            fd = at.bpf(uapi.BPF_MAP_CREATE, bytearray(attr.pack()))
        except OSError as e:
            raise failed("map create failed", e) from None
        stack.callback(at.bpf.close, fd)
        pin(at.bpf, fd, at.path(path))
    return nothing(args)


def event_pipe(args: argparse.Namespace, at: Reach) -> int:
    from . import map_events  # late: few look at events

    return map_events.event_pipe(args, at)


_VERBS: dict[str, Callable[[argparse.Namespace, Reach], int]] = {
    "show": show,
    "list": show,
    "create": create,
    "dump": dump,
    "update": update,
    "lookup": lookup,
    "getnext": getnext,
    "delete": delete,
    "pin": pin_map,
    "freeze": freeze,
    "peek": _take(uapi.BPF_MAP_LOOKUP_ELEM),
    "pop": _take(uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM),
    "dequeue": _take(uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM),
    "push": push,
    "enqueue": push,
    "event_pipe": event_pipe,
}
