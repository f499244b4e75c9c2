/* SPDX-License-Identifier: MIT */
/*
 * Hash maps: buckets of one cache line, elements that never move, readers without locks.
 *
 * A bucket holds seven slots, each a 32-bit tag of the hash and the number of an element in one word,
 * so that a reader takes both in one load; a writer holds the bucket's lock. Full buckets chain to
 * others. An element keeps its place (and so does a pointer to its value) until it is deleted; as in
 * Linux's preallocated maps it may then be used again at once, while its memory stays until the map goes.
 * Replacing a value fills a spare element and swaps the slot, so that a reader sees the old or the new.
 *
 * An overflow bucket goes back to the pool when it is the empty end of its chain. A reader that stands in one then
 * finds itself at the end, or in another chain: nothing of its own was behind it, and keys are compared.
 */
#include "rt.h"

#define SLOTS 7
#define NIL 0xffffffffu

struct bucket {
	u64 slot[SLOTS]; /* atomic: tag << 32 | element + 1, 0 free */
	u32 lock; /* in an overflow bucket of the pool: the next one there */
	u32 next; /* atomic: overflow bucket + 1, 0 none */
} __attribute__((aligned(RT_CACHE_LINE)));

/* Free elements of one CPU; others may steal. */
struct free_list {
	u32 lock;
	u32 head; /* atomic */
	u32 spare; /* an element kept for replacing values, the holder's own */
} __attribute__((aligned(RT_CACHE_LINE)));

struct hash {
	struct rt_map m;
	struct bucket *buckets;
	struct bucket *overflow;
	char *elems;
	struct free_list *free;
	u8 *referenced; /* LRU, atomic: looked up since the hand came by */
	u32 *home; /* LRU, atomic: the bucket that an element was last put into */
	u64 seed;
	u32 mask;
	u32 key_bytes; /* round_up(key_size, 8) */
	u32 elem_bytes;
	u32 max_overflow;
	u32 count; /* elements in all, spares included */
	u32 fresh; /* atomic: elements from here on were never used */
	u32 used_overflow; /* atomic: overflow buckets from here on were never used */
	u32 pool_lock, pool; /* overflow buckets given back, NIL-terminated */
	u32 hand; /* atomic: LRU's clock */
	int per_cpu;
};

static inline u64 mix(u64 a, u64 b)
{
	__uint128_t r = (__uint128_t)a * b;

	return (u64)r ^ (u64)(r >> 64);
}

static u64 hash_of(const struct hash *h, const void *key)
{
	const char *p = key;
	u32 n = h->m.map.key_size;
	u64 x = h->seed ^ 0x9e3779b97f4a7c15ULL, word;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&word, p, 8);
		x = mix(x ^ word, 0xd6e8feb86659fd93ULL);
	}
	if (n) {
		word = 0;
		memcpy(&word, p, n);
		x = mix(x ^ word, 0xa0761d6478bd642fULL);
	}
	return mix(x ^ h->m.map.key_size, 0xe7037ed1a0b428dbULL);
}

static inline char *elem_at(const struct hash *h, u32 e)
{
	return h->elems + (u64)h->elem_bytes * e;
}

static inline char *value_at(const struct hash *h, u32 e)
{
	return elem_at(h, e) + h->key_bytes;
}

static inline u64 slot_word(u64 hash, u32 e)
{
	return (hash >> 32) << 32 | (e + 1);
}

static inline struct bucket *next_bucket(const struct hash *h, const struct bucket *b)
{
	u32 next = __atomic_load_n(&b->next, __ATOMIC_ACQUIRE);

	return next ? &h->overflow[next - 1] : NULL;
}

static RT_RACY int key_equal(const struct hash *h, u32 e, const void *key)
{
	const char *have = elem_at(h, e);
	u64 a, b;

	if (h->m.map.key_size == 8) {
		memcpy(&a, have, 8);
		memcpy(&b, key, 8);
		return a == b;
	}
#ifdef __SANITIZE_THREAD__
	for (u32 i = 0; i < h->m.map.key_size; i++) /* its memcmp would report what RT_RACY is to keep quiet */
		if (have[i] != ((const char *)key)[i])
			return 0;
	return 1;
#else
	return !memcmp(have, key, h->m.map.key_size);
#endif
}

