"""Light skeletons in C: a header in the shape that users of libbpf's <bpf/skel_internal.h> know."""

from __future__ import annotations

from collections.abc import Iterator

from ..btf import Btf, Kind
from ..btf.to_c import declare
from ..btf.types import MODIFIERS
from ..elf.spec import MapSpec, ProgSpec
from .generate import LoaderMap, LoaderProgram
from .link import attach_type
from .object import Object
from .py_types import c_identifier
from .skeleton import Signed

_PAGE = 4096
_ROW_BYTES = 24


def c_skeleton(made: LoaderProgram, obj: Object, signed: Signed | None = None) -> str:
    """The header. Types of the object's own that its data use must be declared before it is included."""
    return "\n".join(_Header(made, obj, signed).lines()) + "\n"


def _literal(data: bytes) -> list[str]:
    rows = [data[i : i + _ROW_BYTES] for i in range(0, len(data), _ROW_BYTES)] or [b""]
    return ['\t"' + "".join(f"\\x{b:02x}" for b in row) + '"' for row in rows]


class _Header:
    def __init__(self, made: LoaderProgram, obj: Object, signed: Signed | None) -> None:
        self.made = made
        self.signed = signed
        self.name = c_identifier(obj.name)
        self.btf: Btf = obj.spec.btf if obj.spec.btf is not None else Btf([])
        self.sections = [m for m in made.maps if self._is_section(m.spec)]
        self.attaching = [p for p in made.progs if p.spec.kind is not None and p.spec.kind.attach]

    def _is_section(self, spec: MapSpec) -> bool:
        return bool(spec.value_type_id) and self.btf.type(spec.value_type_id).kind is Kind.DATASEC

    def lines(self) -> Iterator[str]:
        guard = f"__{self.name.upper()}_LSKEL_H__"
        yield from ["/* SPDX-License-Identifier: (LGPL-2.1 OR BSD-2-Clause OR MIT) */"]
        yield from [f"/* Light skeleton of {self.name}, made by bpfjit gen skeleton -L --c: do not edit. */"]
        yield from [f"#ifndef {guard}", f"#define {guard}", "", "#include <bpf/skel_internal.h>", ""]
        yield from self._struct()
        for p in self.made.progs:
            yield from self._attach_one(p.spec)
        yield from self._attach_all()
        yield from self._destroy()
        yield from self._open()
        yield from self._load()
        n = self.name
        yield from [f"static inline struct {n} *{n}__open_and_load(void)", "{", f"\tstruct {n} *skel = {n}__open();", ""]
        yield from [f"\tif (skel && {n}__load(skel)) {{", f"\t\t{n}__destroy(skel);", "\t\tskel = NULL;", "\t}"]
        yield from ["\treturn skel;", "}", "", f"#endif /* {guard} */"]

    def _struct(self) -> Iterator[str]:
        yield from [f"struct {self.name} {{", "\tstruct bpf_loader_ctx ctx;", "\tstruct {"]
        yield from [f"\t\tstruct bpf_map_desc {c_identifier(m.name)};" for m in self.made.maps]
        yield from ["\t} maps;", "\tstruct {"]
        yield from [f"\t\tstruct bpf_prog_desc {c_identifier(p.name)};" for p in self.made.progs]
        yield from ["\t} progs;", "\tstruct {"]
        yield from [f"\t\tint {c_identifier(p.name)}_fd;" for p in self.made.progs]
        yield "\t} links;"
        for m in self.sections:
            yield from self._section(m)
        yield from ["};", ""]

    def _section(self, m: LoaderMap) -> Iterator[str]:
        yield f"\tstruct {self.name}__{m.name} {{"
        at = holes = 0
        for v in self.btf.type(m.spec.value_type_id).secvars:
            var = self.btf.type(v.type_id)
            if v.offset > at:
                holes += 1
                yield f"\t\tchar __pad{holes}[{v.offset - at}];"
            yield f"\t\t{declare(self.btf, self._plain(var.ref), var.name)};"
            at = v.offset + v.size
        yield f"\t}} *{m.name};"

    def _plain(self, type_id: int) -> int:
        """Without const and volatile: skeletons set what programs only read."""
        while self.btf.type(type_id).kind in MODIFIERS - {Kind.TYPEDEF}:
            type_id = self.btf.type(type_id).ref
        return type_id

    def _function(self, head: str, *body: str) -> Iterator[str]:
        yield from [f"static inline {head}", "{", *body, "}", ""]

    def _attach_one(self, p: ProgSpec) -> Iterator[str]:
        n, prog, row = self.name, c_identifier(p.name), p.kind
        fd = f"skel->progs.{prog}.prog_fd"
        how = "0; /* nothing to attach to by itself */"
        if row is not None and row.attach == "raw_tp":
            how = f'skel_raw_tracepoint_open("{p.target}", {fd});'
        elif row is not None and row.attach == "tp_btf":
            how = f"skel_raw_tracepoint_open(NULL, {fd});"
        elif row is not None and row.attach in ("iter", "view"):
            how = f"skel_link_create({fd}, 0, (enum bpf_attach_type){attach_type(row.attach_type)});"
        yield from self._function(
            f"int {n}__{prog}__attach(struct {n} *skel)",
            f"\tint fd = {how}",
            "",
            *(["\tif (fd > 0)", f"\t\tskel->links.{prog}_fd = fd;"] if not how.startswith("0") else ["\t(void)skel;"]),
            "\treturn fd;",
        )

    def _attach_all(self) -> Iterator[str]:
        n = self.name
        calls = [f"\tret = ret < 0 ? ret : {n}__{c_identifier(p.name)}__attach(skel);" for p in self.made.progs]
        yield from self._function(
            f"int {n}__attach(struct {n} *skel)", "\tint ret = 0;", "", *calls, "\treturn ret < 0 ? ret : 0;"
        )
        closes = [f"\tskel_closenz(skel->links.{c_identifier(p.name)}_fd);" for p in self.made.progs]
        yield from self._function(f"void {n}__detach(struct {n} *skel)", *closes)

    def _pages(self, m: LoaderMap) -> int:
        return -(-m.spec.value_size // _PAGE) * _PAGE

    def _destroy(self) -> Iterator[str]:
        n, body = self.name, ["\tif (!skel)", "\t\treturn;", f"\t{self.name}__detach(skel);"]
        body += [f"\tskel_closenz(skel->progs.{c_identifier(p.name)}.prog_fd);" for p in self.made.progs]
        for m in self.sections:
            where = f"skel->{m.name}, skel->maps.{m.name}.initial_value, {self._pages(m)}"
            body.append(f"\tif (skel->{m.name})\n\t\tskel_free_map_data({where});")
        body += [f"\tskel_closenz(skel->maps.{c_identifier(m.name)}.map_fd);" for m in self.made.maps]
        yield from self._function(f"void {n}__destroy(struct {n} *skel)", *body, "\tskel_free(skel);")

    def _open(self) -> Iterator[str]:
        n = self.name
        body: list[str] = []
        for m in self.sections:
            body += [f"\tstatic const char initial_{m.name}[] =", *_literal(m.spec.contents or b""), "\t\t;"]
        body += [f"\tstruct {n} *skel = (struct {n} *)skel_alloc(sizeof(*skel));", "", "\tif (!skel)", "\t\treturn NULL;"]
        body.append(f"\tskel->ctx.sz = {self.made.ctx_bytes}; /* up to the links */")
        for m in self.sections:
            prepared = f"skel_prep_map_data(initial_{m.name}, {self._pages(m)}, {m.spec.value_size})"
            body.append(f"\tskel->{m.name} = (__typeof__(skel->{m.name})){prepared};")
            body += [f"\tif (!skel->{m.name})", "\t\tgoto failed;"]
            body.append(f"\tskel->maps.{m.name}.initial_value = (__u64)(long)skel->{m.name};")
        if self.sections:
            body += ["\treturn skel;", "failed:", f"\t{n}__destroy(skel);", "\treturn NULL;"]
        else:
            body.append("\treturn skel;")
        yield from self._function(f"struct {n} *{n}__open(void)", *body)

    def _load(self) -> Iterator[str]:
        n, made = self.name, self.made
        blobs = {"data": made.data, "insn": made.insns}
        fields = {"data": "data", "insn": "insns"}
        if self.signed is not None:
            blobs["signature"] = self.signed.signature
            fields["signature"] = "signature"
        body = ["\tstruct bpf_load_and_run_opts opts = {};"]
        for blob, data in blobs.items():
            body += [f"\tstatic const char opts_{blob}[] __attribute__((__aligned__(8))) =", *_literal(data), "\t\t;"]
        body += ["\tint err;", "", "\topts.ctx = (struct bpf_loader_ctx *)skel;"]
        for blob, member in fields.items():
            body += [f"\topts.{member} = (void *)opts_{blob};", f"\topts.{member}_sz = sizeof(opts_{blob}) - 1;"]
        if self.signed is not None:
            body.append(f"\topts.keyring_id = {self.signed.keyring};")
        body += ["\terr = bpf_load_and_run(&opts);", "\tif (err < 0)", "\t\treturn err;"]
        for m in self.sections:
            protection = "PROT_READ" if m.spec.freeze else "PROT_READ | PROT_WRITE"
            desc = f"skel->maps.{m.name}"
            finalize = f"skel_finalize_map_data(&{desc}.initial_value, {self._pages(m)},"
            body += [
                f"\tskel->{m.name} = (__typeof__(skel->{m.name})){finalize}",
                f"\t\t{protection}, {desc}.map_fd);",
                f"\tif (!skel->{m.name})",
                "\t\treturn -ENOMEM;",
            ]
        yield from self._function(f"int {n}__load(struct {n} *skel)", *body, "\treturn 0;")
