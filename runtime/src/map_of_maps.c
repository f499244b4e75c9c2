/* SPDX-License-Identifier: MIT */
/* Hashes of maps: the values are the inner maps' addresses, put in by the control side as in map_held.c. */
#include "hash.h"

static struct rt_map *maps_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct bpf_map inside = *shape;
	struct rt_map *m;

	inside.value_size = sizeof(void *);
	m = rt_hash_alloc(k, &inside, err);
	if (m) {
		m->stored_bytes = sizeof(void *);
		m->map.value_size = shape->value_size;
	}
	return m;
}

static void *maps_lookup(struct rt_map *m, const void *key, int cpu)
{
	void **found = rt_hash_lookup(m, key, cpu);

	return found ? __atomic_load_n(found, __ATOMIC_ACQUIRE) : NULL;
}

static const struct bpf_map_ops hash_of_maps_ops = {
	.map_type = BPF_MAP_TYPE_HASH_OF_MAPS,
	.alloc = maps_alloc,
	.free = rt_hash_free,
	.lookup = maps_lookup,
	.delete = rt_hash_delete,
	.copy_out = rt_hash_copy_out,
	.copy_in = rt_hash_copy_in,
	.take = rt_hash_take,
	.walk = rt_hash_walk,
	.seek = rt_hash_seek,
	.owns = rt_hash_owns,
};
RT_MAP_TYPE(hash_of_maps_ops);
