"""Linux's BPF user interface: numbers and layouts. Generated from runtime/include/uapi.h; do not edit."""

# ruff: noqa: E501
from __future__ import annotations

import struct
from typing import ClassVar

from ..dataclass import dataclass
from .layout import Attr, Layout

BPF_MAP_CREATE = 0
BPF_MAP_LOOKUP_ELEM = 1
BPF_MAP_UPDATE_ELEM = 2
BPF_MAP_DELETE_ELEM = 3
BPF_MAP_GET_NEXT_KEY = 4
BPF_PROG_LOAD = 5
BPF_OBJ_PIN = 6
BPF_OBJ_GET = 7
BPF_PROG_ATTACH = 8
BPF_PROG_DETACH = 9
BPF_PROG_TEST_RUN = 10
BPF_PROG_RUN = 10
BPF_PROG_GET_NEXT_ID = 11
BPF_MAP_GET_NEXT_ID = 12
BPF_PROG_GET_FD_BY_ID = 13
BPF_MAP_GET_FD_BY_ID = 14
BPF_OBJ_GET_INFO_BY_FD = 15
BPF_PROG_QUERY = 16
BPF_RAW_TRACEPOINT_OPEN = 17
BPF_BTF_LOAD = 18
BPF_BTF_GET_FD_BY_ID = 19
BPF_TASK_FD_QUERY = 20
BPF_MAP_LOOKUP_AND_DELETE_ELEM = 21
BPF_MAP_FREEZE = 22
BPF_BTF_GET_NEXT_ID = 23
BPF_MAP_LOOKUP_BATCH = 24
BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25
BPF_MAP_UPDATE_BATCH = 26
BPF_MAP_DELETE_BATCH = 27
BPF_LINK_CREATE = 28
BPF_LINK_UPDATE = 29
BPF_LINK_GET_FD_BY_ID = 30
BPF_LINK_GET_NEXT_ID = 31
BPF_ENABLE_STATS = 32
BPF_ITER_CREATE = 33
BPF_LINK_DETACH = 34
BPF_PROG_BIND_MAP = 35
BPF_TOKEN_CREATE = 36
BPF_PROG_STREAM_READ_BY_FD = 37
__MAX_BPF_CMD = 38
BPF_MAP_TYPE_UNSPEC = 0
BPF_MAP_TYPE_HASH = 1
BPF_MAP_TYPE_ARRAY = 2
BPF_MAP_TYPE_PROG_ARRAY = 3
BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4
BPF_MAP_TYPE_PERCPU_HASH = 5
BPF_MAP_TYPE_PERCPU_ARRAY = 6
BPF_MAP_TYPE_STACK_TRACE = 7
BPF_MAP_TYPE_CGROUP_ARRAY = 8
BPF_MAP_TYPE_LRU_HASH = 9
BPF_MAP_TYPE_LRU_PERCPU_HASH = 10
BPF_MAP_TYPE_LPM_TRIE = 11
BPF_MAP_TYPE_ARRAY_OF_MAPS = 12
BPF_MAP_TYPE_HASH_OF_MAPS = 13
BPF_MAP_TYPE_DEVMAP = 14
BPF_MAP_TYPE_SOCKMAP = 15
BPF_MAP_TYPE_CPUMAP = 16
BPF_MAP_TYPE_XSKMAP = 17
BPF_MAP_TYPE_SOCKHASH = 18
BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED = 19
BPF_MAP_TYPE_CGROUP_STORAGE = 19
BPF_MAP_TYPE_REUSEPORT_SOCKARRAY = 20
BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE_DEPRECATED = 21
BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE = 21
BPF_MAP_TYPE_QUEUE = 22
BPF_MAP_TYPE_STACK = 23
BPF_MAP_TYPE_SK_STORAGE = 24
BPF_MAP_TYPE_DEVMAP_HASH = 25
BPF_MAP_TYPE_STRUCT_OPS = 26
BPF_MAP_TYPE_RINGBUF = 27
BPF_MAP_TYPE_INODE_STORAGE = 28
BPF_MAP_TYPE_TASK_STORAGE = 29
BPF_MAP_TYPE_BLOOM_FILTER = 30
BPF_MAP_TYPE_USER_RINGBUF = 31
BPF_MAP_TYPE_CGRP_STORAGE = 32
BPF_MAP_TYPE_ARENA = 33
__MAX_BPF_MAP_TYPE = 34
BPF_PROG_TYPE_UNSPEC = 0
BPF_PROG_TYPE_SOCKET_FILTER = 1
BPF_PROG_TYPE_KPROBE = 2
BPF_PROG_TYPE_SCHED_CLS = 3
BPF_PROG_TYPE_SCHED_ACT = 4
BPF_PROG_TYPE_TRACEPOINT = 5
BPF_PROG_TYPE_XDP = 6
BPF_PROG_TYPE_PERF_EVENT = 7
BPF_PROG_TYPE_CGROUP_SKB = 8
BPF_PROG_TYPE_CGROUP_SOCK = 9
BPF_PROG_TYPE_LWT_IN = 10
BPF_PROG_TYPE_LWT_OUT = 11
BPF_PROG_TYPE_LWT_XMIT = 12
BPF_PROG_TYPE_SOCK_OPS = 13
BPF_PROG_TYPE_SK_SKB = 14
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_PROG_TYPE_SK_MSG = 16
BPF_PROG_TYPE_RAW_TRACEPOINT = 17
BPF_PROG_TYPE_CGROUP_SOCK_ADDR = 18
BPF_PROG_TYPE_LWT_SEG6LOCAL = 19
BPF_PROG_TYPE_LIRC_MODE2 = 20
BPF_PROG_TYPE_SK_REUSEPORT = 21
BPF_PROG_TYPE_FLOW_DISSECTOR = 22
BPF_PROG_TYPE_CGROUP_SYSCTL = 23
BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE = 24
BPF_PROG_TYPE_CGROUP_SOCKOPT = 25
BPF_PROG_TYPE_TRACING = 26
BPF_PROG_TYPE_STRUCT_OPS = 27
BPF_PROG_TYPE_EXT = 28
BPF_PROG_TYPE_LSM = 29
BPF_PROG_TYPE_SK_LOOKUP = 30
BPF_PROG_TYPE_SYSCALL = 31
BPF_PROG_TYPE_NETFILTER = 32
__MAX_BPF_PROG_TYPE = 33
BPF_CGROUP_INET_INGRESS = 0
BPF_CGROUP_INET_EGRESS = 1
BPF_CGROUP_INET_SOCK_CREATE = 2
BPF_CGROUP_SOCK_OPS = 3
BPF_SK_SKB_STREAM_PARSER = 4
BPF_SK_SKB_STREAM_VERDICT = 5
BPF_CGROUP_DEVICE = 6
BPF_SK_MSG_VERDICT = 7
BPF_CGROUP_INET4_BIND = 8
BPF_CGROUP_INET6_BIND = 9
BPF_CGROUP_INET4_CONNECT = 10
BPF_CGROUP_INET6_CONNECT = 11
BPF_CGROUP_INET4_POST_BIND = 12
BPF_CGROUP_INET6_POST_BIND = 13
BPF_CGROUP_UDP4_SENDMSG = 14
BPF_CGROUP_UDP6_SENDMSG = 15
BPF_LIRC_MODE2 = 16
BPF_FLOW_DISSECTOR = 17
BPF_CGROUP_SYSCTL = 18
BPF_CGROUP_UDP4_RECVMSG = 19
BPF_CGROUP_UDP6_RECVMSG = 20
BPF_CGROUP_GETSOCKOPT = 21
BPF_CGROUP_SETSOCKOPT = 22
BPF_TRACE_RAW_TP = 23
BPF_TRACE_FENTRY = 24
BPF_TRACE_FEXIT = 25
BPF_MODIFY_RETURN = 26
BPF_LSM_MAC = 27
BPF_TRACE_ITER = 28
BPF_CGROUP_INET4_GETPEERNAME = 29
BPF_CGROUP_INET6_GETPEERNAME = 30
BPF_CGROUP_INET4_GETSOCKNAME = 31
BPF_CGROUP_INET6_GETSOCKNAME = 32
BPF_XDP_DEVMAP = 33
BPF_CGROUP_INET_SOCK_RELEASE = 34
BPF_XDP_CPUMAP = 35
BPF_SK_LOOKUP = 36
BPF_XDP = 37
BPF_SK_SKB_VERDICT = 38
BPF_SK_REUSEPORT_SELECT = 39
BPF_SK_REUSEPORT_SELECT_OR_MIGRATE = 40
BPF_PERF_EVENT = 41
BPF_TRACE_KPROBE_MULTI = 42
BPF_LSM_CGROUP = 43
BPF_STRUCT_OPS = 44
BPF_NETFILTER = 45
BPF_TCX_INGRESS = 46
BPF_TCX_EGRESS = 47
BPF_TRACE_UPROBE_MULTI = 48
BPF_CGROUP_UNIX_CONNECT = 49
BPF_CGROUP_UNIX_SENDMSG = 50
BPF_CGROUP_UNIX_RECVMSG = 51
BPF_CGROUP_UNIX_GETPEERNAME = 52
BPF_CGROUP_UNIX_GETSOCKNAME = 53
BPF_NETKIT_PRIMARY = 54
BPF_NETKIT_PEER = 55
BPF_TRACE_KPROBE_SESSION = 56
BPF_TRACE_UPROBE_SESSION = 57
__MAX_BPF_ATTACH_TYPE = 58
BPF_TRACE_VIEW = 4096
BPF_LINK_TYPE_UNSPEC = 0
BPF_LINK_TYPE_RAW_TRACEPOINT = 1
BPF_LINK_TYPE_TRACING = 2
BPF_LINK_TYPE_CGROUP = 3
BPF_LINK_TYPE_ITER = 4
BPF_LINK_TYPE_NETNS = 5
BPF_LINK_TYPE_XDP = 6
BPF_LINK_TYPE_PERF_EVENT = 7
BPF_LINK_TYPE_KPROBE_MULTI = 8
BPF_LINK_TYPE_STRUCT_OPS = 9
BPF_LINK_TYPE_NETFILTER = 10
BPF_LINK_TYPE_TCX = 11
BPF_LINK_TYPE_UPROBE_MULTI = 12
BPF_LINK_TYPE_NETKIT = 13
BPF_LINK_TYPE_SOCKMAP = 14
__MAX_BPF_LINK_TYPE = 15
BPF_LINK_TYPE_VIEW = 4096
BPF_STATS_RUN_TIME = 0
BPF_FD_TYPE_RAW_TRACEPOINT = 0
BPF_FD_TYPE_TRACEPOINT = 1
BPF_FD_TYPE_KPROBE = 2
BPF_FD_TYPE_KRETPROBE = 3
BPF_FD_TYPE_UPROBE = 4
BPF_FD_TYPE_URETPROBE = 5
BPF_CGROUP_ITER_ORDER_UNSPEC = 0
BPF_CGROUP_ITER_SELF_ONLY = 1
BPF_CGROUP_ITER_DESCENDANTS_PRE = 2
BPF_CGROUP_ITER_DESCENDANTS_POST = 3
BPF_CGROUP_ITER_ANCESTORS_UP = 4
BPF_CORE_FIELD_BYTE_OFFSET = 0
BPF_CORE_FIELD_BYTE_SIZE = 1
BPF_CORE_FIELD_EXISTS = 2
BPF_CORE_FIELD_SIGNED = 3
BPF_CORE_FIELD_LSHIFT_U64 = 4
BPF_CORE_FIELD_RSHIFT_U64 = 5
BPF_CORE_TYPE_ID_LOCAL = 6
BPF_CORE_TYPE_ID_TARGET = 7
BPF_CORE_TYPE_EXISTS = 8
BPF_CORE_TYPE_SIZE = 9
BPF_CORE_ENUMVAL_EXISTS = 10
BPF_CORE_ENUMVAL_VALUE = 11
BPF_CORE_TYPE_MATCHES = 12
BPF_F_RECOMPUTE_CSUM = 1
BPF_F_INVALIDATE_HASH = 2
BPF_F_HDR_FIELD_MASK = 15
BPF_F_PSEUDO_HDR = 16
BPF_F_MARK_MANGLED_0 = 32
BPF_F_MARK_ENFORCE = 64
BPF_F_IPV6 = 128
BPF_CSUM_LEVEL_QUERY = 0
BPF_CSUM_LEVEL_INC = 1
BPF_CSUM_LEVEL_DEC = 2
BPF_CSUM_LEVEL_RESET = 3
BPF_HDR_START_MAC = 0
BPF_HDR_START_NET = 1
BPF_SKB_TSTAMP_UNSPEC = 0
BPF_SKB_TSTAMP_DELIVERY_MONO = 1
BPF_SKB_CLOCK_REALTIME = 0
BPF_SKB_CLOCK_MONOTONIC = 1
BPF_SKB_CLOCK_TAI = 2
XDP_ABORTED = 0
XDP_DROP = 1
XDP_PASS = 2
XDP_TX = 3
XDP_REDIRECT = 4
BPF_FUNC_unspec = 0
BPF_FUNC_map_lookup_elem = 1
BPF_FUNC_map_update_elem = 2
BPF_FUNC_map_delete_elem = 3
BPF_FUNC_probe_read = 4
BPF_FUNC_ktime_get_ns = 5
BPF_FUNC_trace_printk = 6
BPF_FUNC_get_prandom_u32 = 7
BPF_FUNC_get_smp_processor_id = 8
BPF_FUNC_skb_store_bytes = 9
BPF_FUNC_l3_csum_replace = 10
BPF_FUNC_l4_csum_replace = 11
BPF_FUNC_tail_call = 12
BPF_FUNC_clone_redirect = 13
BPF_FUNC_get_current_pid_tgid = 14
BPF_FUNC_get_current_uid_gid = 15
BPF_FUNC_get_current_comm = 16
BPF_FUNC_get_cgroup_classid = 17
BPF_FUNC_skb_vlan_push = 18
BPF_FUNC_skb_vlan_pop = 19
BPF_FUNC_skb_get_tunnel_key = 20
BPF_FUNC_skb_set_tunnel_key = 21
BPF_FUNC_perf_event_read = 22
BPF_FUNC_redirect = 23
BPF_FUNC_get_route_realm = 24
BPF_FUNC_perf_event_output = 25
BPF_FUNC_skb_load_bytes = 26
BPF_FUNC_get_stackid = 27
BPF_FUNC_csum_diff = 28
BPF_FUNC_skb_get_tunnel_opt = 29
BPF_FUNC_skb_set_tunnel_opt = 30
BPF_FUNC_skb_change_proto = 31
BPF_FUNC_skb_change_type = 32
BPF_FUNC_skb_under_cgroup = 33
BPF_FUNC_get_hash_recalc = 34
BPF_FUNC_get_current_task = 35
BPF_FUNC_probe_write_user = 36
BPF_FUNC_current_task_under_cgroup = 37
BPF_FUNC_skb_change_tail = 38
BPF_FUNC_skb_pull_data = 39
BPF_FUNC_csum_update = 40
BPF_FUNC_set_hash_invalid = 41
BPF_FUNC_get_numa_node_id = 42
BPF_FUNC_skb_change_head = 43
BPF_FUNC_xdp_adjust_head = 44
BPF_FUNC_probe_read_str = 45
BPF_FUNC_get_socket_cookie = 46
BPF_FUNC_get_socket_uid = 47
BPF_FUNC_set_hash = 48
BPF_FUNC_setsockopt = 49
BPF_FUNC_skb_adjust_room = 50
BPF_FUNC_redirect_map = 51
BPF_FUNC_sk_redirect_map = 52
BPF_FUNC_sock_map_update = 53
BPF_FUNC_xdp_adjust_meta = 54
BPF_FUNC_perf_event_read_value = 55
BPF_FUNC_perf_prog_read_value = 56
BPF_FUNC_getsockopt = 57
BPF_FUNC_override_return = 58
BPF_FUNC_sock_ops_cb_flags_set = 59
BPF_FUNC_msg_redirect_map = 60
BPF_FUNC_msg_apply_bytes = 61
BPF_FUNC_msg_cork_bytes = 62
BPF_FUNC_msg_pull_data = 63
BPF_FUNC_bind = 64
BPF_FUNC_xdp_adjust_tail = 65
BPF_FUNC_skb_get_xfrm_state = 66
BPF_FUNC_get_stack = 67
BPF_FUNC_skb_load_bytes_relative = 68
BPF_FUNC_fib_lookup = 69
BPF_FUNC_sock_hash_update = 70
BPF_FUNC_msg_redirect_hash = 71
BPF_FUNC_sk_redirect_hash = 72
BPF_FUNC_lwt_push_encap = 73
BPF_FUNC_lwt_seg6_store_bytes = 74
BPF_FUNC_lwt_seg6_adjust_srh = 75
BPF_FUNC_lwt_seg6_action = 76
BPF_FUNC_rc_repeat = 77
BPF_FUNC_rc_keydown = 78
BPF_FUNC_skb_cgroup_id = 79
BPF_FUNC_get_current_cgroup_id = 80
BPF_FUNC_get_local_storage = 81
BPF_FUNC_sk_select_reuseport = 82
BPF_FUNC_skb_ancestor_cgroup_id = 83
BPF_FUNC_sk_lookup_tcp = 84
BPF_FUNC_sk_lookup_udp = 85
BPF_FUNC_sk_release = 86
BPF_FUNC_map_push_elem = 87
BPF_FUNC_map_pop_elem = 88
BPF_FUNC_map_peek_elem = 89
BPF_FUNC_msg_push_data = 90
BPF_FUNC_msg_pop_data = 91
BPF_FUNC_rc_pointer_rel = 92
BPF_FUNC_spin_lock = 93
BPF_FUNC_spin_unlock = 94
BPF_FUNC_sk_fullsock = 95
BPF_FUNC_tcp_sock = 96
BPF_FUNC_skb_ecn_set_ce = 97
BPF_FUNC_get_listener_sock = 98
BPF_FUNC_skc_lookup_tcp = 99
BPF_FUNC_tcp_check_syncookie = 100
BPF_FUNC_sysctl_get_name = 101
BPF_FUNC_sysctl_get_current_value = 102
BPF_FUNC_sysctl_get_new_value = 103
BPF_FUNC_sysctl_set_new_value = 104
BPF_FUNC_strtol = 105
BPF_FUNC_strtoul = 106
BPF_FUNC_sk_storage_get = 107
BPF_FUNC_sk_storage_delete = 108
BPF_FUNC_send_signal = 109
BPF_FUNC_tcp_gen_syncookie = 110
BPF_FUNC_skb_output = 111
BPF_FUNC_probe_read_user = 112
BPF_FUNC_probe_read_kernel = 113
BPF_FUNC_probe_read_user_str = 114
BPF_FUNC_probe_read_kernel_str = 115
BPF_FUNC_tcp_send_ack = 116
BPF_FUNC_send_signal_thread = 117
BPF_FUNC_jiffies64 = 118
BPF_FUNC_read_branch_records = 119
BPF_FUNC_get_ns_current_pid_tgid = 120
BPF_FUNC_xdp_output = 121
BPF_FUNC_get_netns_cookie = 122
BPF_FUNC_get_current_ancestor_cgroup_id = 123
BPF_FUNC_sk_assign = 124
BPF_FUNC_ktime_get_boot_ns = 125
BPF_FUNC_seq_printf = 126
BPF_FUNC_seq_write = 127
BPF_FUNC_sk_cgroup_id = 128
BPF_FUNC_sk_ancestor_cgroup_id = 129
BPF_FUNC_ringbuf_output = 130
BPF_FUNC_ringbuf_reserve = 131
BPF_FUNC_ringbuf_submit = 132
BPF_FUNC_ringbuf_discard = 133
BPF_FUNC_ringbuf_query = 134
BPF_FUNC_csum_level = 135
BPF_FUNC_skc_to_tcp6_sock = 136
BPF_FUNC_skc_to_tcp_sock = 137
BPF_FUNC_skc_to_tcp_timewait_sock = 138
BPF_FUNC_skc_to_tcp_request_sock = 139
BPF_FUNC_skc_to_udp6_sock = 140
BPF_FUNC_get_task_stack = 141
BPF_FUNC_load_hdr_opt = 142
BPF_FUNC_store_hdr_opt = 143
BPF_FUNC_reserve_hdr_opt = 144
BPF_FUNC_inode_storage_get = 145
BPF_FUNC_inode_storage_delete = 146
BPF_FUNC_d_path = 147
BPF_FUNC_copy_from_user = 148
BPF_FUNC_snprintf_btf = 149
BPF_FUNC_seq_printf_btf = 150
BPF_FUNC_skb_cgroup_classid = 151
BPF_FUNC_redirect_neigh = 152
BPF_FUNC_per_cpu_ptr = 153
BPF_FUNC_this_cpu_ptr = 154
BPF_FUNC_redirect_peer = 155
BPF_FUNC_task_storage_get = 156
BPF_FUNC_task_storage_delete = 157
BPF_FUNC_get_current_task_btf = 158
BPF_FUNC_bprm_opts_set = 159
BPF_FUNC_ktime_get_coarse_ns = 160
BPF_FUNC_ima_inode_hash = 161
BPF_FUNC_sock_from_file = 162
BPF_FUNC_check_mtu = 163
BPF_FUNC_for_each_map_elem = 164
BPF_FUNC_snprintf = 165
BPF_FUNC_sys_bpf = 166
BPF_FUNC_btf_find_by_name_kind = 167
BPF_FUNC_sys_close = 168
BPF_FUNC_timer_init = 169
BPF_FUNC_timer_set_callback = 170
BPF_FUNC_timer_start = 171
BPF_FUNC_timer_cancel = 172
BPF_FUNC_get_func_ip = 173
BPF_FUNC_get_attach_cookie = 174
BPF_FUNC_task_pt_regs = 175
BPF_FUNC_get_branch_snapshot = 176
BPF_FUNC_trace_vprintk = 177
BPF_FUNC_skc_to_unix_sock = 178
BPF_FUNC_kallsyms_lookup_name = 179
BPF_FUNC_find_vma = 180
BPF_FUNC_loop = 181
BPF_FUNC_strncmp = 182
BPF_FUNC_get_func_arg = 183
BPF_FUNC_get_func_ret = 184
BPF_FUNC_get_func_arg_cnt = 185
BPF_FUNC_get_retval = 186
BPF_FUNC_set_retval = 187
BPF_FUNC_xdp_get_buff_len = 188
BPF_FUNC_xdp_load_bytes = 189
BPF_FUNC_xdp_store_bytes = 190
BPF_FUNC_copy_from_user_task = 191
BPF_FUNC_skb_set_tstamp = 192
BPF_FUNC_ima_file_hash = 193
BPF_FUNC_kptr_xchg = 194
BPF_FUNC_map_lookup_percpu_elem = 195
BPF_FUNC_skc_to_mptcp_sock = 196
BPF_FUNC_dynptr_from_mem = 197
BPF_FUNC_ringbuf_reserve_dynptr = 198
BPF_FUNC_ringbuf_submit_dynptr = 199
BPF_FUNC_ringbuf_discard_dynptr = 200
BPF_FUNC_dynptr_read = 201
BPF_FUNC_dynptr_write = 202
BPF_FUNC_dynptr_data = 203
BPF_FUNC_tcp_raw_gen_syncookie_ipv4 = 204
BPF_FUNC_tcp_raw_gen_syncookie_ipv6 = 205
BPF_FUNC_tcp_raw_check_syncookie_ipv4 = 206
BPF_FUNC_tcp_raw_check_syncookie_ipv6 = 207
BPF_FUNC_ktime_get_tai_ns = 208
BPF_FUNC_user_ringbuf_drain = 209
BPF_FUNC_cgrp_storage_get = 210
BPF_FUNC_cgrp_storage_delete = 211
__BPF_FUNC_MAX_ID = 212
BPF_ANY = 0
BPF_NOEXIST = 1
BPF_EXIST = 2
BPF_F_LOCK = 4
BPF_F_NO_PREALLOC = 1
BPF_F_NO_COMMON_LRU = 2
BPF_F_NUMA_NODE = 4
BPF_F_RDONLY = 8
BPF_F_WRONLY = 16
BPF_F_STACK_BUILD_ID = 32
BPF_F_ZERO_SEED = 64
BPF_F_RDONLY_PROG = 128
BPF_F_WRONLY_PROG = 256
BPF_F_CLONE = 512
BPF_F_MMAPABLE = 1024
BPF_F_PRESERVE_ELEMS = 2048
BPF_F_INNER_MAP = 4096
BPF_F_LINK = 8192
BPF_F_PATH_FD = 16384
BPF_F_VTYPE_BTF_OBJ_FD = 32768
BPF_F_TOKEN_FD = 65536
BPF_F_SEGV_ON_FAULT = 131072
BPF_F_NO_USER_CONV = 262144
BPF_F_INGRESS = 1
BPF_F_BROADCAST = 8
BPF_F_EXCLUDE_INGRESS = 16
BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB = 4
BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB = 5
BPF_SOCK_OPS_TCP_LISTEN_CB = 11
BPF_F_INDEX_MASK = 4294967295
BPF_F_CURRENT_CPU = 4294967295
BPF_F_CTXLEN_MASK = 4503595332403200
BPF_F_STRICT_ALIGNMENT = 1
BPF_F_ANY_ALIGNMENT = 2
BPF_F_TEST_RND_HI32 = 4
BPF_F_TEST_STATE_FREQ = 8
BPF_F_SLEEPABLE = 16
BPF_F_XDP_HAS_FRAGS = 32
BPF_F_XDP_DEV_BOUND_ONLY = 64
BPF_F_TEST_REG_INVARIANTS = 128
BPF_PSEUDO_MAP_FD = 1
BPF_PSEUDO_MAP_VALUE = 2
BPF_PSEUDO_BTF_ID = 3
BPF_PSEUDO_FUNC = 4
BPF_PSEUDO_MAP_IDX = 5
BPF_PSEUDO_MAP_IDX_VALUE = 6
BPF_PSEUDO_CALL = 1
BPF_PSEUDO_KFUNC_CALL = 2
BPF_OBJ_NAME_LEN = 16
BPF_TAG_SIZE = 8
MAX_BPF_STACK = 512
MAX_BPF_FUNC_ARGS = 5
BPF_F_ALLOW_OVERRIDE = 1
BPF_F_ALLOW_MULTI = 2
BPF_F_REPLACE = 4
BPF_F_BEFORE = 8
BPF_F_AFTER = 16
BPF_F_ID = 32
BPF_F_PREORDER = 64
BPF_F_QUERY_EFFECTIVE = 1
BPF_OK = 0
BPF_DROP = 2
BPF_REDIRECT = 7
BTF_F_COMPACT = 1
BTF_F_NONAME = 2
BTF_F_PTR_RAW = 4
BTF_F_ZERO = 8
BPF_LOCAL_STORAGE_GET_F_CREATE = 1
BPF_SK_STORAGE_GET_F_CREATE = 1
BPF_RB_NO_WAKEUP = 1
BPF_RB_FORCE_WAKEUP = 2
BPF_RB_AVAIL_DATA = 0
BPF_RB_RING_SIZE = 1
BPF_RB_CONS_POS = 2
BPF_RB_PROD_POS = 3
BPF_RINGBUF_BUSY_BIT = 2147483648
BPF_RINGBUF_DISCARD_BIT = 1073741824
BPF_RINGBUF_HDR_SZ = 8

