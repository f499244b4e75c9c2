"""Kernel functions that programs may call (kfuncs): flags and who may call them. Prototypes are BTF's.

Which program types may call which was read off Linux 6.18 by loading one call of each. The runtime's function of a
kfunc is `rt_` and its name; a kernel has those that its BTF declares.
"""

from __future__ import annotations

from enum import IntFlag

from ..dataclass import dataclass


class Kf(IntFlag):
    """Flags of kfuncs, named as the kernel's KF_*. Pointers that they take are not NULL, and of what the kernel has they are
    referenced or trusted: the first builds of 6.18 asked that of those with KF_TRUSTED_ARGS only, later ones of all."""

    NONE = 0
    ACQUIRE = 1  # returns a reference
    RELEASE = 2  # takes one away
    RET_NULL = 4
    SLEEPABLE = 16
    DESTRUCTIVE = 32
    RCU = 64  # pointers of RCU are good as well as referenced and trusted ones
    ITER_NEW = 128
    ITER_NEXT = 256
    ITER_DESTROY = 512
    RCU_PROTECTED = 1024  # only in an RCU read section
    # The kernel knows these by the functions' names.
    UNDER_LOCK = 2048  # it may be called while a lock is held
    CALLS_BACK = 4096
    CHANGES_PACKET = 8192
    OF_DEVICE = 16384  # programs that are loaded for one device only


@dataclass(frozen=True, slots=True)
class Kfunc:
    """One kernel function; `hooks` are the kinds of programs that may call it, "*" all: ProgType.kfunc_hook or its name, and
    "iter" and "kprobe_session" for programs of those attach types.
    """

    name: str
    flags: Kf
    hooks: frozenset[str]

    @property
    def symbol(self) -> str:
        return f"rt_{self.name}"


_NONE, _ACQ, _REL, _NULL = Kf.NONE, Kf.ACQUIRE, Kf.RELEASE, Kf.RET_NULL
_SLEEP, _RCU, _LOCKED = Kf.SLEEPABLE, Kf.RCU, Kf.UNDER_LOCK
_NEW, _NEXT, _END = Kf.ITER_NEW, Kf.ITER_NEXT | Kf.RET_NULL, Kf.ITER_DESTROY

_ALL = "*"
_GENERIC = "xdp sched_cls syscall cgroup tracing struct_ops"
_CPUMASK = "syscall tracing struct_ops"
_SKB = "sched_cls sched_act cgroup socket_filter sk_skb lwt netfilter tracing"
_CT = "xdp sched_cls"

