/* SPDX-License-Identifier: MIT */
/*
 * Longest prefix match: a binary trie whose nodes hold a prefix each. A key is its length in bits and its bytes. Nodes
 * that only fork (no value of their own) are `fork`. Readers take no lock; writers share one.
 */
#include "slab.h"

struct node {
	struct node *child[2]; /* atomic */
	u32 prefixlen;
	u32 fork; /* atomic */
	u8 data[]; /* the prefix, then the value at an 8-byte boundary */
};

struct trie {
	struct rt_map m;
	struct rt_slab *slab;
	struct node *root; /* atomic */
	u32 lock;
	u32 entries;
	u32 data_bytes;
	u32 value_off;
	u32 max_prefixlen;
};

struct key {
	u32 prefixlen;
	const u8 *data;
};

static struct trie *trie_of(struct rt_map *m)
{
	return (struct trie *)m;
}

static struct key key_of(const void *raw)
{
	struct key k = { .data = (const u8 *)raw + sizeof(u32) };

	memcpy(&k.prefixlen, raw, sizeof(u32)); /* a key may lie anywhere */
	return k;
}

static int bit_at(const u8 *data, u32 n)
{
	return data[n / 8] >> (7 - n % 8) & 1;
}

/* How many leading bits a node and a key have in common. */
static u32 common(const struct node *n, const struct key *k)
{
	u32 limit = n->prefixlen < k->prefixlen ? n->prefixlen : k->prefixlen, bits = 0;

	for (u32 i = 0; bits < limit; i++) {
		u8 diff = n->data[i] ^ k->data[i];

		if (diff) {
			bits += __builtin_clz((u32)diff << 24);
			break;
		}
		bits += 8;
	}
	return bits < limit ? bits : limit;
}

static char *value_of(const struct trie *t, struct node *n)
{
	return (char *)n + t->value_off;
}