LAYOUTS: dict[str, Layout] = {
    'bpf_attr': Layout(168, {'map_type': (0, 4), 'key_size': (4, 4), 'value_size': (8, 4), 'max_entries': (12, 4), 'map_flags': (16, 4), 'inner_map_fd': (20, 4), 'numa_node': (24, 4), 'map_name': (28, 16), 'map_ifindex': (44, 4), 'btf_fd': (48, 4), 'btf_key_type_id': (52, 4), 'btf_value_type_id': (56, 4), 'btf_vmlinux_value_type_id': (60, 4), 'map_extra': (64, 8), 'value_type_btf_obj_fd': (72, 4), 'map_token_fd': (76, 4), 'excl_prog_hash': (80, 8), 'excl_prog_hash_size': (88, 4), 'map_fd': (0, 4), 'key': (8, 8), 'value': (16, 8), 'next_key': (16, 8), 'flags': (24, 8), 'batch.in_batch': (0, 8), 'batch.out_batch': (8, 8), 'batch.keys': (16, 8), 'batch.values': (24, 8), 'batch.count': (32, 4), 'batch.map_fd': (36, 4), 'batch.elem_flags': (40, 8), 'batch.flags': (48, 8), 'prog_type': (0, 4), 'insn_cnt': (4, 4), 'insns': (8, 8), 'license': (16, 8), 'log_level': (24, 4), 'log_size': (28, 4), 'log_buf': (32, 8), 'kern_version': (40, 4), 'prog_flags': (44, 4), 'prog_name': (48, 16), 'prog_ifindex': (64, 4), 'expected_attach_type': (68, 4), 'prog_btf_fd': (72, 4), 'func_info_rec_size': (76, 4), 'func_info': (80, 8), 'func_info_cnt': (88, 4), 'line_info_rec_size': (92, 4), 'line_info': (96, 8), 'line_info_cnt': (104, 4), 'attach_btf_id': (108, 4), 'attach_prog_fd': (112, 4), 'attach_btf_obj_fd': (112, 4), 'core_relo_cnt': (116, 4), 'fd_array': (120, 8), 'core_relos': (128, 8), 'core_relo_rec_size': (136, 4), 'log_true_size': (140, 4), 'prog_token_fd': (144, 4), 'fd_array_cnt': (148, 4), 'signature': (152, 8), 'signature_size': (160, 4), 'keyring_id': (164, 4), 'pathname': (0, 8), 'bpf_fd': (8, 4), 'file_flags': (12, 4), 'path_fd': (16, 4), 'target_fd': (0, 4), 'target_ifindex': (0, 4), 'attach_bpf_fd': (4, 4), 'attach_type': (8, 4), 'attach_flags': (12, 4), 'replace_bpf_fd': (16, 4), 'relative_fd': (20, 4), 'relative_id': (20, 4), 'expected_revision': (24, 8), 'test.prog_fd': (0, 4), 'test.retval': (4, 4), 'test.data_size_in': (8, 4), 'test.data_size_out': (12, 4), 'test.data_in': (16, 8), 'test.data_out': (24, 8), 'test.repeat': (32, 4), 'test.duration': (36, 4), 'test.ctx_size_in': (40, 4), 'test.ctx_size_out': (44, 4), 'test.ctx_in': (48, 8), 'test.ctx_out': (56, 8), 'test.flags': (64, 4), 'test.cpu': (68, 4), 'test.batch_size': (72, 4), 'start_id': (0, 4), 'prog_id': (0, 4), 'map_id': (0, 4), 'btf_id': (0, 4), 'link_id': (0, 4), 'next_id': (4, 4), 'open_flags': (8, 4), 'fd_by_id_token_fd': (12, 4), 'info.bpf_fd': (0, 4), 'info.info_len': (4, 4), 'info.info': (8, 8), 'query.target_fd': (0, 4), 'query.target_ifindex': (0, 4), 'query.attach_type': (4, 4), 'query.query_flags': (8, 4), 'query.attach_flags': (12, 4), 'query.prog_ids': (16, 8), 'query.prog_cnt': (24, 4), 'query.count': (24, 4), 'query.prog_attach_flags': (32, 8), 'query.link_ids': (40, 8), 'query.link_attach_flags': (48, 8), 'query.revision': (56, 8), 'raw_tracepoint.name': (0, 8), 'raw_tracepoint.prog_fd': (8, 4), 'raw_tracepoint.cookie': (16, 8), 'btf': (0, 8), 'btf_log_buf': (8, 8), 'btf_size': (16, 4), 'btf_log_size': (20, 4), 'btf_log_level': (24, 4), 'btf_log_true_size': (28, 4), 'btf_flags': (32, 4), 'btf_token_fd': (36, 4), 'task_fd_query.pid': (0, 4), 'task_fd_query.fd': (4, 4), 'task_fd_query.flags': (8, 4), 'task_fd_query.buf_len': (12, 4), 'task_fd_query.buf': (16, 8), 'task_fd_query.prog_id': (24, 4), 'task_fd_query.fd_type': (28, 4), 'task_fd_query.probe_offset': (32, 8), 'task_fd_query.probe_addr': (40, 8), 'link_create.prog_fd': (0, 4), 'link_create.map_fd': (0, 4), 'link_create.target_fd': (4, 4), 'link_create.target_ifindex': (4, 4), 'link_create.attach_type': (8, 4), 'link_create.flags': (12, 4), 'link_create.target_btf_id': (16, 4), 'link_create.iter_info': (16, 8), 'link_create.iter_info_len': (24, 4), 'link_create.perf_event.bpf_cookie': (16, 8), 'link_create.kprobe_multi.flags': (16, 4), 'link_create.kprobe_multi.cnt': (20, 4), 'link_create.kprobe_multi.syms': (24, 8), 'link_create.kprobe_multi.addrs': (32, 8), 'link_create.kprobe_multi.cookies': (40, 8), 'link_create.tracing.target_btf_id': (16, 4), 'link_create.tracing.cookie': (24, 8), 'link_create.netfilter.pf': (16, 4), 'link_create.netfilter.hooknum': (20, 4), 'link_create.netfilter.priority': (24, 4), 'link_create.netfilter.flags': (28, 4), 'link_create.tcx.relative_fd': (16, 4), 'link_create.tcx.relative_id': (16, 4), 'link_create.tcx.expected_revision': (24, 8), 'link_create.uprobe_multi.path': (16, 8), 'link_create.uprobe_multi.offsets': (24, 8), 'link_create.uprobe_multi.ref_ctr_offsets': (32, 8), 'link_create.uprobe_multi.cookies': (40, 8), 'link_create.uprobe_multi.cnt': (48, 4), 'link_create.uprobe_multi.flags': (52, 4), 'link_create.uprobe_multi.pid': (56, 4), 'link_create.netkit.relative_fd': (16, 4), 'link_create.netkit.relative_id': (16, 4), 'link_create.netkit.expected_revision': (24, 8), 'link_create.cgroup.relative_fd': (16, 4), 'link_create.cgroup.relative_id': (16, 4), 'link_create.cgroup.expected_revision': (24, 8), 'link_update.link_fd': (0, 4), 'link_update.new_prog_fd': (4, 4), 'link_update.new_map_fd': (4, 4), 'link_update.flags': (8, 4), 'link_update.old_prog_fd': (12, 4), 'link_update.old_map_fd': (12, 4), 'link_detach.link_fd': (0, 4), 'enable_stats.type': (0, 4), 'iter_create.link_fd': (0, 4), 'iter_create.flags': (4, 4), 'prog_bind_map.prog_fd': (0, 4), 'prog_bind_map.map_fd': (4, 4), 'prog_bind_map.flags': (8, 4), 'token_create.flags': (0, 4), 'token_create.bpffs_fd': (4, 4), 'prog_stream_read.stream_buf': (0, 8), 'prog_stream_read.stream_buf_len': (8, 4), 'prog_stream_read.stream_id': (12, 4), 'prog_stream_read.prog_fd': (16, 4)}),
    'bpf_prog_info': Layout(232, {'type': (0, 4), 'id': (4, 4), 'tag': (8, 8), 'jited_prog_len': (16, 4), 'xlated_prog_len': (20, 4), 'jited_prog_insns': (24, 8), 'xlated_prog_insns': (32, 8), 'load_time': (40, 8), 'created_by_uid': (48, 4), 'nr_map_ids': (52, 4), 'map_ids': (56, 8), 'name': (64, 16), 'ifindex': (80, 4), 'netns_dev': (88, 8), 'netns_ino': (96, 8), 'nr_jited_ksyms': (104, 4), 'nr_jited_func_lens': (108, 4), 'jited_ksyms': (112, 8), 'jited_func_lens': (120, 8), 'btf_id': (128, 4), 'func_info_rec_size': (132, 4), 'func_info': (136, 8), 'nr_func_info': (144, 4), 'nr_line_info': (148, 4), 'line_info': (152, 8), 'jited_line_info': (160, 8), 'nr_jited_line_info': (168, 4), 'line_info_rec_size': (172, 4), 'jited_line_info_rec_size': (176, 4), 'nr_prog_tags': (180, 4), 'prog_tags': (184, 8), 'run_time_ns': (192, 8), 'run_cnt': (200, 8), 'recursion_misses': (208, 8), 'verified_insns': (216, 4), 'attach_btf_obj_id': (220, 4), 'attach_btf_id': (224, 4)}),
    'bpf_map_info': Layout(104, {'type': (0, 4), 'id': (4, 4), 'key_size': (8, 4), 'value_size': (12, 4), 'max_entries': (16, 4), 'map_flags': (20, 4), 'name': (24, 16), 'ifindex': (40, 4), 'btf_vmlinux_value_type_id': (44, 4), 'netns_dev': (48, 8), 'netns_ino': (56, 8), 'btf_id': (64, 4), 'btf_key_type_id': (68, 4), 'btf_value_type_id': (72, 4), 'btf_vmlinux_id': (76, 4), 'map_extra': (80, 8), 'hash': (88, 8), 'hash_size': (96, 4)}),
    'bpf_btf_info': Layout(32, {'btf': (0, 8), 'btf_size': (8, 4), 'id': (12, 4), 'name': (16, 8), 'name_len': (24, 4), 'kernel_btf': (28, 4)}),
    'bpf_link_info': Layout(64, {'type': (0, 4), 'id': (4, 4), 'prog_id': (8, 4), 'raw_tracepoint.tp_name': (16, 8), 'raw_tracepoint.tp_name_len': (24, 4), 'raw_tracepoint.cookie': (32, 8), 'tracing.attach_type': (16, 4), 'tracing.target_obj_id': (20, 4), 'tracing.target_btf_id': (24, 4), 'tracing.cookie': (32, 8), 'cgroup.cgroup_id': (16, 8), 'cgroup.attach_type': (24, 4), 'iter.target_name': (16, 8), 'iter.target_name_len': (24, 4), 'iter.map.map_id': (28, 4), 'iter.cgroup.cgroup_id': (32, 8), 'iter.cgroup.order': (40, 4), 'iter.task.tid': (32, 4), 'iter.task.pid': (36, 4), 'netns.netns_ino': (16, 4), 'netns.attach_type': (20, 4), 'xdp.ifindex': (16, 4), 'struct_ops.map_id': (16, 4), 'netfilter.pf': (16, 4), 'netfilter.hooknum': (20, 4), 'netfilter.priority': (24, 4), 'netfilter.flags': (28, 4), 'kprobe_multi.addrs': (16, 8), 'kprobe_multi.count': (24, 4), 'kprobe_multi.flags': (28, 4), 'kprobe_multi.missed': (32, 8), 'kprobe_multi.cookies': (40, 8), 'uprobe_multi.path': (16, 8), 'uprobe_multi.offsets': (24, 8), 'uprobe_multi.ref_ctr_offsets': (32, 8), 'uprobe_multi.cookies': (40, 8), 'uprobe_multi.path_size': (48, 4), 'uprobe_multi.count': (52, 4), 'uprobe_multi.flags': (56, 4), 'uprobe_multi.pid': (60, 4), 'perf_event.type': (16, 4), 'perf_event.uprobe.file_name': (24, 8), 'perf_event.uprobe.name_len': (32, 4), 'perf_event.uprobe.offset': (36, 4), 'perf_event.uprobe.cookie': (40, 8), 'perf_event.uprobe.ref_ctr_offset': (48, 8), 'perf_event.kprobe.func_name': (24, 8), 'perf_event.kprobe.name_len': (32, 4), 'perf_event.kprobe.offset': (36, 4), 'perf_event.kprobe.addr': (40, 8), 'perf_event.kprobe.missed': (48, 8), 'perf_event.kprobe.cookie': (56, 8), 'perf_event.tracepoint.tp_name': (24, 8), 'perf_event.tracepoint.name_len': (32, 4), 'perf_event.tracepoint.cookie': (40, 8), 'perf_event.event.config': (24, 8), 'perf_event.event.type': (32, 4), 'perf_event.event.cookie': (40, 8), 'tcx.ifindex': (16, 4), 'tcx.attach_type': (20, 4), 'netkit.ifindex': (16, 4), 'netkit.attach_type': (20, 4), 'sockmap.map_id': (16, 4), 'sockmap.attach_type': (20, 4)}),
    'bpf_iter_link_info': Layout(16, {'map.map_fd': (0, 4), 'cgroup.order': (0, 4), 'cgroup.cgroup_fd': (4, 4), 'cgroup.cgroup_id': (8, 8), 'task.tid': (0, 4), 'task.pid': (4, 4), 'task.pid_fd': (8, 4)}),
    '__sk_buff': Layout(192, {'len': (0, 4), 'pkt_type': (4, 4), 'mark': (8, 4), 'queue_mapping': (12, 4), 'protocol': (16, 4), 'vlan_present': (20, 4), 'vlan_tci': (24, 4), 'vlan_proto': (28, 4), 'priority': (32, 4), 'ingress_ifindex': (36, 4), 'ifindex': (40, 4), 'tc_index': (44, 4), 'cb': (48, 20), 'hash': (68, 4), 'tc_classid': (72, 4), 'data': (76, 4), 'data_end': (80, 4), 'napi_id': (84, 4), 'family': (88, 4), 'remote_ip4': (92, 4), 'local_ip4': (96, 4), 'remote_ip6': (100, 16), 'local_ip6': (116, 16), 'remote_port': (132, 4), 'local_port': (136, 4), 'data_meta': (140, 4), 'flow_keys': (144, 8), 'tstamp': (152, 8), 'wire_len': (160, 4), 'gso_segs': (164, 4), 'sk': (168, 8), 'gso_size': (176, 4), 'tstamp_type': (180, 1), 'hwtstamp': (184, 8)}),
    'xdp_md': Layout(24, {'data': (0, 4), 'data_end': (4, 4), 'data_meta': (8, 4), 'ingress_ifindex': (12, 4), 'rx_queue_index': (16, 4), 'egress_ifindex': (20, 4)}),
    'bpf_sock': Layout(80, {'bound_dev_if': (0, 4), 'family': (4, 4), 'type': (8, 4), 'protocol': (12, 4), 'mark': (16, 4), 'priority': (20, 4), 'src_ip4': (24, 4), 'src_ip6': (28, 16), 'src_port': (44, 4), 'dst_port': (48, 2), '__pad': (50, 2), 'dst_ip4': (52, 4), 'dst_ip6': (56, 16), 'state': (72, 4), 'rx_queue_mapping': (76, 4)}),
    'bpf_sock_addr': Layout(72, {'user_family': (0, 4), 'user_ip4': (4, 4), 'user_ip6': (8, 16), 'user_port': (24, 4), 'family': (28, 4), 'type': (32, 4), 'protocol': (36, 4), 'msg_src_ip4': (40, 4), 'msg_src_ip6': (44, 16), 'sk': (64, 8)}),
    'bpf_cgroup_dev_ctx': Layout(12, {'access_type': (0, 4), 'major': (4, 4), 'minor': (8, 4)}),
    'bpf_sysctl': Layout(8, {'write': (0, 4), 'file_pos': (4, 4)}),
    'bpf_sockopt': Layout(40, {'sk': (0, 8), 'optval': (8, 8), 'optval_end': (16, 8), 'level': (24, 4), 'optname': (28, 4), 'optlen': (32, 4), 'retval': (36, 4)}),
    'bpf_sock_ops': Layout(224, {'op': (0, 4), 'args': (4, 16), 'reply': (4, 4), 'replylong': (4, 16), 'family': (20, 4), 'remote_ip4': (24, 4), 'local_ip4': (28, 4), 'remote_ip6': (32, 16), 'local_ip6': (48, 16), 'remote_port': (64, 4), 'local_port': (68, 4), 'is_fullsock': (72, 4), 'snd_cwnd': (76, 4), 'srtt_us': (80, 4), 'bpf_sock_ops_cb_flags': (84, 4), 'state': (88, 4), 'rtt_min': (92, 4), 'snd_ssthresh': (96, 4), 'rcv_nxt': (100, 4), 'snd_nxt': (104, 4), 'snd_una': (108, 4), 'mss_cache': (112, 4), 'ecn_flags': (116, 4), 'rate_delivered': (120, 4), 'rate_interval_us': (124, 4), 'packets_out': (128, 4), 'retrans_out': (132, 4), 'total_retrans': (136, 4), 'segs_in': (140, 4), 'data_segs_in': (144, 4), 'segs_out': (148, 4), 'data_segs_out': (152, 4), 'lost_out': (156, 4), 'sacked_out': (160, 4), 'sk_txhash': (164, 4), 'bytes_received': (168, 8), 'bytes_acked': (176, 8), 'sk': (184, 8), 'skb_data': (192, 8), 'skb_data_end': (200, 8), 'skb_len': (208, 4), 'skb_tcp_flags': (212, 4), 'skb_hwtstamp': (216, 8)}),
    'sk_msg_md': Layout(80, {'data': (0, 8), 'data_end': (8, 8), 'family': (16, 4), 'remote_ip4': (20, 4), 'local_ip4': (24, 4), 'remote_ip6': (28, 16), 'local_ip6': (44, 16), 'remote_port': (60, 4), 'local_port': (64, 4), 'size': (68, 4), 'sk': (72, 8)}),
    'bpf_sk_lookup': Layout(72, {'sk': (0, 8), 'cookie': (0, 8), 'family': (8, 4), 'protocol': (12, 4), 'remote_ip4': (16, 4), 'remote_ip6': (20, 16), 'remote_port': (36, 2), '__pad': (38, 2), 'local_ip4': (40, 4), 'local_ip6': (44, 16), 'local_port': (60, 4), 'ingress_ifindex': (64, 4)}),
    'sk_reuseport_md': Layout(56, {'data': (0, 8), 'data_end': (8, 8), 'len': (16, 4), 'eth_protocol': (20, 4), 'ip_protocol': (24, 4), 'bind_inany': (28, 4), 'hash': (32, 4), 'sk': (40, 8), 'migrating_sk': (48, 8)}),
    'bpf_tcp_sock': Layout(112, {'snd_cwnd': (0, 4), 'srtt_us': (4, 4), 'rtt_min': (8, 4), 'snd_ssthresh': (12, 4), 'rcv_nxt': (16, 4), 'snd_nxt': (20, 4), 'snd_una': (24, 4), 'mss_cache': (28, 4), 'ecn_flags': (32, 4), 'rate_delivered': (36, 4), 'rate_interval_us': (40, 4), 'packets_out': (44, 4), 'retrans_out': (48, 4), 'total_retrans': (52, 4), 'segs_in': (56, 4), 'data_segs_in': (60, 4), 'segs_out': (64, 4), 'data_segs_out': (68, 4), 'lost_out': (72, 4), 'sacked_out': (76, 4), 'bytes_received': (80, 8), 'bytes_acked': (88, 8), 'dsack_dups': (96, 4), 'delivered': (100, 4), 'delivered_ce': (104, 4), 'icsk_retransmits': (108, 4)}),
    'bpf_flow_keys': Layout(56, {'nhoff': (0, 2), 'thoff': (2, 2), 'addr_proto': (4, 2), 'is_frag': (6, 1), 'is_first_frag': (7, 1), 'is_encap': (8, 1), 'ip_proto': (9, 1), 'n_proto': (10, 2), 'sport': (12, 2), 'dport': (14, 2), 'ipv4_src': (16, 4), 'ipv4_dst': (20, 4), 'ipv6_src': (16, 16), 'ipv6_dst': (32, 16), 'flags': (48, 4), 'flow_label': (52, 4)}),
    'bpf_xdp_sock': Layout(4, {'queue_id': (0, 4)}),
}


