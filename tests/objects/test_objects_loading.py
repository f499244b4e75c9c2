"""Objects loaded into the simulated kernel and into Linux: the same files, the same results."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from objects_support import Compile, Load, global_bytes, read_global, run

from bpfjit.errors import LoadError, VerifierError
from bpfjit.loader import LoadedObject, open_object
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

GPL = 'char _license[] SEC("license") = "GPL";\n'
HEAD = '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n'


def test_variables_of_every_section_are_read_and_written(load: Load) -> None:
    loaded = load("globals")
    assert run(loaded, "touch") == ord("e")
    assert run(loaded, "touch") == ord("e")
    assert read_global(loaded, "counter") == 54
    assert read_global(loaded, "zeroed") == [54, 2, 3]
    assert read_global(loaded, "apart") == 5 - 6
    assert read_global(loaded, "cleared") == 11
    assert global_bytes(loaded, "text") == b"constant".ljust(16, b"\0")
    assert {m.spec.section for m in loaded.maps.values()} >= {
        ".data", ".bss", ".rodata", ".data.apart", ".rodata.fixed", ".bss.cleared", ".rodata.str1.1",
    }  # fmt: skip


def test_rodata_is_frozen_and_named_after_the_object(load: Load) -> None:
    loaded = load("globals")
    rodata = loaded.maps["globals.rodata"]
    with pytest.raises(OSError) as refused:
        rodata.update(bytes(4), bytes(rodata.spec.value_size))
    assert refused.value.errno == errno.EPERM
    loaded.maps["globals.data"].update(bytes(4), bytes(loaded.maps["globals.data"].spec.value_size))


def test_contents_may_be_changed_between_opening_and_loading(bpf: Any, compiled: Compile) -> None:
    obj = open_object(compiled("globals"))
    spec = obj.maps[".rodata"]
    assert spec.contents is not None
    spec.contents = spec.contents.replace((7).to_bytes(4, "little"), (8).to_bytes(4, "little"))
    with obj.load(bpf) as loaded:
        run(loaded, "touch")
        assert read_global(loaded, "counter") == 48


@pytest.mark.parametrize("cpu", ["v1", "v2", "v3", "v4"])
def test_functions_of_every_linkage_are_linked(load: Load, cpu: str) -> None:
    loaded = load("subprogs", cpu=cpu)
    assert list(loaded.progs) == ["calls", "calls_beside", "callbacks"], "a static function beside a program is none"
    assert run(loaded, "calls") == 12 + 30 + 3 - 1 + 7
    assert run(loaded, "calls_beside") == 101
    assert run(loaded, "callbacks") == 10
    assert read_global(loaded, "visited") == 4


KCONFIG: dict[str, int | str] = {
    "CONFIG_T_BOOL": "y",
    "CONFIG_T_TRI": "m",
    "CONFIG_T_CHAR": "n",
    "CONFIG_T_INT": "-12",
    "CONFIG_T_HEX": "0x1fffffffff",
    "CONFIG_T_STRING": '"longer than eight"',
    "CONFIG_T_WEAK_SET": 5,
    "LINUX_KERNEL_VERSION": 0x060102,
}


def test_kconfig_externs_take_what_their_types_hold(load: Load) -> None:
    loaded = load("externs", kconfig=KCONFIG)
    run(loaded, "config")
    assert read_global(loaded, "out") == [0x060102, 1, 2, ord("n"), -12, 0x1FFFFFFFFF, 5]
    assert global_bytes(loaded, "word") == b"longer \0"


def test_the_kernel_version_is_that_of_the_kernel_at_hand(load: Load, bpf: Any) -> None:
    loaded = load("externs", kconfig={k: v for k, v in KCONFIG.items() if k != "LINUX_KERNEL_VERSION"})
    run(loaded, "config")
    major, minor = (int(x) for x in os.uname().release.split(".")[:2])
    wanted = (6, 18) if bpf.__class__.__name__ == "SimBpf" else (major, minor)
    assert read_global(loaded, "out")[0] >> 8 == wanted[0] << 8 | wanted[1]  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("CONFIG_T_BOOL", "m", "a bool is y or n"),
        ("CONFIG_T_BOOL", 2, "does not fit"),
        ("CONFIG_T_INT", "y", "wanted a bool"),
        ("CONFIG_T_INT", "0x100000000", "does not fit"),
        ("CONFIG_T_INT", '"text"', "no char array"),
        ("CONFIG_T_STRING", 3, "no integer"),
        ("CONFIG_T_STRING", '"open', "closing quote"),
        ("CONFIG_T_INT", "what", "neither"),
    ],
)
def test_a_kconfig_value_of_the_wrong_type_is_refused(
    kernel: Kernel, compiled: Compile, name: str, value: int | str, why: str
) -> None:
    with pytest.raises(LoadError, match=f"{name} = .*{why}"):
        open_object(compiled("externs"), kconfig={**KCONFIG, name: value}).load(kernel.bpf)


def test_a_strong_kconfig_extern_without_value_is_an_error_that_names_it(load: Load) -> None:
    with pytest.raises(VerifierError, match="unresolved extern CONFIG_T_INT"):
        load("externs", kconfig={k: v for k, v in KCONFIG.items() if k != "CONFIG_T_INT"})


def test_live_kconfig_comes_from_the_kernel(live: Any, compiled: Compile) -> None:
    text = HEAD + "extern bool CONFIG_BPF_SYSCALL __kconfig;\nextern int CONFIG_HZ __kconfig;\nlong hz;\n"
    text += 'SEC("syscall") int ask(void *ctx) { hz = CONFIG_HZ; return CONFIG_BPF_SYSCALL; }\n' + GPL
    with open_object(compiled(text=text)).load(live) as loaded:
        assert run(loaded, "ask") == 1
        assert f"{read_global(loaded, 'hz')}" == live.config()["CONFIG_HZ"]


def test_weak_kernel_symbols_are_null_and_what_is_out_of_reach_does_no_harm(load: Load) -> None:
    loaded = load("ksyms")
    assert run(loaded, "weak") == 0
    assert run(loaded, "out_of_reach") == 8


def test_an_unresolved_function_in_reach_is_an_error_that_names_it(load: Load) -> None:
    with pytest.raises(VerifierError, match="program within_reach: unresolved extern bpf_no_such_strong_function"):
        load("ksyms", only=["within_reach"])


def test_live_kernel_symbols_and_functions(live: Any, compiled: Compile) -> None:
    text = HEAD + "extern const void bpf_prog_put __ksym;\nlong address;\n"
    text += "extern void bpf_rcu_read_lock(void) __ksym __weak;\nextern void bpf_rcu_read_unlock(void) __ksym;\n"
    text += 'SEC("syscall") int ask(void *ctx) { if (!bpf_ksym_exists(bpf_rcu_read_lock)) return 2;'
    text += " bpf_rcu_read_lock(); address = (long)&bpf_prog_put; bpf_rcu_read_unlock(); return 1; }\n" + GPL
    with open_object(compiled(text=text)).load(live) as loaded:
        assert run(loaded, "ask") == 1
        assert read_global(loaded, "address", signed=False) == live.symbols({"bpf_prog_put"})["bpf_prog_put"]


def test_a_kernel_function_of_another_signature_is_not_taken(live: Any, compiled: Compile) -> None:
    text = "#define BPF_NO_KFUNC_PROTOTYPES\n" + HEAD + "extern int bpf_rcu_read_lock(int a, int b) __ksym;\n"
    text += 'SEC("syscall") int ask(void *ctx) { return bpf_rcu_read_lock(1, 2); }\n' + GPL
    with pytest.raises(VerifierError, match="unresolved extern bpf_rcu_read_lock"):
        open_object(compiled(text=text)).load(live)


def test_maps_by_btf_have_what_they_declare(load: Load) -> None:
    loaded = load("maps")
    assert run(loaded, "store") == 0
    assert loaded.maps["typed"].lookup((3).to_bytes(4, "little")) == (1).to_bytes(8, "little") + (2).to_bytes(8, "little")
    assert loaded.maps["sized"].keys() == [b"twelve bytes"]
    assert loaded.maps["quiet"].lookup((3).to_bytes(4, "little")) == (9).to_bytes(8, "little")
    spec = loaded.maps["near"].spec
    assert (spec.flags, spec.numa_node, spec.key_size, spec.value_size) == (uapi.BPF_F_NUMA_NODE, 0, 4, 8)
    info = map_info(loaded, "typed")
    assert info["max_entries"] == 100 and info["map_flags"] == uapi.BPF_F_NO_PREALLOC
    assert info["btf_key_type_id"] and info["btf_value_type_id"] and info["btf_id"]


def map_info(loaded: LoadedObject, name: str) -> dict[str, int]:
    layout = uapi.LAYOUTS["bpf_map_info"]
    buffers, info = Buffers(), bytearray(layout.size)
    attr = uapi.GetInfo(bpf_fd=loaded.maps[name].fd, info_len=len(info), info=buffers.put(info))
    loaded.bpf(uapi.BPF_OBJ_GET_INFO_BY_FD, bytearray(attr.pack()))
    return {field: int.from_bytes(info[at : at + size], "little") for field, (at, size) in layout.fields.items()}


SIZED = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 5000); } odd SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1); } tiny SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 8192); } even SEC(".maps");
SEC("raw_tp") int nothing(void *ctx) { return 0; }
"""