static struct node *load(struct node *const *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void publish(struct node **at, struct node *n)
{
	__atomic_store_n(at, n, __ATOMIC_RELEASE);
}

static struct node *longest_match(struct trie *t, const struct key *k)
{
	struct node *found = NULL, *n = load(&t->root);

	while (n) {
		if (common(n, k) < n->prefixlen)
			break;
		if (!__atomic_load_n(&n->fork, __ATOMIC_RELAXED))
			found = n;
		if (n->prefixlen >= k->prefixlen)
			break;
		n = load(&n->child[bit_at(k->data, n->prefixlen)]);
	}
	return found;
}

static void *trie_lookup(struct rt_map *m, const void *raw, int cpu)
{
	struct trie *t = trie_of(m);
	struct key k = key_of(raw);
	struct node *n;

	(void)cpu;
	if (k.prefixlen > t->max_prefixlen)
		return NULL;
	n = longest_match(t, &k);
	return n ? value_of(t, n) : NULL;
}

static int trie_copy_out(struct rt_map *m, const void *raw, void *value, u64 flags)
{
	void *found = trie_lookup(m, raw, 0);

	(void)flags;
	if (!found)
		return -ENOENT;
	memcpy(value, found, m->map.value_size);
	return 0;
}

/* The slot where a key's walk ends: its own node's, or where it would go. *matched: what the node there has in common. */
static struct node **descend(struct trie *t, const struct key *k, u32 *matched, struct node **parent, struct node ***above)
{
	struct node **slot = &t->root, *n;

	*matched = 0;
	while ((n = *slot)) {
		*matched = common(n, k);
		if (*matched != n->prefixlen || n->prefixlen == k->prefixlen)
			break;
		if (parent) {
			*parent = n;
			*above = slot;
		}
		slot = &n->child[bit_at(k->data, n->prefixlen)];
	}
	return slot;
}

static struct node *node_new(struct trie *t, const struct key *k, const void *value)
{
	struct node *n = rt_slab_get(t->slab);

	if (!n)
		return NULL;
	n->prefixlen = k->prefixlen;
	memcpy(n->data, k->data, t->data_bytes);
	if (value)
		memcpy(value_of(t, n), value, t->m.map.value_size);
	return n;
}

static int update_locked(struct trie *t, const struct key *k, const void *value, u64 flags)
{
	u32 matched;
	struct node **slot = descend(t, k, &matched, NULL, NULL), *n = *slot, *fresh, *fork;
	int same = n && matched == n->prefixlen && n->prefixlen == k->prefixlen, there = same && !n->fork;

	if (there && flags == BPF_NOEXIST)
		return -EEXIST;
	if (!there && flags == BPF_EXIST)
		return -ENOENT;
	if (!there && t->entries == t->m.map.max_entries)
		return -ENOSPC;
	fresh = node_new(t, k, value);
	if (!fresh)
		return -ENOMEM;
	if (same) {
		fresh->child[0] = n->child[0];
		fresh->child[1] = n->child[1];
		publish(slot, fresh);
		rt_slab_put_rcu(t->slab, n);
	} else if (!n) {
		publish(slot, fresh);
	} else if (matched == k->prefixlen) {
		fresh->child[bit_at(n->data, matched)] = n;
		publish(slot, fresh);
	} else {
		struct key at = { .prefixlen = matched, .data = n->data };

		fork = node_new(t, &at, NULL);
		if (!fork) {
			rt_slab_put(t->slab, fresh);
			return -ENOMEM;
		}
		fork->fork = 1;
		fork->child[bit_at(k->data, matched)] = fresh;
		fork->child[bit_at(n->data, matched)] = n;
		publish(slot, fork);
	}
	t->entries += !there;
	t->m.memory_bytes = sizeof(*t) + t->slab->memory_bytes;
	return 0;
}

static int trie_update(struct rt_map *m, const void *raw, const void *value, u64 flags)
{
	struct trie *t = trie_of(m);
	struct key k = key_of(raw);
	int err;

	if (flags > BPF_EXIST || k.prefixlen > t->max_prefixlen)
		return -EINVAL;
	rt_spin_lock(&t->lock);
	err = update_locked(t, &k, value, flags);
	rt_spin_unlock(&t->lock);
	return err;
}

static int delete_locked(struct trie *t, const struct key *k)
{
	struct node *parent = NULL, **above = NULL;
	u32 matched;
	struct node **slot = descend(t, k, &matched, &parent, &above), *n = *slot;

	if (!n || n->prefixlen != k->prefixlen || matched != n->prefixlen || n->fork)
		return -ENOENT;
	t->entries--;
	if (n->child[0] && n->child[1]) {
		__atomic_store_n(&n->fork, 1, __ATOMIC_RELAXED);
		return 0;
	}
	if (!n->child[0] && !n->child[1] && parent && parent->fork) {
		/* The fork above has one way left: that takes its place. */
		publish(above, parent->child[0] == n ? parent->child[1] : parent->child[0]);
		rt_slab_put_rcu(t->slab, parent);
	} else {
		publish(slot, n->child[0] ? n->child[0] : n->child[1]);
	}
	rt_slab_put_rcu(t->slab, n);
	return 0;
}

static int trie_delete(struct rt_map *m, const void *raw)
{
	struct trie *t = trie_of(m);
	struct key k = key_of(raw);
	int err;

	if (k.prefixlen > t->max_prefixlen)
		return -EINVAL;
	rt_spin_lock(&t->lock);
	err = delete_locked(t, &k);
	rt_spin_unlock(&t->lock);
	return err;
}

/* Linux's order: what is beneath a prefix before the prefix itself, 0 before 1. */
static struct node *first_beneath(struct node *n)
{
	while (n && (n->child[0] || n->child[1]))
		n = n->child[0] ? n->child[0] : n->child[1];
	return n;
}

static int trie_next_key(struct rt_map *m, const void *raw, void *next)
{
	struct trie *t = trie_of(m);
	struct key k = raw ? key_of(raw) : (struct key){ 0 };
	struct node *path[8 * 256 + 2], *n, *found = NULL;
	u32 depth = 0;

	rt_spin_lock(&t->lock);
	n = raw && k.prefixlen <= t->max_prefixlen ? t->root : NULL;
	while (n && common(n, &k) == n->prefixlen) {
		path[depth++] = n;
		if (n->prefixlen >= k.prefixlen)
			break;
		n = n->child[bit_at(k.data, n->prefixlen)];
	}
	if (depth && n == path[depth - 1] && n->prefixlen == k.prefixlen && !n->fork) {
		while (!found && --depth) { /* up, and into the other half if it is not behind us */
			struct node *up = path[depth - 1], *from = path[depth];

			found = up->child[0] == from && up->child[1] ? first_beneath(up->child[1]) : up->fork ? NULL : up;
		}
	} else {
		found = first_beneath(t->root);
	}
	if (found) {
		memcpy(next, &found->prefixlen, sizeof(u32));
		memcpy((char *)next + sizeof(u32), found->data, t->data_bytes);
	}
	rt_spin_unlock(&t->lock);
	return found ? 0 : -ENOENT;
}

static int trie_owns(struct rt_map *m, u64 addr, u64 size)
{
	return rt_slab_owns(trie_of(m)->slab, addr, size);
}

static void trie_free(struct rt_map *m)
{
	rt_slab_close(trie_of(m)->slab);
	free(m);
}

static struct rt_map *trie_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct trie *t = calloc(1, sizeof(*t));

	*err = -ENOMEM;
	if (!t)
		return NULL;
	t->data_bytes = shape->key_size - sizeof(u32);
	t->max_prefixlen = t->data_bytes * 8;
	t->value_off = round_up(offsetof(struct node, data) + t->data_bytes, 8);
	t->slab = rt_slab_new(k, t->value_off + (size_t)shape->value_size);
	if (!t->slab) {
		free(t);
		return NULL;
	}
	t->m.value_stride = t->m.value_bytes = shape->value_size;
	t->m.memory_bytes = sizeof(*t);
	return &t->m;
}

static const struct bpf_map_ops trie_ops = {
	.map_type = BPF_MAP_TYPE_LPM_TRIE,
	.alloc = trie_alloc,
	.free = trie_free,
	.lookup = trie_lookup,
	.update = trie_update,
	.delete = trie_delete,
	.copy_out = trie_copy_out,
	.copy_in = trie_update,
	.next_key = trie_next_key,
	.owns = trie_owns,
};
RT_MAP_TYPE(trie_ops);
