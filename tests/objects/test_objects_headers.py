"""The headers that programs include: every macro compiles, verifies, and does what its users expect of it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from objects_support import Compile, Load, global_bytes, global_var, kernel_of, read_global, run

from bpfjit.loader import LoadedObject, open_object
from bpfjit.loader.compile import compile_c

NODE = struct.Struct("<Qi8sI")


def fill_nodes(loaded: LoadedObject) -> None:
    """value 100 + i, name "node", low 5, high -20; the links are made by the program that knows the addresses."""
    section, offset, _ = global_var(loaded, "nodes")
    bss = next(m for m in loaded.maps.values() if m.spec.section == section)
    raw = bytearray(bss.lookup(bytes(4)))
    for i in range(11):
        bits = 5 | (-20 & 0x3F) << 4
        raw[offset + 24 * i : offset + 24 * (i + 1)] = NODE.pack(0, 100 + i, b"node", bits)
    bss.update(bytes(4), bytes(raw))


def test_core_reads_of_one_to_nine_levels_and_into_places(load: Load) -> None:
    text = "struct node { struct node *next; int value; char name[8]; unsigned int low : 4; int high : 6; };"
    loaded = load("macros", btf=kernel_of(text))
    fill_nodes(loaded)
    run(loaded, "link_up")
    run(loaded, "reads")
    out = read_global(loaded, "out")
    assert isinstance(out, list)
    assert out[:5] == [100, 101, 104, 108, 102]
    assert (read_global(loaded, "into"), read_global(loaded, "into_plain")) == (101, 103)
    assert global_bytes(loaded, "copied") == global_bytes(loaded, "copied_plain") == b"node\0\0\0\0"
    assert out[5:9] == [5, -20, -20, -9 * 100 + 3]
    assert out[9:12] == [100, 12, 8]


def test_words_of_the_language_mean_what_they_do_elsewhere(load: Load) -> None:
    loaded = load("macros", only=["language"])
    run(loaded, "language")
    out = read_global(loaded, "out")
    assert isinstance(out, list)
    assert out[:12] == [5, 8, 6 << 16 | 18 << 8 | 255, 0x3412, 0x78563412, 1, 2, 2, 9, 1, 2, 1]


def test_printing_macros_format(load: Load) -> None:
    loaded = load("macros", only=["strings"])
    run(loaded, "strings")
    assert global_bytes(loaded, "text").rstrip(b"\0") == b"[-7 str ff]"


TRACING = ["probe", "retprobe", "retprobe_bare", "syscall_probe", "user_probe", "raw", "typed", "plain", "lines"]


def test_tracing_macros_make_programs_that_load(load: Load) -> None:
    assert list(load("tracing").progs) == TRACING


def test_iterators_of_numbers_and_static_tail_calls_work_on_linux(live: Any, compiled: Compile) -> None:
    with open_object(compiled("loops")).load(live) as loaded:
        assert run(loaded, "numbers") == 3 + 4 + 5 + 6 + 500
        assert run(loaded, "jumper", data=bytes(60)) == 42


HEADERS = ["bpf_helpers.h", "bpf_tracing.h", "bpf_core_read.h", "bpf_endian.h"]


@pytest.mark.parametrize("header", HEADERS)
def test_each_header_stands_on_vmlinux_alone_and_may_come_twice(header: str, tmp_path: Path) -> None:
    source = tmp_path / "alone.bpf.c"
    include = f"#include <bpf/{header}>\n"
    source.write_text('#include "vmlinux.h"\n' + include * 2 + "int x;\n")
    assert compile_c(source, flags=["-Werror"])[:4] == b"\x7fELF"


def test_programs_on_the_uapi_headers_of_the_system_compile(tmp_path: Path) -> None:
    if not Path("/usr/include/linux/bpf.h").is_file():
        pytest.skip("no kernel headers are installed")
    source = tmp_path / "uapi.bpf.c"
    source.write_text(
        "#include <linux/bpf.h>\n#include <linux/if_ether.h>\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_endian.h>\n"
        'SEC("xdp") int drop_odd(struct xdp_md *ctx) { void *end = (void *)(long)ctx->data_end;'
        " struct ethhdr *eth = (void *)(long)ctx->data; if ((void *)(eth + 1) > end) return XDP_ABORTED;"
        " return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP; }\n"
        'char _license[] SEC("license") = "GPL";\n'
    )
    assert compile_c(source)[:4] == b"\x7fELF"