@dataclass(slots=True)
class MapCreate(Attr):
    map_type: int = 0
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    map_flags: int = 0
    inner_map_fd: int = 0
    numa_node: int = 0
    map_name: bytes = b""
    map_ifindex: int = 0
    btf_fd: int = 0
    btf_key_type_id: int = 0
    btf_value_type_id: int = 0
    btf_vmlinux_value_type_id: int = 0
    map_extra: int = 0
    value_type_btf_obj_fd: int = 0
    map_token_fd: int = 0
    excl_prog_hash: int = 0
    excl_prog_hash_size: int = 0
    SIZE: ClassVar[int] = 92
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIIIIII16sIIIIIQiiQI")
    FIELDS: ClassVar[tuple[str, ...]] = ('map_type', 'key_size', 'value_size', 'max_entries', 'map_flags', 'inner_map_fd', 'numa_node', 'map_name', 'map_ifindex', 'btf_fd', 'btf_key_type_id', 'btf_value_type_id', 'btf_vmlinux_value_type_id', 'map_extra', 'value_type_btf_obj_fd', 'map_token_fd', 'excl_prog_hash', 'excl_prog_hash_size')
    OFFSETS: ClassVar[dict[str, int]] = {'map_type': 0, 'key_size': 4, 'value_size': 8, 'max_entries': 12, 'map_flags': 16, 'inner_map_fd': 20, 'numa_node': 24, 'map_name': 28, 'map_ifindex': 44, 'btf_fd': 48, 'btf_key_type_id': 52, 'btf_value_type_id': 56, 'btf_vmlinux_value_type_id': 60, 'map_extra': 64, 'value_type_btf_obj_fd': 72, 'map_token_fd': 76, 'excl_prog_hash': 80, 'excl_prog_hash_size': 88}


