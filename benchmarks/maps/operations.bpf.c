/* SPDX-License-Identifier: MIT */
/* What programs do with maps, 1,000 times over: each program one operation. Keys come in an order that no prefetcher knows. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define TIMES 1000
#define KEYS 10000

#define MAP(name_, type_, entries_, key_)                                                                              \
	struct {                                                                                                       \
		__uint(type, type_);                                                                                   \
		__uint(max_entries, entries_);                                                                         \
		__type(key, key_);                                                                                     \
		__type(value, u64);                                                                                    \
	} name_ SEC(".maps")

MAP(array, BPF_MAP_TYPE_ARRAY, 1024, u32);
MAP(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, 1024, u32);
MAP(hash, BPF_MAP_TYPE_HASH, KEYS, u64);
MAP(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, KEYS, u64);
MAP(lru_hash, BPF_MAP_TYPE_LRU_HASH, KEYS, u64);

char _license[] SEC("license") = "GPL";

static long put(u32 i, void *ctx)
{
	u64 key = i, value = i;

	bpf_map_update_elem(&hash, &key, &value, BPF_ANY);
	bpf_map_update_elem(&percpu_hash, &key, &value, BPF_ANY);
	bpf_map_update_elem(&lru_hash, &key, &value, BPF_ANY);
	return 0;
}

SEC("xdp")
int fill(struct xdp_md *ctx)
{
	return bpf_loop(KEYS, put, NULL, 0) == KEYS;
}

#define INCREMENT(map)                                                                                                 \
	SEC("xdp")                                                                                                     \
	int map##_increment(struct xdp_md *ctx)                                                                        \
	{                                                                                                              \
		u32 key = 7;                                                                                           \
                                                                                                                       \
		for (int i = 0; i < TIMES; i++) {                                                                      \
			key = (key * 5 + 1) & 1023;                                                                    \
			u64 *value = bpf_map_lookup_elem(&map, &key);                                                  \
                                                                                                                       \
			if (value)                                                                                     \
				++*value;                                                                              \
		}                                                                                                      \
		return 0;                                                                                              \
	}

#define LOOKUP(map, name, next)                                                                                        \
	SEC("xdp")                                                                                                     \
	int map##_##name(struct xdp_md *ctx)                                                                           \
	{                                                                                                              \
		u64 key = 7, found = 0;                                                                                \
                                                                                                                       \
		for (int i = 0; i < TIMES; i++) {                                                                      \
			key = next;                                                                                    \
			found += bpf_map_lookup_elem(&map, &key) != NULL;                                              \
		}                                                                                                      \
		return found;                                                                                          \
	}

#define UPDATE(map, name, before)                                                                                      \
	SEC("xdp")                                                                                                     \
	int map##_##name(struct xdp_md *ctx)                                                                           \
	{                                                                                                              \
		u64 key = 7;                                                                                           \
                                                                                                                       \
		for (int i = 0; i < TIMES; i++) {                                                                      \
			key = (key * 5 + 1) & 8191;                                                                    \
			before;                                                                                        \
			bpf_map_update_elem(&map, &key, &key, BPF_ANY);                                                \
		}                                                                                                      \
		return 0;                                                                                              \
	}

INCREMENT(array)
INCREMENT(percpu_array)
LOOKUP(hash, lookup, (key * 5 + 1) & 8191)
LOOKUP(hash, hot, 77)
LOOKUP(percpu_hash, lookup, (key * 5 + 1) & 8191)
LOOKUP(lru_hash, lookup, (key * 5 + 1) & 8191)
UPDATE(hash, update, )
UPDATE(hash, replace, bpf_map_delete_elem(&hash, &key))
UPDATE(lru_hash, update, )

/* More than caches hold, in an order of its own each time: what two threads do to one hash. */
#define MANY (1 << 20)

MAP(large, BPF_MAP_TYPE_HASH, MANY, u64);

static long put_many(u32 i, void *ctx)
{
	u64 key = i;

	return bpf_map_update_elem(&large, &key, &key, BPF_ANY) != 0;
}

SEC("xdp")
int fill_large(struct xdp_md *ctx)
{
	return bpf_loop(MANY, put_many, NULL, 0) == MANY;
}

SEC("xdp")
int large_update(struct xdp_md *ctx)
{
	u64 x = bpf_get_prandom_u32(), key;

	for (int i = 0; i < TIMES; i++) {
		x = x * 6364136223846793005 + 1442695040888963407;
		key = x >> 44;
		bpf_map_update_elem(&large, &key, &key, BPF_ANY);
	}
	return 0;
}

/* An inner map found and looked into: two lookups. */
struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { &inner, &inner, &inner, &inner } };

SEC("xdp")
int inner_increment(struct xdp_md *ctx)
{
	u32 key = 7;

	for (int i = 0; i < TIMES; i++) {
		u32 which = i & 3;
		void *map = bpf_map_lookup_elem(&outer, &which);
		u64 *value;

		key = (key * 5 + 1) & 1023;
		value = map ? bpf_map_lookup_elem(map, &key) : NULL;
		if (value)
			++*value;
	}
	return 0;
}

/* Room for all the records of a sample; its reader empties it before the next. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} ring SEC(".maps");

SEC("xdp")
int ring_submit(struct xdp_md *ctx)
{
	u64 kept = 0;

	for (u64 i = 0; i < TIMES; i++) {
		u64 *record = bpf_ringbuf_reserve(&ring, 16, 0);

		if (record) {
			record[0] = i;
			record[1] = i;
			bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
			kept++;
		}
	}
	return kept;
}

static long visit(void *map, u32 *key, u64 *value, u64 *sum)
{
	*sum += *value + *key;
	return 0;
}

static long visit_hashed(void *map, u64 *key, u64 *value, u64 *sum)
{
	*sum += *value + *key;
	return 0;
}

SEC("xdp")
int each_array(struct xdp_md *ctx)
{
	u64 sum = 0;

	bpf_for_each_map_elem(&array, visit, &sum, 0);
	return sum;
}

SEC("xdp")
int each_hash(struct xdp_md *ctx)
{
	u64 sum = 0;

	bpf_for_each_map_elem(&hash, visit_hashed, &sum, 0);
	return sum;
}

static long add(u32 i, u64 *sum)
{
	*sum += i ^ *sum;
	return 0;
}

SEC("xdp")
int loop(struct xdp_md *ctx)
{
	u64 sum = 0;

	bpf_loop(TIMES, add, &sum, 0);
	return sum;
}