def test_sizes_left_open_are_filled_as_libbpf_does(load: Load, bpf: Any) -> None:
    loaded = load(text=SIZED)
    made = {name: map_info(loaded, name)["max_entries"] for name in loaded.maps}
    assert made == {"events": bpf.possible_cpus(), "odd": 8192, "tiny": 4096, "even": 8192}


def test_legacy_map_definitions_work(load: Load) -> None:
    loaded = load("legacy_maps")
    run(loaded, "store")
    for name in ("first", "second"):
        assert loaded.maps[name].lookup((1).to_bytes(4, "little")) == (77).to_bytes(8, "little")
    assert loaded.maps["first"].spec.flags == uapi.BPF_F_NO_PREALLOC


def test_inner_maps_are_made_and_put_in_their_places(live: Any, compiled: Compile) -> None:
    with open_object(compiled("inner_maps")).load(live) as loaded:
        loaded.maps["right"].update(bytes(4), (55).to_bytes(8, "little"))
        assert run(loaded, "find", data=bytes(64)) == 55


def test_a_map_type_that_there_is_not_says_so(kernel: Kernel, compiled: Compile) -> None:
    text = HEAD + "struct { __uint(type, 99); __uint(max_entries, 1); __uint(key_size, 4);"
    text += ' __uint(value_size, 4); } socks SEC(".maps");\n' + GPL
    with pytest.raises(LoadError, match=r"map socks .*type 99 is unknown or not simulated yet"):
        open_object(compiled(text=text)).load(kernel.bpf)