@dataclass(slots=True)
class MapElem(Attr):
    map_fd: int = 0
    key: int = 0
    value: int = 0
    flags: int = 0
    SIZE: ClassVar[int] = 32
    FORM: ClassVar[struct.Struct] = struct.Struct("<I4xQQQ")
    FIELDS: ClassVar[tuple[str, ...]] = ('map_fd', 'key', 'value', 'flags')
    OFFSETS: ClassVar[dict[str, int]] = {'map_fd': 0, 'key': 8, 'value': 16, 'flags': 24}


@dataclass(slots=True)
class MapBatch(Attr):
    in_batch: int = 0
    out_batch: int = 0
    keys: int = 0
    values: int = 0
    count: int = 0
    map_fd: int = 0
    elem_flags: int = 0
    flags: int = 0
    SIZE: ClassVar[int] = 56
    FORM: ClassVar[struct.Struct] = struct.Struct("<QQQQIIQQ")
    FIELDS: ClassVar[tuple[str, ...]] = ('in_batch', 'out_batch', 'keys', 'values', 'count', 'map_fd', 'elem_flags', 'flags')
    OFFSETS: ClassVar[dict[str, int]] = {'in_batch': 0, 'out_batch': 8, 'keys': 16, 'values': 24, 'count': 32, 'map_fd': 36, 'elem_flags': 40, 'flags': 48}


