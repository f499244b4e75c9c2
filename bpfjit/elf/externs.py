"""Symbols outside the object: kernel symbols (__ksym) and values of the kernel's configuration (__kconfig).

Source: what libbpf states for `extern ... __kconfig`: which C types take which values of a .config file.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..btf import Btf, BtfId, Kind, RawBtf
from ..btf.types import ENUMS
from ..errors import LoadError
from .reader import Elf
from .spec import Extern

_MAX_BYTES = 64 << 10
_BOOL = 4  # BTF_INT_BOOL
_TRISTATE = {"n": 0, "y": 1, "m": 2}  # enum libbpf_tristate
Config = Mapping[str, int | str]


def find_externs(elf: Elf, btf: RawBtf | None, file: str) -> dict[str, Extern]:
    """The externs that BTF declares, .kconfig ones laid out one after the other. Raises LoadError, BtfError."""
    if btf is None:
        return {}
    undefined = {s.name: s for s in elf.in_section[0] if s.name}
    found: dict[str, Extern] = {}
    for section in (".kconfig", ".ksyms"):
        sec_id = btf.find(Kind.DATASEC, section)
        if sec_id is None:
            continue
        offset = 0
        for var in btf.type(sec_id).secvars:
            t = btf.type(var.type_id)
            if t.name in found:
                raise LoadError(f"two externs are called {t.name}", file=file, section=section)
            weak = t.name in undefined and undefined[t.name].weak
            if section == ".ksyms":
                function = t.kind is Kind.FUNC
                typeless = not function and btf.resolve(t.ref).kind is Kind.VOID
                found[t.name] = Extern(t.name, section, t.ref, weak, function=function, typeless=typeless)
                continue
            size, align = btf.size_of(t.ref), btf.align_of(t.ref)
            offset = -(-offset // align) * align
            if offset + size > _MAX_BYTES:
                raise LoadError(f"extern {t.name} of {size} bytes: too large", file=file, section=section)
            found[t.name] = Extern(t.name, section, t.ref, weak, offset, size)
            offset += size
    return found


def config_bytes(btf: Btf, extern: Extern, value: int | str) -> bytes:
    """A configuration value as the extern's C type holds it.

    `value` is a number, or the text of a .config line after the "=": y, n, m, a number, or a quoted string.
    Raises LoadError where the type does not take it.
    """
    what = f"kconfig extern {extern.name} = {value}"
    t = btf.resolve(extern.type_id)
    if isinstance(value, str) and value[:1] == '"':
        return _string(btf, what, t.ref if t.kind is Kind.ARRAY else None, extern.size, value)
    if isinstance(value, str) and value in _TRISTATE:
        if t.kind in ENUMS and t.name == "libbpf_tristate":
            return _TRISTATE[value].to_bytes(extern.size, "little")
        if t.kind is Kind.INT and t.encoding & _BOOL:
            if value == "m":
                raise LoadError(f"{what}: a bool is y or n")
            return bytes([value == "y"]).ljust(extern.size, b"\0")
        if t.kind is Kind.INT and t.size == 1:
            return value.encode()
        raise LoadError(f"{what}: wanted a bool, a char or an enum libbpf_tristate")
    try:
        number = int(value, 0) if isinstance(value, str) else int(value)
    except ValueError:
        raise LoadError(f"{what}: neither y, n, m, a number nor a string") from None
    if t.kind in ENUMS and t.name == "libbpf_tristate" and number in _TRISTATE.values():
        return number.to_bytes(extern.size, "little")
    if t.kind is not Kind.INT or t.size not in (1, 2, 4, 8):
        raise LoadError(f"{what}: a number, but the extern is no integer")
    bits = t.size * 8
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if t.signed else (0, (1 << bits) - 1)
    if t.encoding & _BOOL:
        low, high = 0, 1
    if not low <= number <= high:
        raise LoadError(f"{what}: does not fit its {t.size} bytes")
    return (number & (1 << bits) - 1).to_bytes(t.size, "little")


def _string(btf: Btf, what: str, elem: BtfId | None, size: int, value: str) -> bytes:
    if elem is None or btf.resolve(elem).kind is not Kind.INT or btf.resolve(elem).size != 1:
        raise LoadError(f"{what}: a string, but the extern is no char array")
    if len(value) < 2 or value[-1] != '"':
        raise LoadError(f"{what}: a string without its closing quote")
    # libbpf cuts what is too long, its NUL kept.
    return value[1:-1].encode()[: max(size - 1, 0)].ljust(size, b"\0")


def missing_config(externs: Mapping[str, Extern], config: Config) -> set[str]:
    """The strong .kconfig externs that have no value: no reachable instruction may use them."""
    return {e.name for e in externs.values() if e.section == ".kconfig" and not e.weak and e.name not in config}
