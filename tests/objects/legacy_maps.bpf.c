// SPDX-License-Identifier: MIT
/* Maps as they were defined before BTF. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct bpf_map_def {
	unsigned int type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def SEC("maps") first = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = 4,
	.value_size = 8,
	.max_entries = 8,
	.map_flags = BPF_F_NO_PREALLOC,
};

struct bpf_map_def SEC("maps") second = {
	.type = BPF_MAP_TYPE_ARRAY,
	.key_size = 4,
	.value_size = 8,
	.max_entries = 2,
};

SEC("syscall")
int store(void *ctx)
{
	u32 key = 1;
	u64 value = 77;

	bpf_map_update_elem(&first, &key, &value, BPF_ANY);
	bpf_map_update_elem(&second, &key, &value, BPF_ANY);
	return 0;
}

char _license[] SEC("license") = "GPL";