ALL = ["on_socket", "on_xdp", "on_tc", "on_raw_tp", "on_tp_btf", "on_iter", "on_syscall"]


def test_programs_of_several_types_share_one_map_and_optional_ones_stay_out(load: Load) -> None:
    loaded = load("sections")
    assert list(loaded.progs) == ALL
    assert run(loaded, "on_socket", data=bytes(60)) == 9
    assert run(loaded, "on_xdp", data=bytes(60)) == 2
    assert run(loaded, "on_tc", data=bytes(60)) == -1
    assert run(loaded, "on_syscall") == 6
    assert loaded.maps["hits"].lookup(bytes(4)) == (4).to_bytes(8, "little")


@pytest.mark.parametrize("prog", ["calls", "calls_beside", "callbacks"])
def test_linux_takes_the_func_and_line_info_of_every_function(live: Any, compiled: Compile, prog: str) -> None:
    with open_object(compiled("subprogs")).load(live) as loaded:
        layout = uapi.LAYOUTS["bpf_prog_info"]
        buffers, info = Buffers(), bytearray(layout.size)
        attr = uapi.GetInfo(bpf_fd=loaded.progs[prog].fd, info_len=len(info), info=buffers.put(info))
        live(uapi.BPF_OBJ_GET_INFO_BY_FD, bytearray(attr.pack()))

        def field(name: str) -> int:
            at, size = layout.fields[name]
            return int.from_bytes(info[at : at + size], "little")

        assert field("nr_func_info") == len(loaded.progs[prog].spec.funcs) == {"calls": 7, "calls_beside": 2}.get(prog, 3)
        assert field("nr_line_info") == len(loaded.progs[prog].spec.lines) > 3


