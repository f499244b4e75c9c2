/* SPDX-License-Identifier: MIT */
/*
 * The simulated kernel's structures: the one home of their layout.
 *
 * The runtime is compiled with this header; the simulation's BTF (kernfs_sim/data/vmlinux.btf) and the vmlinux.h that
 * programs include are generated from it. Names and meanings are Linux 6.18's, so that CO-RE finds
 * in an ordinary object what it looks for; the members are those that the simulation keeps alive.
 * Plain declarations only (no macros, no attributes): pycparser and cffi read it as it stands.
 */
#pragma once

#include "kernel_types.h"
#include "kernel_fs.h"
#include "kernel_mm.h"
#include "kernel_net.h"

/* -- kernfs ------------------------------------------------------------------------------------ */

enum kernfs_node_type {
	KERNFS_DIR = 1,
	KERNFS_FILE = 2,
	KERNFS_LINK = 4,
};

struct kernfs_root;
struct kernfs_node;

struct kernfs_elem_dir {
	unsigned long subdirs;
	struct kernfs_root *root;
	unsigned long rev;
};

struct kernfs_elem_symlink {
	struct kernfs_node *target_kn;
};

struct kernfs_elem_attr {
	loff_t size;
};

struct kernfs_node {
	atomic_t count;
	atomic_t active;
	struct kernfs_node *__parent;
	const char *name;
	const void *ns;
	unsigned int hash;
	unsigned short flags;
	umode_t mode;
	union {
		struct kernfs_elem_dir dir;
		struct kernfs_elem_symlink symlink;
		struct kernfs_elem_attr attr;
	};
	u64 id;
	void *priv;
};

/* -- cgroups ----------------------------------------------------------------------------------- */

enum cgroup_subsys_id {
	cpuset_cgrp_id = 0,
	cpu_cgrp_id = 1,
	cpuacct_cgrp_id = 2,
	io_cgrp_id = 3,
	memory_cgrp_id = 4,
	pids_cgrp_id = 5,
	CGROUP_SUBSYS_COUNT = 6,
};

struct cgroup_subsys {
	int id;
	const char *name;
};

struct css_rstat_cpu {
	struct cgroup_subsys_state *updated_children;
	struct cgroup_subsys_state *updated_next;
	struct cgroup_subsys_state *owner;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys *ss;
	struct percpu_ref refcnt;
	struct css_rstat_cpu *rstat_cpu;
	struct list_head sibling;
	struct list_head children;
	int id;
	unsigned int flags;
	u64 serial_nr;
	atomic_t online_cnt;
	struct cgroup_subsys_state *parent;
	int nr_descendants;
};

struct cgroup_root {
	u32 hierarchy_id;
	struct cgroup *cgrp;
	unsigned int flags;
	char name[64];
};

struct task_cputime {
	u64 stime;
	u64 utime;
	unsigned long long sum_exec_runtime;
};

struct cgroup_base_stat {
	struct task_cputime cputime;
	u64 ntime;
};

struct cgroup {
	struct cgroup_subsys_state self;
	unsigned long flags;
	int level;
	int max_depth;
	int nr_descendants;
	int nr_dying_descendants;
	int max_descendants;
	int nr_populated_csets;
	int nr_populated_domain_children;
	int nr_populated_threaded_children;
	int nr_threaded_children;
	struct kernfs_node *kn;
	u16 subtree_control;
	u16 subtree_ss_mask;
	struct cgroup_subsys_state *subsys[6];
	struct cgroup_root *root;
	struct list_head cset_links;
	struct cgroup *dom_cgrp;
	struct cgroup_base_stat last_bstat;
	struct cgroup_base_stat bstat;
	struct cgroup *ancestors[0];
};

struct css_set {
	struct cgroup_subsys_state *subsys[6];
	refcount_t refcount;
	struct cgroup *dfl_cgrp;
	int nr_tasks;
	struct list_head tasks;
	bool dead;
};

struct task_group {
	struct cgroup_subsys_state css;
	int idle;
	unsigned long shares;
	struct task_group *parent;
};

struct page_counter {
	atomic_long_t usage;
	unsigned long max;
	unsigned long watermark;
	struct page_counter *parent;
};

struct mem_cgroup {
	struct cgroup_subsys_state css;
	struct page_counter memory;
	atomic_long_t memory_events[9];
};

/* -- tasks ------------------------------------------------------------------------------------- */

struct cred {
	atomic_long_t usage;
	kuid_t uid;
	kgid_t gid;
	kuid_t euid;
	kgid_t egid;
};

struct pid_namespace {
	unsigned int pid_allocated;
	struct task_struct *child_reaper;
	unsigned int level;
	int pid_max;
	struct pid_namespace *parent;
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	refcount_t count;
	unsigned int level;
	struct upid numbers[0];
};

struct nsproxy {
	refcount_t count;
	struct pid_namespace *pid_ns_for_children;
	struct net *net_ns;
};

