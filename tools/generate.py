"""Write every generated file from its one source; `--check` only says what is out of date (exit 1).

runtime/include/uapi.h            -> bpfjit/uapi/bpf.py
runtime/include/{uapi,kernel,hooks}.h -> kernfs_sim/data/vmlinux.btf, bpfjit/include/vmlinux.h
bpfjit/spec/helpers               -> bpfjit/include/bpf/bpf_helper_defs.h
"""

from __future__ import annotations

import argparse
import importlib
import re
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bpfjit.btf import Btf, Kind, Type, write_btf  # noqa: E402  (the path comes first)
from bpfjit.btf.from_c import btf_from_c  # noqa: E402
from bpfjit.btf.to_c import c_from_btf  # noqa: E402
from bpfjit.btf.types import COMPOSITES, ENUMS  # noqa: E402
from runtime.build import expanded  # noqa: E402

INCLUDE = ROOT / "runtime" / "include"

# Members of union bpf_attr, by one of their fields, -> the class that packs them.
ATTRS = {
    "map_type": "MapCreate",
    "next_key": "MapElem",
    "batch": "MapBatch",
    "prog_type": "ProgLoad",
    "pathname": "Obj",
    "attach_bpf_fd": "ProgAttach",
    "test": "TestRun",
    "start_id": "GetId",
    "info": "GetInfo",
    "query": "ProgQuery",
    "raw_tracepoint": "RawTracepointOpen",
    "btf_log_buf": "BtfLoad",
    "task_fd_query": "TaskFdQuery",
    "link_create": "LinkCreate LinkCreateCgroup LinkCreateTracing",
    "link_update": "LinkUpdate",
    "link_detach": "LinkDetach",
    "enable_stats": "EnableStats",
    "iter_create": "IterCreate",
    "prog_bind_map": "ProgBindMap",
    "token_create": "TokenCreate",
    "prog_stream_read": "ProgStreamRead",
}
# Which alternative of a union a class has, by one of its fields.
ALTERNATIVES = {"LinkCreateCgroup": "expected_revision", "LinkCreateTracing": "cookie"}
LAYOUTS = (
    "bpf_attr", "bpf_prog_info", "bpf_map_info", "bpf_btf_info", "bpf_link_info", "bpf_iter_link_info",
    "__sk_buff", "xdp_md", "bpf_sock", "bpf_sock_addr", "bpf_cgroup_dev_ctx", "bpf_sysctl", "bpf_sockopt",
    "bpf_sock_ops", "sk_msg_md", "bpf_sk_lookup", "sk_reuseport_md", "bpf_tcp_sock", "bpf_flow_keys", "bpf_xdp_sock",
)  # fmt: skip
FORMS = {(1, False): "B", (2, False): "H", (4, False): "I", (8, False): "Q", (4, True): "i", (8, True): "q"}


def leaves(btf: Btf, t: Type, base: int, prefix: str, prefer: str = "") -> list[tuple[str, int, int]]:
    """(dotted name, offset in bytes, type id) of every named leaf; with `prefer`, one alternative of each union."""
    found: list[tuple[str, int, int]] = []
    members = t.members
    if prefer and t.kind is Kind.UNION:
        chosen = [m for m in members if any(prefer == n for n, _, _ in leaves(btf, btf.resolve(m.type_id), 0, ""))]
        members = tuple(chosen[:1] or members[:1])
    for m in members:
        inner = btf.resolve(m.type_id)
        at = base + m.bit_offset // 8
        if inner.kind in COMPOSITES:
            found += leaves(btf, inner, at, f"{prefix}{m.name}." if m.name else prefix, prefer)
        elif not m.bitfield_bits:
            found.append((prefix + m.name, at, m.type_id))
    return found


