"""bpfjit feature: what a kernel's bpf(2) can, found out by asking it; the lists of what there is to be asked for."""

from __future__ import annotations

import argparse
import contextlib
import errno
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dataclass import dataclass, field
from ..errors import UsageError
from ..isa.encoding import ALU64, CALL, EXIT, Insn, encode
from ..loader.bpf import Buffers
from ..spec.helpers import HELPERS
from ..spec.map_types import MAP_TYPE_NAMES
from ..uapi import bpf as uapi
from . import common
from .map import out
from .names import ATTACH_TYPES, LINK_TYPES, PROG_TYPES

if TYPE_CHECKING:
    from ..loader.bpf import OpenBpf

_ENOTSUPP = 524
_MOST_UNPRIVILEGED = 4096  # instructions of a program before Linux 5.2


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "feature",
        help="what a kernel's bpf(2) can, by bpftool's words",
        description="probe [kernel] [full] [macros [prefix PREFIX]] | list_builtins GROUP",
    )
    parser.add_argument("verb", choices=("probe", "list_builtins"), metavar="VERB", help="probe, list_builtins")
    parser.add_argument("words", nargs="*", metavar="…", help="the rest, as bpftool takes it")
    parser.add_argument("--kernel", choices=("sim", "mount", "live"), default="sim", help="which kernel is asked")
    parser.add_argument("--mount", metavar="DIR", help="the mounted kernel at DIR")
    common.add_output(parser)
    parser.set_defaults(command=_command)


def _command(args: argparse.Namespace) -> int:
    return _builtins(args) if args.verb == "list_builtins" else _probe(args)


# -- lists -----------------------------------------------------------------------------------------------------

_GROUPS: dict[str, Callable[[], list[str]]] = {
    "prog_types": lambda: [PROG_TYPES[n] for n in sorted(PROG_TYPES) if not PROG_TYPES[n].startswith("_")],
    "map_types": lambda: [MAP_TYPE_NAMES[n] for n in sorted(MAP_TYPE_NAMES)],
    "attach_types": lambda: [ATTACH_TYPES[n] for n in sorted(ATTACH_TYPES)],
    "link_types": lambda: [LINK_TYPES[n] for n in sorted(LINK_TYPES) if not LINK_TYPES[n].startswith("_")],
    "helpers": lambda: ["bpf_unspec", *(f"bpf_{h.name}" for h in HELPERS)],
}


def _builtins(args: argparse.Namespace) -> int:
    group = args.words[0] if len(args.words) == 1 else ""
    if group not in _GROUPS:
        raise UsageError(f"wanted one of {', '.join(_GROUPS)}, got '{' '.join(args.words)}'")
    names = _GROUPS[group]()
    if common.wants_json(args):
        out(args, names)
    else:
        sys.stdout.write("".join(f"{name}\n" for name in names))
    return common.DONE


# -- asking ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Trial:
    """How a program of a type is tried: what it is loaded as; where no type takes so little, what it is refused with."""

    shape: dict[str, Any] = field(default_factory=dict)
    error: int = 0
    said: str = ""


