"""BPF_PROG_LOAD: instructions and their references -> Program -> Verified -> native code."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.btf import FuncInfo, Kind, LineInfo, RawBtf
from bpfjit.dataclass import replace
from bpfjit.errors import BtfError, refuse
from bpfjit.isa.encoding import Insn, decode
from bpfjit.program import NO_STATS, MapInfo, MapRef, Program, Rejected, Verified
from bpfjit.spec.kinds import CtxKind
from bpfjit.spec.privileges import NET_ADMIN_PROGS, PERFMON_PROGS, UNPRIVILEGED_INSNS, UNPRIVILEGED_PROGS
from bpfjit.spec.prog_types import PROG_TYPE_BY_ID
from bpfjit.spec.targets import FUNCTION_BY_NAME, function_elsewhere
from bpfjit.uapi import bpf as uapi
from runtime import ProgHandle

from ..caller import CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, Caller, Cred, read_string
from ..objects import BtfObject, MapObject, ProgObject
from . import held_maps, signature
from .fd import btf_of, install_new, map_of, no_token, prog_of
from .log import Unseen, UserLog
from .maps import object_name
from .refs import References
from .tag import digest_of

if TYPE_CHECKING:
    from ..kernel import Kernel

_MAX_INSNS = 1_000_000
_FLAGS = uapi.BPF_F_STRICT_ALIGNMENT | uapi.BPF_F_ANY_ALIGNMENT | uapi.BPF_F_SLEEPABLE | uapi.BPF_F_TEST_STATE_FREQ
_FLAGS |= uapi.BPF_F_TEST_RND_HI32 | uapi.BPF_F_TEST_REG_INVARIANTS | uapi.BPF_F_XDP_HAS_FRAGS | uapi.BPF_F_TOKEN_FD
_GPL = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")


def load(kernel: Kernel, caller: Caller, attr: uapi.ProgLoad) -> int:
    """Verify and compile a program; its fd. Raises EINVAL, EACCES, EPERM, E2BIG, ENOSPC (a log that does not fit)."""
    target = _check(kernel, caller, attr)
    raw = caller.read(attr.insns, attr.insn_cnt * 8)
    insns = decode(raw)
    name = object_name(attr.prog_name)
    btf, no_btf = _btf_of_records(caller, attr)
    gpl = read_string(caller, attr.license, 128).decode("utf-8", "replace") in _GPL
    signature.check(kernel, caller, attr, raw)
    used = References(caller, attr.fd_array, attr.fd_array_cnt)
    own = ProgHandle(kernel.native)
    try:
        key = _key_of_kept(kernel, caller, attr, insns, used, btf, gpl)
        kept = None
        if kernel.kept and key and no_btf is None:
            kept = kernel.kept.get(key, tuple(used.maps), map_infos(tuple(used.maps)), btf, own)
        if kept is not None:
            verified, native, digest = kept.verified, kept.native, kept.digest
        else:
            verified = _verify(kernel, caller, attr, name, insns, used, btf, no_btf, gpl, target)
            digest = digest_of(insns)
            native = kernel.compile(verified, tuple(used.maps), own, btf)
            if kernel.kept and key:
                kernel.kept.put(key, verified, native.recipe, btf, digest)
        maps = tuple(used.maps)
    except BaseException:
        own.close()
        used.release()
        raise
    prog = ProgObject(own, verified, native, maps, btf.get() if btf is not None else None)
    prog.fd_btfs = tuple(used.btfs)
    prog.tag = digest[:8]
    prog.uid = caller.cred.uid
    prog.attach_btf_id = attr.attach_btf_id
    prog.load_flags = attr.prog_flags
    if target is not None:
        prog.extends = target.get(), attr.attach_btf_id
        prog.nested = prog.type_id == target.type_id == uapi.BPF_PROG_TYPE_TRACING
    try:
        for m in maps:
            if m.type.has_programs:
                held_maps.claim(m, prog)
    except BaseException:
        prog.put()
        raise
    prog.id = kernel.progs.add(prog)
    prog.on_release = lambda gone: kernel.progs.remove(gone.id)
    return install_new(caller, prog)


def _btf_of_records(caller: Caller, attr: uapi.ProgLoad) -> tuple[BtfObject | None, OSError | None]:
    """The types of a program that has records about its functions or lines; else Linux does not look at the fd."""
    if not attr.func_info_cnt and not attr.line_info_cnt:
        return None, None
    try:
        btf = btf_of(caller, attr.prog_btf_fd)
    except OSError as e:
        return None, e
    return (btf, None) if not btf.is_kernel else (None, refuse(errno.EACCES, "the kernel's BTF is no program's"))


def bind_map(kernel: Kernel, caller: Caller, attr: uapi.ProgBindMap) -> int:
    """BPF_PROG_BIND_MAP: the program keeps a map that it does not use; one that it has already is no error."""
    if attr.flags:
        raise refuse(errno.EINVAL, f"bind flags {attr.flags:#x}")
    prog, m = prog_of(caller, attr.prog_fd), map_of(caller, attr.map_fd)
    if m not in prog.maps:
        prog.maps = (*prog.maps, m.get())
    return 0


def _key_of_kept(
    kernel: Kernel,
    caller: Caller,
    attr: uapi.ProgLoad,
    insns: list[Insn],
    used: References,
    btf: BtfObject | None,
    gpl: bool,
) -> str:
    """By what the program's verdict is found on disk; "" where it is not to be looked for: a log tells of verifying."""
    wants_log = attr.log_level or attr.log_size or attr.log_buf
    if kernel.kept is None or wants_log or attr.attach_prog_fd:
        return ""
    try:
        used.resolve(insns)
    except (Rejected, OSError):
        return ""  # _verify() will say so, in Linux's order
    if any(m.exclusive_to for m in used.maps):
        return ""
    privileged = caller.cred.capable(CAP_PERFMON)
    return kernel.kept.key(caller, attr, insns, used.refs, used.maps, btf, gpl, privileged)


