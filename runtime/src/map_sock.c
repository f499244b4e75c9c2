/* SPDX-License-Identifier: MIT */
/*
 * Maps of sockets: by index, or by any key (a hash of addresses). Programs find sockets in them, syscalls their cookies.
 * A socket goes out of them when it is closed. Values cross copy_in as the socket's address, in program's updates as the
 * socket itself.
 */
#include "hash.h"
#include "held.h"

enum { AF_UNIX_ = 1, AF_INET_ = 2, AF_INET6_ = 10, SOCK_STREAM_ = 1, SOCK_DGRAM_ = 2, TCP_ = 6, UDP_ = 17 };

/* Whether a socket can be redirected to: one with a connection, one that listens, a datagram socket with a port. */
static int is_suitable(const struct sock *sk)
{
	const struct sock_common *common = &sk->__sk_common;
	int connected = common->skc_state == TCP_ESTABLISHED;

	if (common->skc_family == AF_UNIX_)
		return sk->sk_type == SOCK_DGRAM_ || connected;
	if (common->skc_family != AF_INET_ && common->skc_family != AF_INET6_)
		return 0;
	if (connected || common->skc_state == TCP_LISTEN)
		return sk->sk_protocol == TCP_ || sk->sk_protocol == UDP_;
	return common->skc_state == TCP_CLOSE && sk->sk_protocol == UDP_ && common->skc_num;
}

/* Linux finds out last that a kind of socket has no such thing as a message to redirect. */
static int has_messages(const struct sock *sk)
{
	return sk->__sk_common.skc_family != AF_UNIX_ || sk->sk_type == SOCK_STREAM_ || sk->sk_type == SOCK_DGRAM_;
}

