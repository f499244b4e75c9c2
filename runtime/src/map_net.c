/* SPDX-License-Identifier: MIT */
/*
 * What XDP redirects to: devices, CPUs, AF_XDP sockets, by index or (devices) by any number. An entry is one word, as
 * programs and syscalls have it: a device's number or a queue's size, and the id of the program that runs there.
 */
#include "hash.h"
#include "held.h"

static void *word_lookup(struct rt_map *m, const void *key, int cpu)
{
	u32 index = rt_index_of(key);

	(void)cpu;
	return rt_held_at(m, index) ? &rt_held_of(m)->slot[index] : NULL;
}

/* Linux does not look whether something was there. */
static int word_delete(struct rt_map *m, const void *key)
{
	return rt_held_delete(m, key) == -E2BIG ? -EINVAL : 0;
}

static int word_owns(struct rt_map *m, u64 addr, u64 size)
{
	u64 at = addr - (u64)(uintptr_t)rt_held_of(m)->slot, bytes = (u64)m->map.max_entries * sizeof(u64);

	return at < bytes && size <= bytes - at;
}

static struct rt_map *devices_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct bpf_map inside = *shape;
	struct rt_map *m;

	if (shape->max_entries > 1u << 31)
		return *err = -EINVAL, NULL;
	inside.value_size = sizeof(u64);
	m = rt_hash_alloc(k, &inside, err);
	if (m) {
		m->stored_bytes = sizeof(u64);
		m->map.value_size = shape->value_size;
	}
	return m;
}

/* What is there already is asked for with BPF_NOEXIST alone. */
static int devices_copy_in(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	return rt_hash_copy_in(m, key, value, flags == BPF_EXIST ? BPF_ANY : flags);
}

#define WORD_OPS(name, type)                                                                                           \
	static const struct bpf_map_ops name = {                                                                       \
		.map_type = type,                                                                                      \
		.alloc = rt_held_alloc,                                                                                \
		.free = rt_held_free,                                                                                  \
		.lookup = word_lookup,                                                                                 \
		.delete = word_delete,                                                                                 \
		.copy_out = rt_held_copy_out,                                                                          \
		.copy_in = rt_held_copy_in,                                                                            \
		.walk = rt_held_walk,                                                                                  \
		.seek = rt_held_seek,                                                                                  \
		.owns = word_owns,                                                                                     \
	};                                                                                                             \
	RT_MAP_TYPE(name)

WORD_OPS(devmap_ops, BPF_MAP_TYPE_DEVMAP);
WORD_OPS(cpumap_ops, BPF_MAP_TYPE_CPUMAP);

static const struct bpf_map_ops devmap_hash_ops = {
	.map_type = BPF_MAP_TYPE_DEVMAP_HASH,
	.alloc = devices_alloc,
	.free = rt_hash_free,
	.lookup = rt_hash_lookup,
	.delete = rt_hash_delete,
	.copy_out = rt_hash_copy_out,
	.copy_in = devices_copy_in,
	.walk = rt_hash_walk,
	.seek = rt_hash_seek,
	.owns = rt_hash_owns,
};
RT_MAP_TYPE(devmap_hash_ops);

static const struct bpf_map_ops xskmap_ops = {
	.map_type = BPF_MAP_TYPE_XSKMAP,
	.alloc = rt_held_alloc,
	.free = rt_held_free,
	.lookup = rt_held_lookup,
	.delete = word_delete,
	.walk = rt_held_walk,
	.seek = rt_held_seek,
};
RT_MAP_TYPE(xskmap_ops);

/* -- redirections: in a test run the verdict is all that comes of one -- */

enum { XDP_VERDICTS = XDP_TX };

s64 rt_redirect_map(struct bpf_map *map, u64 key, u64 flags)
{
	int devices = map->map_type == BPF_MAP_TYPE_DEVMAP || map->map_type == BPF_MAP_TYPE_DEVMAP_HASH;
	u64 known = XDP_VERDICTS | (devices ? BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS : 0);
	u32 index = (u32)key;

	if (flags & ~known)
		return XDP_ABORTED;
	if (!(flags & BPF_F_BROADCAST) && !map->ops->lookup(rt_map_of(map), &index, rt_this_cpu->index))
		return flags & XDP_VERDICTS;
	return XDP_REDIRECT;
}

s64 rt_xdp_redirect(u64 ifindex, u64 flags)
{
	return flags ? XDP_ABORTED : XDP_REDIRECT;
}

#define TC_ACT_SHOT 2
#define TC_ACT_REDIRECT 7
#define REDIR_NEIGH 20 /* sizeof(struct bpf_redir_neigh) */

s64 rt_redirect(u64 ifindex, u64 flags)
{
	return flags & ~(u64)BPF_F_INGRESS ? TC_ACT_SHOT : TC_ACT_REDIRECT;
}

s64 rt_redirect_peer(u64 ifindex, u64 flags)
{
	return flags ? TC_ACT_SHOT : TC_ACT_REDIRECT;
}

/* With or without the next hop: its family is looked at when the packet goes. */
s64 rt_redirect_neigh(u64 ifindex, const void *params, u64 params_size, u64 flags)
{
	return ((u32)params_size && (u32)params_size < REDIR_NEIGH) || flags ? TC_ACT_SHOT : TC_ACT_REDIRECT;
}
