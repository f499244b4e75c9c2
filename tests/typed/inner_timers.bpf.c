// SPDX-License-Identifier: MIT
/* Timers in values of a map that is found in a map of maps. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct timed {
	u64 fired;
	struct bpf_timer timer;
};

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct timed);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &first, [1] = &second } };

u64 total;

static int fired(void *map, u32 *key, struct timed *value)
{
	total++;
	value->fired++;
	return 0;
}

SEC("tc")
int armed_and_cancelled(struct __sk_buff *skb)
{
	u32 key = 0;
	struct timed *value;
	void *map = bpf_map_lookup_elem(&outer, &key);

	if (!map)
		return 1;
	value = bpf_map_lookup_elem(map, &key);
	if (!value)
		return 2;
	if (bpf_timer_init(&value->timer, map, 1))
		return 3;
	if (bpf_timer_init(&value->timer, map, 1) != -16)
		return 4;
	if (bpf_timer_set_callback(&value->timer, fired))
		return 5;
	if (bpf_timer_start(&value->timer, 3600000000000ULL, 0))
		return 6;
	return bpf_timer_cancel(&value->timer) == 1 ? 0 : 7;
}

SEC("tc")
int begin(struct __sk_buff *skb)
{
	u32 key = 1, zero = 0;
	struct timed *value;
	void *map = bpf_map_lookup_elem(&outer, &key);

	if (!map)
		return 1;
	value = bpf_map_lookup_elem(map, &zero);
	if (!value)
		return 2;
	bpf_timer_init(&value->timer, map, 1);
	bpf_timer_set_callback(&value->timer, fired);
	return bpf_timer_start(&value->timer, skb->mark, 0); /* nanoseconds */
}

char _license[] SEC("license") = "GPL";
