/* SPDX-License-Identifier: MIT */
/* Room in a hash: free elements, overflow buckets, and what an LRU takes back (see hash.h). */
#include "hash.h"

/* -- free elements -- */

static u32 list_pop(const struct rt_hash *h, struct rt_free_list *l)
{
	u32 e, next;

	if (__atomic_load_n(&l->head, __ATOMIC_RELAXED) == RT_NIL)
		return RT_NIL;
	rt_spin_lock(&l->lock);
	e = l->head;
	if (e != RT_NIL) {
		memcpy(&next, rt_elem_at(h, e), sizeof(next)); /* the link lies over the key, which nobody owns now */
		__atomic_store_n(&l->head, next, __ATOMIC_RELAXED);
	}
	rt_spin_unlock(&l->lock);
	return e;
}

static struct rt_range *range_here(const struct rt_hash *h)
{
	return &h->range[h->private_lru ? rt_this_cpu->index : 0];
}

/* The CPU whose list a free element goes to: with LRUs of their own the one that it belongs to. */
static u32 owner_of(const struct rt_hash *h, u32 e)
{
	u32 each = h->range[0].end - h->range[0].first;

	return h->private_lru ? (e - h->range[0].first) / each : rt_this_cpu->index;
}

void rt_elem_put(struct rt_hash *h, u32 e)
{
	struct rt_free_list *l = &h->free[owner_of(h, e)];

	rt_spin_lock(&l->lock);
	memcpy(rt_elem_at(h, e), &l->head, sizeof(l->head));
	__atomic_store_n(&l->head, e, __ATOMIC_RELAXED);
	rt_spin_unlock(&l->lock);
}

u32 rt_elem_get(struct rt_hash *h)
{
	struct rt_range *r = range_here(h);
	int ncpus = h->m.kernel->ncpus, me = rt_this_cpu->index;
	u32 e = list_pop(h, &h->free[me]);

	if (e == RT_NIL && __atomic_load_n(&r->fresh, __ATOMIC_RELAXED) < r->end) {
		e = __atomic_fetch_add(&r->fresh, 1, __ATOMIC_RELAXED);
		if (e >= r->end) {
			__atomic_fetch_sub(&r->fresh, 1, __ATOMIC_RELAXED);
			e = RT_NIL;
		}
	}
	for (int i = 1; e == RT_NIL && i < ncpus && !h->private_lru; i++)
		e = list_pop(h, &h->free[(me + i) % ncpus]);
	return e;
}

/* -- overflow buckets -- */

/* Give back the overflow buckets at the end of b's chain that are empty; b's lock is held. */
static void trim(struct rt_hash *h, struct rt_bucket *b)
{
	for (;;) {
		struct rt_bucket *before = NULL, *last = b, *next;
		u32 n;

		while ((next = rt_next_bucket(h, last))) {
			before = last;
			last = next;
		}
		if (!before)
			return;
		for (int i = 0; i < RT_SLOTS; i++)
			if (last->slot[i])
				return;
		__atomic_store_n(&before->next, 0, __ATOMIC_RELEASE);
		n = last - h->overflow;
		rt_spin_lock(&h->pool_lock);
		last->lock = h->pool;
		h->pool = n;
		rt_spin_unlock(&h->pool_lock);
	}
}

u32 rt_overflow_get(struct rt_hash *h)
{
	u32 n;

	rt_spin_lock(&h->pool_lock);
	n = h->pool;
	if (n != RT_NIL)
		h->pool = h->overflow[n].lock;
	else if (h->used_overflow < h->max_overflow)
		n = __atomic_fetch_add(&h->used_overflow, 1, __ATOMIC_RELEASE);
	rt_spin_unlock(&h->pool_lock);
	return n;
}

/* The element goes out of its slot in a chain that begins at b, whose lock is held. */
void rt_slot_clear(struct rt_hash *h, struct rt_bucket *b, u64 *slot)
{
	__atomic_store_n(slot, 0, __ATOMIC_RELEASE);
	if (unlikely(b->next))
		trim(h, b);
}

/* -- LRU -- */

/*
 * Take an element that was not looked up since the hand last passed. NIL when there was none, which lasts only
 * as long as other CPUs hold elements that they have taken and not put in yet.
 */
u32 rt_lru_evict(struct rt_hash *h)
{
	struct rt_range *r = range_here(h);
	u32 all = r->end - r->first;

	for (u64 tries = 0; tries < 2ULL * all; tries++) {
		u32 e = r->first + __atomic_fetch_add(&r->hand, 1, __ATOMIC_RELAXED) % all;
		struct rt_bucket *home, *b;
		int found = 0;

		if (__atomic_exchange_n(&h->referenced[e], 0, __ATOMIC_RELAXED))
			continue;
		home = &h->buckets[__atomic_load_n(&h->home[e], __ATOMIC_RELAXED)];
		rt_spin_lock(&home->lock);
		for (b = home; b && !found; b = rt_next_bucket(h, b)) {
			for (int i = 0; i < RT_SLOTS && !found; i++) {
				if ((u32)b->slot[i] == e + 1) {
					rt_slot_clear(h, home, &b->slot[i]);
					found = 1;
				}
			}
		}
		if (found)
			rt_value_drop(&h->m, rt_elem_value(h, e));
		rt_spin_unlock(&home->lock);
		if (found)
			return e;
	}
	return RT_NIL;
}
