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
