"""What the instructions of a program refer to by fd, or by index into an array of fds."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import NoReturn

from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.isa.encoding import CALL, LD_IMM64, Insn
from bpfjit.program import MapRef
from bpfjit.uapi import bpf as uapi

from ..caller import CAP_BPF, CAP_PERFMON, Caller
from ..objects import BtfObject, MapObject, Object
from .fd import ObjectFile

MAX_USED_MAPS = 64
MAX_VAR_OFF = 1 << 29  # BPF_MAX_VAR_OFF
_U32 = 0xFFFFFFFF
_MAX_FDS = _U32 // 4  # an array of 4-byte fds must have a size
_BY_INDEX = (uapi.BPF_PSEUDO_MAP_IDX, uapi.BPF_PSEUDO_MAP_IDX_VALUE)
_VALUES = (uapi.BPF_PSEUDO_MAP_VALUE, uapi.BPF_PSEUDO_MAP_IDX_VALUE)
_MAPS = (uapi.BPF_PSEUDO_MAP_FD, *_VALUES, uapi.BPF_PSEUDO_MAP_IDX)


def _reject(reason: str, number: int = errno.EINVAL) -> NoReturn:
    """A refusal that stands in the verifier's log, as Linux has it, though no instruction has been looked at."""
    raise refuse(number, reason or "fd_array cannot be read")


def signed(fd: int) -> int:
    return fd - (1 << 32) if fd >> 31 else fd


class References:
    """The maps that a program uses, each once and referenced, and which ld_imm64 names which.

    With fd_array_cnt every map of the array is used, named or not. release() gives all back, should the load fail.
    """

    def __init__(self, caller: Caller, fd_array: int, fd_array_cnt: int) -> None:
        self.caller = caller
        self.fd_array = fd_array
        self.maps: list[MapObject] = []
        self.refs: dict[int, MapRef] = {}
        self.btfs: list[BtfObject] = []
        self._count = fd_array_cnt

    def resolve(self, insns: Sequence[Insn]) -> None:
        """Raises EBADF, EINVAL, EPROTO without the array that an index needs, EFAULT, E2BIG past 64 maps."""
        self._whole_array()
        for insn in insns:
            if insn.code == CALL and insn.src == uapi.BPF_PSEUDO_KFUNC_CALL and insn.off:
                self._module_of(insn)
        pc = 0
        while pc < len(insns):
            insn = insns[pc]
            if insn.code == LD_IMM64 and pc + 1 < len(insns):
                if insn.src in _MAPS:
                    self._map(pc, insn, insns[pc + 1].imm & _U32)
                elif insn.src > uapi.BPF_PSEUDO_MAP_IDX_VALUE:
                    _reject("unrecognized bpf_ld_imm64 insn")
                pc += 1
            pc += 1

    def check_exclusive(self, digest: bytes) -> None:
        """Raises EACCES for a map that another program has to itself.

        Linux 6.18 looks at the maps of a counted fd_array before it knows the digest, and so refuses all there.
        """
        if any(m.exclusive_to not in (b"", digest) for m in self.maps):
            _reject("program's hash doesn't match map's excl_prog_hash", errno.EACCES)

    def release(self) -> None:
        for obj in (*self.maps, *self.btfs):
            obj.put()
        self.maps, self.btfs = [], []

    def _whole_array(self) -> None:
        if self._count >= _MAX_FDS:
            _reject(f"fd_array_cnt is too big ({self._count})")
        for index in range(self._count):
            fd = self._fd(index)
            found = self._object(fd)
            if isinstance(found, MapObject):
                self._use(found)
            elif isinstance(found, BtfObject):
                if found not in self.btfs:
                    self.btfs.append(found.get())
            else:
                self._bad(fd, "bpf_map or btf")

    def _fd(self, index: int) -> int:
        try:
            return int.from_bytes(self.caller.read(self.fd_array + (signed(index) * 4), 4), "little")
        except (OSError, OverflowError):
            _reject("", errno.EFAULT)

    def _object(self, fd: int) -> Object | None:
        file = self.caller.fds.find(fd)
        return file.object if isinstance(file, ObjectFile) else None

    def _bad(self, fd: int, wanted: str) -> NoReturn:
        open_file = self.caller.fds.find(fd) is not None
        _reject(f"fd {signed(fd)} is not pointing to valid {wanted}", errno.EINVAL if open_file else errno.EBADF)

    def _use(self, m: MapObject) -> int:
        if m not in self.maps:
            if len(self.maps) == MAX_USED_MAPS:
                _reject(f"The total number of maps per program has reached the limit of {MAX_USED_MAPS}", errno.E2BIG)
            if m.type.arena:
                self._check_arena(m)
            self.maps.append(m.get())
        return self.maps.index(m)

    def _check_arena(self, m: MapObject) -> None:
        cred = self.caller.cred
        if any(other.type.arena for other in self.maps):
            _reject("Only one arena per program", errno.EBUSY)
        if not (cred.capable(CAP_BPF) and cred.capable(CAP_PERFMON)):
            _reject("CAP_BPF and CAP_PERFMON are required to use arena", errno.EPERM)
        if not m.native.user[0]:
            _reject("arena's user address must be set via map_extra or mmap()")

    def _map(self, pc: int, insn: Insn, high: int) -> None:
        if insn.src not in _VALUES and high:
            _reject("unrecognized bpf_ld_imm64 insn")
        if insn.src in _BY_INDEX and not self.fd_array:
            _reject("fd_idx without fd_array is invalid", errno.EPROTO)
        fd = self._fd(insn.imm & _U32) if insn.src in _BY_INDEX else insn.imm & _U32
        m = self._object(fd)
        if not isinstance(m, MapObject):
            self._bad(fd, "bpf_map")
        index = self._use(m)
        if insn.src in _VALUES:
            if high >= MAX_VAR_OFF:
                _reject(f"direct value offset of {high} is not allowed")
            if m.type.arena:
                if high > m.native.user[1]:
                    _reject(f"invalid access to map value pointer, value_size=0 off={high}", errno.ERANGE)
            elif not m.type.direct:
                _reject("no direct value access support for this map type")
            elif high >= m.value_size or m.max_entries != 1:
                number = ENOTSUPP if m.max_entries != 1 else errno.EINVAL
                _reject(f"invalid access to map value pointer, value_size={m.value_size} off={high}", number)
        self.refs[pc] = MapRef(index, high if insn.src in _VALUES else None)

    def _module_of(self, insn: Insn) -> NoReturn:
        """A kernel function of a module, by the index of the module's BTF: there are no modules here."""
        if not self.fd_array:
            reason, number = "kfunc offset > 0 without fd_array is invalid", errno.EPROTO
        else:
            number, reason = errno.EINVAL, "negative offset disallowed for kernel module function call"
            if insn.off > 0:
                is_btf = isinstance(self._object(self._fd(insn.off)), BtfObject)
                reason = "BTF fd for kfunc is not a module BTF" if is_btf else "invalid module BTF fd specified"
        _reject(f"{reason}\nfailed to find BTF for kernel function", number)
