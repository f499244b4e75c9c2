"""A process's memory as programs see it: mm_struct and its areas."""

from __future__ import annotations

import errno
from typing import Any

from bpfjit.errors import refuse
from runtime import Index, KernelHandle, ffi, lib

from .task_files import FileRow, Held, KernelFile

VM_READ, VM_WRITE, VM_EXEC, VM_SHARED = 1, 2, 4, 8
VM_MAYREAD, VM_MAYWRITE, VM_MAYEXEC, VM_MAYSHARE = 0x10, 0x20, 0x40, 0x80
_PAGE = 4096


def vm_flags(permissions: str) -> int:
    """The vm_flags behind /proc/PID/maps' four letters ("r-xp")."""
    bits = {"r": VM_READ, "w": VM_WRITE, "x": VM_EXEC, "s": VM_SHARED | VM_MAYSHARE}
    return sum(bits.get(letter, 0) for letter in permissions) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC


class TaskMm(Held):
    """The memory of a process; a kernel thread (or a process of which nothing is known) has no areas and no mm_struct."""

    def __init__(self, native: KernelHandle) -> None:
        super().__init__(native)
        self.c: Any = None  # struct mm_struct
        self.areas: list[tuple[Any, FileRow | None]] = []  # struct vm_area_struct, and the file behind it
        self._index: Index | None = None
        self._files: dict[FileRow, KernelFile] = {}
        self._tasks: list[Any] = []
        self._users = 0

    def share(self, task: Any) -> None:
        self._users += 1
        self._tasks.append(task)
        if self.c is not None:
            task.mm = task.active_mm = self.c

    def leave(self) -> None:
        self._users -= 1
        if not self._users:
            for file in self._files.values():
                file.put()
            self._files = {}
            self.free()
            if self._index is not None and self.native.ptr != ffi.NULL:
                lib.rt_rcu_barrier(self.native.ptr)  # the index goes with this object, and readers may be in it

    def add(self, start: int, end: int, flags: int, file: FileRow | None = None, offset: int = 0) -> Any:
        """One area [start, end) of whole pages; `offset` into the file in bytes. Raises EINVAL."""
        if start % _PAGE or end % _PAGE or offset % _PAGE or not start < end:
            raise refuse(errno.EINVAL, f"memory area {start:#x}-{end:#x}: wanted whole pages")
        mm = self._mm()
        vma = self.new("struct vm_area_struct")
        vma.vm_start, vma.vm_end, vma.vm_flags, vma.vm_mm = start, end, flags, mm
        # An area without a file counts its pages from its own address.
        vma.vm_pgoff = (offset if file is not None else start) // _PAGE
        if file is not None:
            made = self._files.get(file)
            if made is None:
                made = self._files[file] = KernelFile(self.native, file)
            vma.vm_file = made.c
            if flags & VM_EXEC and mm.exe_file == ffi.NULL:
                mm.exe_file = made.c
        assert self._index is not None
        self._index.add(end - 1, vma)  # the first at or after an address is the one that ends beyond it
        self.areas.append((vma, file))
        mm.map_count = len(self.areas)
        mm.total_vm += (end - start) // _PAGE
        return vma

    def _mm(self) -> Any:
        if self.c is None:
            whole = self.new("struct rt_mm")
            self._index = Index(self.native)
            whole.areas = self._index.ptr
            self.c = ffi.addressof(whole, "mm")
            for task in self._tasks:
                task.mm = task.active_mm = self.c
        return self.c
