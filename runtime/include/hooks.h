/* SPDX-License-Identifier: MIT */
/*
 * What programs attach to, as BTF knows it: the functions of views and iterators, the tracepoints.
 * Only types: nothing here is compiled, it is part of the simulated kernel's BTF.
 */
#pragma once

int bpf_view_cgroup(struct seq_file *seq, struct cgroup *cgroup);
int bpf_view_task(struct seq_file *seq, struct task_struct *task);
int bpf_view_bpf_map(struct seq_file *seq, struct bpf_map *map);
int bpf_iter_task(struct bpf_iter_meta *meta, struct task_struct *task);
int bpf_iter_task_file(struct bpf_iter_meta *meta, struct task_struct *task, u32 fd, struct file *file);
int bpf_iter_task_vma(struct bpf_iter_meta *meta, struct task_struct *task, struct vm_area_struct *vma);
int bpf_iter_cgroup(struct bpf_iter_meta *meta, struct cgroup *cgroup);
int bpf_iter_bpf_map(struct bpf_iter_meta *meta, struct bpf_map *map);
int bpf_iter_bpf_map_elem(struct bpf_iter_meta *meta, struct bpf_map *map, void *key, void *value);
int bpf_iter_bpf_prog(struct bpf_iter_meta *meta, struct bpf_prog *prog);
int bpf_iter_bpf_link(struct bpf_iter_meta *meta, struct bpf_link *link);
int bpf_iter_bpf_sk_storage_map(struct bpf_iter_meta *meta, struct bpf_map *map, struct sock *sk, void *value);
int bpf_iter_ipv6_route(struct bpf_iter_meta *meta, struct fib6_info *rt);
int bpf_iter_netlink(struct bpf_iter_meta *meta, struct netlink_sock *sk);
int bpf_iter_tcp(struct bpf_iter_meta *meta, struct sock_common *sk_common, uid_t uid);
int bpf_iter_udp(struct bpf_iter_meta *meta, struct udp_sock *udp_sk, uid_t uid, int bucket);
int bpf_iter_unix(struct bpf_iter_meta *meta, struct unix_sock *unix_sk, uid_t uid);
int bpf_iter_ksym(struct bpf_iter_meta *meta, struct kallsym_iter *ksym);

/* -- tracepoints: what a tp_btf program may attach to ---------------------------------------------- */

typedef void (*btf_trace_sched_stat_wait)(void *, struct task_struct *, u64);
typedef void (*btf_trace_sched_switch)(void *, bool, struct task_struct *, struct task_struct *, unsigned int);
typedef void (*btf_trace_sched_wakeup)(void *, struct task_struct *);
typedef void (*btf_trace_sys_enter)(void *, struct pt_regs *, long);
typedef void (*btf_trace_sys_exit)(void *, struct pt_regs *, long);
typedef void (*btf_trace_cgroup_mkdir)(void *, struct cgroup *, const char *);
typedef void (*btf_trace_cgroup_rmdir)(void *, struct cgroup *, const char *);
