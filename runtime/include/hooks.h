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
int bpf_iter_sockmap(struct bpf_iter_meta *meta, struct bpf_map *map, void *key, struct sock *sk);
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
typedef void (*btf_trace_bpf_trace_printk)(void *, const char *);

/* -- functions: what fentry, fexit and fmod_ret programs attach to ----------------------------------- */

struct bpf_fentry_test_t {
	struct bpf_fentry_test_t *a;
};

int bpf_fentry_test1(int a);
int bpf_fentry_test2(int a, u64 b);
int bpf_fentry_test3(char a, int b, u64 c);
int bpf_fentry_test4(void *a, char b, int c, u64 d);
int bpf_fentry_test5(u64 a, void *b, short c, int d, u64 e);
int bpf_fentry_test6(u64 a, void *b, short c, int d, void *e, u64 f);
int bpf_fentry_test7(struct bpf_fentry_test_t *arg);
int bpf_fentry_test8(struct bpf_fentry_test_t *arg);
int bpf_modify_return_test(int a, int *b);
int bpf_modify_return_test2(int a, int *b, short c, int d, void *e, char f, int g);
int bpf_lsm_bpf(int cmd, union bpf_attr *attr, unsigned int size, bool kernel);
int bpf_lsm_bpf_map(struct bpf_map *map, fmode_t fmode);
int bpf_lsm_bpf_prog(struct bpf_prog *prog);
int bpf_lsm_file_open(struct file *file);
int bpf_lsm_inode_mkdir(struct inode *dir, struct dentry *dentry, umode_t mode);
int bpf_lsm_inode_rmdir(struct inode *dir, struct dentry *dentry);
int bpf_lsm_inode_unlink(struct inode *dir, struct dentry *dentry);
int cgroup_rmdir(struct kernfs_node *kn);
void bpf_rstat_flush(struct cgroup *cgrp, struct cgroup *parent, int cpu);
int cgroup_attach_task(struct cgroup *dst_cgrp, struct task_struct *leader, bool threadgroup);
