"""Versions of Linux as programs meet them: a row each. UAPI's enumerations only grow, so the last number tells the set.

What a version has less is refused in that version's words. The verifier's precision and the layout of the kernel's
structures are those of 6.18 in every profile. Source: include/uapi/linux/bpf.h of each version, and which kernel functions
each registers.
"""

from __future__ import annotations

from ..dataclass import dataclass, field
from ..uapi import bpf as uapi


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KF_SINCE_6_13 = _names(
    "bpf_arena_reserve_pages bpf_cgroup_read_xattr bpf_copy_from_user_dynptr bpf_copy_from_user_str_dynptr "
    "bpf_copy_from_user_task_dynptr bpf_copy_from_user_task_str bpf_copy_from_user_task_str_dynptr "
    "bpf_cpumask_populate bpf_dynptr_copy bpf_dynptr_from_skb_meta bpf_dynptr_memset bpf_get_kmem_cache "
    "bpf_iter_dmabuf_new bpf_iter_dmabuf_next bpf_iter_dmabuf_destroy bpf_iter_kmem_cache_new "
    "bpf_iter_kmem_cache_next bpf_iter_kmem_cache_destroy bpf_list_back bpf_list_front bpf_local_irq_restore "
    "bpf_local_irq_save bpf_probe_read_kernel_dynptr bpf_probe_read_kernel_str_dynptr bpf_probe_read_user_dynptr "
    "bpf_probe_read_user_str_dynptr bpf_rbtree_left bpf_rbtree_right bpf_rbtree_root bpf_remove_dentry_xattr "
    "bpf_res_spin_lock bpf_set_dentry_xattr "
    "bpf_res_spin_lock_irqsave bpf_res_spin_unlock bpf_res_spin_unlock_irqrestore bpf_send_signal_task "
    "bpf_sock_ops_enable_tx_tstamp bpf_strcasecmp bpf_strchr bpf_strchrnul bpf_strcmp bpf_strcspn bpf_strlen "
    "bpf_strnchr bpf_strnlen bpf_strnstr bpf_strrchr bpf_strspn bpf_strstr bpf_stream_vprintk_impl bpf_task_from_vpid "
    "bpf_task_work_schedule_resume_impl bpf_task_work_schedule_signal_impl bpf_xdp_pull_data css_rstat_flush "
    "css_rstat_updated"
)
_KF_6_1 = _names(
    "bpf_ct_change_status bpf_ct_change_timeout bpf_ct_insert_entry bpf_ct_release bpf_ct_set_nat_info "
    "bpf_ct_set_status bpf_ct_set_timeout bpf_key_put bpf_lookup_system_key bpf_lookup_user_key bpf_skb_ct_alloc "
    "bpf_skb_ct_lookup bpf_verify_pkcs7_signature bpf_xdp_ct_alloc bpf_xdp_ct_lookup crash_kexec tcp_cong_avoid_ai "
    "tcp_reno_cong_avoid tcp_reno_ssthresh tcp_reno_undo_cwnd tcp_slow_start"
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One version: the last helper, map, program and attach type and command that it knows, its flags, its functions.

    lacks: instructions that came later, by their names in verifier/versions.py. kfuncs: all that there are (None: those of
    every row), less `later`.
    """

    name: str
    helper: int
    map_type: int
    prog_type: int
    attach_type: int
    command: int
    map_flags: int
    prog_flags: int
    lacks: frozenset[str] = frozenset()
    kfuncs: frozenset[str] | None = None
    later: frozenset[str] = field(default=frozenset())

    def has_kfunc(self, name: str) -> bool:
        return name not in self.later and (self.kfuncs is None or name in self.kfuncs)


PROFILES: tuple[Profile, ...] = (
    Profile(
        "6.1",
        helper=uapi.BPF_FUNC_user_ringbuf_drain,
        map_type=uapi.BPF_MAP_TYPE_USER_RINGBUF,
        prog_type=uapi.BPF_PROG_TYPE_SYSCALL,
        attach_type=uapi.BPF_LSM_CGROUP,
        command=uapi.BPF_PROG_BIND_MAP,
        map_flags=uapi.BPF_F_PATH_FD - 1,
        prog_flags=uapi.BPF_F_XDP_DEV_BOUND_ONLY - 1,
        lacks=frozenset({"cpu_v4", "may_goto", "addr_space_cast", "load_acquire"}),
        kfuncs=_KF_6_1,
    ),
    Profile(
        "6.12",
        helper=uapi.BPF_FUNC_cgrp_storage_delete,
        map_type=uapi.BPF_MAP_TYPE_ARENA,
        prog_type=uapi.BPF_PROG_TYPE_NETFILTER,
        attach_type=uapi.BPF_TRACE_KPROBE_SESSION,
        command=uapi.BPF_TOKEN_CREATE,
        map_flags=2 * uapi.BPF_F_NO_USER_CONV - 1,
        prog_flags=2 * uapi.BPF_F_TOKEN_FD - 1,
        lacks=frozenset({"load_acquire"}),
        later=_KF_SINCE_6_13,
    ),
    Profile(
        "6.18",
        helper=uapi.BPF_FUNC_cgrp_storage_delete,
        map_type=uapi.BPF_MAP_TYPE_ARENA,
        prog_type=uapi.BPF_PROG_TYPE_NETFILTER,
        attach_type=uapi.BPF_TRACE_UPROBE_SESSION,
        command=uapi.BPF_PROG_STREAM_READ_BY_FD,
        map_flags=2 * uapi.BPF_F_NO_USER_CONV - 1,
        prog_flags=2 * uapi.BPF_F_TOKEN_FD - 1,
    ),
)
PROFILE_BY_NAME = {p.name: p for p in PROFILES}
DEFAULT_PROFILE = PROFILE_BY_NAME["6.18"]


def profile_named(name: str) -> Profile:
    """The profile of a version. Raises ValueError, which lists those that there are."""
    found = PROFILE_BY_NAME.get(name)
    if found is None:
        raise ValueError(f"no profile '{name}'; there are {', '.join(PROFILE_BY_NAME)}")
    return found
