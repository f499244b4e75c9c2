/* SPDX-License-Identifier: MIT */
/* Bloom filters: bits that values set; what was never pushed may be found, what was pushed always is. */
#include "hash.h"

#define DEFAULT_HASHES 5

struct bloom {
	struct rt_map m;
	u64 *bits;
	u64 mask; /* of a bit's number */
	u64 seed;
	u32 hashes;
};

static u64 bytes_of(const struct bloom *b)
{
	return round_up((b->mask + 1) / 8, 8);
}

static struct rt_map *bloom_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct bloom *b = calloc(1, sizeof(*b));
	u64 bits = 64, wanted;

	*err = -ENOMEM;
	if (!b)
		return NULL;
	b->hashes = shape->map_extra & 0xf ? shape->map_extra & 0xf : DEFAULT_HASHES;
	/* n * hashes / ln(2) bits find least by mistake; 7/5 is that quotient, as in Linux, which stops at 2^32 bits. */
	wanted = (u64)shape->max_entries * b->hashes * 7 / 5;
	while (bits < wanted && bits < 1ULL << 32)
		bits *= 2;
	b->mask = bits - 1;
	if (!(shape->map_flags & BPF_F_ZERO_SEED))
		b->seed = k->pointer_key[0];
	b->bits = rt_pages_alloc(bytes_of(b));
	if (!b->bits) {
		free(b);
		return NULL;
	}
	b->m.value_stride = b->m.value_bytes = shape->value_size;
	b->m.memory_bytes = sizeof(*b) + bytes_of(b);
	return &b->m;
}

static void bloom_free(struct rt_map *m)
{
	struct bloom *b = (struct bloom *)m;

	rt_pages_free(b->bits, bytes_of(b));
	free(b);
}

/* The number of a value's i-th bit: two halves of one hash make them all. */
static u64 bit_of(const struct bloom *b, u64 hash, u32 i)
{
	return (hash + i * ((hash >> 32) | 1)) & b->mask;
}

static int bloom_push(struct rt_map *m, const void *value, u64 flags)
{
	struct bloom *b = (struct bloom *)m;
	u64 hash = rt_hash_bytes(b->seed, value, m->map.value_size);

	if (flags != BPF_ANY)
		return -EINVAL;
	for (u32 i = 0; i < b->hashes; i++) {
		u64 bit = bit_of(b, hash, i);

		__atomic_fetch_or(&b->bits[bit / 64], 1ULL << bit % 64, __ATOMIC_RELAXED);
	}
	return 0;
}

static int bloom_peek(struct rt_map *m, void *value)
{
	struct bloom *b = (struct bloom *)m;
	u64 hash = rt_hash_bytes(b->seed, value, m->map.value_size);

	for (u32 i = 0; i < b->hashes; i++) {
		u64 bit = bit_of(b, hash, i);

		if (!(__atomic_load_n(&b->bits[bit / 64], __ATOMIC_RELAXED) >> bit % 64 & 1))
			return -ENOENT;
	}
	return 0;
}

static int bloom_delete(struct rt_map *m, const void *key)
{
	(void)m;
	(void)key;
	return -EOPNOTSUPP;
}

static int bloom_next_key(struct rt_map *m, const void *key, void *next)
{
	(void)m;
	(void)key;
	(void)next;
	return -EOPNOTSUPP;
}

static const struct bpf_map_ops bloom_ops = {
	.map_type = BPF_MAP_TYPE_BLOOM_FILTER,
	.alloc = bloom_alloc,
	.free = bloom_free,
	.delete = bloom_delete,
	.push = bloom_push,
	.peek = bloom_peek,
	.tests = 1,
	.next_key = bloom_next_key,
};
RT_MAP_TYPE(bloom_ops);
