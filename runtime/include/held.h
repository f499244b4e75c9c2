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
