/* SPDX-License-Identifier: MIT */
#include "slab.h"

#define HEADER 16 /* free: the next one; waiting for readers: its slab */
#define CHUNK (64u << 10)

struct rt_chunk {
	struct rt_chunk *next;
	char *objects;
	size_t size, used;
};

struct rt_slab *rt_slab_new(struct rt_kernel *k, size_t obj_bytes)
{
	struct rt_slab *s = calloc(1, sizeof(*s));

	if (s) {
		s->kernel = k;
		s->obj_bytes = round_up(obj_bytes, HEADER) + HEADER;
	}
	return s;
}

static void destroy(struct rt_slab *s)
{
	struct rt_chunk *c, *next;

	for (c = s->chunks; c; c = next) {
		next = c->next;
		rt_pages_free(c->objects, c->size);
		free(c);
	}
	free(s);
}

void rt_slab_close(struct rt_slab *s)
{
	int last;

	if (!s)
		return;
	rt_spin_lock(&s->lock);
	s->closed = 1;
	last = !s->pending;
	rt_spin_unlock(&s->lock);
	if (last)
		destroy(s);
}

static struct rt_chunk *grow(struct rt_slab *s)
{
	size_t size = s->obj_bytes > CHUNK / 8 ? round_up((size_t)s->obj_bytes * 8, RT_PAGE) : CHUNK;
	struct rt_chunk *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->objects = rt_pages_alloc(size);
	if (!c->objects) {
		free(c);
		return NULL;
	}
	c->size = size;
	c->next = s->chunks;
	s->chunks = c;
	s->memory_bytes += size;
	return c;
}

void *rt_slab_get(struct rt_slab *s)
{
	char *at = NULL;
	int used = 0;

	rt_spin_lock(&s->lock);
	if (s->free) {
		at = s->free;
		s->free = *(void **)at;
		used = 1;
	} else {
		struct rt_chunk *c = s->chunks;

		if (!c || c->size - c->used < s->obj_bytes)
			c = grow(s);
		if (c) {
			at = c->objects + c->used;
			c->used += s->obj_bytes;
		}
	}
	rt_spin_unlock(&s->lock);
	if (!at)
		return NULL;
	if (used)
		memset(at + HEADER, 0, s->obj_bytes - HEADER);
	return at + HEADER;
}

void rt_slab_put(struct rt_slab *s, void *obj)
{
	char *at = (char *)obj - HEADER;

	rt_spin_lock(&s->lock);
	*(void **)at = s->free;
	s->free = at;
	rt_spin_unlock(&s->lock);
}

static void readers_passed(struct rt_kernel *k, void *obj, size_t size)
{
	char *at = (char *)obj - HEADER;
	struct rt_slab *s = *(struct rt_slab **)at;
	int last;

	(void)k;
	(void)size;
	rt_spin_lock(&s->lock);
	*(void **)at = s->free;
	s->free = at;
	last = !--s->pending && s->closed;
	rt_spin_unlock(&s->lock);
	if (last)
		destroy(s);
}

void rt_slab_put_rcu(struct rt_slab *s, void *obj)
{
	*(struct rt_slab **)((char *)obj - HEADER) = s;
	rt_spin_lock(&s->lock);
	s->pending++;
	rt_spin_unlock(&s->lock);
	rt_defer(s->kernel, readers_passed, obj, s->obj_bytes);
}

int rt_slab_owns(struct rt_slab *s, u64 addr, u64 size)
{
	int found = 0;

	rt_spin_lock(&s->lock);
	for (struct rt_chunk *c = s->chunks; c && !found; c = c->next) {
		u64 start = (u64)(uintptr_t)c->objects;

		found = addr >= start && size <= c->used && addr - start <= c->used - size;
	}
	rt_spin_unlock(&s->lock);
	return found;
}
