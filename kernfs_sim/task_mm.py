"""A process's memory as programs see it: mm_struct and its areas."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

from bpfjit.dataclass import dataclass
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


@dataclass(frozen=True, slots=True)
class Area:
    """One area of memory: addresses, vm_flags, the file behind it and the offset into that in bytes."""

    start: int
    end: int
    flags: int
    file: FileRow | None = None
    offset: int = 0


class TaskMm(Held):
    """The memory of a process; a kernel thread (or a process of which nothing is known) has no areas and no mm_struct."""

    def __init__(self, native: KernelHandle) -> None:
        super().__init__(native)
        self.c: Any = None  # struct mm_struct
        self.areas: dict[Area, Any] = {}  # and the struct vm_area_struct of each
        self._index: Index | None = None
        self._files: dict[FileRow, KernelFile] = {}
        self._tasks: list[Any] = []

    def share(self, task: Any) -> None:
        self._tasks.append(task)
        if self.c is not None:
            task.mm = task.active_mm = self.c

    def leave(self, task: Any) -> None:
        self._tasks.remove(task)
        if not self._tasks:
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
        area = Area(start, end, flags, file, offset)
        vma = self._insert(area)
        self._sum_up()
        return vma

    def become(self, areas: Iterable[Area]) -> None:
        """The areas are these now: what stays as it was stays where it is, for whoever walks over it."""
        wanted = dict.fromkeys(areas)
        gone = [(area, vma) for area, vma in self.areas.items() if area not in wanted]
        for area, _ in gone:
            del self.areas[area]
            assert self._index is not None
            self._index.remove(area.end - 1)
        fresh = [area for area in wanted if area not in self.areas]
        for area in fresh:
            self._insert(area)
        if gone or fresh:
            self._sum_up()
        for _, vma in gone:
            self.release(vma)
        mapped = {area.file for area in self.areas}
        for file in [f for f in self._files if f not in mapped]:
            self._files.pop(file).put()

    def _insert(self, area: Area) -> Any:
        mm = self._mm()
        vma = self.new("struct vm_area_struct")
        vma.vm_start, vma.vm_end, vma.vm_flags, vma.vm_mm = area.start, area.end, area.flags, mm
        # An area without a file counts its pages from its own address.
        vma.vm_pgoff = (area.offset if area.file is not None else area.start) // _PAGE
        if area.file is not None:
            made = self._files.get(area.file)
            if made is None:
                made = self._files[area.file] = KernelFile(self.native, area.file)
            vma.vm_file = made.c
        assert self._index is not None
        self._index.add(area.end - 1, vma)  # the first at or after an address is the one that ends beyond it
        self.areas[area] = vma
        return vma

    def _sum_up(self) -> None:
        mm = self._mm()
        mm.map_count = len(self.areas)
        mm.total_vm = sum(area.end - area.start for area in self.areas) // _PAGE
        programs = (area.file for area in sorted(self.areas, key=lambda a: a.start) if area.flags & VM_EXEC and area.file)
        program = next(programs, None)
        mm.exe_file = self._files[program].c if program is not None else ffi.NULL

    def _mm(self) -> Any:
        if self.c is None:
            whole = self.new("struct rt_mm")
            self._index = Index(self.native)
            whole.areas = self._index.ptr
            self.c = ffi.addressof(whole, "mm")
            for task in self._tasks:
                task.mm = task.active_mm = self.c
        return self.c