static int slot_put(struct rt_map *m, u32 index, struct sock *sk, u64 flags)
{
	void **slot, *before;

	if (flags > BPF_EXIST)
		return -EINVAL;
	if (index >= m->map.max_entries)
		return -E2BIG;
	if (!has_messages(sk))
		return -EOPNOTSUPP;
	slot = &rt_held_of(m)->slot[index];
	before = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
	do {
		if (before && flags == BPF_NOEXIST)
			return -EEXIST;
		if (!before && flags == BPF_EXIST)
			return -ENOENT;
	} while (!__atomic_compare_exchange_n(slot, &before, sk, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	return 0;
}

static int array_update(struct rt_map *m, const void *key, const void *sk, u64 flags)
{
	return is_suitable(sk) ? slot_put(m, rt_index_of(key), (struct sock *)sk, flags) : -EOPNOTSUPP;
}

static int hash_update(struct rt_map *m, const void *key, const void *sk, u64 flags)
{
	if (!is_suitable(sk))
		return -EOPNOTSUPP;
	if (flags > BPF_EXIST)
		return -EINVAL;
	return has_messages(sk) ? rt_hash_copy_in(m, key, &sk, flags) : -EOPNOTSUPP;
}

static int copy_in(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	struct sock *sk;

	memcpy(&sk, value, sizeof(sk));
	return m->map.ops->update(m, key, sk, flags);
}

static int copy_out(struct rt_map *m, const void *key, void *value, u64 flags)
{
	struct sock *sk;
	u64 cookie;

	(void)flags;
	if (m->map.value_size != sizeof(cookie))
		return -ENOSPC;
	sk = m->map.ops->lookup(m, key, rt_this_cpu->index);
	if (!sk)
		return -ENOENT;
	cookie = rt_sk_cookie(sk);
	memcpy(value, &cookie, sizeof(cookie));
	return 0;
}

static int array_delete(struct rt_map *m, const void *key)
{
	return rt_held_delete(m, key) ? -EINVAL : 0;
}

static void array_forget(struct rt_map *m, void *sk)
{
	for (u32 i = 0; i < m->map.max_entries; i++) {
		void *expected = sk;

		__atomic_compare_exchange_n(&rt_held_of(m)->slot[i], &expected, NULL, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	}
}

static struct rt_map *array_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct rt_map *m = rt_held_alloc(k, shape, err);

	if (m && (*err = rt_objects_watch(k, m, array_forget, 1))) {
		m->map.max_entries = shape->max_entries;
		rt_held_free(m);
		return NULL;
	}
	return m;
}

static void array_free(struct rt_map *m)
{
	rt_objects_unwatch(m);
	rt_held_free(m);
}

static const struct bpf_map_ops sockmap_ops = {
	.map_type = BPF_MAP_TYPE_SOCKMAP,
	.alloc = array_alloc,
	.free = array_free,
	.lookup = rt_held_lookup,
	.update = array_update,
	.delete = array_delete,
	.copy_out = copy_out,
	.copy_in = copy_in,
	.walk = rt_held_walk,
	.seek = rt_held_seek,
};
RT_MAP_TYPE(sockmap_ops);

static void *hash_lookup(struct rt_map *m, const void *key, int cpu)
{
	void **found = rt_hash_lookup(m, key, cpu);

	return found ? __atomic_load_n(found, __ATOMIC_ACQUIRE) : NULL;
}

static void hash_forget(struct rt_map *m, void *sk)
{
	struct rt_cursor at = { 0 };
	char copy[512]; /* the longest key */
	void *key, *value;

	while (rt_hash_walk(m, &at, &key, &value))
		if (__atomic_load_n((void **)value, __ATOMIC_ACQUIRE) == sk) {
			memcpy(copy, key, m->map.key_size);
			rt_hash_delete(m, copy);
		}
}

static struct rt_map *hash_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct bpf_map inside = *shape;
	struct rt_map *m;

	*err = -EINVAL;
	if (shape->max_entries > 1u << 31)
		return NULL;
	inside.value_size = sizeof(void *);
	m = rt_hash_alloc(k, &inside, err);
	if (!m)
		return NULL;
	m->stored_bytes = sizeof(void *);
	m->map.value_size = shape->value_size;
	if ((*err = rt_objects_watch(k, m, hash_forget, 1))) {
		rt_hash_free(m);
		return NULL;
	}
	return m;
}

static void hash_free(struct rt_map *m)
{
	rt_objects_unwatch(m);
	rt_hash_free(m);
}

static const struct bpf_map_ops sockhash_ops = {
	.map_type = BPF_MAP_TYPE_SOCKHASH,
	.alloc = hash_alloc,
	.free = hash_free,
	.lookup = hash_lookup,
	.update = hash_update,
	.delete = rt_hash_delete,
	.copy_out = copy_out,
	.copy_in = copy_in,
	.walk = rt_hash_walk,
	.seek = rt_hash_seek,
	.owns = rt_hash_owns, /* keys that an iterator hands out */
};
RT_MAP_TYPE(sockhash_ops);

/* Nobody here has SO_REUSEPORT: there is nothing to put in. */
static const struct bpf_map_ops reuseport_ops = {
	.map_type = BPF_MAP_TYPE_REUSEPORT_SOCKARRAY,
	.alloc = rt_held_alloc,
	.free = rt_held_free,
	.lookup = rt_held_lookup,
	.delete = rt_held_delete,
	.copy_out = copy_out,
	.walk = rt_held_walk,
	.seek = rt_held_seek,
};
RT_MAP_TYPE(reuseport_ops);

/* -- helpers -- */

/* A socket whose handshake is done, or that begins to listen. */
s64 rt_sock_map_update(const struct bpf_sock_ops *ctx, struct bpf_map *map, const void *key, u64 flags)
{
	struct sock *sk = rt_event_sock(ctx);

	if (ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB &&
	    ctx->op != BPF_SOCK_OPS_TCP_LISTEN_CB)
		return -EOPNOTSUPP;
	return sk ? map->ops->update(rt_map_of(map), key, sk, flags) : -EOPNOTSUPP;
}

/* Who has a socket in hand is a reader: it stays until that one is through. */
s64 rt_sk_release(struct sock *sk)
{
	(void)sk;
	return 0;
}
