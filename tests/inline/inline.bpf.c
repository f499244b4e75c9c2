// SPDX-License-Identifier: MIT
/* Helpers that native code has in place of a call: each program's number must be that of the call. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define KEYS 512 /* four to a bucket: some have more than their seven */

char _license[] SEC("license") = "GPL";

/* Keys of every shape: `fill` leaves every sixth number out, `find` looks all of them up. */
#define HASH(size, kind, type_)												\
	struct key_##kind##size {											\
		u8 bytes[size];												\
	};														\
	struct {													\
		__uint(type, type_);											\
		__uint(max_entries, KEYS);										\
		__type(key, struct key_##kind##size);									\
		__type(value, u64);											\
	} kind##size SEC(".maps");											\
	static __always_inline void make_##kind##size(struct key_##kind##size *key, u32 i)				\
	{														\
		__builtin_memset(key, 0, size);										\
		key->bytes[0] = i;											\
		key->bytes[size - 1] ^= i >> 3;										\
		key->bytes[size / 2] ^= i >> 8;										\
	}														\
	static long fill_##kind##size(u32 i, void *ctx)									\
	{														\
		struct key_##kind##size key;										\
		u64 value = i + 1;											\
															\
		make_##kind##size(&key, i);										\
		if (i % 6)												\
			bpf_map_update_elem(&kind##size, &key, &value, BPF_ANY);					\
		return 0;												\
	}														\
	static long find_##kind##size(u32 i, u64 *found)								\
	{														\
		struct key_##kind##size key;										\
		u64 *value;												\
															\
		make_##kind##size(&key, i);										\
		value = bpf_map_lookup_elem(&kind##size, &key);								\
		*found = *found * 31 + (value ? *value : 7);								\
		return 0;												\
	}														\
	SEC("syscall")													\
	int kind##_##size(void *ctx)											\
	{														\
		u64 found = 0;												\
															\
		bpf_loop(KEYS, fill_##kind##size, NULL, 0);								\
		bpf_loop(KEYS, find_##kind##size, &found, 0);								\
		return found ^ found >> 32;										\
	}

HASH(1, hash, BPF_MAP_TYPE_HASH)
HASH(2, hash, BPF_MAP_TYPE_HASH)
HASH(3, hash, BPF_MAP_TYPE_HASH)
HASH(4, hash, BPF_MAP_TYPE_HASH)
HASH(7, hash, BPF_MAP_TYPE_HASH)
HASH(8, hash, BPF_MAP_TYPE_HASH)
HASH(13, hash, BPF_MAP_TYPE_HASH)
HASH(16, hash, BPF_MAP_TYPE_HASH)
HASH(64, hash, BPF_MAP_TYPE_HASH)
HASH(65, hash, BPF_MAP_TYPE_HASH)
HASH(4, percpu, BPF_MAP_TYPE_PERCPU_HASH)
HASH(12, percpu, BPF_MAP_TYPE_PERCPU_HASH)

/* LRUs evict as they see fit: only what was just put in, and what never was, is certain. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, u64);
	__type(value, u64);
} lru SEC(".maps");

static long put_and_find(u32 i, u64 *found)
{
	u64 key = i, absent = i + 1000, *value;

	bpf_map_update_elem(&lru, &key, &key, BPF_ANY);
	value = bpf_map_lookup_elem(&lru, &key);
	*found += value ? *value : 100000;
	value = bpf_map_lookup_elem(&lru, &absent);
	*found += value ? 100000 : 1;
	return 0;
}

SEC("syscall")
int lru_8(void *ctx)
{
	u64 found = 0;

	bpf_loop(KEYS, put_and_find, &found, 0);
	return found;
}

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 5);
	__type(key, u32);
	__type(value, u8[12]);
} percpu SEC(".maps");

SEC("syscall")
int percpu_array(void *ctx)
{
	u32 sum = 0;

#pragma unroll
	for (u32 n = 0; n < 8; n++) {
		u32 i = n, *value = bpf_map_lookup_elem(&percpu, &i);

		if (value) {
			*value = i;
			value[2] = 3;
		}
		sum = sum * 10 + (value != 0);
	}
#pragma unroll
	for (u32 n = 0; n < 5; n++) {
		u32 i = n, *value = bpf_map_lookup_percpu_elem(&percpu, &i, bpf_get_smp_processor_id());

		sum += value ? value[0] + value[2] : 1000;
	}
	return sum;
}

SEC("syscall")
int task(void *ctx)
{
	struct task_struct *current = bpf_get_current_task_btf();
	u64 both = bpf_get_current_pid_tgid();

	return (both >> 32 == current->tgid) + 2 * ((u32)both == current->pid) + 4 * (bpf_get_current_task() == (u64)current) +
	       8 * (bpf_get_current_cgroup_id() == current->cgroups->dfl_cgrp->kn->id) +
	       16 * (bpf_get_smp_processor_id() < 4096);
}

static long count(u32 i, u64 *sum)
{
	*sum = *sum * 3 + i;
	return i == 40;
}

struct order {
	u64 loops, flags;
};

SEC("syscall")
int loop(struct order *order)
{
	u64 sum = 1;
	long ran = bpf_loop(order->loops, count, &sum, order->flags);

	return sum * 1000 + ran;
}

SEC("syscall")
int nested(void *ctx)
{
	u64 sum = 1;

	for (u32 i = 0; i < 3; i++)
		sum += bpf_loop(i * 30, count, &sum, 0);
	return sum;
}

SEC("syscall")
int who(void *ctx)
{
	struct task_struct *current = bpf_get_current_task_btf();
	char comm[16], shorter[8];
	u64 both = bpf_get_current_uid_gid();
	long none = bpf_get_current_comm(comm, sizeof(comm)) | bpf_get_current_comm(shorter, sizeof(shorter));

	return ((u32)both == current->cred->uid.val) + 2 * (both >> 32 == current->cred->gid.val) + 4 * (none == 0) +
	       8 * (comm[0] == current->comm[0] && comm[7] == current->comm[7] && !comm[15]) +
	       16 * (shorter[0] == comm[0] && shorter[6] == comm[6] && !shorter[7]);
}

/* for_each_map_elem: sums over all, up to a stop, with values changed under way, flags that must be 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 37);
	__type(key, u32);
	__type(value, u8[12]);
} each_array_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 300);
	__type(key, u32);
	__type(value, u32[3]);
} each_hash_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 300);
	__type(key, u32);
	__type(value, u32[3]);
} each_percpu_hash_map SEC(".maps");

struct sum {
	u64 keys, values, stop;
};

static long add_up(void *map, u32 *key, u32 *value, struct sum *sum)
{
	sum->keys += *key;
	sum->values += *value;
	*value ^= *key + 1; /* the second walk takes it back */
	return *key == sum->stop;
}

static long put_each(u32 i, void *ctx)
{
	u32 key = i * 7, value[3] = { i };

	bpf_map_update_elem(&each_hash_map, &key, value, BPF_NOEXIST);
	bpf_map_update_elem(&each_percpu_hash_map, &key, value, BPF_NOEXIST);
	return 0;
}

/* The order of a hash is its own: only whole walks are compared. */
#define EACH(name, map, stop_)								\
	SEC("syscall")									\
	int name(struct order *order)							\
	{										\
		struct sum sum = { .stop = stop_ };					\
		long seen;								\
											\
		bpf_loop(200, put_each, NULL, 0);					\
		seen = bpf_for_each_map_elem(&map, add_up, &sum, order->flags);		\
		seen = seen * 1000 + bpf_for_each_map_elem(&map, add_up, &sum, 0);	\
		return (u32)seen * 31 + sum.keys * 7 + sum.values;			\
	}

EACH(each_array, each_array_map, 1000)
EACH(each_array_stopped, each_array_map, 20)
EACH(each_percpu_array, percpu, 1000)
EACH(each_hash, each_hash_map, 1)
EACH(each_percpu_hash, each_percpu_hash_map, 1)

static long at_once(void *map, u32 *key, u32 *value, struct sum *sum)
{
	sum->keys++;
	return 1;
}

SEC("syscall")
int each_hash_first(void *ctx)
{
	struct sum sum = {};

	bpf_loop(200, put_each, NULL, 0);
	return bpf_for_each_map_elem(&each_hash_map, at_once, &sum, 0) * 10 + sum.keys;
}

/* Maps of maps: inner maps found in place, and looked into in place. */
struct inner_array {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} short_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 9);
	__type(key, u32);
	__type(value, u64);
} long_array SEC(".maps");

struct inner_hash {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, u64);
	__type(value, u64);
} some_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner_array);
} arrays SEC(".maps") = { .values = { [0] = &short_array, [2] = (void *)&long_array } };

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u64);
	__array(values, struct inner_hash);
} hashes SEC(".maps");

