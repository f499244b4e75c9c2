// SPDX-License-Identifier: MIT
/* A map of maps whose elements are given. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} left SEC(".maps"), right SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = {[1] = &left, [3] = &right},
};

SEC("socket")
int find(struct __sk_buff *skb)
{
	u32 slot = 3, zero = 0;
	void *inner = bpf_map_lookup_elem(&outer, &slot);
	u64 *value;

	if (!inner)
		return -1;
	value = bpf_map_lookup_elem(inner, &zero);
	return value ? (int)*value : -2;
}

char _license[] SEC("license") = "GPL";
