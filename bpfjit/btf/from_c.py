"""Plain C declarations -> Btf, through pycparser.

This is how the simulated kernel's BTF, and a user's own target structures, come from one C header.
What it reads: typedefs, structs, unions, enums, bitfields, arrays, function prototypes. No macros, no
attributes: lines that start with `#` are dropped. Layout is the natural one of a 64-bit C compiler.
"""

from __future__ import annotations

import re

from pycparser import c_ast, c_parser

from ..dataclass import replace
from ..errors import BtfError
from .types import VOID, VOID_TYPE, Btf, BtfId, Enumerator, Kind, Member, Param, Type

# C's spellings, sorted words -> (BTF's name, bytes, encoding): the names in a kernel's BTF, which are gcc's.
_BASE: dict[tuple[str, ...], tuple[str, int, int]] = {
    ("char",): ("char", 1, 0),  # the kernel is built with -funsigned-char
    ("char", "signed"): ("signed char", 1, 1),
    ("char", "unsigned"): ("unsigned char", 1, 0),
    ("short",): ("short int", 2, 1),
    ("short", "unsigned"): ("short unsigned int", 2, 0),
    ("int",): ("int", 4, 1),
    ("int", "unsigned"): ("unsigned int", 4, 0),
    ("unsigned",): ("unsigned int", 4, 0),
    ("long",): ("long int", 8, 1),
    ("long", "unsigned"): ("long unsigned int", 8, 0),
    ("long", "long"): ("long long int", 8, 1),
    ("long", "long", "unsigned"): ("long long unsigned int", 8, 0),
    ("_Bool",): ("_Bool", 1, 4),
}
_QUALIFIERS = {"const": Kind.CONST, "volatile": Kind.VOLATILE, "restrict": Kind.RESTRICT}


def strip_c(source: str) -> str:
    """C source without comments and preprocessor lines, line numbers kept."""
    source = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), source, flags=re.S)
    return re.sub(r"^\s*#.*$|//.*$", "", source, flags=re.M)


