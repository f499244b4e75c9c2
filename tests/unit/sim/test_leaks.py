"""Whatever is refused leaves nothing behind: fds, ids, references, memory. And ids whose objects go meanwhile."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from systems import RETURN_0, Simulated, System, call, field, get_info, load_btf, load_prog, make_map, obj_pin
from test_attr_sweep import COMMANDS, attrs, outcome

from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

_MALLINFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO)


def allocated_bytes() -> int:
    """What malloc has given out: native maps, programs, buffers."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Mallinfo
    info = libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def refused(act: Callable[[], Any]) -> None:
    try:
        act()
    except OSError:
        return
    pytest.fail("it was not refused")


def everything_wrong(system: System) -> None:
    """Bad attrs of every command, and what is refused late: after objects were found, verified or compiled."""
    bpf, keep = system.bpf, Buffers()
    for command in COMMANDS:
        for attr in attrs(command).values():
            outcome(system, command, attr)
    m, prog, btf = make_map(bpf, map_type=uapi.BPF_MAP_TYPE_HASH), load_prog(bpf), load_btf(bpf)
    names_map = bytes([0x18, 0x11, 0, 0]) + m.to_bytes(4, "little") + bytes(8)
    stops = (
        names_map + bytes.fromhex("bf20000000000000") + RETURN_0,  # r2 holds nothing
        names_map + b"\xff" * 8,
        names_map,
        bytes.fromhex("05 00 ff ff 00 00 00 00") + RETURN_0,
    )
    for insns in stops:
        refused(lambda i=insns: load_prog(bpf, i))  # type: ignore[misc]
    log = bytearray(4)
    attr = uapi.ProgLoad(
        prog_type=uapi.BPF_PROG_TYPE_SOCKET_FILTER,
        insn_cnt=(len(names_map) + 16) // 8,
        insns=keep.put(names_map + RETURN_0),
        license=keep.put(b"GPL\0"),
        log_level=1,
        log_buf=keep.put(log),
        log_size=len(log),
    )
    refused(lambda: call(bpf, uapi.BPF_PROG_LOAD, attr))  # verified, and its log does not fit
    refused(lambda: load_btf(bpf, b"\x9f\xeb\1\0" + bytes(20)))
    refused(lambda: make_map(bpf, btf_fd=btf, btf_key_type_id=99, btf_value_type_id=99))
    refused(lambda: make_map(bpf, max_entries=1 << 31, value_size=1 << 20))
    for bad in (1, 0xFFFF_8000_0000_0000):
        for command in (uapi.BPF_MAP_LOOKUP_ELEM, uapi.BPF_MAP_UPDATE_ELEM, uapi.BPF_MAP_GET_NEXT_KEY):
            refused(lambda c=command, b=bad: call(bpf, c, uapi.MapElem(map_fd=m, key=b, value=b)))  # type: ignore[misc]
        refused(lambda b=bad: call(bpf, uapi.BPF_MAP_UPDATE_BATCH, uapi.MapBatch(map_fd=m, keys=b, values=b, count=9)))  # type: ignore[misc]
        refused(lambda b=bad: call(bpf, uapi.BPF_OBJ_GET_INFO_BY_FD, uapi.GetInfo(bpf_fd=prog, info_len=64, info=b)))  # type: ignore[misc]
        refused(lambda b=bad: call(bpf, uapi.BPF_PROG_TEST_RUN, uapi.TestRun(prog_fd=prog, data_in=b, data_size_in=64)))  # type: ignore[misc]
    obj_pin(bpf, m, f"{system.root}/m")
    for where in (f"{system.root}/m", f"{system.root}/a.b", f"{system.root}/no/m", "/tmp/m"):
        refused(lambda w=where: obj_pin(bpf, prog, w))  # type: ignore[misc]
    system.unlink(f"{system.root}/m")
    refused(lambda: call(bpf, uapi.BPF_LINK_CREATE, uapi.LinkCreate(prog_fd=prog, attach_type=uapi.BPF_TRACE_ITER)))
    for fd in (m, prog, btf):
        bpf.close(fd)


def test_what_is_refused_leaves_nothing_behind() -> None:
    """Simulated, where everything can be counted."""
    with Kernel(cache=False, engine="interp") as kernel:
        sim = Simulated(kernel)

        def held() -> tuple[int, ...]:
            idrs = (kernel.maps, kernel.progs, kernel.links, kernel.btfs)
            return (
                len(kernel.caller.fds),
                kernel.native._holders,
                *(len(i) for i in idrs),
                *(sum(o.refs for o in i) for i in idrs),
            )

        everything_wrong(sim)  # what is made once and kept
        gc.collect()
        before = held()
        for _ in range(3):
            everything_wrong(sim)
        gc.collect()
        settled = allocated_bytes()
        for _ in range(12):
            everything_wrong(sim)
        gc.collect()
        assert held() == before
        assert allocated_bytes() - settled < 128 << 10, "a leak of the smallest kind would be 12 times 3,000 calls"


def test_what_is_refused_leaves_no_fd_behind(system: System) -> None:
    first = make_map(system.bpf)
    system.bpf.close(first)
    files = len(os.listdir("/proc/self/fd"))
    everything_wrong(system)
    assert make_map(system.bpf) == first, "the lowest free fd is the same as before"
    system.bpf.close(first)
    assert len(os.listdir("/proc/self/fd")) == files


@pytest.mark.parametrize("kind", ["map", "btf"])
def test_ids_whose_objects_go_meanwhile_give_enoent_or_the_object(system: System, kind: str) -> None:
    """One thread makes and drops objects, two look for ids and open them: nothing but ENOENT, and what is got is whole."""
    make: Callable[[], int] = (lambda: make_map(system.bpf)) if kind == "map" else (lambda: load_btf(system.bpf))
    following = {"map": uapi.BPF_MAP_GET_NEXT_ID, "btf": uapi.BPF_BTF_GET_NEXT_ID}[kind]
    by_id = {"map": uapi.BPF_MAP_GET_FD_BY_ID, "btf": uapi.BPF_BTF_GET_FD_BY_ID}[kind]
    struct_name, done, trouble = f"bpf_{kind}_info", threading.Event(), list[BaseException]()
    anchor = make()
    start = field(struct_name, get_info(system.bpf, anchor, struct_name)[0], "id") - 1

    def come_and_go() -> None:
        try:
            for _ in range(400):
                system.bpf.close(make())
        except BaseException as e:
            trouble.append(e)
        finally:
            done.set()

    def look() -> None:
        try:
            while not done.is_set():
                at = start
                while True:
                    attr = bytearray(uapi.GetId(start_id=at).pack())
                    try:
                        system.bpf(following, attr)
                        at = uapi.GetId.unpack(attr).next_id
                        fd = call(system.bpf, by_id, uapi.GetId(start_id=at))
                    except FileNotFoundError:
                        break
                    assert field(struct_name, get_info(system.bpf, fd, struct_name)[0], "id") == at
                    system.bpf.close(fd)
        except BaseException as e:
            trouble.append(e)

    threads = [threading.Thread(target=t) for t in (come_and_go, look, look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not trouble
    system.bpf.close(anchor)