_TRIALS = {
    uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: _Trial({"expected_attach_type": uapi.BPF_CGROUP_INET4_CONNECT}),
    uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT: _Trial({"expected_attach_type": uapi.BPF_CGROUP_GETSOCKOPT}),
    uapi.BPF_PROG_TYPE_SK_LOOKUP: _Trial({"expected_attach_type": uapi.BPF_SK_LOOKUP}),
    uapi.BPF_PROG_TYPE_LIRC_MODE2: _Trial({"expected_attach_type": uapi.BPF_LIRC_MODE2}),
    uapi.BPF_PROG_TYPE_SYSCALL: _Trial({"prog_flags": uapi.BPF_F_SLEEPABLE}),
    uapi.BPF_PROG_TYPE_NETFILTER: _Trial({"expected_attach_type": uapi.BPF_NETFILTER}),
    uapi.BPF_PROG_TYPE_TRACING: _Trial(
        {"expected_attach_type": uapi.BPF_TRACE_FENTRY, "attach_btf_id": 1},
        errno.EINVAL,
        "attach_btf_id 1 is not a function",
    ),
    uapi.BPF_PROG_TYPE_LSM: _Trial(
        {"expected_attach_type": uapi.BPF_LSM_MAC, "attach_btf_id": 1}, errno.EINVAL, "attach_btf_id 1 is not a function"
    ),
    uapi.BPF_PROG_TYPE_EXT: _Trial({"attach_btf_id": 1}, errno.EINVAL, "Cannot replace kernel functions"),
    uapi.BPF_PROG_TYPE_STRUCT_OPS: _Trial({}, _ENOTSUPP),
}
_PLAIN = _Trial()
# What a map is made of where a key and a value of four bytes do not do.
_NO_BTF_SHAPES: dict[int, dict[str, int]] = {
    uapi.BPF_MAP_TYPE_STACK_TRACE: {"value_size": 8},
    uapi.BPF_MAP_TYPE_LPM_TRIE: {"key_size": 8, "value_size": 8, "map_flags": uapi.BPF_F_NO_PREALLOC},
    uapi.BPF_MAP_TYPE_CGROUP_STORAGE: {"key_size": 8, "value_size": 8, "max_entries": 0},
    uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE: {"key_size": 8, "value_size": 8, "max_entries": 0},
    uapi.BPF_MAP_TYPE_QUEUE: {"key_size": 0},
    uapi.BPF_MAP_TYPE_STACK: {"key_size": 0},
    uapi.BPF_MAP_TYPE_BLOOM_FILTER: {"key_size": 0},
    uapi.BPF_MAP_TYPE_RINGBUF: {"key_size": 0, "value_size": 0, "max_entries": 4096},
    uapi.BPF_MAP_TYPE_USER_RINGBUF: {"key_size": 0, "value_size": 0, "max_entries": 4096},
    uapi.BPF_MAP_TYPE_ARENA: {"key_size": 0, "value_size": 0, "map_flags": uapi.BPF_F_MMAPABLE},
}
_STORAGE = frozenset(
    getattr(uapi, f"BPF_MAP_TYPE_{name}_STORAGE") for name in ("SK", "INODE", "TASK", "CGRP")
)  # which want BTF
_HOLD_MAPS = frozenset({uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, uapi.BPF_MAP_TYPE_HASH_OF_MAPS})
# What a log says where a program of the type may not call a helper: Linux's words now and before 6.10, and of unknown ones.
_NO_HELPER = ("program of this type cannot use helper ", "unknown func ", "invalid func ")
# Helpers that write to the trace log or to users' memory are asked for on demand.
_ONLY_FULL = ("trace_printk", "trace_vprintk", "probe_write_user")
_UNTOLD = frozenset(
    {uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_EXT, uapi.BPF_PROG_TYPE_LSM, uapi.BPF_PROG_TYPE_STRUCT_OPS}
)
_RETURN_0 = (Insn(0xB7, 0), Insn(EXIT))
_MISC: dict[str, tuple[str, list[Insn]]] = {
    "large_insn_limit": ("Large program size limit", [Insn(0xB7, 0)] * _MOST_UNPRIVILEGED + [Insn(EXIT)]),
    "bounded_loops": (
        "Bounded loop support",
        [Insn(0xB7, 0, imm=10), Insn(ALU64 | 0x10, 0, imm=1), Insn(0x55, 0, off=-2), Insn(EXIT)],
    ),
    "v2_isa_extension": ("ISA extension v2", [Insn(0xB7, 0), Insn(0xA5, 0, off=1), Insn(0xB7, 0, imm=1), Insn(EXIT)]),
    "v3_isa_extension": ("ISA extension v3", [Insn(0xB7, 0), Insn(0xA6, 0, off=1), Insn(0xB7, 0, imm=1), Insn(EXIT)]),
}