def _verify(
    kernel: Kernel,
    caller: Caller,
    attr: uapi.ProgLoad,
    name: str,
    insns: list[Insn],
    used: References,
    btf: BtfObject | None,
    no_btf: OSError | None,
    gpl: bool,
    target: ProgObject | None,
) -> Verified:
    """What the verifier says, its log handed over. Raises the refusal's errno, or the log's own (UserLog.hand_over)."""
    from bpfjit.verifier import Env, verify  # late: a program whose verdict is kept needs none of this
    from bpfjit.verifier.log import statistics

    from . import core_relos, prog_records

    log = UserLog(caller, attr.log_level, attr.log_buf, attr.log_size)
    env = Env(
        kernel.btf.types,
        caller.cred.capable(CAP_PERFMON),
        attr.log_level,
        kernel.targets.rows,
        function=function_elsewhere if kernel.is_elsewhere else FUNCTION_BY_NAME.get,
        log_bytes=attr.log_size,
        profile=kernel.profile,
    )
    refusal = None
    try:
        if no_btf is not None:
            raise Unseen(no_btf.errno or 0, "", str(no_btf.args[1]))
        records = prog_records.read(caller, attr, insns, btf)
        if attr.core_relo_cnt and btf is not None and (attr.func_info_cnt or attr.line_info_cnt):
            core_relos.apply(caller, attr, insns, btf.types, kernel.btf.types)
        used.resolve(insns)
        used.check_exclusive(digest_of(insns))
        program = _program(kernel, attr, name, insns, tuple(used.maps), used.refs, btf, records, gpl, target)
        verified = verify(program, env)
        if target is not None and program.is_extension:
            from . import extensions

            extensions.check_verified(verified, target, attr.attach_btf_id)
        text, stats = verified.log, verified.stats
    except Rejected as e:
        refusal = refuse(e.errno, f"program {name or 'without name'}: {e.reason.splitlines()[0]}")
        text, stats = e.log, e.stats
    except OSError as e:  # no instruction has been looked at
        refusal, stats = e, NO_STATS
        said = e.said if isinstance(e, Unseen) else "" if e.errno == errno.EFAULT else f"{e.args[1]}\n"
        text = said + "\n".join([*statistics(attr.log_level, stats), ""])
    attr.log_true_size = log.true_size(text, stats.log_missing, stats.log_cuts)
    log.hand_over()
    if refusal is not None:
        raise refusal
    return verified


def _check(kernel: Kernel, caller: Caller, attr: uapi.ProgLoad) -> ProgObject | None:
    """Whether such a program may be loaded at all; the program that it extends, if it does."""
    profile = kernel.profile
    flags = _FLAGS & profile.prog_flags
    if attr.prog_flags & ~flags:
        raise refuse(errno.EINVAL, f"prog_flags {attr.prog_flags:#x}, known are {flags:#x}")
    if attr.prog_flags & uapi.BPF_F_TOKEN_FD:
        no_token(caller, attr.prog_token_fd)
    _may_load(kernel, caller.cred, attr)
    if attr.attach_prog_fd or attr.prog_type == uapi.BPF_PROG_TYPE_EXT:
        from . import extensions

        target = extensions.target_of(kernel, caller, attr)
        if target is not None:
            return target
    row = PROG_TYPE_BY_ID.get(attr.prog_type) if attr.prog_type <= profile.prog_type else None
    if row is None:
        raise refuse(errno.EINVAL, f"program type {attr.prog_type} is unknown or not simulated yet")
    if attr.prog_type == uapi.BPF_PROG_TYPE_CGROUP_SOCK and not attr.expected_attach_type:
        attr.expected_attach_type = uapi.BPF_CGROUP_INET_SOCK_CREATE  # what programs were before there were others
    too_new = profile.attach_type < attr.expected_attach_type < uapi.BPF_TRACE_VIEW
    if row.attach_types and (too_new or attr.expected_attach_type not in row.attach_types):
        raise refuse(errno.EINVAL, f"a {row.name} program for attach type {attr.expected_attach_type}")
    sleepable = attr.prog_flags & uapi.BPF_F_SLEEPABLE
    if attr.prog_type == uapi.BPF_PROG_TYPE_SYSCALL and not sleepable:
        raise refuse(errno.EINVAL, "syscall programs can only be sleepable")
    return None


