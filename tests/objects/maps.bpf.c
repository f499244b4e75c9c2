// SPDX-License-Identifier: MIT
/* Maps by BTF, with every attribute. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct value {
	u64 a, b;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, struct value);
} typed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10);
	__uint(key_size, 12);
	__uint(value_size, 4);
} sized SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__uint(map_flags, BPF_F_NUMA_NODE);
	__uint(numa_node, 0);
	__type(key, u32);
	__type(value, u64);
} near SEC(".maps");

static struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} quiet SEC(".maps");

SEC("syscall")
int store(void *ctx)
{
	struct value v = {1, 2};
	char key[12] = "twelve bytes";
	u32 k = 3, four = 4, zero = 0;
	u64 long_value = 9;

	bpf_map_update_elem(&typed, &k, &v, BPF_ANY);
	bpf_map_update_elem(&sized, key, &four, BPF_ANY);
	bpf_map_update_elem(&near, &zero, &long_value, BPF_ANY);
	bpf_map_update_elem(&quiet, &k, &long_value, BPF_ANY);
	return 0;
}

char _license[] SEC("license") = "GPL";