@dataclass(slots=True)
class ProgLoad(Attr):
    prog_type: int = 0
    insn_cnt: int = 0
    insns: int = 0
    license: int = 0
    log_level: int = 0
    log_size: int = 0
    log_buf: int = 0
    kern_version: int = 0
    prog_flags: int = 0
    prog_name: bytes = b""
    prog_ifindex: int = 0
    expected_attach_type: int = 0
    prog_btf_fd: int = 0
    func_info_rec_size: int = 0
    func_info: int = 0
    func_info_cnt: int = 0
    line_info_rec_size: int = 0
    line_info: int = 0
    line_info_cnt: int = 0
    attach_btf_id: int = 0
    attach_prog_fd: int = 0
    core_relo_cnt: int = 0
    fd_array: int = 0
    core_relos: int = 0
    core_relo_rec_size: int = 0
    log_true_size: int = 0
    prog_token_fd: int = 0
    fd_array_cnt: int = 0
    signature: int = 0
    signature_size: int = 0
    keyring_id: int = 0
    SIZE: ClassVar[int] = 168
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIQQIIQII16sIIIIQIIQIIIIQQIIiIQIi")
    FIELDS: ClassVar[tuple[str, ...]] = ('prog_type', 'insn_cnt', 'insns', 'license', 'log_level', 'log_size', 'log_buf', 'kern_version', 'prog_flags', 'prog_name', 'prog_ifindex', 'expected_attach_type', 'prog_btf_fd', 'func_info_rec_size', 'func_info', 'func_info_cnt', 'line_info_rec_size', 'line_info', 'line_info_cnt', 'attach_btf_id', 'attach_prog_fd', 'core_relo_cnt', 'fd_array', 'core_relos', 'core_relo_rec_size', 'log_true_size', 'prog_token_fd', 'fd_array_cnt', 'signature', 'signature_size', 'keyring_id')
    OFFSETS: ClassVar[dict[str, int]] = {'prog_type': 0, 'insn_cnt': 4, 'insns': 8, 'license': 16, 'log_level': 24, 'log_size': 28, 'log_buf': 32, 'kern_version': 40, 'prog_flags': 44, 'prog_name': 48, 'prog_ifindex': 64, 'expected_attach_type': 68, 'prog_btf_fd': 72, 'func_info_rec_size': 76, 'func_info': 80, 'func_info_cnt': 88, 'line_info_rec_size': 92, 'line_info': 96, 'line_info_cnt': 104, 'attach_btf_id': 108, 'attach_prog_fd': 112, 'core_relo_cnt': 116, 'fd_array': 120, 'core_relos': 128, 'core_relo_rec_size': 136, 'log_true_size': 140, 'prog_token_fd': 144, 'fd_array_cnt': 148, 'signature': 152, 'signature_size': 160, 'keyring_id': 164}