def _may_load(kernel: Kernel, cred: Cred, attr: uapi.ProgLoad) -> None:
    """Raises EPERM for who may load no program of the type, E2BIG for one that is too long for the caller."""
    may_bpf, kind = cred.capable(CAP_BPF), attr.prog_type
    if kernel.unprivileged_bpf_disabled and not may_bpf:
        raise refuse(errno.EPERM, "loading a program wants CAP_BPF")
    most = _MAX_INSNS if may_bpf else UNPRIVILEGED_INSNS
    if not 0 < attr.insn_cnt <= most:
        raise refuse(errno.E2BIG, f"{attr.insn_cnt} instructions, wanted 1 to {most}")
    if kind not in UNPRIVILEGED_PROGS and not may_bpf:
        raise refuse(errno.EPERM, f"loading a program of type {kind} wants CAP_BPF")
    for progs, capability, name in ((NET_ADMIN_PROGS, CAP_NET_ADMIN, "NET_ADMIN"), (PERFMON_PROGS, CAP_PERFMON, "PERFMON")):
        if kind in progs and not cred.capable(capability):
            raise refuse(errno.EPERM, f"loading a program of type {kind} wants CAP_{name}")


def map_infos(maps: tuple[MapObject, ...]) -> tuple[MapInfo, ...]:
    """Maps as verifier and engines see them; behind them what maps of maps hold, which have no address of their own."""
    infos: list[MapInfo] = []
    templates: list[MapInfo] = []
    for m in maps:
        info = m.info()
        if m.template is not None:
            info = replace(info, inner=len(maps) + len(templates))
            templates.append(m.template)
        infos.append(info)
    return (*infos, *templates)


def _program(
    kernel: Kernel,
    attr: uapi.ProgLoad,
    name: str,
    insns: list[Insn],
    maps: tuple[MapObject, ...],
    refs: dict[int, MapRef],
    btf: BtfObject | None,
    records: tuple[tuple[FuncInfo, ...], tuple[LineInfo, ...]],
    gpl: bool,
    target: ProgObject | None,
) -> Program:
    row, attach_type = PROG_TYPE_BY_ID.get(attr.prog_type), attr.expected_attach_type
    extends = target is not None and attr.prog_type == uapi.BPF_PROG_TYPE_EXT
    traces = None
    attach_name = ""
    if target is not None and extends:  # an extension is judged as what it extends
        row, attach_type, attach_name = target.program.type, target.program.attach_type, target.program.attach_name
    assert row is not None, "load() has looked"
    if target is not None and not extends:
        from . import extensions

        traces = extensions.traced_function(target, attr)
        attach_name = traces.btf.type(attr.attach_btf_id).name
    elif target is not None:
        pass
    elif row.ctx is CtxKind.BTF_ARGS:
        attach_name = _attach_name(kernel.btf.types, attr.attach_btf_id, attr.expected_attach_type)
    elif attr.attach_btf_id:
        raise refuse(errno.EINVAL, f"a {row.name} program attaches to no BTF id")
    program = Program(
        name,
        row,
        tuple(insns),
        attach_type,
        attach_name,
        map_infos(maps),
        refs,
        btf.types if btf is not None else None,
        *records,
        gpl,
        bool(attr.prog_flags & uapi.BPF_F_SLEEPABLE),
        0,
        bool(attr.prog_flags & uapi.BPF_F_STRICT_ALIGNMENT),
        btf.structs if btf is not None else {},
        extends,
        traces,
    )
    if target is not None and extends:
        from . import extensions

        extensions.function_of(program, target, attr.attach_btf_id)
    return program


def _attach_name(types: RawBtf, btf_id: int, attach_type: int) -> str:
    """The kernel function or tracepoint that a BTF id names. Raises EINVAL."""
    if not btf_id:
        raise refuse(errno.EINVAL, "Tracing programs must provide btf_id")
    try:
        t = types.type(btf_id)
    except BtfError:
        raise refuse(errno.EINVAL, f"attach_btf_id {btf_id} is invalid") from None
    wanted = Kind.TYPEDEF if attach_type == uapi.BPF_TRACE_RAW_TP else Kind.FUNC
    if t.kind is not wanted:
        raise refuse(errno.EINVAL, f"attach_btf_id {btf_id} is not a {'typedef' if wanted is Kind.TYPEDEF else 'function'}")
    if wanted is Kind.TYPEDEF and not t.name.startswith("btf_trace_"):
        raise refuse(errno.EINVAL, f"attach_btf_id {btf_id} points to wrong type name {t.name}")
    return t.name
