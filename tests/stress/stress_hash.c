/* SPDX-License-Identifier: MIT */
/* Cases of the stress program: hashes, LRU and per-CPU kinds too. */
#include "stress.h"

/* Values are pairs that must match: a syscall's copy is never half of one update and half of another. */
static void *churn(void *arg)
{
	struct worker *w = arg;
	struct pair value = { 0 };
	u64 key, next;

	for (; going(); w->done++) {
		u64 r = draw(w);

		key = r % KEYS;
		switch (r >> 32 & 7) {
		case 0:
			rt_map_delete(w->map, &key);
			break;
		case 1:
		case 2:
		case 3:
			if (!rt_map_copy_out(w->map, &key, &value, 0))
				CHECK(value.b == ~value.a && value.a % KEYS == key, "key %llu: %llx %llx",
				      (unsigned long long)key, (unsigned long long)value.a, (unsigned long long)value.b);
			break;
		case 4:
			if (!rt_map_next_key(w->map, r & 1 << 20 ? &key : NULL, &next))
				CHECK(next < KEYS, "key %llx", (unsigned long long)next);
			break;
		default:
			value.a = (r >> 8) / KEYS * KEYS + key;
			value.b = ~value.a;
			int err = rt_map_copy_in(w->map, &key, &value, BPF_ANY);

			CHECK(!err || (err == -E2BIG && w->map->map_type == BPF_MAP_TYPE_HASH), "update: %d", err);
		}
	}
	return NULL;
}

void test_churn_flags(struct rt_kernel *k, u32 type, u32 entries, u32 flags)
{
	struct bpf_map *map = map_new(k, type, 8, sizeof(struct pair), entries, flags);
	u64 done = race(k, map, THREADS, churn), left;
	int err = 0;

	left = count_keys(map);
	CHECK(left <= entries && left <= KEYS, "%llu keys", (unsigned long long)left);
	/* Nothing was lost and nothing is there twice: the map can be emptied, and then filled to the last element. */
	for (u64 key = 0; key < KEYS; key++)
		rt_map_delete(map, &key);
	CHECK(count_keys(map) == 0, "keys left");
	for (u64 key = 0; key < entries && !err; key++)
		err = rt_map_copy_in(map, &key, &(struct pair){ key, ~key }, BPF_NOEXIST);
	CHECK(!err, "refill: %d", err);
	if (type == BPF_MAP_TYPE_HASH) {
		struct pair value;
		u64 more = entries;

		CHECK(count_keys(map) == entries, "refilled");
		for (u64 key = 0; key < entries; key++)
			CHECK(!rt_map_copy_out(map, &key, &value, 0) && value.a == key && value.b == ~key, "an element given out twice");
		CHECK(rt_map_copy_in(map, &more, &value, BPF_ANY) == -E2BIG, "an element too many");
	}
	rt_map_free(map);
	printf("churn type %u of %u: %llu operations\n", type, entries, (unsigned long long)done);
}

void test_churn(struct rt_kernel *k, u32 type, u32 entries)
{
	test_churn_flags(k, type, entries, 0);
}

/* Per-CPU values have one user at a time: plain increments lose nothing. */
static void *count(void *arg)
{
	struct worker *w = arg;
	u64 key = 5;
	u32 index = 0;

	for (; going(); w->done++) {
		struct rt_cpu *cpu = rt_enter(w->k);
		u64 *value = rt_map_lookup_elem(w->map, w->map->key_size == 4 ? (void *)&index : (void *)&key);

		CHECK(value, "no value");
		++*value;
		rt_leave(cpu);
	}
	return NULL;
}

void test_percpu(struct rt_kernel *k, u32 type)
{
	u64 values[RT_MAX_CPUS] = { 0 }, key = 5, sum = 0, done;
	struct bpf_map *map = map_new(k, type, type == BPF_MAP_TYPE_PERCPU_ARRAY ? 4 : 8, 8, 4, 0);

	if (type != BPF_MAP_TYPE_PERCPU_ARRAY)
		CHECK(!rt_map_copy_in(map, &key, values, BPF_ANY), "update");
	done = race(k, map, THREADS, count);
	key = type == BPF_MAP_TYPE_PERCPU_ARRAY ? 0 : 5;
	CHECK(!rt_map_copy_out(map, &key, values, 0), "lookup");
	for (int i = 0; i < rt_ncpus(k); i++)
		sum += values[i];
	CHECK(sum == done, "%llu counted, %llu done", (unsigned long long)sum, (unsigned long long)done);
	rt_map_free(map);
	printf("per-CPU type %u: %llu exact\n", type, (unsigned long long)done);
}
