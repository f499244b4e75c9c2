// SPDX-License-Identifier: MIT
/* Iterators whose output and return values are set from outside, and which note every call made of them. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define NO_KEY 0xffffffff

struct call {
	u32 key;
	u32 has_map;
	u64 seq_num;
	u64 session_id;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u64);
} elems SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1000000);
	__type(key, u32);
	__type(value, u64);
} million SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, u64);
	__type(value, u64);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u32);
} percpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u32);
} threads SEC(".maps"); /* the key that each of the threads to be walked is */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, struct call);
} calls SEC(".maps");

volatile u32 element_bytes = 10, stop_bytes = 0, again_key = NO_KEY, ncalls = 0, stop_ret = 0, helper_ret = 0;
char text[65536];

static void note(u32 key, struct bpf_iter_meta *meta, u32 has_map)
{
	u32 at = ncalls;
	struct call *c = bpf_map_lookup_elem(&calls, &at);

	if (c) {
		c->key = key;
		c->seq_num = meta->seq_num;
		c->session_id = meta->session_id;
		c->has_map = has_map;
	}
	ncalls = at + 1;
}

static int show(struct bpf_iter_meta *meta, u32 *key, u32 has_map)
{
	u32 bytes = key ? element_bytes : stop_bytes;

	note(key ? *key : NO_KEY, meta, has_map);
	if (bytes)
		helper_ret = bpf_seq_write(meta->seq, text, bytes & 0xffff);
	if (key ? *key == again_key : stop_ret)
		return 1;
	return 0;
}

SEC("iter/bpf_map_elem")
int walk(struct bpf_iter__bpf_map_elem *ctx)
{
	return show(ctx->meta, ctx->key, ctx->map != 0);
}

SEC("iter/task")
int walk_threads(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	u32 pid = task ? task->pid : 0;

	return show(ctx->meta, task ? bpf_map_lookup_elem(&threads, &pid) : 0, 0);
}

SEC("iter/bpf_map_elem")
int silent(struct bpf_iter__bpf_map_elem *ctx)
{
	ncalls++;
	return 0;
}

SEC("iter/task")
int silent_threads(struct bpf_iter__task *ctx)
{
	ncalls++;
	return 0;
}

SEC("iter/bpf_map_elem")
int bump(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *key = ctx->key, *value = ctx->value;

	if (!key || !value)
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%llu:%llu\n", *key, *value);
	*value += 1;
	return 0;
}

SEC("iter/bpf_map_elem")
int wide(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *value = ctx->value;

	if (value)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%llu\n", value[3]);
	return 0;
}

SEC("iter/bpf_map_elem")
int long_key(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *key = ctx->key;

	if (key)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%llu\n", *key);
	return 0;
}

SEC("iter/bpf_map_elem")
int percpu_values(struct bpf_iter__bpf_map_elem *ctx)
{
	u32 *key = ctx->key;
	u64 *value = ctx->value;

	if (key && value)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u: %llu %llu\n", *key, value[0], value[1]);
	return 0;
}

SEC("iter/cgroup")
int cgroups(struct bpf_iter__cgroup *ctx)
{
	struct cgroup *cgroup = ctx->cgroup;
	u32 bytes = element_bytes;

	ncalls++;
	if (!cgroup) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "end\n");
		return 0;
	}
	if (bytes > 16)
		bpf_seq_write(ctx->meta->seq, text, bytes & 0xffff);
	else
		BPF_SEQ_PRINTF(ctx->meta->seq, "%llu %d\n", cgroup->kn->id, cgroup->level);
	return ncalls == again_key;
}

SEC("iter/task")
int tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d %d\n", task->pid, task->tgid);
	else
		BPF_SEQ_PRINTF(ctx->meta->seq, "end\n");
	return 0;
}

SEC("iter/bpf_map")
int maps(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;

	if (map)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u %u\n", map->id, map->max_entries);
	return 0;
}

char _license[] SEC("license") = "GPL";
