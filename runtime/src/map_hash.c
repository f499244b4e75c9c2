/* SPDX-License-Identifier: MIT */
/* Hashes (layout and rules: hash.h): looking up, writing, walking. */
#include <emmintrin.h>

#include "hash.h"

static RT_RACY int key_equal(const struct rt_hash *h, u32 e, const void *key)
{
	const char *have = rt_elem_at(h, e);
	u64 a, b;

	if (h->key_size == 8) {
		memcpy(&a, have, 8);
		memcpy(&b, key, 8);
		return a == b;
	}
#ifdef __SANITIZE_THREAD__
	for (u32 i = 0; i < h->key_size; i++) /* its memcmp would report what RT_RACY is to keep quiet */
		if (have[i] != ((const char *)key)[i])
			return 0;
	return 1;
#else
	return !memcmp(have, key, h->key_size);
#endif
}

/* A line that will be written: fetched for that at once, rather than to be read first and asked for again. */
static inline void will_write(const void *at)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)at));
#else
	__builtin_prefetch(at, 1);
#endif
}

static inline u64 *find(const struct rt_hash *h, u64 hash, const void *key, u64 *word, int to_replace)
{
	struct rt_bucket *b = rt_home_bucket(h, hash);

	for (; b; b = rt_next_bucket(h, b)) {
		for (int i = 0; i < RT_SLOTS; i++) {
			u64 w = __atomic_load_n(&b->slot[i], __ATOMIC_ACQUIRE);

			if (!w || w >> 32 != hash >> 32)
				continue;
			if (to_replace)
				will_write(rt_elem_at(h, (u32)w - 1)); /* the next replacement's spare */
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

u64 *rt_hash_find(const struct rt_hash *h, u64 hash, const void *key, u64 *word)
{
	return find(h, hash, key, word, 0);
}

/* -- writers -- */

static void write_value(struct rt_hash *h, u32 e, const void *value, int all_cpus)
{
	char *to = rt_elem_value(h, e);
	u32 stride = h->m.value_stride;

	if (!h->per_cpu) {
		rt_value_write(&h->m, to, value);
	} else if (all_cpus) {
		for (int cpu = 0; cpu < h->m.kernel->ncpus; cpu++)
			rt_value_write(&h->m, to + (u64)stride * cpu, (const char *)value + (u64)stride * cpu);
	} else {
		/* A program's insert gives its own CPU the value and the others zeroes. */
		memset(to, 0, h->m.value_bytes);
		rt_value_write(&h->m, to + (u64)stride * rt_this_cpu->index, value);
	}
}

static void drop_values(struct rt_hash *h, u32 e)
{
	if (likely(!h->m.fields.count))
		return;
	for (int cpu = 0; cpu < (h->per_cpu ? h->m.kernel->ncpus : 1); cpu++)
		rt_value_drop(&h->m, rt_elem_value(h, e) + (u64)h->m.value_stride * cpu);
}

static int insert_locked(struct rt_hash *h, struct rt_bucket *b, u64 word)
{
	for (;;) {
		for (int i = 0; i < RT_SLOTS; i++) {
			if (!b->slot[i]) {
				__atomic_store_n(&b->slot[i], word, __ATOMIC_RELEASE);
				return 0;
			}
		}
		struct rt_bucket *next = rt_next_bucket(h, b);

		if (!next) {
			u32 n = rt_overflow_get(h);

			if (n == RT_NIL)
				return -ENOMEM;
			next = &h->overflow[n];
			__atomic_store_n(&b->next, n + 1, __ATOMIC_RELEASE);
		}
		b = next;
	}
}

static void fill_elem(struct rt_hash *h, u32 e, u32 home, const void *key, const void *value, int all_cpus, u8 seen)
{
	memcpy(rt_elem_at(h, e), key, h->key_size);
	write_value(h, e, value, all_cpus);
	if (h->home) {
		__atomic_store_n(&h->home[e], home, __ATOMIC_RELAXED);
		rt_lru_seen(h, e, seen);
	}
}

/* `key` is there, in `slot`: a new value for it. `e` is an element for that, which the old one takes the place of. */
static void replace_locked(struct rt_hash *h, u64 *slot, u64 word, u32 *e, const void *key, const void *value, int all_cpus)
{
	u32 old = (u32)word - 1, home = h->home ? h->home[old] : 0;

	fill_elem(h, *e, home, key, value, all_cpus, 1);
	__atomic_store_n(slot, word >> 32 << 32 | (*e + 1), __ATOMIC_RELEASE);
	drop_values(h, old);
	*e = old;
}

static int check_presence(const u64 *slot, u64 flags)
{
	if (slot)
		return (flags & ~(u64)BPF_F_LOCK) == BPF_NOEXIST ? -EEXIST : 0;
	return (flags & ~(u64)BPF_F_LOCK) == BPF_EXIST ? -ENOENT : 0;
}

/* Flags that this map knows, in the kernel's order: unknown ones, then a lock that the value does not have. */
static int check_flags(const struct rt_hash *h, u64 flags)
{
	if (likely(flags <= BPF_EXIST))
		return 0;
	if ((flags & ~(u64)BPF_F_LOCK) > BPF_EXIST || h->home || h->per_cpu || h->m.fields.lock_off < 0)
		return -EINVAL;
	return 0;
}

static int update(struct rt_map *m, const void *key, const void *value, u64 flags, int all_cpus)
{
	struct rt_hash *h = rt_hash_of(m);
	struct rt_bucket *b;
	u64 hash, word, *slot;
	u32 e = RT_NIL; /* taken, and ours until it is in a slot */
	unsigned spins = 0;
	int err = check_flags(h, flags);

	if (unlikely(err))
		return err;
	hash = rt_hash_key(h, key);
	b = rt_home_bucket(h, hash);
	if (likely(!h->private_lru))
		will_write(rt_elem_at(h, h->free[rt_this_cpu->index].spare));
	for (;;) {
		rt_spin_lock(&b->lock);
		slot = find(h, hash, key, &word, !h->private_lru);
		err = check_presence(slot, flags);
		if (err)
			break;
		if (slot && h->per_cpu && !all_cpus) {
			rt_value_write(m, rt_elem_value(h, (u32)word - 1) + (u64)m->value_stride * rt_this_cpu->index, value);
			break;
		}
		if (slot && flags & BPF_F_LOCK) {
			rt_value_write_locked(m, rt_elem_value(h, (u32)word - 1), value);
			break;
		}
		if (slot && !h->private_lru) {
			replace_locked(h, slot, word, &h->free[rt_this_cpu->index].spare, key, value, all_cpus);
			break;
		}
		if (e == RT_NIL)
			e = rt_elem_get(h);
		if (e == RT_NIL && h->home) {
			/* The bucket is let go while another one is searched for room; then all begins again. */
			rt_spin_unlock(&b->lock);
			e = rt_lru_evict(h);
			if (e == RT_NIL)
				rt_relax(&spins);
			continue;
		}
		if (slot) {
			replace_locked(h, slot, word, &e, key, value, all_cpus);
		} else if (e == RT_NIL) {
			err = -E2BIG;
		} else {
			fill_elem(h, e, (u32)(b - h->buckets), key, value, all_cpus, 0);
			err = insert_locked(h, b, (hash >> 32) << 32 | (e + 1));
			if (!err)
				e = RT_NIL;
		}
		break;
	}
	rt_spin_unlock(&b->lock);
	if (e != RT_NIL)
		rt_elem_put(h, e);
	return err;
}

int rt_hash_update(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	return update(m, key, value, flags, 0);
}

int rt_hash_copy_in(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	return update(m, key, value, flags, 1);
}

/* Under the bucket's lock: a syscall's copy is never half of one update and half of the next. */
static void copy_locked(struct rt_hash *h, u32 e, void *value, u64 flags)
{
	const char *from = rt_elem_value(h, e);
	u32 stride = h->m.value_stride;

	if (flags & BPF_F_LOCK)
		rt_value_read_locked(&h->m, value, from);
	else if (!h->per_cpu)
		rt_value_read(&h->m, value, from);
	else if (!h->m.fields.count)
		memcpy(value, from, h->m.value_bytes);
	else
		for (int cpu = 0; cpu < h->m.kernel->ncpus; cpu++)
			rt_value_read(&h->m, (char *)value + (u64)stride * cpu, from + (u64)stride * cpu);
}

/* The element leaves the map; its value goes to `value` where that is wanted. */
static int remove_elem(struct rt_map *m, const void *key, void *value, u64 flags)
{
	struct rt_hash *h = rt_hash_of(m);
	u64 hash = rt_hash_key(h, key);
	struct rt_bucket *b = rt_home_bucket(h, hash);
	u64 word, *slot;

	rt_spin_lock(&b->lock);
	slot = rt_hash_find(h, hash, key, &word);
	if (slot) {
		if (value)
			copy_locked(h, (u32)word - 1, value, flags);
		rt_slot_clear(h, b, slot);
		drop_values(h, (u32)word - 1);
	}
	rt_spin_unlock(&b->lock);
	if (!slot)
		return -ENOENT;
	rt_elem_put(h, (u32)word - 1);
	return 0;
}

int rt_hash_delete(struct rt_map *m, const void *key)
{
	return remove_elem(m, key, NULL, 0);
}

int rt_hash_take(struct rt_map *m, const void *key, void *value, u64 flags)
{
	return remove_elem(m, key, value, flags);
}

/* -- readers -- */

void *rt_hash_lookup(struct rt_map *m, const void *key, int cpu)
{
	struct rt_hash *h = rt_hash_of(m);
	u64 word;

	if (!rt_hash_find(h, rt_hash_key(h, key), key, &word))
		return NULL;
	if (h->home)
		rt_lru_seen(h, (u32)word - 1, 1);
	return rt_elem_value(h, (u32)word - 1) + (h->per_cpu ? (u64)m->value_stride * cpu : 0);
}

int rt_hash_copy_out(struct rt_map *m, const void *key, void *value, u64 flags)
{
	struct rt_hash *h = rt_hash_of(m);
	u64 word, hash = rt_hash_key(h, key), *slot;
	struct rt_bucket *b = rt_home_bucket(h, hash);

	rt_spin_lock(&b->lock);
	slot = rt_hash_find(h, hash, key, &word);
	if (slot)
		copy_locked(h, (u32)word - 1, value, flags);
	rt_spin_unlock(&b->lock);
	return slot ? 0 : -ENOENT;
}

/* A cursor counts slots: those of all buckets, then those of the overflow buckets. */
static const struct rt_bucket *bucket_at(const struct rt_hash *h, u64 b)
{
	u64 nbuckets = (u64)h->mask + 1;

	return b < nbuckets ? &h->buckets[b] : &h->overflow[b - nbuckets];
}

/* Slots that hold something, a bit each: the lower half of a slot tells. A bucket is four vectors, and has no eighth slot. */
static RT_RACY u64 slots_in_use(const struct rt_bucket *b)
{
	u32 empty = 0;

	for (int i = 0; i < 4; i += 2) {
		__m128 low = _mm_load_ps((const float *)b + 4 * i), high = _mm_load_ps((const float *)b + 4 * i + 4);
		__m128i words = _mm_castps_si128(_mm_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0)));

		empty |= (u32)_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(words, _mm_setzero_si128()))) << 2 * i;
	}
	return ~empty & 0x7f;
}