SEC("syscall")
int of_arrays(void *ctx)
{
	u64 found = 0;

	for (u32 i = 0; i < 6; i++) {
		u32 outer = i;
		void *inner = bpf_map_lookup_elem(&arrays, &outer);

		for (u32 n = 0; n < 12; n++) {
			u32 key = n;
			u64 *value = inner ? bpf_map_lookup_elem(inner, &key) : NULL;

			if (value)
				*value = n + i;
			value = inner ? bpf_map_lookup_elem(inner, &key) : NULL;
			found = found * 3 + (value ? 1 + *value : 0);
		}
	}
	return found ^ found >> 32;
}

static long each_inner(void *map, u32 *key, u64 *value, u64 *sum)
{
	*sum = *sum * 5 + *key + *value;
	return 0;
}

SEC("syscall")
int of_arrays_each(void *ctx)
{
	u32 outer = 2;
	u64 sum = 0;
	void *inner = bpf_map_lookup_elem(&arrays, &outer);

	return inner ? bpf_for_each_map_elem(inner, each_inner, &sum, 0) + sum : -1;
}

SEC("syscall")
int of_hashes(void *ctx)
{
	u64 found = 0;

	for (u64 i = 0; i < 4; i++) {
		u64 outer = i;
		void *inner = bpf_map_lookup_elem(&hashes, &outer);

		for (u64 n = 0; n < 6; n++) {
			u64 key = n, *value;

			if (inner && n % 2)
				bpf_map_update_elem(inner, &key, &n, BPF_ANY);
			value = inner ? bpf_map_lookup_elem(inner, &key) : NULL;
			found = found * 3 + (value ? 1 + *value : 0);
		}
		found = found * 2 + (inner != NULL);
	}
	return found ^ found >> 32;
}

/* Values of one map through two names, and of two maps: what is written through the one is read through the other. */
SEC("syscall")
int one_map_two_names(void *ctx)
{
	u32 zero = 0, one = 1;
	void *inner = bpf_map_lookup_elem(&arrays, &zero);
	u64 *there = inner ? bpf_map_lookup_elem(inner, &one) : NULL, *here = bpf_map_lookup_elem(&short_array, &one);
	u64 *other = bpf_map_lookup_elem(&long_array, &one), sum = 0;

	if (!there || !here || !other)
		return -1;
	*here = *other = 1;
	for (u32 i = 0; i < 20; i++) {
		*there += *other;
		sum = sum * 3 + *here;
		*here += 2;
		*other = *there & 7;
		sum += *there;
	}
	return sum ^ sum >> 32;
}
