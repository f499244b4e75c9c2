"""bpfjit gen loader | skeleton: an object as a program that loads it, and as a module or header that brings it along."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ObjectError, UsageError
from ..isa.encoding import LD_IMM64, decode
from ..isa.text import disasm
from ..loader.bpf import live_bpf, parse_config, virtual_config
from ..loader.generate import LoaderProgram, generate
from ..loader.object import Object, open_bytes, source_bytes
from ..loader.skel_c import c_skeleton
from ..loader.skeleton import Signed, full_skeleton, light_skeleton
from ..spec.helpers import HELPER_BY_ID
from . import common


def add(commands: Any) -> None:
    parser = commands.add_parser("gen", help="write a loader program or a skeleton of an object")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    loader = verbs.add_parser("loader", help="the program that loads an object, and what it says of it (-j: with its bytes)")
    _add_common(loader)
    loader.set_defaults(command=write_loader)
    skeleton = verbs.add_parser("skeleton", help="a Python module, or a C header, that carries an object")
    _add_common(skeleton)
    add = skeleton.add_argument
    add("-L", "--light", action="store_true", help="carry a loader program instead of the object file")
    add("--c", action="store_true", help="a C header for <bpf/skel_internal.h> (with -L)")
    add("-S", "--sign", action="store_true", help="sign the loader program (with -L, -k and -i)")
    add("-k", "--key", metavar="PEM", help="the private key to sign with")
    add("-i", "--cert", metavar="PEM", help="the certificate of the key")
    skeleton.set_defaults(command=write_skeleton)


def _add_common(parser: argparse.ArgumentParser) -> None:
    common.add_source(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write there, not to stdout")
    parser.add_argument("--name", help="what to call the object, instead of its file's name")
    parser.add_argument(
        "--kconfig", metavar="FILE", help="a .config file that sets .kconfig externs, instead of this machine's"
    )
    common.add_output(parser)


def _config(args: argparse.Namespace) -> Mapping[str, int | str]:
    if not args.kconfig:
        return live_bpf.config()
    try:
        text = Path(args.kconfig).read_text(errors="replace")
    except OSError as e:
        raise ObjectError((e.strerror or "unreadable").lower(), file=args.kconfig) from None
    return {**virtual_config(platform.release()), **parse_config(text)}


def _open(args: argparse.Namespace) -> tuple[Object, bytes]:
    elf = source_bytes(args.source, include=args.include)
    obj = open_bytes(elf, args.source, name=args.name or "")
    if args.name and not (args.name.isidentifier() and args.name.isascii()):
        raise UsageError(f"--name {args.name}: wanted letters, digits and _")
    return obj, elf


def _write(args: argparse.Namespace, text: str, told: dict[str, Any]) -> int:
    if common.wants_json(args):
        common.print_json(told, pretty=args.pretty)
    elif args.output is None:
        sys.stdout.write(text)
    if args.output is not None:
        Path(args.output).write_text(text)
    return common.DONE


def write_loader(args: argparse.Namespace) -> int:
    obj, _ = _open(args)
    made = generate(obj, _config(args))
    told = {
        "name": made.name,
        "ctx_size": made.ctx_bytes,
        "maps": [
            {
                "name": m.name,
                "ctx_offset": m.ctx_offset,
                "type": m.spec.type,
                "bytes_key": m.spec.key_size,
                "bytes_value": m.spec.value_size,
                "max_entries": m.spec.max_entries,
            }
            for m in made.maps
        ],
        "progs": [{"name": p.name, "ctx_offset": p.ctx_offset, "section": p.spec.section} for p in made.progs],
        "insns": made.insns.hex(),
        "data": made.data.hex(),
    }
    return _write(args, _listing(made), told)


def _listing(made: LoaderProgram) -> str:
    """What a loader is, for people: the context's layout and the instructions."""
    insns = decode(made.insns)
    lines = [f"; loader of {made.name}: {len(insns)} instructions, {len(made.data)} bytes of data"]
    lines.append(f"; context of {made.ctx_bytes} bytes: 24 of struct bpf_loader_ctx, then")
    lines += [f";   {m.ctx_offset:5} map {m.name}" for m in made.maps]
    lines += [f";   {p.ctx_offset:5} program {p.name} ({p.spec.section})" for p in made.progs]
    pc = 0
    while pc < len(insns):
        text = disasm(insns, pc, lambda i: f"bpf_{HELPER_BY_ID[i.imm].name}#{i.imm}", references=True)
        lines.append(f"{pc}: ({insns[pc].code:02x}) {text}")
        pc += 2 if insns[pc].code == LD_IMM64 else 1
    return "\n".join(lines) + "\n"


def _signed(args: argparse.Namespace, made: LoaderProgram) -> Signed | None:
    if not args.sign:
        if args.key or args.cert:
            raise UsageError("-k and -i go with -S")
        return None
    if not args.key or not args.cert:
        raise UsageError("-S wants a key (-k) and its certificate (-i)")
    from ..loader.sign import sign

    return Signed(sign(made.insns, (made.data,), args.key, args.cert))


def write_skeleton(args: argparse.Namespace) -> int:
    if not args.light and (args.c or args.sign):
        raise UsageError("--c and -S are of light skeletons: -L is missing")
    obj, elf = _open(args)
    made = generate(obj, _config(args))
    if not args.light:
        kconfig = next((m for m in made.maps if m.name == "kconfig"), None)
        text = full_skeleton(obj, elf, kconfig)
    elif args.c:
        text = c_skeleton(made, obj, _signed(args, made))
    else:
        text = light_skeleton(made, obj, _signed(args, made))
    return _write(args, text, {"name": obj.name, "language": "c" if args.c else "python", "text": text})
