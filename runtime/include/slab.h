/* SPDX-License-Identifier: MIT */
/* Objects of one size for maps that allocate as they go: their memory stays until the slab is gone. */
#pragma once

#include "rt.h"

struct rt_chunk;

struct rt_slab {
	struct rt_kernel *kernel;
	u32 lock;
	u32 obj_bytes; /* with the header, a multiple of 16 */
	u32 pending; /* objects that wait for readers */
	int closed;
	struct rt_chunk *chunks;
	void *free;
	u64 memory_bytes;
};

struct rt_slab *rt_slab_new(struct rt_kernel *k, size_t obj_bytes);
/* No object is used any more; those that wait for readers keep the memory until they are through. */
void rt_slab_close(struct rt_slab *s);
void *rt_slab_get(struct rt_slab *s); /* zeroed, or NULL */
void rt_slab_put(struct rt_slab *s, void *obj); /* at once: nobody else knows it */
void rt_slab_put_rcu(struct rt_slab *s, void *obj);
int rt_slab_owns(struct rt_slab *s, u64 addr, u64 size);
