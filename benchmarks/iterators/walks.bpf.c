// SPDX-License-Identifier: MIT
/* Walks that bench iter measures: elements of maps three ways, cgroups, tasks. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100000);
	__type(key, u64);
	__type(value, u64);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 100000);
	__type(key, u32);
	__type(value, u64);
} row SEC(".maps");

SEC("iter/bpf_map_elem")
int elements_printf(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *key = ctx->key, *value = ctx->value;

	if (key && value)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%llu %llu\n", *key, *value);
	return 0;
}

SEC("iter/bpf_map_elem")
int row_printf(struct bpf_iter__bpf_map_elem *ctx)
{
	u32 *key = ctx->key;
	u64 *value = ctx->value;

	if (key && value)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u %llu\n", *key, *value);
	return 0;
}

SEC("iter/bpf_map_elem")
int elements_write(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *key = ctx->key, *value = ctx->value;
	u64 both[2];

	if (key && value) {
		both[0] = *key;
		both[1] = *value;
		bpf_seq_write(ctx->meta->seq, both, sizeof(both));
	}
	return 0;
}

SEC("iter/bpf_map_elem")
int row_write(struct bpf_iter__bpf_map_elem *ctx)
{
	u32 *key = ctx->key;
	u64 *value = ctx->value;
	u64 both[2];

	if (key && value) {
		both[0] = *key;
		both[1] = *value;
		bpf_seq_write(ctx->meta->seq, both, sizeof(both));
	}
	return 0;
}

SEC("iter/bpf_map_elem")
int elements_nothing(struct bpf_iter__bpf_map_elem *ctx)
{
	return 0;
}

SEC("iter/cgroup")
int cgroups_print(struct bpf_iter__cgroup *ctx)
{
	struct cgroup *cgroup = ctx->cgroup;

	if (cgroup)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%8llu %d\n", cgroup->kn->id, cgroup->level);
	return 0;
}

SEC("iter/task")
int tasks_print(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%8d %8d %s\n", task->tgid, task->pid, task->comm);
	return 0;
}

char _license[] SEC("license") = "GPL";
