"""Helpers on packets: native code, the interpreter and Linux give the same value, packet and context back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpfjit import live_bpf, open_object
from bpfjit.loader import LoadedObject
from bpfjit.loader.bpf import Buffers
from bpfjit.loader.compile import compile_c
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

HERE = Path(__file__).parent
SOURCE = HERE / "skb_packets.bpf.c"
PROGS = tuple(open_object(SOURCE).progs)
_IPV4 = bytes(range(12)) + b"\x08\x00" + b"\x45\x00" + bytes(range(16, 80))
_PACKETS = {
    "ipv4": _IPV4,
    "odd": _IPV4[:61],
    "ipv6": bytes(12) + b"\x86\xdd\x60" + bytes(range(1, 80)),
    "tagged": bytes(range(12)) + b"\x81\x00\x00\x07\x08\x00" + bytes(range(50)),
    "other": bytes(range(100, 112)) + b"\x12\x34" + bytes(range(200, 250)),
}
Result = tuple[int, bytes, bytes]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], LoadedObject]]:
    path, done = tmp_path_factory.mktemp("packets") / "packets.o", dict[str, LoadedObject]()
    path.write_bytes(compile_c(SOURCE))

    def load(engine: str) -> LoadedObject:
        if engine not in done:
            done[engine] = open_object(path).load(
                live_bpf if engine == "live" else Kernel(2, engine=engine, cache=False).bpf
            )
        return done[engine]

    yield load
    for obj in done.values():
        obj.close()


def run(obj: LoadedObject, prog: str, packet: bytes) -> Result:
    b, out, ctx = Buffers(), bytearray(1 << 16), bytearray(uapi.LAYOUTS["__sk_buff"].size)
    attr = uapi.TestRun(prog_fd=obj.progs[prog].fd, data_in=b.put(packet), data_size_in=len(packet))
    attr.data_out, attr.data_size_out = b.put(out), len(out)
    if not prog.startswith("frame"):
        attr.ctx_out, attr.ctx_size_out = b.put(ctx), len(ctx)
    raw = bytearray(attr.pack())
    obj.bpf(uapi.BPF_PROG_TEST_RUN, raw)
    ran = uapi.TestRun.unpack(raw)
    return ran.retval, bytes(out[: ran.data_size_out]), bytes(ctx)


@pytest.mark.parametrize("engine", ["jit", "interp"])
@pytest.mark.parametrize("packet", _PACKETS)
@pytest.mark.parametrize("prog", PROGS)
def test_packet_comes_back_as_from_linux(
    loaded: Callable[[str], LoadedObject], live: object, prog: str, packet: str, engine: str
) -> None:
    value, data, ctx = run(loaded(engine), prog, _PACKETS[packet])
    wanted, linux_data, linux_ctx = run(loaded("live"), prog, _PACKETS[packet])
    assert (value, data.hex(" "), ctx.hex()) == (wanted, linux_data.hex(" "), linux_ctx.hex())