class Prober:
    """Asks a kernel. No answer leaves an object behind."""

    def __init__(self, bpf: OpenBpf) -> None:
        self.bpf = bpf

    def takes(self, insns: list[Insn]) -> bool:
        return not self.load(uapi.BPF_PROG_TYPE_SOCKET_FILTER, insns, log_bytes=1 << 20)[0]

    def load(
        self, prog_type: int, insns: list[Insn] | tuple[Insn, ...], trial: _Trial = _PLAIN, *, log_bytes: int = 4096
    ) -> tuple[int, str]:
        """The errno, 0 for none, and the log."""
        keep, log = Buffers(), bytearray(log_bytes)
        attr = uapi.ProgLoad(
            prog_type=prog_type,
            insn_cnt=len(insns),
            insns=keep.put(encode(insns)),
            license=keep.put(b"GPL\0"),
            log_level=1,
            log_size=len(log),
            log_buf=keep.put(log),
            **trial.shape,
        )
        try:
            self.bpf.close(self.bpf(uapi.BPF_PROG_LOAD, bytearray(attr.pack())))
        except OSError as e:
            return e.errno or 0, log.split(b"\0")[0].decode("utf-8", "replace")
        return 0, ""

    def has_prog_type(self, prog_type: int) -> bool:
        trial = _TRIALS.get(prog_type, _PLAIN)
        number, log = self.load(prog_type, _RETURN_0, trial)
        return number == trial.error and trial.said in log

    def has_helper(self, prog_type: int, helper: int) -> bool:
        number, log = self.load(prog_type, [Insn(CALL, imm=helper), Insn(EXIT)], _TRIALS.get(prog_type, _PLAIN))
        return not number or (number != errno.EPERM and not any(words in log for words in _NO_HELPER))

    def has_map_type(self, map_type: int) -> bool:
        shape: dict[str, Any] = {"key_size": 4, "value_size": 4, "max_entries": 1, **_NO_BTF_SHAPES.get(map_type, {})}
        with contextlib.ExitStack() as stack:
            try:
                if map_type == uapi.BPF_MAP_TYPE_STRUCT_OPS:
                    return self._has_struct_ops(shape)
                if map_type in _STORAGE:
                    fd = self._storage_btf(stack)
                    flags = uapi.BPF_F_NO_PREALLOC
                    shape |= {
                        "max_entries": 0,
                        "map_flags": flags,
                        "btf_fd": fd,
                        "btf_key_type_id": 1,
                        "btf_value_type_id": 1,
                    }
                if map_type in _HOLD_MAPS:
                    shape["inner_map_fd"] = self._made(stack, uapi.BPF_MAP_TYPE_HASH, shape)
                self._made(stack, map_type, shape)
            except OSError:
                return False
        return True

    def _made(self, stack: contextlib.ExitStack, map_type: int, shape: dict[str, Any]) -> int:
        fd = self.bpf(uapi.BPF_MAP_CREATE, bytearray(uapi.MapCreate(map_type=map_type, **shape).pack()))
        stack.callback(self.bpf.close, fd)
        return fd

    def _has_struct_ops(self, shape: dict[str, Any]) -> bool:
        """One is made with a type of the kernel's: where such maps are known it is that which is amiss."""
        attr = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_STRUCT_OPS, btf_vmlinux_value_type_id=1, **shape)
        try:
            self.bpf.close(self.bpf(uapi.BPF_MAP_CREATE, bytearray(attr.pack())))
        except OSError as e:
            return e.errno == _ENOTSUPP
        return True

    def _storage_btf(self, stack: contextlib.ExitStack) -> int:
        """BTF of one int."""
        types, strings = bytes.fromhex("01000000 00000001 04000000 20000001"), b"\0int\0"
        sizes = (24, 0, len(types), len(types), len(strings))
        blob = b"\x9f\xeb\1\0" + b"".join(n.to_bytes(4, "little") for n in sizes) + types + strings
        keep = Buffers()
        fd = self.bpf(uapi.BPF_BTF_LOAD, bytearray(uapi.BtfLoad(btf=keep.put(blob), btf_size=len(blob)).pack()))
        stack.callback(self.bpf.close, fd)
        return fd


# -- telling ---------------------------------------------------------------------------------------------------