/* The slot that holds `key`, or NULL; *word is what it held. */
static u64 *find(const struct hash *h, u64 hash, const void *key, u64 *word)
{
	struct bucket *b = &h->buckets[(u32)hash & h->mask];

	for (; b; b = next_bucket(h, b)) {
		for (int i = 0; i < SLOTS; i++) {
			u64 w = __atomic_load_n(&b->slot[i], __ATOMIC_ACQUIRE);

			if (!w || w >> 32 != hash >> 32)
				continue;
			if (!key_equal(h, (u32)w - 1, key))
				continue;
			/* The element may be given to another key while we compare: then the slot has changed too. */
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
			if (__atomic_load_n(&b->slot[i], __ATOMIC_RELAXED) == w) {
				*word = w;
				return &b->slot[i];
			}
		}
	}
	return NULL;
}

/* -- free elements -- */

static u32 list_pop(const struct hash *h, struct free_list *l)
{
	u32 e, next;

	if (__atomic_load_n(&l->head, __ATOMIC_RELAXED) == NIL)
		return NIL;
	rt_spin_lock(&l->lock);
	e = l->head;
	if (e != NIL) {
		memcpy(&next, elem_at(h, e), sizeof(next)); /* the link lies over the key, which nobody owns now */
		__atomic_store_n(&l->head, next, __ATOMIC_RELAXED);
	}
	rt_spin_unlock(&l->lock);
	return e;
}

static void elem_put(struct hash *h, u32 e)
{
	struct free_list *l = &h->free[rt_this_cpu->index];

	rt_spin_lock(&l->lock);
	memcpy(elem_at(h, e), &l->head, sizeof(l->head));
	__atomic_store_n(&l->head, e, __ATOMIC_RELAXED);
	rt_spin_unlock(&l->lock);
}

static u32 elem_get(struct hash *h)
{
	int ncpus = h->m.kernel->ncpus, me = rt_this_cpu->index;
	u32 e = list_pop(h, &h->free[me]);

	if (e == NIL && __atomic_load_n(&h->fresh, __ATOMIC_RELAXED) < h->count) {
		e = __atomic_fetch_add(&h->fresh, 1, __ATOMIC_RELAXED);
		if (e >= h->count) {
			__atomic_fetch_sub(&h->fresh, 1, __ATOMIC_RELAXED);
			e = NIL;
		}
	}
	for (int i = 1; e == NIL && i < ncpus; i++)
		e = list_pop(h, &h->free[(me + i) % ncpus]);
	return e;
}

/* -- writers -- */

static void write_value(struct hash *h, u32 e, const void *value, int all_cpus)
{
	char *to = value_at(h, e);
	u32 stride = h->m.value_stride;

	if (!h->per_cpu) {
		memcpy(to, value, h->m.map.value_size);
	} else if (all_cpus) {
		memcpy(to, value, h->m.value_bytes);
	} else {
		/* A program's insert gives its own CPU the value and the others zeroes. */
		memset(to, 0, h->m.value_bytes);
		memcpy(to + (u64)stride * rt_this_cpu->index, value, h->m.map.value_size);
	}
}