@dataclass(slots=True)
class Obj(Attr):
    pathname: int = 0
    bpf_fd: int = 0
    file_flags: int = 0
    path_fd: int = 0
    SIZE: ClassVar[int] = 20
    FORM: ClassVar[struct.Struct] = struct.Struct("<QIIi")
    FIELDS: ClassVar[tuple[str, ...]] = ('pathname', 'bpf_fd', 'file_flags', 'path_fd')
    OFFSETS: ClassVar[dict[str, int]] = {'pathname': 0, 'bpf_fd': 8, 'file_flags': 12, 'path_fd': 16}


@dataclass(slots=True)
class ProgAttach(Attr):
    target_fd: int = 0
    attach_bpf_fd: int = 0
    attach_type: int = 0
    attach_flags: int = 0
    replace_bpf_fd: int = 0
    relative_fd: int = 0
    expected_revision: int = 0
    SIZE: ClassVar[int] = 32
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIIIIIQ")
    FIELDS: ClassVar[tuple[str, ...]] = ('target_fd', 'attach_bpf_fd', 'attach_type', 'attach_flags', 'replace_bpf_fd', 'relative_fd', 'expected_revision')
    OFFSETS: ClassVar[dict[str, int]] = {'target_fd': 0, 'attach_bpf_fd': 4, 'attach_type': 8, 'attach_flags': 12, 'replace_bpf_fd': 16, 'relative_fd': 20, 'expected_revision': 24}


