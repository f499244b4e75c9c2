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
#pragma once

#include "rt.h"

#define RT_SLOTS 7
#define RT_NIL 0xffffffffu

struct rt_bucket {
	u64 slot[RT_SLOTS]; /* atomic: tag << 32 | element + 1, 0 free */
	u32 lock; /* in an overflow bucket of the pool: the next one there */
	u32 next; /* atomic: overflow bucket + 1, 0 none */
} __attribute__((aligned(RT_CACHE_LINE)));

/* Free elements of one CPU; others may steal. */
struct rt_free_list {
	u32 lock;
	u32 head; /* atomic */
	u32 spare; /* an element kept for replacing values, the holder's own */
} __attribute__((aligned(RT_CACHE_LINE)));

/* Elements of all CPUs, or of one where each has an LRU of its own (BPF_F_NO_COMMON_LRU). */
struct rt_range {
	u32 first, end;
	u32 fresh; /* atomic: elements from here on were never used */
	u32 hand; /* atomic: LRU's clock */
} __attribute__((aligned(RT_CACHE_LINE)));

struct rt_hash {
	struct rt_map m;
	struct rt_bucket *buckets;
	struct rt_bucket *overflow;
	char *elems;
	struct rt_free_list *free;
	struct rt_range *range;
	u8 *referenced; /* LRU, atomic: looked up since the hand came by */
	u32 *home; /* LRU, atomic: the bucket that an element was last put into */
	u64 seed;
	u32 mask;
	u32 key_size; /* of the keys inside: the map's own, or an address */
	u32 key_bytes; /* round_up(key_size, 8) */
	u32 elem_bytes;
	u32 max_overflow;
	u32 count; /* elements in all, spares included */
	u32 used_overflow; /* atomic: overflow buckets from here on were never used */
	u32 pool_lock, pool; /* overflow buckets given back, NIL-terminated */
	int per_cpu;
	int private_lru;
};

static inline struct rt_hash *rt_hash_of(struct rt_map *m)
{
	return (struct rt_hash *)m;
}

static inline u64 rt_mix(u64 a, u64 b)
{
	__uint128_t r = (__uint128_t)a * b;

	return (u64)r ^ (u64)(r >> 64);
}

static inline u64 rt_hash_bytes(u64 seed, const void *key, u32 size)
{
	const char *p = key;
	u64 x = seed ^ 0x9e3779b97f4a7c15ULL, word;
	u32 n = size;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&word, p, 8);
		x = rt_mix(x ^ word, 0xd6e8feb86659fd93ULL);
	}
	if (n) {
		word = 0;
		memcpy(&word, p, n);
		x = rt_mix(x ^ word, 0xa0761d6478bd642fULL);
	}
	return rt_mix(x ^ size, 0xe7037ed1a0b428dbULL);
}

static inline u64 rt_hash_key(const struct rt_hash *h, const void *key)
{
	return rt_hash_bytes(h->seed, key, h->key_size);
}

static inline struct rt_bucket *rt_home_bucket(const struct rt_hash *h, u64 hash)
{
	return &h->buckets[(u32)hash & h->mask];
}

static inline char *rt_elem_at(const struct rt_hash *h, u32 e)
{
	return h->elems + (u64)h->elem_bytes * e;
}

static inline char *rt_elem_value(const struct rt_hash *h, u32 e)
{
	return rt_elem_at(h, e) + h->key_bytes;
}

static inline struct rt_bucket *rt_next_bucket(const struct rt_hash *h, const struct rt_bucket *b)
{
	u32 next = __atomic_load_n(&b->next, __ATOMIC_ACQUIRE);

	return next ? &h->overflow[next - 1] : NULL;
}

/* The slot that holds `key`, or NULL; *word is what it held (element + 1 in its low half). */
u64 *rt_hash_find(const struct rt_hash *h, u64 hash, const void *key, u64 *word);

/* -- elements and overflow buckets (map_hash_room.c) -- */

u32 rt_elem_get(struct rt_hash *h);
void rt_elem_put(struct rt_hash *h, u32 e);
u32 rt_overflow_get(struct rt_hash *h);
void rt_slot_clear(struct rt_hash *h, struct rt_bucket *b, u64 *slot);
u32 rt_lru_evict(struct rt_hash *h);

static inline void rt_lru_seen(struct rt_hash *h, u32 e, u8 seen)
{
	if (__atomic_load_n(&h->referenced[e], __ATOMIC_RELAXED) != seen) /* a line that all share is not written for nothing */
		__atomic_store_n(&h->referenced[e], seen, __ATOMIC_RELAXED);
}

/* -- operations (map_hash.c), for the ops of every kind of hash (map_hash_types.c, map_of_maps.c) -- */

struct rt_map *rt_hash_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err);
void rt_hash_free(struct rt_map *m);
void *rt_hash_lookup(struct rt_map *m, const void *key, int cpu);
int rt_hash_update(struct rt_map *m, const void *key, const void *value, u64 flags);
int rt_hash_copy_in(struct rt_map *m, const void *key, const void *value, u64 flags);
int rt_hash_delete(struct rt_map *m, const void *key);
int rt_hash_copy_out(struct rt_map *m, const void *key, void *value, u64 flags);
int rt_hash_take(struct rt_map *m, const void *key, void *value, u64 flags);
int rt_hash_walk(struct rt_map *m, struct rt_cursor *at, void **key, void **value);
s64 rt_hash_seek(struct rt_map *m, const void *key);
int rt_hash_owns(struct rt_map *m, u64 addr, u64 size);