/* Give back the overflow buckets at the end of b's chain that are empty; b's lock is held. */
static void trim(struct hash *h, struct bucket *b)
{
	for (;;) {
		struct bucket *before = NULL, *last = b, *next;
		u32 n;

		while ((next = next_bucket(h, last))) {
			before = last;
			last = next;
		}
		if (!before)
			return;
		for (int i = 0; i < SLOTS; i++)
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

static u32 overflow_get(struct hash *h)
{
	u32 n;

	rt_spin_lock(&h->pool_lock);
	n = h->pool;
	if (n != NIL)
		h->pool = h->overflow[n].lock;
	else if (h->used_overflow < h->max_overflow)
		n = __atomic_fetch_add(&h->used_overflow, 1, __ATOMIC_RELEASE);
	rt_spin_unlock(&h->pool_lock);
	return n;
}

static void remove_locked(struct hash *h, struct bucket *b, u64 *slot)
{
	__atomic_store_n(slot, 0, __ATOMIC_RELEASE);
	if (unlikely(b->next))
		trim(h, b);
}

/*
 * LRU: take an element that was not looked up since the hand last passed. NIL when there was none, which lasts only
 * as long as other CPUs hold elements that they have taken and not put in yet.
 */
static u32 evict(struct hash *h)
{
	for (u64 tries = 0; tries < 2ULL * h->count; tries++) {
		u32 e = __atomic_fetch_add(&h->hand, 1, __ATOMIC_RELAXED) % h->count;
		struct bucket *home, *b;
		int found = 0;

		if (__atomic_exchange_n(&h->referenced[e], 0, __ATOMIC_RELAXED))
			continue;
		home = &h->buckets[__atomic_load_n(&h->home[e], __ATOMIC_RELAXED)];
		rt_spin_lock(&home->lock);
		for (b = home; b && !found; b = next_bucket(h, b)) {
			for (int i = 0; i < SLOTS && !found; i++) {
				if ((u32)b->slot[i] == e + 1) {
					remove_locked(h, home, &b->slot[i]);
					found = 1;
				}
			}
		}
		rt_spin_unlock(&home->lock);
		if (found)
			return e;
	}
	return NIL;
}

static int insert_locked(struct hash *h, struct bucket *b, u64 word)
{
	for (;;) {
		for (int i = 0; i < SLOTS; i++) {
			if (!b->slot[i]) {
				__atomic_store_n(&b->slot[i], word, __ATOMIC_RELEASE);
				return 0;
			}
		}
		struct bucket *next = next_bucket(h, b);

		if (!next) {
			u32 n = overflow_get(h);

			if (n == NIL)
				return -ENOMEM;
			next = &h->overflow[n];
			__atomic_store_n(&b->next, n + 1, __ATOMIC_RELEASE);
		}
		b = next;
	}
}

static void fill_elem(struct hash *h, u32 e, const void *key, const void *value, int all_cpus)
{
	memcpy(elem_at(h, e), key, h->m.map.key_size);
	write_value(h, e, value, all_cpus);
}

/* `key` is there, in `slot`: a new value for it. */
static void replace_locked(struct hash *h, u64 *slot, u64 word, const void *key, const void *value, int all_cpus)
{
	struct free_list *l = &h->free[rt_this_cpu->index];
	u32 old = (u32)word - 1, e = l->spare;

	if (h->per_cpu && !all_cpus) {
		memcpy(value_at(h, old) + (u64)h->m.value_stride * rt_this_cpu->index, value, h->m.map.value_size);
		return;
	}
	fill_elem(h, e, key, value, all_cpus);
	if (h->home) {
		__atomic_store_n(&h->home[e], h->home[old], __ATOMIC_RELAXED);
		__atomic_store_n(&h->referenced[e], 1, __ATOMIC_RELAXED);
	}
	__atomic_store_n(slot, word >> 32 << 32 | (e + 1), __ATOMIC_RELEASE);
	l->spare = old;
}

static int update(struct rt_map *m, const void *key, const void *value, u64 flags, int all_cpus)
{
	struct hash *h = (struct hash *)m;
	struct bucket *b;
	u64 hash, word, *slot;
	u32 e = NIL; /* taken, and ours until it is in a slot */
	unsigned spins = 0;
	int err = 0;

	if (unlikely(flags > BPF_EXIST))
		return -EINVAL;
	hash = hash_of(h, key);
	b = &h->buckets[(u32)hash & h->mask];
	for (;;) {
		rt_spin_lock(&b->lock);
		slot = find(h, hash, key, &word);
		if (slot) {
			if (flags == BPF_NOEXIST)
				err = -EEXIST;
			else
				replace_locked(h, slot, word, key, value, all_cpus);
			break;
		}
		if (flags == BPF_EXIST) {
			err = -ENOENT;
			break;
		}
		if (e == NIL)
			e = elem_get(h);
		if (e != NIL || !h->home)
			break;
		/* The bucket is let go while another one is searched for room; then all begins again. */
		rt_spin_unlock(&b->lock);
		e = evict(h);
		if (e == NIL)
			rt_relax(&spins);
	}
	if (!slot && !err) {
		if (e == NIL) {
			err = -E2BIG;
		} else {
			fill_elem(h, e, key, value, all_cpus);
			if (h->home) {
				__atomic_store_n(&h->home[e], (u32)(b - h->buckets), __ATOMIC_RELAXED);
				__atomic_store_n(&h->referenced[e], 0, __ATOMIC_RELAXED);
			}
			err = insert_locked(h, b, slot_word(hash, e));
			if (!err)
				e = NIL;
		}
	}
	rt_spin_unlock(&b->lock);
	if (e != NIL)
		elem_put(h, e);
	return err;
}

static int hash_update(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	return update(m, key, value, flags, 0);
}

static int hash_copy_in(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	return update(m, key, value, flags, 1);
}

static int hash_delete(struct rt_map *m, const void *key)
{
	struct hash *h = (struct hash *)m;
	u64 hash = hash_of(h, key);
	struct bucket *b = &h->buckets[(u32)hash & h->mask];
	u64 word, *slot;

	rt_spin_lock(&b->lock);
	slot = find(h, hash, key, &word);
	if (slot)
		remove_locked(h, b, slot);
	rt_spin_unlock(&b->lock);
	if (!slot)
		return -ENOENT;
	elem_put(h, (u32)word - 1);
	return 0;
}

/* -- readers -- */

static void *hash_lookup(struct rt_map *m, const void *key, int cpu)
{
	struct hash *h = (struct hash *)m;
	u64 word;

	if (!find(h, hash_of(h, key), key, &word))
		return NULL;
	return value_at(h, (u32)word - 1) + (h->per_cpu ? (u64)m->value_stride * cpu : 0);
}

static void *lru_lookup(struct rt_map *m, const void *key, int cpu)
{
	struct hash *h = (struct hash *)m;
	u64 word;

	(void)cpu;
	if (!find(h, hash_of(h, key), key, &word))
		return NULL;
	u8 *seen = &h->referenced[(u32)word - 1];

	if (!__atomic_load_n(seen, __ATOMIC_RELAXED)) /* a line that all readers share is not written for nothing */
		__atomic_store_n(seen, 1, __ATOMIC_RELAXED);
	return value_at(h, (u32)word - 1);
}

/* Under the bucket's lock: a syscall's copy is never half of one update and half of the next. */
static int hash_copy_out(struct rt_map *m, const void *key, void *value)
{
	struct hash *h = (struct hash *)m;
	u64 word, hash = hash_of(h, key), *slot;
	struct bucket *b = &h->buckets[(u32)hash & h->mask];

	rt_spin_lock(&b->lock);
	slot = find(h, hash, key, &word);
	if (slot)
		memcpy(value, value_at(h, (u32)word - 1), m->value_bytes);
	rt_spin_unlock(&b->lock);
	return slot ? 0 : -ENOENT;
}

/* A cursor counts slots: those of all buckets, then those of the overflow buckets. */
static u64 *slot_at(const struct hash *h, u64 pos)
{
	u64 b = pos / SLOTS, nbuckets = (u64)h->mask + 1;

	return b < nbuckets ? &h->buckets[b].slot[pos % SLOTS] : &h->overflow[b - nbuckets].slot[pos % SLOTS];
}

static int hash_walk(struct rt_map *m, struct rt_cursor *at, void **key, void **value)
{
	struct hash *h = (struct hash *)m;
	u32 used = __atomic_load_n(&h->used_overflow, __ATOMIC_ACQUIRE);
	u64 end = ((u64)h->mask + 1 + used) * SLOTS;

	while (at->pos < end) {
		u64 word = __atomic_load_n(slot_at(h, at->pos++), __ATOMIC_ACQUIRE);

		if (word) {
			*key = elem_at(h, (u32)word - 1);
			*value = value_at(h, (u32)word - 1) + (h->per_cpu ? (u64)m->value_stride * rt_this_cpu->index : 0);
			return 1;
		}
	}
	return 0;
}

static s64 hash_seek(struct rt_map *m, const void *key)
{
	struct hash *h = (struct hash *)m;
	u64 word, *slot = find(h, hash_of(h, key), key, &word);
	struct bucket *b;
	u64 first, offset;

	if (!slot)
		return -ENOENT;
	b = (struct bucket *)((uintptr_t)slot & ~(uintptr_t)(RT_CACHE_LINE - 1));
	offset = slot - b->slot;
	first = b >= h->buckets && b <= h->buckets + h->mask ? (u64)(b - h->buckets)
							     : (u64)h->mask + 1 + (u64)(b - h->overflow);
	return (s64)(first * SLOTS + offset + 1);
}

static int hash_owns(struct rt_map *m, u64 addr, u64 size)
{
	struct hash *h = (struct hash *)m;
	u64 start = (u64)(uintptr_t)h->elems, all = (u64)h->elem_bytes * h->count;

	return addr >= start && size <= all && addr - start <= all - size;
}

/* -- life -- */

static void hash_free(struct rt_map *m)
{
	struct hash *h = (struct hash *)m;

	rt_pages_free(h->buckets, ((u64)h->mask + 1) * sizeof(struct bucket));
	rt_pages_free(h->overflow, (u64)h->max_overflow * sizeof(struct bucket));
	rt_pages_free(h->elems, (u64)h->elem_bytes * h->count);
	rt_pages_free(h->referenced, h->count);
	rt_pages_free(h->home, (u64)h->count * sizeof(*h->home));
	free(h->free);
	free(h);
}

static struct rt_map *alloc(struct rt_kernel *k, const struct bpf_map *shape, int per_cpu, int lru, int *err)
{
	u32 stride = round_up((u64)shape->value_size, 8), nbuckets = 1;
	struct hash *h = calloc(1, sizeof(*h));

	*err = -ENOMEM;
	if (!h)
		return NULL;
	while ((u64)nbuckets * 4 < shape->max_entries && nbuckets < 1u << 30)
		nbuckets *= 2;
	h->m.value_stride = stride;
	h->m.value_bytes = per_cpu ? (u64)stride * k->ncpus : shape->value_size;
	h->per_cpu = per_cpu;
	h->mask = nbuckets - 1;
	h->key_bytes = round_up((u64)shape->key_size, 8);
	if (h->key_bytes + (u64)stride * (per_cpu ? k->ncpus : 1) > UINT32_MAX) {
		*err = -E2BIG;
		goto fail;
	}
	h->elem_bytes = h->key_bytes + stride * (per_cpu ? k->ncpus : 1);
	h->fresh = k->ncpus; /* the first elements are the spares */
	h->count = shape->max_entries + k->ncpus;
	/*
	 * Four to a bucket leave about one bucket in twenty with more than seven; twenty times that many are address
	 * space only, until they are used.
	 */
	h->max_overflow = shape->max_entries / SLOTS + nbuckets + 1;
	h->pool = NIL;
	if (!(shape->map_flags & BPF_F_ZERO_SEED))
		h->seed = k->pointer_key[0];
	if (h->count < shape->max_entries)
		goto fail; /* 32 bits number the elements */
	h->buckets = rt_pages_alloc((u64)nbuckets * sizeof(struct bucket));
	h->overflow = rt_pages_alloc((u64)h->max_overflow * sizeof(struct bucket));
	h->elems = rt_pages_alloc((u64)h->elem_bytes * h->count);
	h->free = aligned_alloc(RT_CACHE_LINE, sizeof(*h->free) * k->ncpus);
	if (lru) {
		h->referenced = rt_pages_alloc(h->count);
		h->home = rt_pages_alloc((u64)h->count * sizeof(*h->home));
	}
	if (!h->buckets || !h->overflow || !h->elems || !h->free || (lru && (!h->referenced || !h->home)))
		goto fail;
	for (int cpu = 0; cpu < k->ncpus; cpu++)
		h->free[cpu] = (struct free_list){ .head = NIL, .spare = cpu };
	h->m.memory_bytes = sizeof(*h) + (u64)nbuckets * sizeof(struct bucket) + (u64)h->elem_bytes * h->count;
	return &h->m;
fail:
	hash_free(&h->m);
	return NULL;
}

static struct rt_map *hash_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	return alloc(k, shape, 0, 0, err);
}

static struct rt_map *percpu_hash_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	return alloc(k, shape, 1, 0, err);
}

static struct rt_map *lru_hash_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	return alloc(k, shape, 0, 1, err);
}

#define HASH_OPS(name, alloc_fn, lookup_fn)                                                                            \
	const struct bpf_map_ops name = {                                                                              \
		.alloc = alloc_fn,                                                                                     \
		.free = hash_free,                                                                                     \
		.lookup = lookup_fn,                                                                                   \
		.update = hash_update,                                                                                 \
		.delete = hash_delete,                                                                                 \
		.copy_out = hash_copy_out,                                                                             \
		.copy_in = hash_copy_in,                                                                               \
		.walk = hash_walk,                                                                                     \
		.seek = hash_seek,                                                                                     \
		.owns = hash_owns,                                                                                     \
	}

HASH_OPS(rt_hash_ops, hash_alloc, hash_lookup);
HASH_OPS(rt_percpu_hash_ops, percpu_hash_alloc, hash_lookup);
HASH_OPS(rt_lru_hash_ops, lru_hash_alloc, lru_lookup);
