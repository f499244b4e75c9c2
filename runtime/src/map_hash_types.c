/* SPDX-License-Identifier: MIT */
/* The kinds of hash: plain, per CPU, LRU, LRU per CPU; how one comes and goes. */
#include "hash.h"

static int is_lru(u32 type)
{
	return type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static int is_per_cpu(u32 type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

/* Free elements too: a program that still had a pointer to a deleted one's value may have made a timer there. */
static void drop_all(struct rt_map *m)
{
	struct rt_hash *h = rt_hash_of(m);
	int cpus = m->kernel->ncpus;

	if (!m->fields.count || !h->range)
		return;
	struct rt_cpu *cpu = rt_enter(m->kernel);

	for (int r = 0; r < (h->private_lru ? cpus : 1); r++)
		for (u32 e = r ? h->range[r].first : 0; e < h->range[r].fresh; e++)
			for (int i = 0; i < (h->per_cpu ? cpus : 1); i++)
				rt_value_drop(m, rt_elem_value(h, e) + (u64)m->value_stride * i);
	rt_leave(cpu);
}

void rt_hash_free(struct rt_map *m)
{
	struct rt_hash *h = rt_hash_of(m);

	if (m->kernel)
		drop_all(m);
	rt_pages_free(h->buckets, ((u64)h->mask + 1) * sizeof(struct rt_bucket));
	rt_pages_free(h->overflow, (u64)h->max_overflow * sizeof(struct rt_bucket));
	rt_pages_free(h->elems, (u64)h->elem_bytes * h->count);
	rt_pages_free(h->referenced, h->count);
	rt_pages_free(h->home, (u64)h->count * sizeof(*h->home));
	free(h->free);
	free(h->range);
	free(h);
}

/* With LRUs of their own every CPU has as many elements as the others: Linux rounds up, or down where that is too many. */
static u32 entries_of(const struct rt_hash *h, const struct bpf_map *shape, u32 ncpus)
{
	u64 up = round_up((u64)shape->max_entries, ncpus);

	return !h->private_lru ? shape->max_entries : up > UINT32_MAX ? up - ncpus : up;
}

static int divide(struct rt_hash *h, u32 entries, u32 ncpus)
{
	u32 ranges = h->private_lru ? ncpus : 1, each = entries / ranges;

	h->free = aligned_alloc(RT_CACHE_LINE, sizeof(*h->free) * ncpus);
	h->range = aligned_alloc(RT_CACHE_LINE, sizeof(*h->range) * ranges);
	if (!h->free || !h->range)
		return -ENOMEM;
	for (u32 cpu = 0; cpu < ncpus; cpu++) /* the first elements are the spares */
		h->free[cpu] = (struct rt_free_list){ .head = RT_NIL, .spare = cpu };
	for (u32 i = 0; i < ranges; i++) {
		u32 first = ncpus + i * each;

		h->range[i] = (struct rt_range){ .first = first, .end = first + each, .fresh = first };
		if (!h->private_lru)
			h->range[i].first = 0; /* spares take part in the hand's round: replaced elements become spares */
	}
	return 0;
}

struct rt_map *rt_hash_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	int lru = is_lru(shape->map_type);
	u32 stride = round_up((u64)shape->value_size, 8), nbuckets = 1, entries;
	struct rt_hash *h = calloc(1, sizeof(*h));

	*err = -ENOMEM;
	if (!h)
		return NULL;
	h->per_cpu = is_per_cpu(shape->map_type);
	h->private_lru = lru && shape->map_flags & BPF_F_NO_COMMON_LRU;
	entries = entries_of(h, shape, k->ncpus);
	while ((u64)nbuckets * 4 < entries && nbuckets < 1u << 30)
		nbuckets *= 2;
	h->m.map = *shape;
	h->m.map.max_entries = entries;
	h->m.value_stride = stride;
	h->m.value_bytes = h->per_cpu ? (u64)stride * k->ncpus : shape->value_size;
	h->mask = nbuckets - 1;
	h->key_size = shape->key_size;
	h->key_bytes = round_up((u64)shape->key_size, 8);
	if (h->key_bytes + (u64)stride * (h->per_cpu ? k->ncpus : 1) > UINT32_MAX) {
		*err = -E2BIG;
		goto fail;
	}
	h->elem_bytes = h->key_bytes + stride * (h->per_cpu ? k->ncpus : 1);
	h->count = entries + k->ncpus;
	/*
	 * Four to a bucket leave about one bucket in twenty with more than seven; twenty times that many are address
	 * space only, until they are used.
	 */
	h->max_overflow = entries / RT_SLOTS + nbuckets + 1;
	h->pool = RT_NIL;
	if (!(shape->map_flags & BPF_F_ZERO_SEED))
		h->seed = k->pointer_key[0];
	if (h->count < entries || divide(h, entries, k->ncpus))
		goto fail; /* 32 bits number the elements */
	h->buckets = rt_pages_alloc((u64)nbuckets * sizeof(struct rt_bucket));
	h->overflow = rt_pages_alloc((u64)h->max_overflow * sizeof(struct rt_bucket));
	h->elems = rt_pages_alloc((u64)h->elem_bytes * h->count);
	if (lru) {
		h->referenced = rt_pages_alloc(h->count);
		h->home = rt_pages_alloc((u64)h->count * sizeof(*h->home));
	}
	if (!h->buckets || !h->overflow || !h->elems || (lru && (!h->referenced || !h->home)))
		goto fail;
	h->m.memory_bytes = sizeof(*h) + (u64)nbuckets * sizeof(struct rt_bucket) + (u64)h->elem_bytes * h->count;
	return &h->m;
fail:
	rt_hash_free(&h->m);
	return NULL;
}

#define HASH_OPS(name, type)                                                                                           \
	static const struct bpf_map_ops name = {                                                                       \
		.map_type = type,                                                                                      \
		.alloc = rt_hash_alloc,                                                                                \
		.free = rt_hash_free,                                                                                  \
		.lookup = rt_hash_lookup,                                                                              \
		.update = rt_hash_update,                                                                              \
		.delete = rt_hash_delete,                                                                              \
		.copy_out = rt_hash_copy_out,                                                                          \
		.copy_in = rt_hash_copy_in,                                                                            \
		.take = rt_hash_take,                                                                                  \
		.walk = rt_hash_walk,                                                                                  \
		.seek = rt_hash_seek,                                                                                  \
		.owns = rt_hash_owns,                                                                                  \
	};                                                                                                             \
	RT_MAP_TYPE(name)

HASH_OPS(hash_ops, BPF_MAP_TYPE_HASH);
HASH_OPS(percpu_hash_ops, BPF_MAP_TYPE_PERCPU_HASH);
HASH_OPS(lru_hash_ops, BPF_MAP_TYPE_LRU_HASH);
HASH_OPS(lru_percpu_hash_ops, BPF_MAP_TYPE_LRU_PERCPU_HASH);