@dataclass(slots=True)
class TestRun(Attr):
    prog_fd: int = 0
    retval: int = 0
    data_size_in: int = 0
    data_size_out: int = 0
    data_in: int = 0
    data_out: int = 0
    repeat: int = 0
    duration: int = 0
    ctx_size_in: int = 0
    ctx_size_out: int = 0
    ctx_in: int = 0
    ctx_out: int = 0
    flags: int = 0
    cpu: int = 0
    batch_size: int = 0
    SIZE: ClassVar[int] = 76
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIIIQQIIIIQQIII")
    FIELDS: ClassVar[tuple[str, ...]] = ('prog_fd', 'retval', 'data_size_in', 'data_size_out', 'data_in', 'data_out', 'repeat', 'duration', 'ctx_size_in', 'ctx_size_out', 'ctx_in', 'ctx_out', 'flags', 'cpu', 'batch_size')
    OFFSETS: ClassVar[dict[str, int]] = {'prog_fd': 0, 'retval': 4, 'data_size_in': 8, 'data_size_out': 12, 'data_in': 16, 'data_out': 24, 'repeat': 32, 'duration': 36, 'ctx_size_in': 40, 'ctx_size_out': 44, 'ctx_in': 48, 'ctx_out': 56, 'flags': 64, 'cpu': 68, 'batch_size': 72}


@dataclass(slots=True)
class GetId(Attr):
    start_id: int = 0
    next_id: int = 0
    open_flags: int = 0
    fd_by_id_token_fd: int = 0
    SIZE: ClassVar[int] = 16
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIIi")
    FIELDS: ClassVar[tuple[str, ...]] = ('start_id', 'next_id', 'open_flags', 'fd_by_id_token_fd')
    OFFSETS: ClassVar[dict[str, int]] = {'start_id': 0, 'next_id': 4, 'open_flags': 8, 'fd_by_id_token_fd': 12}


@dataclass(slots=True)
class GetInfo(Attr):
    bpf_fd: int = 0
    info_len: int = 0
    info: int = 0
    SIZE: ClassVar[int] = 16
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIQ")
    FIELDS: ClassVar[tuple[str, ...]] = ('bpf_fd', 'info_len', 'info')
    OFFSETS: ClassVar[dict[str, int]] = {'bpf_fd': 0, 'info_len': 4, 'info': 8}


