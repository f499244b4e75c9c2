/* SPDX-License-Identifier: MIT */
/* Arrays whose slots hold the addresses of kernel objects (map_held.c). */
#pragma once

#include "rt.h"

struct held_array {
	struct rt_map m;
	void **slot; /* atomic */
};

/* What a slot holds, NULL for none and past the end. */
static inline void *rt_held_at(const struct rt_map *m, u32 index)
{
	const struct held_array *a = (const struct held_array *)m;

	return index < m->map.max_entries ? __atomic_load_n(&a->slot[index], __ATOMIC_ACQUIRE) : NULL;
}

static inline struct held_array *rt_held_of(struct rt_map *m)
{
	return (struct held_array *)m;
}

static inline u32 rt_index_of(const void *key)
{
	u32 index;

	memcpy(&index, key, sizeof(index)); /* a key may lie anywhere */
	return index;
}

struct rt_map *rt_held_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err);
void rt_held_free(struct rt_map *m);
void *rt_held_lookup(struct rt_map *m, const void *key, int cpu);
int rt_held_copy_in(struct rt_map *m, const void *key, const void *value, u64 flags);
int rt_held_delete(struct rt_map *m, const void *key);
int rt_held_copy_out(struct rt_map *m, const void *key, void *value, u64 flags);
int rt_held_walk(struct rt_map *m, struct rt_cursor *at, void **key, void **value);
s64 rt_held_seek(struct rt_map *m, const void *key);

/* The ops of such an array. */
#define RT_HELD_OPS(name, type)                                                                                         \
	static const struct bpf_map_ops name = {                                                                       \
		.map_type = type,                                                                                      \
		.alloc = rt_held_alloc,                                                                                \
		.free = rt_held_free,                                                                                  \
		.lookup = rt_held_lookup,                                                                              \
		.delete = rt_held_delete,                                                                              \
		.copy_out = rt_held_copy_out,                                                                          \
		.copy_in = rt_held_copy_in,                                                                            \
		.walk = rt_held_walk,                                                                                  \
		.seek = rt_held_seek,                                                                                  \
	};                                                                                                             \
	RT_MAP_TYPE(name)