def test_an_optional_program_is_loaded_when_asked_for(load: Load) -> None:
    assert list(load("sections", only=["optional"]).progs) == ["optional"]


def test_an_iterator_of_the_live_kernel_lists_this_task(live: Any, compiled: Compile) -> None:
    with open_object(compiled("sections")).load(live, only=["on_iter"]) as loaded:
        link = loaded.attach()["on_iter"]
        fd = live(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link.fd).pack()))
        try:
            lines = b"".join(iter(lambda: os.read(fd, 65536), b"")).splitlines()
        finally:
            os.close(fd)
    assert [line for line in lines if line.split()[0] == str(os.getpid()).encode()]


def test_maps_pinned_by_name_are_shared_between_loads(kernel: Kernel, compiled: Compile) -> None:
    text = HEAD + "struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, u32);"
    text += ' __type(value, u64); __uint(pinning, LIBBPF_PIN_BY_NAME); } kept SEC(".maps");\n' + GPL
    path = compiled(text=text)
    with open_object(path).load(kernel.bpf) as first:
        first.maps["kept"].update(bytes(4), (5).to_bytes(8, "little"))
    with open_object(path).load(kernel.bpf) as again:
        assert again.maps["kept"].lookup(bytes(4)) == (5).to_bytes(8, "little")
    other = open_object(path)
    other.maps["kept"].value_size = 16
    with pytest.raises(LoadError, match="/sys/fs/bpf/kept has value_size 8, wanted 16"):
        other.load(kernel.bpf)
    kernel.unlink("/sys/fs/bpf/kept")
    assert not list(kernel.maps)


def test_data_sections_whose_short_names_coincide_stay_apart(load: Load) -> None:
    text = HEAD + 'int a SEC(".data.a_long_name_1") = 1;\nint b SEC(".data.a_long_name_2") = 2;\n'
    text += 'SEC("syscall") int both(void *ctx) { return a * 10 + b; }\n' + GPL
    loaded = load(text=text)
    assert len(loaded.maps) == 2
    assert run(loaded, "both") == 12


def test_a_full_load_leaves_nothing_behind(kernel: Kernel, compiled: Compile) -> None:
    for name in ("globals", "subprogs", "maps", "sections"):
        with open_object(compiled(name)).load(kernel.bpf):
            assert list(kernel.progs)
        assert not list(kernel.progs) and not list(kernel.maps) and len(list(kernel.btfs)) == 1


def test_a_refused_load_leaves_nothing_behind(bpf: Any, compiled: Compile) -> None:
    before = open_fds()
    text = HEAD + 'int x = 1;\nSEC("syscall") int good(void *ctx) { return x; }\n'
    text += 'SEC("syscall") int bad(void *ctx) { return *(int *)8; }\n' + GPL
    with pytest.raises(VerifierError, match="program bad"):
        open_object(compiled(text=text)).load(bpf)
    assert open_fds() == before
    if isinstance(bpf, Kernel):
        assert not list(bpf.progs)


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))
