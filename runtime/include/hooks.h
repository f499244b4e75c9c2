/* SPDX-License-Identifier: MIT */
/*
 * What programs attach to, as BTF knows it: the functions of views and iterators, the tracepoints.
 * Only types: nothing here is compiled, it is part of the simulated kernel's BTF.
 */
#pragma once

int bpf_view_cgroup(struct seq_file *seq, struct cgroup *cgroup);
int bpf_iter_task(struct bpf_iter_meta *meta, struct task_struct *task);
int bpf_iter_cgroup(struct bpf_iter_meta *meta, struct cgroup *cgroup);
int bpf_iter_bpf_map(struct bpf_iter_meta *meta, struct bpf_map *map);
int bpf_iter_bpf_map_elem(struct bpf_iter_meta *meta, struct bpf_map *map, void *key, void *value);

/* -- tracepoints: what a tp_btf program may attach to ---------------------------------------------- */

typedef void (*btf_trace_sched_stat_wait)(void *, struct task_struct *, u64);
typedef void (*btf_trace_sched_switch)(void *, bool, struct task_struct *, struct task_struct *, unsigned int);
typedef void (*btf_trace_sched_wakeup)(void *, struct task_struct *);
typedef void (*btf_trace_sys_enter)(void *, struct pt_regs *, long);
typedef void (*btf_trace_sys_exit)(void *, struct pt_regs *, long);
typedef void (*btf_trace_cgroup_mkdir)(void *, struct cgroup *, const char *);
typedef void (*btf_trace_cgroup_rmdir)(void *, struct cgroup *, const char *);
