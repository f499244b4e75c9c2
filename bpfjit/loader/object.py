"""Objects: opened from a file, loaded into a kernel through bpf(2).

What libbpf is to Linux. Nothing here knows which kernel is behind the Bpf it is handed.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..btf import RawBtf
from ..elf.link import object_name, read_object
from ..elf.spec import ObjectSpec
from ..errors import ObjectError
from .bpf import Bpf, kernel_btf
from .loaded import LoadedObject

_MAX_FILE = 256 << 20
BPFFS = "/sys/fs/bpf"


class Object:
    """An opened object; maps and programs may be looked at and changed until load().

    pin_root: where maps that ask for LIBBPF_PIN_BY_NAME are found, or pinned.
    """

    def __init__(
        self,
        spec: ObjectSpec,
        *,
        btf: RawBtf | None = None,
        kconfig: Mapping[str, int | str] | None = None,
        pin_root: str = BPFFS,
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.maps = spec.maps
        self.progs = spec.progs
        self.kconfig = dict(kconfig or {})
        self.pin_root = pin_root
        self._btf = btf

    def core_btf(self, bpf: Bpf) -> RawBtf:
        """The types that CO-RE relocates against."""
        return self._btf or kernel_btf(bpf)

    def load(
        self,
        bpf: Bpf,
        *,
        only: Sequence[str] | None = None,
        core_in_kernel: bool = False,
        targets: Mapping[str, int] | None = None,
    ) -> LoadedObject:
        """Create the maps and load the programs (those named, else all that want to be).

        core_in_kernel: hand the CO-RE relocations to the kernel, which applies them by its own types. targets: of freplace
        programs, the fd of the program that has the function which the section names.
        Raises LoadError, VerifierError, or OSError for a refused map; nothing is left behind then.
        """
        loaded = LoadedObject(self, bpf, core_in_kernel=core_in_kernel, targets=targets)
        try:
            loaded.create_maps()
            for prog in self.progs.values():
                if prog.name in only if only is not None else prog.autoload:
                    loaded.load_prog(prog)
            loaded.fill_prog_slots()
        except BaseException:
            loaded.close()
            raise
        return loaded


def open_object(
    source: str | Path,
    *,
    include: Sequence[str] = (),
    btf: RawBtf | None = None,
    kconfig: Mapping[str, int | str] | None = None,
    pin_root: str = BPFFS,
) -> Object:
    """Open a BPF object: an ELF file, or a `.bpf.c` that is compiled first.

    btf: types to relocate against instead of the kernel's own. kconfig: values of kconfig externs, numbers or as a
    .config file has them (y, n, m, "a string"). Raises ObjectError, CompileError or BtfError for what cannot be
    read, LoadError for an object that makes no sense, each naming the file.
    """
    data = source_bytes(source, include=include)
    return Object(open_bytes(data, source).spec, btf=btf, kconfig=kconfig, pin_root=pin_root)


def source_bytes(source: str | Path, *, include: Sequence[str] = ()) -> bytes:
    """The object file's bytes, of a `.bpf.c` compiled. Raises ObjectError, CompileError."""
    path = Path(source)
    if path.suffix != ".c":
        return _read(path)
    from .compile import compile_c  # late: objects need no compiler

    return compile_c(path, include=include)


def open_bytes(data: bytes, source: str | Path, *, name: str = "") -> Object:
    """Open an object file's bytes; `source` is what errors call it. Raises ObjectError, BtfError, LoadError."""
    return Object(read_object(data, name or object_name(str(source)), str(source)))


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
            raise ObjectError("a directory" if stat.S_ISDIR(mode) else "not a regular file", file=str(path))
        with path.open("rb") as f:
            data = f.read(_MAX_FILE + 1)
    except (OSError, ValueError) as e:  # ValueError: a NUL in the name
        cause = e.strerror if isinstance(e, OSError) else str(e)
        raise ObjectError((cause or "unreadable").lower(), file=str(path)) from None
    if len(data) > _MAX_FILE:
        raise ObjectError(f"larger than {_MAX_FILE} bytes", file=str(path))
    return data
