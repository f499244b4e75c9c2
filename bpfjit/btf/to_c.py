"""Btf -> a C header that BPF programs can include (vmlinux.h)."""

from __future__ import annotations

from collections.abc import Iterable

from .types import COMPOSITES, ENUMS, Btf, BtfId, Kind, Type

_BANNER = """/* SPDX-License-Identifier: MIT */
/* Generated from the BTF of bpfjit's simulated kernel: do not edit. */
"""
_OPEN = """#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

"""
_FOOTER = """
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
"""
_TAGS = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}


class _Printer:
    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.done: set[int] = set()
        self.out: list[str] = []

    def need(self, type_id: int) -> None:
        """Print what must stand before a use of this type by value."""
        t = self.btf.type(type_id)
        if t.kind is Kind.PTR:
            self.need_named(t.ref)
        elif t.kind is Kind.ARRAY or t.kind in (Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG):
            self.need(t.ref)
        elif t.kind is Kind.FUNC_PROTO:
            for ref in (t.ref, *(p.type_id for p in t.params)):
                self.need_named(ref)
        elif not t.name:
            for m in t.members:
                self.need(m.type_id)
        else:
            self.define(type_id)

    def need_named(self, type_id: int) -> None:
        """As need(), where a declaration is enough: structures stay forward."""
        t = self.btf.type(type_id)
        if t.kind in COMPOSITES and t.name:
            return
        if t.kind in (Kind.PTR, Kind.CONST, Kind.VOLATILE, Kind.RESTRICT):
            self.need_named(t.ref)
        elif t.kind is not Kind.VOID:
            self.need(type_id)

    def define(self, type_id: int) -> None:
        if type_id in self.done:
            return
        self.done.add(type_id)
        t = self.btf.type(type_id)
        if t.kind is Kind.TYPEDEF:
            self.need_named(t.ref) if self.btf.type(t.ref).name in ("", t.name) else self.need(t.ref)
            if not self.btf.type(t.ref).name and self.btf.type(t.ref).kind in COMPOSITES:
                for m in self.btf.type(t.ref).members:
                    self.need(m.type_id)
            self.out.append(f"typedef {self.declare(t.ref, t.name)};\n")
        elif t.kind in COMPOSITES:
            for m in t.members:
                self.need(m.type_id)
            self.out.append(self.body(t, 0) + ";\n")
        elif t.kind in ENUMS:
            self.out.append(self.body(t, 0) + ";\n")

    def body(self, t: Type, depth: int) -> str:
        pad = "\t" * depth
        head = " ".join(filter(None, [_TAGS[t.kind], t.name, "{"]))
        if t.kind in ENUMS:
            suffix = "LL" if t.kind is Kind.ENUM64 and t.signed else "ULL" if t.kind is Kind.ENUM64 else ""
            lines = [f"{pad}\t{v.name} = {v.value}{suffix}," for v in t.values]
        else:
            lines = [
                f"{pad}\t{self.declare(m.type_id, m.name, depth + 1)}{f': {m.bitfield_bits}' if m.bitfield_bits else ''};"
                for m in t.members
            ]
        return "\n".join([head, *lines, pad + "}"])

    def declare(self, type_id: int, name: str, depth: int = 0) -> str:
        """`name` declared with that type, C's inside-out way."""
        t = self.btf.type(type_id)
        if t.kind is Kind.PTR:
            inner = self.btf.type(t.ref)
            star = f"(*{name})" if inner.kind in (Kind.ARRAY, Kind.FUNC_PROTO) else f"*{name}"
            return self.declare(t.ref, star, depth)
        if t.kind is Kind.ARRAY:
            return self.declare(t.ref, f"{name}[{t.nelems}]", depth)
        if t.kind is Kind.FUNC_PROTO:
            args = ["..." if t.variadic and p is t.params[-1] else self.declare(p.type_id, "") for p in t.params]
            return self.declare(t.ref, f"{name}({', '.join(a.strip() for a in args) or 'void'})", depth)
        if t.kind in (Kind.CONST, Kind.VOLATILE, Kind.RESTRICT):
            qual = t.kind.name.lower()
            if self.btf.type(t.ref).kind is Kind.PTR:
                return self.declare(t.ref, f"{qual} {name}", depth)
            return f"{qual} {self.declare(t.ref, name, depth)}"
        if t.kind is Kind.VOID:
            base = "void"
        elif t.kind in _TAGS and not t.name:
            base = self.body(t, depth)
        elif t.kind is Kind.FWD:
            base = f"{'union' if t.fwd_union else 'struct'} {t.name}"
        elif t.kind in _TAGS:
            base = f"{_TAGS[t.kind]} {t.name}"
        else:
            base = t.name
        return f"{base} {name}".rstrip()


def declare(btf: Btf, type_id: int, name: str) -> str:
    """A C declaration of `name` with that type."""
    return _Printer(btf).declare(type_id, name)


_KSYM = """
#ifndef BPF_NO_KFUNC_PROTOTYPES
#ifndef __ksym
#define __ksym __attribute__((section(".ksyms")))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif

"""


def _kfuncs(printer: _Printer) -> str:
    """The kernel functions that programs may call, as bpftool declares them."""
    btf = printer.btf
    funcs = [btf.type(t.ref) for _, t in btf.items() if t.kind is Kind.DECL_TAG and t.name == "bpf_kfunc"]
    lines = []
    for f in funcs:
        proto = btf.type(f.ref)
        args = ", ".join(printer.declare(p.type_id, p.name) for p in proto.params) or "void"
        line = f"extern {printer.declare(proto.ref, f'{f.name}({args})')} __weak __ksym;\n"
        if f.name.startswith("bpf_arena_"):  # they take and give pointers of an arena's own address space
            for pointer in (f"void *{f.name}", "void *addr__ign", "void *ptr__ign"):
                line = line.replace(pointer, f"void __attribute__((address_space(1))) {pointer.removeprefix('void ')}")
        lines.append(line)
    return f"{_KSYM}{''.join(lines)}#endif\n" if lines else ""


def c_from_btf(btf: Btf, skip: Iterable[BtfId] = (), *, banner: str = _BANNER) -> str:
    """A vmlinux.h of every named type, each after what it needs, and of the functions tagged as kernel functions."""
    printer = _Printer(btf)
    printer.done.update(skip)
    left_out = set(printer.done)
    forwards = [
        f"{'union' if t.kind is Kind.UNION or t.fwd_union else 'struct'} {t.name};\n"
        for i, t in btf.items()
        if (t.kind in COMPOSITES or t.kind is Kind.FWD) and t.name and i not in left_out
    ]
    named = {t.ref for _, t in btf.items() if t.kind is Kind.TYPEDEF}  # by a typedef, which is printed with its body
    for type_id, t in btf.items():
        anonymous_enum = t.kind in ENUMS and not t.name and t.values and type_id not in named
        if (t.name and (t.kind in COMPOSITES or t.kind in ENUMS or t.kind is Kind.TYPEDEF)) or anonymous_enum:
            printer.define(type_id)
    return banner + _OPEN + "".join(forwards) + "\n" + "\n".join(printer.out) + _kfuncs(printer) + _FOOTER
