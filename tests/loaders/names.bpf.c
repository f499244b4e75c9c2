/* SPDX-License-Identifier: MIT */
/* Names that C takes and Python has its own mind about. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u32);
} __map SEC(".maps"), import SEC(".maps");

u32 __var = 3, class = 4, __init__ = 5;

SEC("syscall")
int __prog(void *ctx)
{
	u32 key = 1;
	u32 *one = bpf_map_lookup_elem(&__map, &key), *other = bpf_map_lookup_elem(&import, &key);

	return (one ? *one : 0) + (other ? *other : 0) + __var + class + __init__;
}

SEC("syscall")
int lambda(void *ctx)
{
	return __var;
}

char LICENSE[] SEC("license") = "GPL";
