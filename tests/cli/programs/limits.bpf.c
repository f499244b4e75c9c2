/* SPDX-License-Identifier: MIT */
/* A view of a map that the scenario fills. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} limits SEC(".maps");

SEC("view/cgroup")
int BPF_PROG(limit_show, struct seq_file *seq, struct cgroup *cgroup)
{
	u32 key = 1;
	u64 *limit = bpf_map_lookup_elem(&limits, &key);

	if (limit)
		BPF_SEQ_PRINTF(seq, "%llu\n", *limit);
	return 0;
}

char _license[] SEC("license") = "GPL";
