/* SPDX-License-Identifier: MIT */
/* Known programs whose maps hold more than bytes: locks, timers, maps, programs. */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

struct counted {
	struct bpf_spin_lock lock;
	u32 n;
};

struct timed {
	struct bpf_timer timer;
	u64 fired;
};

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counted);
} locked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct timed);
} clock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, u32);
	__array(values, struct inner);
} outer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u32);
} further SEC(".maps");

SEC("tc")
int count(struct __sk_buff *skb)
{
	u32 key = 0, n;
	struct counted *c = bpf_map_lookup_elem(&locked, &key);

	if (!c)
		return 0;
	bpf_spin_lock(&c->lock);
	n = ++c->n;
	bpf_spin_unlock(&c->lock);
	return n;
}

static int fire(void *map, u32 *key, struct timed *t)
{
	t->fired++;
	return 0;
}

SEC("tc")
int start(struct __sk_buff *skb)
{
	u32 key = 0;
	struct timed *t = bpf_map_lookup_elem(&clock, &key);

	if (!t)
		return -1;
	if (t->fired)
		return t->fired;
	bpf_timer_init(&t->timer, &clock, 1);
	bpf_timer_set_callback(&t->timer, fire);
	bpf_timer_start(&t->timer, 0, 0);
	return 0;
}

SEC("socket")
int look(struct __sk_buff *skb)
{
	u32 key = 1;
	void *map = bpf_map_lookup_elem(&outer, &key);
	u64 *value = map ? bpf_map_lookup_elem(map, &key) : 0;

	return value ? *value : 0;
}

SEC("socket")
int jump(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &further, 1);
	return 1;
}

SEC("socket")
int leaf(struct __sk_buff *skb)
{
	return 42;
}

char LICENSE[] SEC("license") = "GPL";
