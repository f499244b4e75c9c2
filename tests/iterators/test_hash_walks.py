"""A hash of any size is walked whole, wherever a read ends: key by key, by an iterator."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from bpfjit import open_object
from bpfjit.loader import LoadedObject
from bpfjit.loader.compile import compile_c
from bpfjit.loader.inspect import MapFd
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

from .worlds import link_info

# A bucket or a few of them, eight as a walk takes them and more; full, so that some overflow.
ENTRIES = [1, 3, 7, 16, 31, 33, 64, 150, 1000]
SOURCE = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
SEC("iter/bpf_map_elem") int keys(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *key = ctx->key;

	if (key)
		bpf_seq_write(ctx->meta->seq, key, 8);
	return 0;
}
"""


@pytest.fixture(scope="module", params=["jit", "interp"])
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Kernel, LoadedObject]]:
    source = tmp_path_factory.mktemp("walks") / "walks.bpf.c"
    source.write_text(SOURCE)
    source.with_suffix(".o").write_bytes(compile_c(source))
    with Kernel(engine=request.param) as kernel, open_object(source.with_suffix(".o")).load(kernel.bpf) as it:
        yield kernel, it


def walked(kernel: Kernel, it: LoadedObject, fd: int, read_bytes: int) -> list[bytes]:
    link = it.attach_prog(it.progs["keys"], link_info(map_fd=fd))
    opened = kernel.bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link.fd).pack()))
    file, data = kernel.caller.fds.get(opened), b""
    while piece := file.read(kernel.caller, read_bytes):
        data += piece
    kernel.bpf.close(opened)
    link.close()
    return [data[i : i + 8] for i in range(0, len(data), 8)]


@pytest.mark.parametrize("entries", ENTRIES)
def test_every_element_once_in_one_order(loaded: tuple[Kernel, LoadedObject], entries: int) -> None:
    kernel, it = loaded
    rng = random.Random(entries)
    shape = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_HASH, key_size=8, value_size=8, max_entries=entries)
    fd = kernel.bpf(uapi.BPF_MAP_CREATE, bytearray(shape.pack()))
    table = MapFd(kernel.bpf, fd)
    keys = [rng.randbytes(8) for _ in range(entries)]
    for kept in (entries, (entries + 1) // 2):
        for key in keys:
            table.update(key, bytes(8))
        for key in keys[kept:]:
            table.call(uapi.BPF_MAP_DELETE_ELEM, key)
        whole = walked(kernel, it, fd, 1 << 16)
        assert sorted(whole) == sorted(keys[:kept])
        assert whole == list(table.all_keys())
        assert whole == walked(kernel, it, fd, 8) == walked(kernel, it, fd, 104)
    kernel.bpf.close(fd)
