"""Skeletons that carry the object file: loaded as open_object() loads it, with everything that the loader can."""

from __future__ import annotations

from typing import ClassVar, cast

from ..light import Kernel, Skeleton
from .bpf import Bpf
from .loaded import LoadedObject
from .object import open_bytes


class Embedded(Skeleton):
    """The base of full skeletons. `object` may be looked at and changed before load(), `loaded` afterwards."""

    OBJECT: ClassVar[bytes] = b""
    loaded: LoadedObject | None = None

    def __init__(self) -> None:
        super().__init__()
        self.object = open_bytes(self.OBJECT, f"{self.NAME} (embedded)", name=self.NAME)

    def _load(self, bpf: Kernel) -> None:
        refs = {ref.removeprefix(".").replace(".", "_"): ref for ref in self.object.maps}
        for m in self._maps:
            spec = self.object.maps.get(refs.get(m.name, ""))
            if spec is not None:
                spec.max_entries = m.max_entries
                if m.name in self._sections:
                    spec.contents = bytes(self._sections[m.name].before)
        loaded = self.loaded = self.object.load(cast(Bpf, bpf))  # it asks more of a kernel than bpf() and close()
        for m in self._maps:
            m._open(bpf, loaded.by_ref[refs.get(m.name, f".{m.name}")].fd)
        for p in self._progs:
            if p.name in loaded.progs:
                p._open(bpf, loaded.progs[p.name].fd)

    def close(self) -> None:
        loaded, self.loaded = self.loaded, None
        if loaded is not None:
            for owned in (*self._maps, *self._progs):
                owned.fd = -1  # they are the loaded object's to close
        super().close()
        if loaded is not None:
            loaded.close()
