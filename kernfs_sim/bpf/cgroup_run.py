"""What happens in a cgroup: its programs run on one context, with the socket that the event is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bpfjit.spec.kinds import CtxLayout
from bpfjit.spec.sockets import SOCK_MEMBERS
from bpfjit.uapi import bpf as uapi
from runtime import ffi, lib

from ..cgroup import Cgroup
from ..objects import ProgObject
from ..sockets import Socket
from ..task import Task
from . import cgroup_storage
from .cgroup_attach import effective_at

if TYPE_CHECKING:
    from ..kernel import Kernel

_PACKET_POINTERS = 24  # what the runtime keeps behind a context structure
# Members by which contexts tell of a socket, and those of bpf_sock that they are.
_OPS = {
    "family": "family",
    "remote_ip4": "dst_ip4",
    "local_ip4": "src_ip4",
    "remote_ip6": "dst_ip6",
    "local_ip6": "src_ip6",
    "remote_port": "dst_port",
    "local_port": "src_port",
    "state": "state",
}
_TOLD = {
    "bpf_sock": {name: name for name in SOCK_MEMBERS},
    "bpf_sock_addr": {name: name for name in ("family", "type", "protocol")},
    "bpf_sock_ops": _OPS,
}
_OPS_TCP = (
    *("snd_cwnd", "srtt_us", "snd_ssthresh", "rcv_nxt", "snd_nxt", "snd_una", "mss_cache", "packets_out", "total_retrans"),
    *("segs_in", "data_segs_in", "segs_out", "data_segs_out", "lost_out", "sacked_out", "bytes_received", "bytes_acked"),
    *("retrans_out", "rate_delivered", "rate_interval_us", "ecn_flags", "bpf_sock_ops_cb_flags"),
)


def run(
    kernel: Kernel,
    cgroup: Cgroup,
    attach_type: int,
    ctx: bytearray,
    current: Task | None = None,
    sock: Socket | None = None,
    optval: bytearray | None = None,
    retval: int = 0,
) -> int:
    """Kernel.run_cgroup()."""
    found = effective_at(cgroup, attach_type)
    progs = [prog for prog, _ in found]
    if not progs:
        return retval
    layout = progs[0].program.type.layout_for(attach_type)
    assert layout is not None and len(ctx) == layout.size, "the context is the attach type's structure"
    at = uapi.LAYOUTS[layout.struct].fields
    if optval is not None and "optval" not in at:
        raise ValueError(f"attach type {attach_type} has no optval")
    if sock is not None and "sk" not in at and layout.struct != "bpf_sock":
        raise ValueError(f"attach type {attach_type} is about no socket")
    native, event = ffi.new("u8[]", layout.size + _PACKET_POINTERS), ffi.new("struct rt_event *")
    options = ffi.new("u8[]", bytes(optval) if optval else 1)
    ffi.memmove(native, ctx, layout.size)
    event.sk = ffi.cast("struct sock *", sock.c) if sock is not None else ffi.NULL
    pointers = {"sk": event.sk, "optval": options, "optval_end": options + len(optval or b"")}
    pointers = {name: pointer for name, pointer in pointers.items() if name in at}
    for name, pointer in pointers.items():
        _put(native, at[name], int(ffi.cast("uintptr_t", pointer)))
    if sock is not None:
        _tell(native, layout, event.sk)
    if attach_type == uapi.BPF_CGROUP_GETSOCKOPT:
        event.retval = ffi.cast("s32 *", native + at["retval"][0])
    else:
        event.own = retval
    fns = ffi.new("rt_prog_fn[]", [prog.fn for prog in progs])
    task = ffi.NULL if current is None else current.c
    storage = ffi.new("void *[]", [v for prog, at in found for v in cgroup_storage.values(prog, at, attach_type)])
    result = int(lib.rt_cgroup_run(kernel.native.ptr, fns, storage, len(progs), native, event, task))
    for prog in progs:
        prog.check_fault()
    if sock is not None and layout.struct == "bpf_sock":
        _take(native, event.sk)
    if optval is not None:
        optval[:] = ffi.buffer(options, len(optval))
    for name in pointers:  # addresses are nobody's business
        _put(native, at[name], 0)
    ctx[:] = ffi.buffer(native, layout.size)
    return result


def run_hook(kernel: Kernel, progs: list[ProgObject], args: list[int], task: Task) -> int:
    """What a cgroup's programs say at a security hook: 0, -EPERM where one forbids it, or what bpf_set_retval() made it."""
    native, event = ffi.new("u64[]", [*(arg & (1 << 64) - 1 for arg in args), 0]), ffi.new("struct rt_event *")
    fns = ffi.new("rt_prog_fn[]", [prog.fn for prog in progs])
    return int(lib.rt_cgroup_run(kernel.native.ptr, fns, ffi.NULL, len(progs), native, event, task.c))


def _put(native: Any, place: tuple[int, int], value: int) -> None:
    offset, size = place
    ffi.memmove(native + offset, (value & (1 << 8 * size) - 1).to_bytes(size, "little"), size)


def _tell(native: Any, layout: CtxLayout, sk: Any) -> None:
    """Where a context tells of its socket it tells what that is."""
    at = uapi.LAYOUTS[layout.struct].fields
    for name, source in _TOLD.get(layout.struct, {}).items():
        value = _member(sk, SOCK_MEMBERS[source])
        if at[name][1] == 16:
            ffi.memmove(native + at[name][0], ffi.addressof(value), 16)
        else:  # bpf_sock_ops has the port of the other side, in network order, at the high end
            _put(
                native,
                at[name],
                value << 16 if name == "remote_port" else -1 if source == "rx_queue_mapping" and value == 0xFFFF else value,
            )
    if layout.struct == "bpf_sock_ops":
        full = sk.sk_protocol == 6 and _member(sk, SOCK_MEMBERS["state"]) not in (6, 12)
        _put(native, at["is_fullsock"], int(full))
        tcp = ffi.cast("struct tcp_sock *", sk)
        for name in _OPS_TCP if full else ():
            _put(native, at[name], getattr(tcp, name))


def _take(native: Any, sk: Any) -> None:
    """What programs wrote of the socket."""
    at = uapi.LAYOUTS["bpf_sock"].fields
    mark, priority, device = (ffi.cast("u32 *", native + at[name][0])[0] for name in ("mark", "priority", "bound_dev_if"))
    sk.sk_mark, sk.sk_priority = mark, priority
    _member(sk, "__sk_common").skc_bound_dev_if = int(ffi.cast("s32", device))


def _member(sk: Any, path: str) -> Any:
    found = sk
    for name in path.split("."):
        found = getattr(found, name)
    return found
