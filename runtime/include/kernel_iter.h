/* SPDX-License-Identifier: MIT */
/*
 * The contexts of views, iterators and dumpers. Part of kernel.h.
 *
 * An iterator and a dumper of one target have one context under two names: the merged iterators' and the one of the
 * proposal for bpfdump. The fourth argument of udp stands 8 bytes behind its third, as every argument does.
 */
#pragma once

struct kallsym_iter {
	loff_t pos;
	loff_t pos_mod_end;
	loff_t pos_ftrace_mod_end;
	loff_t pos_bpf_end;
	unsigned long value;
	unsigned int nameoff;
	char type;
	char name[512];
	char module_name[56];
	int exported;
	int show_value;
};

struct bpf_view_cgroup_ctx {
	struct seq_file *seq;
	struct cgroup *cgroup;
};

struct bpf_view_task_ctx {
	struct seq_file *seq;
	struct task_struct *task;
};

struct bpf_view_bpf_map_ctx {
	struct seq_file *seq;
	struct bpf_map *map;
};

struct bpf_iter_meta {
	union {
		struct seq_file *seq;
	};
	u64 session_id;
	u64 seq_num;
};

struct bpf_dump_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

struct bpf_iter__task_vma {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct vm_area_struct *vma;
};

struct bpf_iter__cgroup {
	struct bpf_iter_meta *meta;
	struct cgroup *cgroup;
};

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
};

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

struct bpf_iter__bpf_prog {
	struct bpf_iter_meta *meta;
	struct bpf_prog *prog;
};

struct bpf_iter__bpf_link {
	struct bpf_iter_meta *meta;
	struct bpf_link *link;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

struct bpf_iter__sockmap {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	struct sock *sk;
};

struct bpf_iter__ipv6_route {
	struct bpf_iter_meta *meta;
	struct fib6_info *rt;
};

struct bpf_iter__netlink {
	struct bpf_iter_meta *meta;
	struct netlink_sock *sk;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
	uid_t uid;
};

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
	uid_t uid;
	u32 __pad;
	int bucket;
};

struct bpf_iter__unix {
	struct bpf_iter_meta *meta;
	struct unix_sock *unix_sk;
	uid_t uid;
};

struct bpf_iter__ksym {
	struct bpf_iter_meta *meta;
	struct kallsym_iter *ksym;
};

struct bpfdump__task {
	struct bpf_dump_meta *meta;
	struct task_struct *task;
};

struct bpfdump__task_file {
	struct bpf_dump_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

struct bpfdump__task_vma {
	struct bpf_dump_meta *meta;
	struct task_struct *task;
	struct vm_area_struct *vma;
};

struct bpfdump__cgroup {
	struct bpf_dump_meta *meta;
	struct cgroup *cgroup;
};

struct bpfdump__bpf_map {
	struct bpf_dump_meta *meta;
	struct bpf_map *map;
};

struct bpfdump__bpf_map_elem {
	struct bpf_dump_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

struct bpfdump__bpf_prog {
	struct bpf_dump_meta *meta;
	struct bpf_prog *prog;
};

struct bpfdump__bpf_link {
	struct bpf_dump_meta *meta;
	struct bpf_link *link;
};

struct bpfdump__bpf_sk_storage_map {
	struct bpf_dump_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

struct bpfdump__ipv6_route {
	struct bpf_dump_meta *meta;
	struct fib6_info *rt;
};

struct bpfdump__netlink {
	struct bpf_dump_meta *meta;
	struct netlink_sock *sk;
};

struct bpfdump__tcp {
	struct bpf_dump_meta *meta;
	struct sock_common *sk_common;
	uid_t uid;
};

struct bpfdump__udp {
	struct bpf_dump_meta *meta;
	struct udp_sock *udp_sk;
	uid_t uid;
	u32 __pad;
	int bucket;
};

struct bpfdump__unix {
	struct bpf_dump_meta *meta;
	struct unix_sock *unix_sk;
	uid_t uid;
};

struct bpfdump__ksym {
	struct bpf_dump_meta *meta;
	struct kallsym_iter *ksym;
};
