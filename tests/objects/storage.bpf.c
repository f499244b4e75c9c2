// SPDX-License-Identifier: MIT
/* Local storage of the current task and of its cgroup. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct seen {
	u64 count, last;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct seen);
} of_task SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGRP_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct seen);
} of_cgroup SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct seen);
} of_inode SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct seen);
} of_sk SEC(".maps");

/* args: what to do (0 count, 1 count if there, 2 delete), a number to keep. The count, or what deleting says. */
SEC("raw_tp")
int operate(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct seen fresh = { .last = 1000 }, *seen;

	if (ctx->args[0] == 2)
		return bpf_task_storage_delete(&of_task, task);
	seen = bpf_task_storage_get(&of_task, task, ctx->args[0] ? 0 : &fresh, ctx->args[0] ? 0 : BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!seen)
		return -1;
	seen->count++;
	seen->last += ctx->args[1];
	return seen->count;
}

SEC("raw_tp")
int by_cgroup(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct seen *seen = bpf_cgrp_storage_get(&of_cgroup, task->cgroups->dfl_cgrp, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!seen)
		return -1;
	seen->count++;
	return seen->count;
}

SEC("raw_tp")
int without_a_task(void *ctx)
{
	return bpf_task_storage_get(&of_task, 0, 0, BPF_LOCAL_STORAGE_GET_F_CREATE) ? 1 : bpf_task_storage_delete(&of_task, 0);
}

char _license[] SEC("license") = "GPL";
