"""Names of the kernel's numbers as bpftool spells them: program, link and attach types."""

from __future__ import annotations

from ..uapi import bpf as uapi


def _names(prefix: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for name, value in vars(uapi).items():
        if name.startswith(prefix) and isinstance(value, int):
            found.setdefault(value, name.removeprefix(prefix).lower())
    return found


PROG_TYPES = _names("BPF_PROG_TYPE_")
LINK_TYPES = _names("BPF_LINK_TYPE_")


def _attach_types() -> dict[int, str]:
    """enum bpf_attach_type: from its first member to its last, which is where numbers begin again."""
    found: dict[int, str] = {}
    members = [(n, v) for n, v in vars(uapi).items() if n.startswith("BPF_") and isinstance(v, int)]
    start = [n for n, _ in members].index("BPF_CGROUP_INET_INGRESS")
    for name, value in members[start:]:
        if value != len(found):
            break
        found[value] = name.removeprefix("BPF_").lower()
    return found | {uapi.BPF_TRACE_VIEW: "trace_view"}


ATTACH_TYPES = _attach_types()