/*
 * A walk looks at eight buckets at once, a bit for each of their words: how many of a bucket's slots are in use no processor
 * foresees, and a loop over each would end in a wrong guess every few elements.
 */
#define GROUP 8

static u64 group_in_use(const struct rt_hash *h, u64 from, u64 end)
{
	u64 used = 0;

	for (u64 b = from; b < end; b++)
		used |= slots_in_use(bucket_at(h, b)) << b % GROUP * 8;
	return used;
}

static u64 slot_in_group(const struct rt_hash *h, u64 first, u64 used)
{
	u32 i = (u32)__builtin_ctzll(used);

	return __atomic_load_n(&bucket_at(h, first + i / 8)->slot[i % 8], __ATOMIC_ACQUIRE);
}

static u64 group_end(u64 bucket, u64 end)
{
	u64 after = (bucket | (GROUP - 1)) + 1;

	return after < end ? after : end;
}

/* Elements lie where they were taken from the free list: a walk asks for those of a group before it gets there. */
static void fetch_ahead(const struct rt_hash *h, u64 first, u64 end)
{
	for (u64 used = group_in_use(h, first, group_end(first, end)); used; used &= used - 1)
		__builtin_prefetch(rt_elem_at(h, (u32)slot_in_group(h, first, used) - 1));
}

