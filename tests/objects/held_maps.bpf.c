// SPDX-License-Identifier: MIT
/* Maps of maps and of programs: what programs find in them, and where tail calls lead. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
};

struct inner first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner);
} array_of SEC(".maps") = { .values = { [1] = &first } };

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u64);
	__array(values, struct inner);
} hash_of SEC(".maps");

struct order {
	u32 hashed, outer, key, write;
	u64 value;
};

/* The value in an inner map, or -1 for no such inner map, -2 for no such value. */
SEC("syscall")
int through(struct order *o)
{
	u32 index = o->outer, key = o->key;
	u64 id = o->outer, *value, fresh = o->value;
	void *inner = o->hashed ? bpf_map_lookup_elem(&hash_of, &id) : bpf_map_lookup_elem(&array_of, &index);

	if (!inner)
		return -1;
	if (o->write)
		return bpf_map_update_elem(inner, &key, &fresh, 0);
	value = bpf_map_lookup_elem(inner, &key);
	if (!value)
		return -2;
	o->value = *value;
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u32);
} programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

static __always_inline void count(u32 which)
{
	u64 *n = bpf_map_lookup_elem(&counts, &which);

	if (n)
		*n += 1;
}

SEC("socket")
int again(struct __sk_buff *skb)
{
	count(0);
	bpf_tail_call(skb, &programs, 0);
	return 1000;
}

SEC("socket")
int seven(struct __sk_buff *skb)
{
	count(1);
	return 7;
}

/* By the first byte of the packet behind the Ethernet header. */
SEC("socket")
int choose(struct __sk_buff *skb)
{
	u8 which;

	if (bpf_skb_load_bytes(skb, 0, &which, 1))
		return 500;
	bpf_tail_call(skb, &programs, which);
	return 100 + which;
}

static __noinline int inside(struct __sk_buff *skb, u32 which)
{
	volatile u64 own = 5;

	count(2);
	bpf_tail_call(skb, &programs, which);
	return 20 + own;
}

SEC("socket")
int from_function(struct __sk_buff *skb)
{
	volatile u64 mine = 3000;
	int r = inside(skb, 1), missing = inside(skb, 6);

	count(3);
	return mine + 100 * r + missing;
}

/* Every step of the chain calls the function twice: the limit is the whole chain's. */
static __noinline int twice(struct __sk_buff *skb)
{
	count(0);
	bpf_tail_call(skb, &programs, 5);
	return 1;
}

SEC("socket")
int fan_out(struct __sk_buff *skb)
{
	int r = twice(skb);

	r += twice(skb);
	return r;
}

SEC("raw_tp")
int other_kind(void *ctx)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