def attr_class(btf: Btf, name: str, t: Type) -> list[str]:
    form, fields, offsets, pos = "<", [], {}, 0
    for field, offset, type_id in leaves(btf, t, 0, "", prefer=ALTERNATIVES.get(name, "iter_info")):
        field = field.rpartition(".")[2]
        size = btf.size_of(type_id)
        if offset > pos:
            form += f"{offset - pos}x"
        leaf = btf.resolve(type_id)
        form += f"{size}s" if leaf.kind is Kind.ARRAY else FORMS[size, leaf.signed]
        fields.append((field, 'bytes = b""' if leaf.kind is Kind.ARRAY else "int = 0"))
        offsets[field] = offset
        pos = offset + size
    return [
        "",
        "",
        "@dataclass(slots=True)",
        f"class {name}(Attr):",
        *[f"    {field}: {kind}" for field, kind in fields],
        f"    SIZE: ClassVar[int] = {struct.calcsize(form)}",
        f'    FORM: ClassVar[struct.Struct] = struct.Struct("{form}")',
        f"    FIELDS: ClassVar[tuple[str, ...]] = {tuple(f for f, _ in fields)!r}",
        f"    OFFSETS: ClassVar[dict[str, int]] = {offsets!r}",
    ]


def uapi_module() -> str:
    btf = btf_from_c((INCLUDE / "uapi.h").read_text())
    out = [
        '"""Linux\'s BPF user interface: numbers and layouts. Generated from runtime/include/uapi.h; do not edit."""',
        "",
        "# ruff: noqa: E501",
        "from __future__ import annotations",
        "",
        "import struct",
        "from typing import ClassVar",
        "",
        "from ..dataclass import dataclass",
        "from .layout import Attr, Layout",
        "",
    ]
    out += [f"{v.name} = {v.value}" for _, t in btf.items() if t.kind in ENUMS for v in t.values]
    out += ["", "LAYOUTS: dict[str, Layout] = {"]
    for name in LAYOUTS:
        type_id = btf.find(Kind.STRUCT, name) or btf.find(Kind.UNION, name)
        assert type_id is not None, name
        t = btf.type(type_id)
        fields = {n: (o, btf.size_of(i)) for n, o, i in leaves(btf, t, 0, "")}
        out.append(f"    {name!r}: Layout({t.size}, {fields!r}),")
    out.append("}")
    attr_id = btf.find(Kind.UNION, "bpf_attr")
    assert attr_id is not None
    for m in btf.type(attr_id).members:
        t = btf.resolve(m.type_id)
        names = {m.name} if m.name else {n for n, _, _ in leaves(btf, t, 0, "")}
        for key, classes in ATTRS.items():
            if key in names:
                for cls in classes.split():
                    out += attr_class(btf, cls, t)
    return "\n".join(out) + "\n"


def helper_defs() -> str:
    spec = importlib.import_module("bpfjit.spec.helpers")
    lines = [
        "/* SPDX-License-Identifier: MIT */",
        "/* Generated from bpfjit/spec/helpers: the helpers that bpfjit knows. Do not edit. */",
        "#pragma once",
        "",
        "struct btf_ptr;",
        "struct file;",
        "struct path;",
        "struct sock;",
        "struct socket;",
        *(f"struct {name};" for name in sorted(set(re.findall(r"struct (\w+)", "".join(h.decl for h in spec.HELPERS))))),
        "",
    ]
    for h in spec.HELPERS:
        lines.append(f"static {h.decl % ('bpf_' + h.name)} = (void *){h.id};")
    return "\n".join(lines) + "\n"


def kernel_btf() -> Btf:
    """The simulated kernel's types; its kernel functions carry the tag by which Linux's BTF tells them."""
    btf = btf_from_c("".join(expanded(name) for name in ("uapi.h", "kernel.h", "hooks.h", "kfuncs.h")))
    rows = importlib.import_module("bpfjit.spec.kfuncs").KFUNC_BY_NAME
    types = [btf.type(i) for i in range(len(btf))]
    tags = [Type(Kind.DECL_TAG, "bpf_kfunc", ref=i) for i, t in btf.items() if t.kind is Kind.FUNC and t.name in rows]
    return Btf([*types, *tags])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []

    def put(path: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        target = ROOT / path
        if not target.exists() or target.read_bytes() != data:
            stale.append(path)
            if not check:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)

    put("bpfjit/uapi/bpf.py", uapi_module())
    btf = kernel_btf()
    put("kernfs_sim/data/vmlinux.btf", write_btf(btf))
    put("bpfjit/include/vmlinux.h", c_from_btf(btf))
    put("bpfjit/include/bpf/bpf_helper_defs.h", helper_defs())
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
