/* SPDX-License-Identifier: MIT */
/* An iterator over the elements of a map that has one: what Linux offers today to show a number as a file. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} waits SEC(".maps");

SEC("iter/bpf_map_elem")
int show(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	u32 *key = ctx->key;
	u64 *value = ctx->value;

	if (key && value)
		BPF_SEQ_PRINTF(seq, "%u %llu\n", *key, *value);
	return 0;
}

char _license[] SEC("license") = "GPL";
