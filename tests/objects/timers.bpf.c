// SPDX-License-Identifier: MIT
/* Timers and locks in values. The packet's mark says what to do. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct timed {
	u64 fired;
	struct bpf_timer timer;
	u64 last;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, u64);
	__type(value, struct timed);
} in_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct timed);
} in_array SEC(".maps");

enum op { INIT, SET, START, CANCEL, PERIODIC };

static int fired(void *map, u64 *key, struct timed *value)
{
	__sync_fetch_and_add(&value->fired, 1);
	value->last = *key;
	return 0;
}

static int again(void *map, u32 *key, struct timed *value)
{
	__sync_fetch_and_add(&value->fired, 1);
	value->last = *key;
	bpf_timer_start(&value->timer, 1000000, 0);
	return 0;
}

/* cb[0]: what, cb[1]: key, cb[2]: microseconds, cb[3]: flags */
SEC("tc")
int hash_timer(struct __sk_buff *skb)
{
	u64 key = skb->cb[1];
	struct timed *value = bpf_map_lookup_elem(&in_hash, &key);

	if (!value)
		return -1000;
	switch (skb->cb[0]) {
	case INIT:
		return bpf_timer_init(&value->timer, &in_hash, skb->cb[3]);
	case SET:
		return bpf_timer_set_callback(&value->timer, fired);
	case START:
		return bpf_timer_start(&value->timer, skb->cb[2] * 1000ULL, skb->cb[3]);
	case CANCEL:
		return bpf_timer_cancel(&value->timer);
	}
	return -2000;
}

SEC("tc")
int array_timer(struct __sk_buff *skb)
{
	u32 key = skb->cb[1];
	struct timed *value = bpf_map_lookup_elem(&in_array, &key);

	if (!value)
		return -1000;
	if (skb->cb[0] == CANCEL)
		return bpf_timer_cancel(&value->timer);
	bpf_timer_init(&value->timer, &in_array, 1);
	bpf_timer_set_callback(&value->timer, again);
	return bpf_timer_start(&value->timer, 0, 0);
}

struct locked {
	u64 a;
	struct bpf_spin_lock lock;
	u32 b;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, u64);
	__type(value, struct locked);
} locks SEC(".maps");

SEC("tc")
int add_locked(struct __sk_buff *skb)
{
	u64 key = skb->cb[1];
	struct locked *value = bpf_map_lookup_elem(&locks, &key);

	if (!value)
		return -1000;
	bpf_spin_lock(&value->lock);
	value->a += skb->cb[2];
	value->b++;
	bpf_spin_unlock(&value->lock);
	return value->b;
}

char _license[] SEC("license") = "GPL";