@dataclass(slots=True)
class ProgQuery(Attr):
    target_fd: int = 0
    attach_type: int = 0
    query_flags: int = 0
    attach_flags: int = 0
    prog_ids: int = 0
    prog_cnt: int = 0
    prog_attach_flags: int = 0
    link_ids: int = 0
    link_attach_flags: int = 0
    revision: int = 0
    SIZE: ClassVar[int] = 64
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIIIQI4xQQQQ")
    FIELDS: ClassVar[tuple[str, ...]] = ('target_fd', 'attach_type', 'query_flags', 'attach_flags', 'prog_ids', 'prog_cnt', 'prog_attach_flags', 'link_ids', 'link_attach_flags', 'revision')
    OFFSETS: ClassVar[dict[str, int]] = {'target_fd': 0, 'attach_type': 4, 'query_flags': 8, 'attach_flags': 12, 'prog_ids': 16, 'prog_cnt': 24, 'prog_attach_flags': 32, 'link_ids': 40, 'link_attach_flags': 48, 'revision': 56}


@dataclass(slots=True)
class RawTracepointOpen(Attr):
    name: int = 0
    prog_fd: int = 0
    cookie: int = 0
    SIZE: ClassVar[int] = 24
    FORM: ClassVar[struct.Struct] = struct.Struct("<QI4xQ")
    FIELDS: ClassVar[tuple[str, ...]] = ('name', 'prog_fd', 'cookie')
    OFFSETS: ClassVar[dict[str, int]] = {'name': 0, 'prog_fd': 8, 'cookie': 16}


@dataclass(slots=True)
class BtfLoad(Attr):
    btf: int = 0
    btf_log_buf: int = 0
    btf_size: int = 0
    btf_log_size: int = 0
    btf_log_level: int = 0
    btf_log_true_size: int = 0
    btf_flags: int = 0
    btf_token_fd: int = 0
    SIZE: ClassVar[int] = 40
    FORM: ClassVar[struct.Struct] = struct.Struct("<QQIIIIIi")
    FIELDS: ClassVar[tuple[str, ...]] = ('btf', 'btf_log_buf', 'btf_size', 'btf_log_size', 'btf_log_level', 'btf_log_true_size', 'btf_flags', 'btf_token_fd')
    OFFSETS: ClassVar[dict[str, int]] = {'btf': 0, 'btf_log_buf': 8, 'btf_size': 16, 'btf_log_size': 20, 'btf_log_level': 24, 'btf_log_true_size': 28, 'btf_flags': 32, 'btf_token_fd': 36}


@dataclass(slots=True)
class TaskFdQuery(Attr):
    pid: int = 0
    fd: int = 0
    flags: int = 0
    buf_len: int = 0
    buf: int = 0
    prog_id: int = 0
    fd_type: int = 0
    probe_offset: int = 0
    probe_addr: int = 0
    SIZE: ClassVar[int] = 48
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIIIQIIQQ")
    FIELDS: ClassVar[tuple[str, ...]] = ('pid', 'fd', 'flags', 'buf_len', 'buf', 'prog_id', 'fd_type', 'probe_offset', 'probe_addr')
    OFFSETS: ClassVar[dict[str, int]] = {'pid': 0, 'fd': 4, 'flags': 8, 'buf_len': 12, 'buf': 16, 'prog_id': 24, 'fd_type': 28, 'probe_offset': 32, 'probe_addr': 40}


@dataclass(slots=True)
class LinkCreate(Attr):
    prog_fd: int = 0
    target_fd: int = 0
    attach_type: int = 0
    flags: int = 0
    iter_info: int = 0
    iter_info_len: int = 0
    SIZE: ClassVar[int] = 28
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIIIQI")
    FIELDS: ClassVar[tuple[str, ...]] = ('prog_fd', 'target_fd', 'attach_type', 'flags', 'iter_info', 'iter_info_len')
    OFFSETS: ClassVar[dict[str, int]] = {'prog_fd': 0, 'target_fd': 4, 'attach_type': 8, 'flags': 12, 'iter_info': 16, 'iter_info_len': 24}


@dataclass(slots=True)
class LinkCreateCgroup(Attr):
    prog_fd: int = 0
    target_fd: int = 0
    attach_type: int = 0
    flags: int = 0
    relative_fd: int = 0
    expected_revision: int = 0
    SIZE: ClassVar[int] = 32
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIIII4xQ")
    FIELDS: ClassVar[tuple[str, ...]] = ('prog_fd', 'target_fd', 'attach_type', 'flags', 'relative_fd', 'expected_revision')
    OFFSETS: ClassVar[dict[str, int]] = {'prog_fd': 0, 'target_fd': 4, 'attach_type': 8, 'flags': 12, 'relative_fd': 16, 'expected_revision': 24}


@dataclass(slots=True)
class LinkCreateTracing(Attr):
    prog_fd: int = 0
    target_fd: int = 0
    attach_type: int = 0
    flags: int = 0
    target_btf_id: int = 0
    cookie: int = 0
    SIZE: ClassVar[int] = 32
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIIII4xQ")
    FIELDS: ClassVar[tuple[str, ...]] = ('prog_fd', 'target_fd', 'attach_type', 'flags', 'target_btf_id', 'cookie')
    OFFSETS: ClassVar[dict[str, int]] = {'prog_fd': 0, 'target_fd': 4, 'attach_type': 8, 'flags': 12, 'target_btf_id': 16, 'cookie': 24}


@dataclass(slots=True)
class LinkUpdate(Attr):
    link_fd: int = 0
    new_prog_fd: int = 0
    flags: int = 0
    old_prog_fd: int = 0
    SIZE: ClassVar[int] = 16
    FORM: ClassVar[struct.Struct] = struct.Struct("<IIII")
    FIELDS: ClassVar[tuple[str, ...]] = ('link_fd', 'new_prog_fd', 'flags', 'old_prog_fd')
    OFFSETS: ClassVar[dict[str, int]] = {'link_fd': 0, 'new_prog_fd': 4, 'flags': 8, 'old_prog_fd': 12}


@dataclass(slots=True)
class LinkDetach(Attr):
    link_fd: int = 0
    SIZE: ClassVar[int] = 4
    FORM: ClassVar[struct.Struct] = struct.Struct("<I")
    FIELDS: ClassVar[tuple[str, ...]] = ('link_fd',)
    OFFSETS: ClassVar[dict[str, int]] = {'link_fd': 0}


@dataclass(slots=True)
class EnableStats(Attr):
    type: int = 0
    SIZE: ClassVar[int] = 4
    FORM: ClassVar[struct.Struct] = struct.Struct("<I")
    FIELDS: ClassVar[tuple[str, ...]] = ('type',)
    OFFSETS: ClassVar[dict[str, int]] = {'type': 0}


@dataclass(slots=True)
class IterCreate(Attr):
    link_fd: int = 0
    flags: int = 0
    SIZE: ClassVar[int] = 8
    FORM: ClassVar[struct.Struct] = struct.Struct("<II")
    FIELDS: ClassVar[tuple[str, ...]] = ('link_fd', 'flags')
    OFFSETS: ClassVar[dict[str, int]] = {'link_fd': 0, 'flags': 4}


@dataclass(slots=True)
class ProgBindMap(Attr):
    prog_fd: int = 0
    map_fd: int = 0
    flags: int = 0
    SIZE: ClassVar[int] = 12
    FORM: ClassVar[struct.Struct] = struct.Struct("<III")
    FIELDS: ClassVar[tuple[str, ...]] = ('prog_fd', 'map_fd', 'flags')
    OFFSETS: ClassVar[dict[str, int]] = {'prog_fd': 0, 'map_fd': 4, 'flags': 8}


@dataclass(slots=True)
class TokenCreate(Attr):
    flags: int = 0
    bpffs_fd: int = 0
    SIZE: ClassVar[int] = 8
    FORM: ClassVar[struct.Struct] = struct.Struct("<II")
    FIELDS: ClassVar[tuple[str, ...]] = ('flags', 'bpffs_fd')
    OFFSETS: ClassVar[dict[str, int]] = {'flags': 0, 'bpffs_fd': 4}


@dataclass(slots=True)
class ProgStreamRead(Attr):
    stream_buf: int = 0
    stream_buf_len: int = 0
    stream_id: int = 0
    prog_fd: int = 0
    SIZE: ClassVar[int] = 20
    FORM: ClassVar[struct.Struct] = struct.Struct("<QIII")
    FIELDS: ClassVar[tuple[str, ...]] = ('stream_buf', 'stream_buf_len', 'stream_id', 'prog_fd')
    OFFSETS: ClassVar[dict[str, int]] = {'stream_buf': 0, 'stream_buf_len': 8, 'stream_id': 12, 'prog_fd': 16}