# (hooks, flags, names): one line for each combination.
_ROWS: tuple[tuple[str, Kf, str], ...] = (
    # Tasks, cgroups, keys.
    (_GENERIC, _ACQ | _RCU | _NULL, "bpf_task_acquire bpf_cgroup_acquire bpf_cgroup_ancestor bpf_task_get_cgroup1"),
    (_GENERIC, _ACQ | _NULL, "bpf_task_from_pid bpf_task_from_vpid bpf_cgroup_from_id bpf_lookup_system_key"),
    (_GENERIC, _ACQ | _NULL | _SLEEP, "bpf_lookup_user_key"),
    (_GENERIC, _REL, "bpf_task_release bpf_cgroup_release bpf_key_put"),
    (_GENERIC, _RCU, "bpf_task_under_cgroup"),
    (_GENERIC, _NONE, "bpf_send_signal_task"),
    # Files and their names: security hooks only.
    ("lsm", _ACQ | _NULL, "bpf_get_task_exe_file"),
    ("lsm", _REL, "bpf_put_file"),
    ("lsm", _NONE, "bpf_path_d_path"),
    ("lsm", _SLEEP, "bpf_get_dentry_xattr bpf_get_file_xattr bpf_remove_dentry_xattr bpf_set_dentry_xattr"),
    ("kprobe_session", _NONE, "bpf_session_cookie bpf_session_is_return"),
    ("tracing", _NONE, "css_rstat_updated"),
    ("tracing", _SLEEP, "css_rstat_flush"),
    (_ALL, _RCU, "bpf_cgroup_read_xattr"),
    # Objects of the program's own types, lists and trees of them.
    (_GENERIC, _ACQ | _NULL, "bpf_obj_new_impl bpf_percpu_obj_new_impl"),
    (_GENERIC, _ACQ | _NULL | _LOCKED, "bpf_list_pop_front bpf_list_pop_back bpf_rbtree_remove"),
    (_GENERIC, _ACQ | _NULL | _RCU | _LOCKED, "bpf_refcount_acquire_impl"),
    (_GENERIC, _REL, "bpf_obj_drop_impl bpf_percpu_obj_drop_impl"),
    (_GENERIC, _LOCKED, "bpf_list_push_front_impl bpf_list_push_back_impl"),
    (_GENERIC, _LOCKED | Kf.CALLS_BACK, "bpf_rbtree_add_impl"),
    (_GENERIC, _NULL | _LOCKED, "bpf_list_front bpf_list_back bpf_rbtree_first bpf_rbtree_root"),
    (_GENERIC, _NULL | _LOCKED, "bpf_rbtree_left bpf_rbtree_right"),
    (_GENERIC, _NONE, "bpf_throw"),
    # CPU masks.
    (_CPUMASK, _ACQ | _NULL, "bpf_cpumask_create"),
    (_CPUMASK, _ACQ, "bpf_cpumask_acquire"),
    (_CPUMASK, _REL, "bpf_cpumask_release"),
    (_CPUMASK, _RCU, "bpf_cpumask_and bpf_cpumask_any_and_distribute bpf_cpumask_any_distribute bpf_cpumask_clear"),
    (_CPUMASK, _RCU, "bpf_cpumask_clear_cpu bpf_cpumask_copy bpf_cpumask_empty bpf_cpumask_equal bpf_cpumask_first"),
    (_CPUMASK, _RCU, "bpf_cpumask_first_and bpf_cpumask_first_zero bpf_cpumask_full bpf_cpumask_intersects"),
    (_CPUMASK, _RCU, "bpf_cpumask_or bpf_cpumask_populate bpf_cpumask_set_cpu bpf_cpumask_setall bpf_cpumask_subset"),
    (_CPUMASK, _RCU, "bpf_cpumask_test_and_clear_cpu bpf_cpumask_test_and_set_cpu bpf_cpumask_test_cpu"),
    (_CPUMASK, _RCU, "bpf_cpumask_weight bpf_cpumask_xor"),
    # Sections and locks.
    (_ALL, _NONE, "bpf_rcu_read_lock bpf_rcu_read_unlock bpf_preempt_disable bpf_preempt_enable"),
    (_ALL, _NONE, "bpf_local_irq_save bpf_local_irq_restore"),
    (_ALL, _LOCKED, "bpf_res_spin_unlock bpf_res_spin_unlock_irqrestore"),
    (_ALL, _NULL | _LOCKED, "bpf_res_spin_lock bpf_res_spin_lock_irqsave"),
    # Iterators.
    (_ALL, _NEW | _LOCKED, "bpf_iter_num_new"),
    (_ALL, _NEXT | _LOCKED, "bpf_iter_num_next"),
    (_ALL, _END | _LOCKED, "bpf_iter_num_destroy"),
    (_ALL, _NEW, "bpf_iter_bits_new"),
    (_ALL, _NEXT, "bpf_iter_bits_next bpf_iter_css_next bpf_iter_css_task_next bpf_iter_task_next"),
    (_ALL, _NEXT, "bpf_iter_task_vma_next"),
    (_ALL, _END, "bpf_iter_bits_destroy bpf_iter_css_destroy bpf_iter_css_task_destroy"),
    (_ALL, _END, "bpf_iter_task_destroy bpf_iter_task_vma_destroy"),
    (_ALL, _NEW | Kf.RCU_PROTECTED, "bpf_iter_css_new bpf_iter_task_new"),
    (_ALL, _NEW, "bpf_iter_css_task_new"),
    (_ALL, _NEW | _RCU, "bpf_iter_task_vma_new"),
    (_ALL, _NEW | _SLEEP, "bpf_iter_kmem_cache_new bpf_iter_dmabuf_new"),
    (_ALL, _NEXT | _SLEEP, "bpf_iter_kmem_cache_next bpf_iter_dmabuf_next"),
    (_ALL, _END | _SLEEP, "bpf_iter_kmem_cache_destroy bpf_iter_dmabuf_destroy"),
    # Casts, strings, dynptrs.
    (_ALL, _NONE, "bpf_cast_to_kern_ctx bpf_rdonly_cast bpf_get_kmem_cache bpf_modify_return_test_tp"),
    (_ALL, _NONE, "bpf_map_sum_elem_count bpf_stream_vprintk_impl"),
    (_ALL, _NONE, "bpf_task_work_schedule_resume_impl bpf_task_work_schedule_signal_impl"),
    (_ALL, _NONE, "bpf_strcmp bpf_strcasecmp bpf_strchr bpf_strchrnul bpf_strcspn bpf_strlen bpf_strnchr bpf_strnlen"),
    (_ALL, _NONE, "bpf_strnstr bpf_strrchr bpf_strspn bpf_strstr"),
    (_ALL, _NONE, "bpf_dynptr_adjust bpf_dynptr_clone bpf_dynptr_copy bpf_dynptr_is_null bpf_dynptr_is_rdonly"),
    (_ALL, _NONE, "bpf_dynptr_memset bpf_dynptr_size bpf_probe_read_kernel_dynptr bpf_probe_read_kernel_str_dynptr"),
    (_ALL, _NONE, "bpf_probe_read_user_dynptr bpf_probe_read_user_str_dynptr"),
    (_ALL, _NULL, "bpf_dynptr_slice bpf_dynptr_slice_rdwr"),
    (_ALL, _SLEEP, "bpf_copy_from_user_str bpf_copy_from_user_dynptr bpf_copy_from_user_str_dynptr"),
    (_ALL, _SLEEP, "bpf_copy_from_user_task_str"),
    (_ALL, _SLEEP, "bpf_copy_from_user_task_dynptr bpf_copy_from_user_task_str_dynptr"),
    (_SKB, _NONE, "bpf_dynptr_from_skb"),
    ("sched_cls sched_act", _NONE, "bpf_dynptr_from_skb_meta"),
    ("xdp", _NONE, "bpf_dynptr_from_xdp"),
    ("xdp", Kf.CHANGES_PACKET, "bpf_xdp_pull_data"),
    ("xdp", Kf.OF_DEVICE, "bpf_xdp_metadata_rx_hash bpf_xdp_metadata_rx_timestamp bpf_xdp_metadata_rx_vlan_tag"),
    # Work queues, arenas.
    (_ALL, _NONE, "bpf_wq_init bpf_wq_set_callback_impl bpf_wq_start"),
    (_ALL, _SLEEP, "bpf_arena_alloc_pages bpf_arena_free_pages bpf_arena_reserve_pages"),
    # The network.
    (_CT, _ACQ | _NULL, "bpf_skb_ct_alloc bpf_skb_ct_lookup bpf_xdp_ct_alloc bpf_xdp_ct_lookup"),
    (_CT, _ACQ | _NULL | _REL, "bpf_ct_insert_entry"),
    (_CT, _REL, "bpf_ct_release"),
    (_CT, _NONE, "bpf_ct_change_status bpf_ct_change_timeout bpf_ct_set_nat_info bpf_ct_set_status bpf_ct_set_timeout"),
    ("xdp", _ACQ | _NULL, "bpf_xdp_get_xfrm_state"),
    ("xdp", _REL, "bpf_xdp_xfrm_state_release"),
    ("sched_cls", _NONE, "bpf_sk_assign_tcp_reqsk"),
    ("cgroup", _NONE, "bpf_sock_addr_set_sun_path"),
    ("cgroup", _NONE, "bpf_sock_ops_enable_tx_tstamp"),
    ("iter", _NONE, "bpf_sock_destroy"),
    ("syscall", _ACQ | _NULL | _SLEEP, "bpf_crypto_ctx_create"),
    ("syscall", _ACQ | _RCU | _NULL, "bpf_crypto_ctx_acquire"),
    ("syscall", _REL, "bpf_crypto_ctx_release"),
    ("xdp sched_cls sched_act", _RCU, "bpf_crypto_decrypt bpf_crypto_encrypt"),
    ("sched_cls syscall tracing", _REL, "bpf_kfunc_call_memb_release bpf_kfunc_call_test_release"),
    ("struct_ops", _NONE, "tcp_cong_avoid_ai tcp_reno_cong_avoid tcp_reno_ssthresh tcp_reno_undo_cwnd tcp_slow_start"),
    ("struct_ops", _NONE, "cubictcp_acked cubictcp_cong_avoid cubictcp_cwnd_event cubictcp_init cubictcp_recalc_ssthresh"),
    ("struct_ops", _NONE, "cubictcp_state bbr_cwnd_event bbr_init bbr_main bbr_min_tso_segs bbr_set_state bbr_ssthresh"),
    ("struct_ops", _NONE, "bbr_sndbuf_expand bbr_undo_cwnd"),
)

KFUNCS: tuple[Kfunc, ...] = tuple(
    Kfunc(name, flags, frozenset(hooks.split())) for hooks, flags, names in _ROWS for name in names.split()
)
KFUNC_BY_NAME = {row.name: row for row in KFUNCS}