class _Builder:
    def __init__(self) -> None:
        self.types: list[Type] = [VOID_TYPE]
        self.typedefs: dict[str, BtfId] = {}
        self.tags: dict[tuple[str, str], BtfId] = {}
        self.shared: dict[Type, BtfId] = {}

    def add(self, t: Type) -> BtfId:
        self.types.append(t)
        return BtfId(len(self.types) - 1)

    def share(self, t: Type) -> BtfId:
        """Pointers, qualifiers, arrays and base types: one id for equal types."""
        if t not in self.shared:
            self.shared[t] = self.add(t)
        return self.shared[t]

    def int_type(self, names: list[str]) -> BtfId:
        words = tuple(sorted(n for n in names if n != "int" or len(names) == 1))
        try:
            name, size, encoding = _BASE[words]
        except KeyError:
            raise BtfError(f"C type {' '.join(names)!r} has no BTF integer") from None
        return self.share(
            Type(Kind.INT, name, size, bits=8 if encoding & 4 else size * 8, encoding=encoding, signed=bool(encoding & 1))
        )

    def of(self, node: c_ast.Node) -> BtfId:
        """The id of a declarator's type."""
        if isinstance(node, c_ast.TypeDecl):
            return self.qualified(node.quals, self.of(node.type))
        if isinstance(node, c_ast.PtrDecl):
            return self.qualified(node.quals, self.share(Type(Kind.PTR, ref=self.of(node.type))))
        if isinstance(node, c_ast.ArrayDecl):
            nelems = self.constant(node.dim) if node.dim is not None else 0
            index = self.int_type(["int"])
            return self.share(Type(Kind.ARRAY, ref=self.of(node.type), index_id=index, nelems=nelems))
        if isinstance(node, c_ast.FuncDecl):
            return self.func_proto(node)
        if isinstance(node, c_ast.IdentifierType):
            if node.names == ["void"]:
                return VOID
            if len(node.names) == 1 and node.names[0] in self.typedefs:
                return self.typedefs[node.names[0]]
            return self.int_type(node.names)
        if isinstance(node, c_ast.Struct | c_ast.Union):
            return self.composite(node)
        if isinstance(node, c_ast.Enum):
            return self.enum(node)
        raise BtfError(f"{node.coord}: no BTF for {type(node).__name__}")

    def qualified(self, quals: list[str], ref: BtfId) -> BtfId:
        for qual in quals:
            ref = self.share(Type(_QUALIFIERS[qual], ref=ref))
        return ref

    def constant(self, node: c_ast.Node) -> int:
        if isinstance(node, c_ast.Constant):
            return int(node.value.rstrip("uUlL"), 0)
        if isinstance(node, c_ast.UnaryOp) and node.op == "-":
            return -self.constant(node.expr)
        raise BtfError(f"{node.coord}: not a constant")

    def func_proto(self, node: c_ast.FuncDecl) -> BtfId:
        params = []
        for p in node.args.params if node.args else []:
            if isinstance(p, c_ast.EllipsisParam):
                params.append(Param("", VOID))
                continue
            type_id = self.of(p.type)
            if type_id != VOID:
                params.append(Param(getattr(p, "name", None) or "", type_id))
        return self.add(Type(Kind.FUNC_PROTO, ref=self.of(node.type), params=tuple(params)))

    def tag(self, kind: Kind, key: str, name: str | None) -> BtfId:
        if name is None:
            return self.add(Type(kind))
        if (key, name) not in self.tags:
            fwd = Type(Kind.ENUM, name, 4) if kind is Kind.ENUM else Type(Kind.FWD, name, fwd_union=kind is Kind.UNION)
            self.tags[key, name] = self.add(fwd)
        return self.tags[key, name]

    def composite(self, node: c_ast.Struct | c_ast.Union) -> BtfId:
        is_union = isinstance(node, c_ast.Union)
        kind = Kind.UNION if is_union else Kind.STRUCT
        type_id = self.tag(kind, "union" if is_union else "struct", node.name)
        if node.decls is None:
            return type_id
        members, bits, align = [], 0, 1
        for decl in node.decls:
            m_id = self.of(decl.type)
            view = Btf(self.types)
            m_size, m_align = view.size_of(m_id), view.align_of(m_id)
            width = self.constant(decl.bitsize) if decl.bitsize is not None else 0
            at = 0 if is_union else bits
            if width:
                # A bitfield goes on in the current unit of its type unless it would cross that unit's end.
                if at // (m_size * 8) != (at + width - 1) // (m_size * 8):
                    at = -(-at // (m_size * 8)) * m_size * 8
            else:
                at = -(-at // (m_align * 8)) * m_align * 8
            members.append(Member(decl.name or "", m_id, at, width))
            end = at + (width or m_size * 8)
            bits, align = max(bits, end), max(align, m_align)
        size = -(-bits // (align * 8)) * align
        self.types[type_id] = Type(kind, node.name or "", size, members=tuple(members))
        return type_id

    def enum(self, node: c_ast.Enum) -> BtfId:
        type_id = self.tag(Kind.ENUM, "enum", node.name)
        if node.values is None:
            return type_id
        values, following = [], 0
        for e in node.values.enumerators:
            value = self.constant(e.value) if e.value is not None else following
            values.append(Enumerator(e.name, value))
            following = value + 1
        wide = any(not -(1 << 31) <= v.value < 1 << 32 for v in values)
        signed = any(v.value < 0 for v in values)
        kind = Kind.ENUM64 if wide else Kind.ENUM
        self.types[type_id] = Type(kind, node.name or "", 8 if wide else 4, values=tuple(values), signed=signed)
        return type_id

    def declare(self, node: c_ast.Node) -> None:
        if isinstance(node, c_ast.Typedef):
            # `typedef _Bool bool` aside, a typedef names what its declarator says.
            self.typedefs[node.name] = self.add(Type(Kind.TYPEDEF, node.name, ref=self.of(node.type)))
        elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
            self.add(Type(Kind.FUNC, node.name, ref=self.func_proto(node.type), linkage=1))
        elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.Struct | c_ast.Union | c_ast.Enum):
            self.of(node.type)
        else:
            raise BtfError(f"{node.coord}: only types and function prototypes are read")


def btf_from_c(source: str, base: Btf | None = None) -> Btf:
    """Compile C declarations to a Btf; with `base`, its types come first, keep their ids and may be named.

    Raises BtfError with the line on what cannot be read.
    """
    builder = _Builder()
    prelude = ""
    if base is not None:
        for type_id, t in base.items():
            builder.types.append(t)
            if t.kind is Kind.TYPEDEF:
                builder.typedefs[t.name] = type_id
                prelude += f"typedef int {t.name};"
            elif t.kind in (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64) and t.name:
                builder.tags[{Kind.STRUCT: "struct", Kind.UNION: "union"}.get(t.kind, "enum"), t.name] = type_id
            elif t.kind in (Kind.INT, Kind.PTR, Kind.ARRAY, Kind.CONST):
                builder.shared.setdefault(t, type_id)
    try:
        tree = c_parser.CParser().parse(prelude + strip_c(source), "<declarations>")
    except c_parser.ParseError as e:
        raise BtfError(f"C declarations: {e}") from None
    for node in tree.ext[prelude.count(";") :]:
        builder.declare(node)
    return Btf([replace(t) for t in builder.types])
