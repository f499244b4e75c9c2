/* SPDX-License-Identifier: MIT */
/*
 * Deprecated cgroup storage: a value (of each CPU, in the other type) for each cgroup that a program with the map was attached
 * to, or for each such cgroup and attach type. Values come with programs; syscalls see and replace them.
 */
#include "hash.h"

#define MAX_CGROUPS (1u << 16)
#define MAX_BYTES (4ULL << 30) /* of address space; pages come as they are touched */

typedef union {
	struct bpf_cgroup_storage_key by_type;
	u64 id;
} storage_key;

/* The key without what stands behind it, which Linux does not look at either. */
static const void *plain(const struct rt_map *m, const void *key, storage_key *copy)
{
	u32 size = m->map.key_size;

	memset(copy, 0, sizeof(*copy));
	memcpy(copy, key, size == sizeof(u64) ? size : offsetof(struct bpf_cgroup_storage_key, attach_type) + sizeof(u32));
	return copy;
}

static struct rt_map *storage_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct bpf_map inside = *shape;
	int per_cpu = shape->map_type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
	u64 cpus = per_cpu ? k->ncpus : 1, most;
	struct rt_map *m;

	inside.map_type = per_cpu ? BPF_MAP_TYPE_PERCPU_HASH : BPF_MAP_TYPE_HASH;
	most = MAX_BYTES / (round_up((u64)shape->value_size, 8) * cpus + sizeof(storage_key));
	inside.max_entries = most < MAX_CGROUPS ? most : MAX_CGROUPS;
	m = rt_hash_alloc(k, &inside, err);
	if (m) {
		m->map = *shape;
		m->memory_bytes = sizeof(struct rt_hash);
	}
	return m;
}

static int storage_copy_out(struct rt_map *m, const void *key, void *value, u64 flags)
{
	storage_key copy;

	return rt_hash_copy_out(m, plain(m, key, &copy), value, flags);
}

/* Only what is there already is replaced. */
static int storage_copy_in(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	u64 locked = m->map.map_type == BPF_MAP_TYPE_CGROUP_STORAGE ? flags & BPF_F_LOCK : 0;
	storage_key copy;

	if (flags & ~(locked | BPF_EXIST))
		return -EINVAL;
	return rt_hash_copy_in(m, plain(m, key, &copy), value, locked | BPF_EXIST);
}

static int storage_delete(struct rt_map *m, const void *key)
{
	(void)m;
	(void)key;
	return -EINVAL;
}

/* Behind a key that is not there comes none, unlike elsewhere. */
static int storage_next_key(struct rt_map *m, const void *key, void *next)
{
	storage_key copy;
	s64 at = key ? rt_hash_seek(m, plain(m, key, &copy)) : 0;
	struct rt_cursor cursor = { .pos = at };
	void *found, *value;

	if (at < 0 || !rt_hash_walk(m, &cursor, &found, &value))
		return -ENOENT;
	memcpy(next, found, m->map.key_size);
	return 0;
}

#define STORAGE_OPS(name, type)                                                                                        \
	static const struct bpf_map_ops name = {                                                                       \
		.map_type = type,                                                                                      \
		.alloc = storage_alloc,                                                                                \
		.free = rt_hash_free,                                                                                  \
		.delete = storage_delete,                                                                              \
		.copy_out = storage_copy_out,                                                                          \
		.copy_in = storage_copy_in,                                                                            \
		.next_key = storage_next_key,                                                                          \
		.owns = rt_hash_owns,                                                                                  \
	};                                                                                                             \
	RT_MAP_TYPE(name)

STORAGE_OPS(cgroup_storage_ops, BPF_MAP_TYPE_CGROUP_STORAGE);
STORAGE_OPS(percpu_cgroup_storage_ops, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);

/* -- the control side -- */

/* The value of a cgroup for an attach type, made where it is not there yet; NULL without memory. Of each CPU: the first one's. */
void *rt_cgroup_storage(struct bpf_map *map, u64 cgroup_id, u32 attach_type)
{
	storage_key key = { .by_type = { cgroup_id, map->key_size == sizeof(u64) ? 0 : attach_type } };
	struct rt_map *m = rt_map_of(map);
	struct rt_cpu *cpu = rt_enter(m->kernel);
	void *found = rt_hash_lookup(m, &key, 0), *zeroes;

	if (!found && (zeroes = calloc(1, m->value_bytes))) {
		rt_hash_copy_in(m, &key, zeroes, BPF_NOEXIST);
		free(zeroes);
		found = rt_hash_lookup(m, &key, 0);
	}
	rt_leave(cpu);
	return found;
}

/* The cgroup is gone. */
void rt_cgroup_storage_forget(struct bpf_map *map, u64 cgroup_id)
{
	struct rt_map *m = rt_map_of(map);
	struct rt_cpu *cpu = rt_enter(m->kernel);
	struct rt_cursor at = { 0 };
	storage_key copy;
	void *key, *value;

	while (rt_hash_walk(m, &at, &key, &value))
		if (*(u64 *)plain(m, key, &copy) == cgroup_id)
			rt_hash_delete(m, &copy);
	rt_leave(cpu);
}

/* -- the helper: what belongs to the program under way -- */

void *rt_get_local_storage(struct bpf_map *map, u64 flags)
{
	struct rt_event *event = rt_this_cpu->event;
	int per_cpu = map->map_type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
	char *found = event->storage[per_cpu];

	(void)flags;
	return per_cpu ? found + (u64)rt_map_of(map)->value_stride * rt_this_cpu->index : found;
}