/* In a cursor: `next` is the first bucket not looked at, `used` what is left of the group before it, `index` is 1 from then on. */
int rt_hash_walk(struct rt_map *m, struct rt_cursor *at, void **key, void **value)
{
	struct rt_hash *h = rt_hash_of(m);
	u64 end = (u64)h->mask + 1 + __atomic_load_n(&h->used_overflow, __ATOMIC_ACQUIRE);
	u64 used = at->used;

	if (!at->next) { /* somewhere in a bucket, which may be all that is asked for */
		u64 b = at->pos / RT_SLOTS, slot = at->pos % RT_SLOTS;

		if (b >= end)
			return 0;
		used = (slots_in_use(bucket_at(h, b)) & ~0u << slot) << b % GROUP * 8;
		at->next = b + 1;
	}
	for (;;) {
		u64 first = (at->next - 1) & ~(u64)(GROUP - 1);

		for (; used; used &= used - 1) {
			u64 bit = (u64)__builtin_ctzll(used), word = slot_in_group(h, first, used);

			if (!word)
				continue; /* deleted meanwhile */
			at->pos = (first + bit / 8) * RT_SLOTS + bit % 8 + 1;
			at->used = used & (used - 1);
			*key = rt_elem_at(h, (u32)word - 1);
			*value = rt_elem_value(h, (u32)word - 1) + (h->per_cpu ? (u64)m->value_stride * rt_this_cpu->index : 0);
			return 1;
		}
		if (at->next >= end)
			break;
		first = at->next;
		at->next = group_end(first, end);
		used = group_in_use(h, first, at->next);
		if (at->index && at->next < end)
			fetch_ahead(h, at->next, end);
		at->index = 1;
	}
	at->pos = end * RT_SLOTS;
	at->used = 0;
	return 0;
}

s64 rt_hash_seek(struct rt_map *m, const void *key)
{
	struct rt_hash *h = rt_hash_of(m);
	u64 word, *slot = rt_hash_find(h, rt_hash_key(h, key), key, &word);
	struct rt_bucket *b;
	u64 first, offset;

	if (!slot)
		return -ENOENT;
	b = (struct rt_bucket *)((uintptr_t)slot & ~(uintptr_t)(RT_CACHE_LINE - 1));
	offset = slot - b->slot;
	first = b >= h->buckets && b <= h->buckets + h->mask ? (u64)(b - h->buckets)
							     : (u64)h->mask + 1 + (u64)(b - h->overflow);
	return (s64)(first * RT_SLOTS + offset + 1);
}

int rt_hash_owns(struct rt_map *m, u64 addr, u64 size)
{
	struct rt_hash *h = rt_hash_of(m);
	u64 start = (u64)(uintptr_t)h->elems, all = (u64)h->elem_bytes * h->count;

	return addr >= start && size <= all && addr - start <= all - size;
}
