/* SPDX-License-Identifier: MIT */
/* A map of no entries. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 0);
	__type(key, u32);
	__type(value, u64);
} nothing SEC(".maps");

SEC("xdp")
int look(struct xdp_md *ctx)
{
	u32 key = 1;

	return bpf_map_lookup_elem(&nothing, &key) ? 1 : 2;
}

char _license[] SEC("license") = "GPL";