_OPTIONS = (
    "BPF", "BPF_SYSCALL", "HAVE_EBPF_JIT", "BPF_JIT", "BPF_JIT_ALWAYS_ON", "DEBUG_INFO_BTF", "DEBUG_INFO_BTF_MODULES",
    "CGROUPS", "CGROUP_BPF", "CGROUP_NET_CLASSID", "SOCK_CGROUP_DATA", "BPF_EVENTS", "KPROBE_EVENTS", "UPROBE_EVENTS",
    "TRACING", "FTRACE_SYSCALLS", "FUNCTION_ERROR_INJECTION", "BPF_KPROBE_OVERRIDE", "NET", "XDP_SOCKETS",
    "LWTUNNEL_BPF", "NET_ACT_BPF", "NET_CLS_BPF", "NET_CLS_ACT", "NET_SCH_INGRESS", "XFRM", "IP_ROUTE_CLASSID",
    "IPV6_SEG6_BPF", "BPF_LIRC_MODE2", "BPF_STREAM_PARSER", "NETFILTER_XT_MATCH_BPF", "BPFILTER", "BPFILTER_UMH",
    "TEST_BPF", "HZ",
)  # fmt: skip
_ALSO_MACROS = ("HZ",)
_SYSCTLS: dict[str, dict[int, str]] = {
    "kernel/unprivileged_bpf_disabled": {
        0: "bpf() syscall for unprivileged users is enabled",
        1: "bpf() syscall restricted to privileged users (without recovery)",
        2: "bpf() syscall restricted to privileged users (admin can change)",
    },
    "net/core/bpf_jit_enable": {
        0: "JIT compiler is disabled",
        1: "JIT compiler is enabled",
        2: "JIT compiler is enabled with debugging traces in kernel logs",
    },
    "net/core/bpf_jit_harden": {
        0: "JIT compiler hardening is disabled",
        1: "JIT compiler hardening is enabled for unprivileged users",
        2: "JIT compiler hardening is enabled for all users",
    },
    "net/core/bpf_jit_kallsyms": {
        0: "JIT compiler kallsyms exports are disabled",
        1: "JIT compiler kallsyms exports are enabled for root",
    },
    "net/core/bpf_jit_limit": {},
}


@dataclass(slots=True)
class _Report:
    """What was found, gathered as JSON, text and macros at once."""

    json: dict[str, Any] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    macros: list[str] = field(default_factory=list)

    def section(self, name: str, title: str, macro: str) -> dict[str, Any]:
        if self.text:
            self.text.append("")
        self.text.append(f"Scanning {title}...")
        if self.macros:
            self.macros.append("")
        self.macros.append(f"/*** {macro} ***/")
        found: dict[str, Any] = {}
        self.json[name] = found
        return found

    def flag(self, into: dict[str, Any], name: str, there: bool, text: str) -> None:
        into[f"have_{name}"] = there
        self.text.append(f"{text} is {'available' if there else 'NOT available'}")
        self.macros.append(f"#define {'' if there else 'NO_'}HAVE_{name.upper()}")


def _probe(args: argparse.Namespace) -> int:
    words, full, macros, prefix = list(args.words), False, False, ""
    while words:
        word = words.pop(0)
        if word == "full":
            full = True
        elif word == "macros":
            macros = True
        elif word == "prefix" and macros and words:
            prefix = words.pop(0)
        elif word != "kernel":
            raise UsageError(f"what is '{word}'? Wanted [kernel] [full] [macros [prefix PREFIX]]")
    with _kernel(args) as bpf:
        report = _Report()
        _configuration(bpf, report)
        ask = Prober(bpf)
        found = report.section("syscall_config", "system call availability", "System call availability")
        there = ask.load(0, _RETURN_0)[0] != errno.ENOSYS
        found["have_bpf_syscall"] = there
        report.text.append(f"bpf() syscall is {'available' if there else 'NOT available'}")
        report.macros.append(f"#define {'' if there else 'NO_'}HAVE_BPF_SYSCALL")
        _objects(ask, report, full, prefix)
        found = report.section("misc", "miscellaneous eBPF features", "eBPF misc features")
        for name, (text, insns) in _MISC.items():
            report.flag(found, name, ask.takes(insns), text)
    if common.wants_json(args):
        out(args, report.json)
    elif macros:
        sys.stdout.write("".join(f"{line}\n" for line in [*(_prefixed(m, prefix) for m in report.macros), ""]))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in [*report.text, ""]))
    return common.DONE


def _prefixed(line: str, prefix: str) -> str:
    return f"#define {prefix}{line.removeprefix('#define ')}" if line.startswith("#define ") else line


