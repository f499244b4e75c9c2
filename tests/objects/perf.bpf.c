// SPDX-License-Identifier: MIT
/* Samples into perf events. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u32);
} events SEC(".maps");

/* args: flags, bytes, a number that fills them */
SEC("raw_tp")
int sample(struct bpf_raw_tracepoint_args *ctx)
{
	u64 data[8];

	for (int i = 0; i < 8; i++)
		data[i] = ctx->args[2];
	return bpf_perf_event_output(ctx, &events, ctx->args[0], data, ctx->args[1] & 63);
}

/* args: flags, bytes of the buffer: 24 is right */
SEC("raw_tp")
int count(struct bpf_raw_tracepoint_args *ctx)
{
	u64 values[4] = { 1, 1, 1, 1 };
	u32 size = ctx->args[1] & 31;
	long ret;

	if (!size)
		return bpf_perf_event_read(&events, ctx->args[0]);
	ret = bpf_perf_event_read_value(&events, ctx->args[0], (void *)values, size);
	return ret ? ret : values[0];
}

char _license[] SEC("license") = "GPL";
