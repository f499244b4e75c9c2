/* SPDX-License-Identifier: MIT */
/* Refused: the map value is used without a look at whether it is there. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} table SEC(".maps");

SEC("xdp")
int careless(struct xdp_md *ctx)
{
	u32 key = 1;
	u64 *value = bpf_map_lookup_elem(&table, &key);

	return *value;
}

SEC("xdp")
int careful(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