def _configuration(bpf: OpenBpf, report: _Report) -> None:
    found = report.section("system_config", "system configuration", "Misc kernel config items")
    for path, texts in _SYSCTLS.items():
        name, number = path.rpartition("/")[2], _sysctl(bpf, path)
        found[name] = number
        if number is None:
            continue
        limit = f"Global memory limit for JIT compiler for unprivileged users is {number} bytes"
        report.text.append(texts.get(number, f"{name} has unknown value {number}") if texts else limit)
    config = bpf.config()
    for option in _OPTIONS:
        name, value = f"CONFIG_{option}", config.get(f"CONFIG_{option}")
        found[name] = None if value is None else str(value)
        report.text.append(f"{name} is not set" if value is None else f"{name} is set to {value}")
        if option in _ALSO_MACROS:
            report.macros.append(f"/* {name} is not set */" if value is None else f"#define {name} {value}")


def _sysctl(bpf: OpenBpf, path: str) -> int | None:
    """Linux's, and of a simulated kernel in this process what it has of them."""
    kernel = getattr(bpf, "kernel", None)
    if kernel is not None:
        own = {"unprivileged_bpf_disabled": kernel.unprivileged_bpf_disabled, "bpf_jit_enable": int(kernel.engine == "jit")}
        return own.get(path.rpartition("/")[2])
    if getattr(bpf, "entry", None) is not None:
        return None
    try:
        return int(Path("/proc/sys", path).read_text())
    except (OSError, ValueError):
        return None


def _objects(ask: Prober, report: _Report, full: bool, prefix: str) -> None:
    """Types of programs and of maps, and which programs may call which helper."""
    found = report.section("program_types", "eBPF program types", "eBPF program types")
    types = {n: PROG_TYPES[n] for n in sorted(PROG_TYPES) if n and not PROG_TYPES[n].startswith("_")}
    there = {number: ask.has_prog_type(number) for number in types}
    for number, name in types.items():
        report.flag(found, f"{name}_prog_type", there[number], f"eBPF program_type {name}")
    found = report.section("map_types", "eBPF map types", "eBPF map types")
    for number in sorted(filter(None, MAP_TYPE_NAMES)):
        name = MAP_TYPE_NAMES[number]
        report.flag(found, f"{name}_map_type", ask.has_map_type(number), f"eBPF map_type {name}")
    found = report.section("helpers", "eBPF helper functions", "eBPF helper functions")
    report.macros += _MACRO_HELP.format(prefix=prefix).splitlines()
    report.macros.append("#define HAVE_PROG_TYPE_HELPER(prog_type, helper)\t\\")
    report.macros.append(f"\t{prefix}BPF__PROG_TYPE_ ## prog_type ## __HELPER_ ## helper")
    helpers = [h for h in HELPERS if full or h.name not in _ONLY_FULL]
    for number, name in types.items():
        told = there[number] and number not in _UNTOLD
        names = [f"bpf_{h.name}" for h in helpers if told and ask.has_helper(number, h.id)]
        found[f"{name}_available_helpers"] = names
        report.text.append(f"eBPF helpers supported for program type {name}:")
        if not there[number]:
            report.text.append("\tProgram type not supported")
        elif not told:
            report.text.append("\tCould not determine which helpers are available")
        report.text += [f"\t- {helper}" for helper in names]
        mine = set(names)
        report.macros += [
            f"#define BPF__PROG_TYPE_{name}__HELPER_bpf_{h.name} {int(f'bpf_{h.name}' in mine)}" for h in helpers
        ]


_MACRO_HELP = """/*
 * Use {prefix}HAVE_PROG_TYPE_HELPER(prog_type_name, helper_name)
 * to determine if <helper_name> is available for <prog_type_name>,
 * e.g.
 *	#if {prefix}HAVE_PROG_TYPE_HELPER(xdp, bpf_redirect)
 *		// do stuff with this helper
 *	#elif
 *		// use a workaround
 *	#endif
 */"""


@contextlib.contextmanager
def _kernel(args: argparse.Namespace) -> Iterator[OpenBpf]:
    if args.kernel == "live":
        from ..loader import live_bpf

        yield live_bpf
    elif args.kernel == "mount" or args.mount:
        from ..loader import mount_bpf

        with mount_bpf(args.mount) as bpf:
            yield bpf
    else:
        from kernfs_sim import Kernel

        with Kernel(cache=False) as kernel:
            yield kernel.bpf
