// SPDX-License-Identifier: MIT
/* Stacks of the present task: kept in maps, written out. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 4 * 8);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_STACK_BUILD_ID);
	__uint(key_size, 4);
	__uint(value_size, 4 * 32);
} build_ids SEC(".maps");

u64 out[16];

/* args[0]: flags, args[1]: bytes of the buffer */
SEC("raw_tp")
int id(struct bpf_raw_tracepoint_args *ctx)
{
	return bpf_get_stackid(ctx, &stacks, ctx->args[0]);
}

SEC("raw_tp")
int build_id(struct bpf_raw_tracepoint_args *ctx)
{
	return bpf_get_stackid(ctx, &build_ids, ctx->args[0]);
}

SEC("raw_tp")
int write_out(struct bpf_raw_tracepoint_args *ctx)
{
	u64 size = ctx->args[1];

	if (size > sizeof(out))
		return -1;
	return bpf_get_stack(ctx, out, size, ctx->args[0]);
}

SEC("raw_tp")
int of_a_task(struct bpf_raw_tracepoint_args *ctx)
{
	return bpf_get_task_stack(bpf_get_current_task_btf(), out, 64, ctx->args[0]);
}

char _license[] SEC("license") = "GPL";
