"""Helpers on kernel objects: printing them by type, the path and the socket of a file, what kind of socket one is."""

from __future__ import annotations

from ...uapi import bpf as uapi
from ..kinds import ANYTHING, INTEGER, MEM, SIZE, SIZE_OR_ZERO, UNINIT_MEM, Arg, ArgKind, Helper, RetKind, btf_ptr
from ..lsm import PREFIX, SLEEPABLE

# Functions in which the path of a file may be asked for.
_NAMES_FILES = frozenset({"vfs_truncate", "vfs_fallocate", "dentry_open", "vfs_getattr", "filp_close"})
_NAMES_FILES |= {f"security_{name}" for name in ("file_permission", "inode_getattr", "file_open", "path_truncate")}
SEQ = frozenset({"seq"})
TRACE = frozenset({"trace"})
TRACING = frozenset({"tracing"})
SOCKETS = frozenset({"socket_filter", "sched_cls", "sched_act", "xdp", "cgroup_skb", "cgroup_sock_addr", "flow_dissector"})
SOCKETS |= {"lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local", "sock_ops", "sk_skb", "sk_msg", "sk_lookup"}
SOCKETS |= {"tracing", "syscall"}
_SOCK_COMMON = Arg(ArgKind.BTF_PTR, btf="sock_common", expected="sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_")


def _cast(id_: int, name: str, struct: str) -> Helper:
    """A sock_common as the socket that it is the beginning of, or NULL where it is another kind."""
    return Helper(
        id_,
        f"skc_to_{name}",
        f"struct {struct} *(*%s)(void *sk)",
        args=(_SOCK_COMMON,),
        ret=RetKind.BTF_PTR_OR_NULL,
        ret_btf=struct,
        symbol=f"rt_skc_to_{name}",
        groups=SOCKETS,
        passes_reference=0 if name == "unix_sock" else 1,
    )


OBJECT_HELPERS = (
    _cast(136, "tcp6_sock", "tcp6_sock"),
    _cast(137, "tcp_sock", "tcp_sock"),
    _cast(138, "tcp_timewait_sock", "tcp_timewait_sock"),
    _cast(139, "tcp_request_sock", "tcp_request_sock"),
    _cast(140, "udp6_sock", "udp6_sock"),
    Helper(
        147,
        "d_path",
        "long (*%s)(const struct path *path, char *buf, __u32 sz)",
        args=(btf_ptr("path"), UNINIT_MEM, SIZE_OR_ZERO),
        ret=INTEGER,
        symbol="rt_d_path",
        groups=SEQ | {"tracing", "syscall"},
        probes={
            "tracing": (uapi.BPF_TRACE_RAW_TP, uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT, uapi.BPF_MODIFY_RETURN),
            "syscall": (0,),
            "lsm": (uapi.BPF_LSM_MAC, uapi.BPF_LSM_CGROUP),
        },
        hooks=_NAMES_FILES | {PREFIX + name for name in SLEEPABLE},
    ),
    Helper(
        149,
        "snprintf_btf",
        "long (*%s)(char *str, __u32 str_size, struct btf_ptr *ptr, __u32 btf_ptr_size, __u64 flags)",
        args=(UNINIT_MEM, SIZE, MEM, SIZE, ANYTHING),
        ret=INTEGER,
        symbol="rt_snprintf_btf",
        groups=frozenset({"all"}),
        gpl=True,
    ),
    Helper(
        150,
        "seq_printf_btf",
        "long (*%s)(struct seq_file *m, struct btf_ptr *ptr, __u32 ptr_size, __u64 flags)",
        args=(btf_ptr("seq_file"), MEM, SIZE_OR_ZERO, ANYTHING),
        ret=INTEGER,
        symbol="rt_seq_printf_btf",
        groups=SEQ,
        gpl=True,
    ),
    Helper(
        162,
        "sock_from_file",
        "struct socket *(*%s)(struct file *file)",
        args=(btf_ptr("file"),),
        ret=RetKind.BTF_PTR_OR_NULL,
        ret_btf="socket",
        symbol="rt_sock_from_file",
        groups=TRACING | {"syscall"},
    ),
    _cast(178, "unix_sock", "unix_sock"),
)