struct signal_struct {
	refcount_t sigcnt;
	atomic_t live;
	int nr_threads;
	int group_exit_code;
};

struct sched_statistics {
	u64 wait_start;
	u64 wait_max;
	u64 wait_count;
	u64 wait_sum;
};

struct sched_entity {
	u64 exec_start;
	u64 sum_exec_runtime;
	u64 vruntime;
	u64 nr_migrations;
};

struct task_struct {
	unsigned int __state;
	void *stack;
	refcount_t usage;
	unsigned int flags;
	int on_cpu;
	int on_rq;
	int prio;
	int static_prio;
	int normal_prio;
	unsigned int rt_priority;
	struct sched_entity se;
	struct task_group *sched_task_group;
	struct sched_statistics stats;
	unsigned int policy;
	int nr_cpus_allowed;
	const cpumask_t *cpus_ptr;
	cpumask_t cpus_mask;
	int recent_used_cpu;
	struct list_head tasks;
	struct mm_struct *mm;
	struct mm_struct *active_mm;
	int exit_state;
	int exit_code;
	int exit_signal;
	unsigned int in_execve: 1;
	unsigned int in_iowait: 1;
	unsigned int no_cgroup_migration: 1;
	unsigned int frozen: 1;
	pid_t pid;
	pid_t tgid;
	struct task_struct *real_parent;
	struct task_struct *parent;
	struct list_head children;
	struct list_head sibling;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct list_head thread_node;
	u64 utime;
	u64 stime;
	unsigned long nvcsw;
	unsigned long nivcsw;
	u64 start_time;
	u64 start_boottime;
	unsigned long min_flt;
	unsigned long maj_flt;
	const struct cred *real_cred;
	const struct cred *cred;
	char comm[16];
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct css_set *cgroups;
	struct list_head cg_list;
};

struct pt_regs {
	unsigned long r15;
	unsigned long r14;
	unsigned long r13;
	unsigned long r12;
	unsigned long bp;
	unsigned long bx;
	unsigned long r11;
	unsigned long r10;
	unsigned long r9;
	unsigned long r8;
	unsigned long ax;
	unsigned long cx;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
	unsigned long ip;
	unsigned long cs;
	unsigned long flags;
	unsigned long sp;
	unsigned long ss;
};

struct trace_entry {
	unsigned short type;
	unsigned char flags;
	unsigned char preempt_count;
	int pid;
};

/* -- BPF objects ------------------------------------------------------------------------------- */

struct bpf_map {
	const struct bpf_map_ops *ops;
	struct bpf_map *inner_map_meta;
	enum bpf_map_type map_type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u64 map_extra;
	u32 map_flags;
	u32 id;
	int numa_node;
	u32 btf_key_type_id;
	u32 btf_value_type_id;
	u32 btf_vmlinux_value_type_id;
	char name[16];
	atomic64_t refcnt;
	atomic64_t usercnt;
	atomic64_t writecnt;
	bool bypass_spec_v1;
	bool frozen;
};

struct bpf_res_spin_lock {
	u32 val;
};

struct btf_type {
	__u32 name_off;
	__u32 info;
	union {
		__u32 size;
		__u32 type;
	};
};

struct btf_header {
	__u16 magic;
	__u8 version;
	__u8 flags;
	__u32 hdr_len;
	__u32 type_off;
	__u32 type_len;
	__u32 str_off;
	__u32 str_len;
};

struct btf {
	void *data;
	struct btf_type **types;
	const char *strings;
	struct btf_header hdr;
	u32 nr_types;
	u32 id;
};

struct bpf_prog_aux {
	atomic64_t refcnt;
	u32 used_map_cnt;
	u32 used_btf_cnt;
	u32 stack_depth;
	u32 id;
	u32 func_cnt;
	u32 real_func_cnt;
	u32 attach_btf_id;
	struct bpf_prog *dst_prog;
	bool tail_call_reachable;
	bool xdp_has_frags;
	const char *attach_func_name;
	struct bpf_map **used_maps;
	struct bpf_prog *prog;
	u64 load_time;
	u32 verified_insns;
	char name[16];
	struct btf *btf;
	struct bpf_func_info *func_info;
	u32 func_info_cnt;
	u32 nr_linfo;
};

struct bpf_prog {
	u16 pages;
	u16 jited: 1;
	u16 jit_requested: 1;
	u16 gpl_compatible: 1;
	u16 sleepable: 1;
	enum bpf_prog_type type;
	enum bpf_attach_type expected_attach_type;
	u32 len;
	u32 jited_len;
	u8 tag[8];
	struct bpf_prog_aux *aux;
};

struct bpf_link {
	atomic64_t refcnt;
	u32 id;
	enum bpf_link_type type;
	struct bpf_prog *prog;
	u32 flags;
	enum bpf_attach_type attach_type;
	bool sleepable;
};

#include "kernel_iter.h"
