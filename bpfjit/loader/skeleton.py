"""Python skeletons: a module with a class for one object, to be imported or copied into a program."""

from __future__ import annotations

import binascii
import re
import textwrap
import zlib
from collections.abc import Mapping

from ..btf import Btf, Kind
from ..btf.types import ENUMS
from ..dataclass import dataclass
from ..elf.spec import Extern, MapSpec, ProgSpec
from ..light import FORMAT
from .generate import LoaderMap, LoaderProgram
from .link import attach_type
from .map import WITHOUT_BTF
from .object import Object
from .py_types import PyTypes, c_identifier, identifier, pascal


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature over a loader program, and the keyring (a serial number) that a kernel shall check it by."""

    signature: bytes
    keyring: int = 0


def light_skeleton(made: LoaderProgram, obj: Object, signed: Signed | None = None) -> str:
    """The source of a module whose class loads the object by its loader program."""
    blobs = {"INSNS": made.insns, "DATA": made.data}
    extra = []
    if signed is not None:
        blobs["SIGNATURE"] = signed.signature
        extra = [f"    KEYRING = {signed.keyring}"]
    return _Module(obj, [(m.name, m.spec) for m in made.maps], [p.spec for p in made.progs]).source("Light", blobs, extra)


def full_skeleton(obj: Object, elf: bytes, kconfig: LoaderMap | None) -> str:
    """The source of a module whose class carries the object file."""
    maps = [(c_identifier(ref.removeprefix(".")), spec) for ref, spec in obj.maps.items()]
    if kconfig is not None:
        maps.append((kconfig.name, kconfig.spec))
    return _Module(obj, maps, [p for p in obj.progs.values() if p.autoload]).source("Embedded", {"OBJECT": elf}, [])


class _Module:
    def __init__(self, obj: Object, maps: list[tuple[str, MapSpec]], progs: list[ProgSpec]) -> None:
        self.obj = obj
        self.maps = maps
        self.progs = progs
        self.btf: Btf = obj.spec.btf if obj.spec.btf is not None else Btf([])
        self.types = PyTypes(self.btf)
        self.name = pascal(identifier(obj.name))
        self.own = {what: f"{self.name}{what}" for what in ("Maps", "Progs", "Links")}
        # The object's types may not hide what this module defines and imports.
        self.types.taken |= {self.name, *self.own.values(), "Light", "Embedded", "Map", "Prog", "Link", "Section"}

    def source(self, base: str, blobs: Mapping[str, bytes], extra: list[str]) -> str:
        sections = {name: self.types.section(name, s.value_type_id) for name, s in self.maps if self._is_section(s)}
        maps = [self._map(name, spec) for name, spec in self.maps]
        progs = [self._prog(p) for p in self.progs]
        out = [
            "",
            "",
            *self.types.lines,
            *self._space(self.own["Maps"], maps),
            *self._space(self.own["Progs"], progs),
            *self._links(),
            f"class {self.name}({base}):",
            f'    """{self.obj.name}: set data and sizes, load() into a kernel, attach()."""',
            "",
            f"    FORMAT = {FORMAT}",
            f'    NAME = "{self.obj.name}"',
            f"    LINKS = {self.own['Links']}",
            *extra,
            *[line for blob, data in blobs.items() for line in _packed(blob, data)],
            "",
            "    def __init__(self) -> None:",
            "        super().__init__()",
            f"        self.maps = {self.own['Maps']}()",
            f"        self.progs = {self.own['Progs']}()",
            f"        self._maps = ({''.join(f'self.maps.{identifier(n)}, ' for n, _ in self.maps)})",
            f"        self._progs = ({''.join(f'self.progs.{identifier(p.name)}, ' for p in self.progs)})",
        ]
        for name, form in sections.items():
            spec = dict(self.maps)[name]
            initial = spec.contents or b""
            text = f"bytes({spec.value_size})" if not any(initial) else repr(initial)
            constant = ", constant=True" if spec.freeze else ""
            out.append(f'        self._sections["{name}"] = Section("{name}", {form}, {text}{constant})')
        if "kconfig" in sections:
            out += ["        self._kconfig = (", *[f"            {row!r}," for row in self._kconfig_rows()], "        )"]
        for name, form in sections.items():
            out += [
                "",
                "    @property",
                f"    def {identifier(name)}(self) -> {form}:",
                f'        """The variables of .{name}."""',
                f'        return cast({form}, self._sections["{name}"].view)',
            ]
        links = self.own["Links"]
        out += ["", f"    def attach(self) -> {links}:", f"        return cast({links}, super().attach())"]
        out += ["", "    @property", f"    def links(self) -> {links}:", f"        return cast({links}, self._links)"]
        return "\n".join([*self._head(base, "\n".join(out)), *out]) + "\n"

    def _head(self, base: str, body: str) -> list[str]:
        """The module's docstring, and imports of what its body uses."""
        own = ["Light"] if base == "Light" else []
        names = [n for n in (*own, "Link", "Map", "Prog", "Section", "unpacked") if re.search(rf"\b{n}\b", body)]
        return [
            f'"""Skeleton of {self.obj.name}, made by bpfjit gen skeleton: do not edit."""',
            "",
            "# ruff: noqa",
            "from __future__ import annotations",
            "",
            *(["import ctypes"] if "ctypes." in body else []),
            "from typing import cast",
            "",
            f"from bpfjit.light import {', '.join(names)}",
            *([] if base == "Light" else [f"from bpfjit.loader.embedded import {base}"]),
        ]

    def _is_section(self, spec: MapSpec) -> bool:
        return bool(spec.value_type_id) and self.btf.type(spec.value_type_id).kind is Kind.DATASEC

    def _map(self, name: str, spec: MapSpec) -> tuple[str, str, str]:
        """(attribute, its type, what makes it)."""
        key = self._form(spec.key_type_id, spec.key_size, f"{name}_key", spec)
        value = self._form(spec.value_type_id, spec.value_size, f"{name}_value", spec)
        made = f'Map("{name}", {key[0]}, {value[0]}, {spec.max_entries})'
        return identifier(name), f"Map[{key[1]}, {value[1]}]", made

    def _form(self, type_id: int, size: int, hint: str, spec: MapSpec) -> tuple[str, str]:
        if spec.type in WITHOUT_BTF and size == 4:
            return "ctypes.c_uint32", "int"
        if not type_id or self._is_section(spec) or self.btf.size_of(type_id) != size:
            return f"ctypes.c_uint8 * {size}", "bytes"
        return self.types.of(type_id, hint)

    def _prog(self, p: ProgSpec) -> tuple[str, str, str]:
        row = p.kind
        how = ""
        if row is not None and row.attach:
            how = f', "{row.attach}", "{p.target}", {attach_type(row.attach_type)}'
        return identifier(p.name), "Prog", f'Prog("{p.name}"{how})'

    def _space(self, name: str, rows: list[tuple[str, str, str]]) -> list[str]:
        body = [f"        self.{attribute}: {kind} = {made}" for attribute, kind, made in rows] or ["        pass"]
        return [f"class {name}:", "    def __init__(self) -> None:", *body, "", ""]

    def _links(self) -> list[str]:
        """Links by name, as attributes that checkers know."""
        names = [p.name for p in self.progs if p.kind is not None and p.kind.attach]
        out = [f"class {self.own['Links']}(dict[str, Link]):", '    """Links by the names of their programs."""']
        for name in names:
            out += ["", "    @property", f"    def {identifier(name)}(self) -> Link:", f'        return self["{name}"]']
        return [*out, "", ""]

    def _kconfig_rows(self) -> list[tuple[str, int, int, str]]:
        return [
            (e.name, e.offset, e.size, _config_kind(self.btf, e))
            for e in self.obj.spec.externs.values()
            if e.section == ".kconfig"
        ]


def _config_kind(btf: Btf, extern: Extern) -> str:
    t = btf.resolve(extern.type_id)
    if t.kind is Kind.ARRAY:
        return "string"
    if t.kind in ENUMS:
        return "tristate"
    if t.encoding & 4:
        return "bool"
    return "char" if t.size == 1 else "number"


def _packed(name: str, data: bytes) -> list[str]:
    """An assignment of bytes as lines of text, which unpacked() reads."""
    text = binascii.b2a_base64(zlib.compress(data, 9), newline=False).decode()
    lines = [f'        "{line}"' for line in textwrap.wrap(text, 100)]
    return [f"    {name} = unpacked(", *lines, "    )"]
