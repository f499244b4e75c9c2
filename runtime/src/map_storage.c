/* SPDX-License-Identifier: MIT */
/*
 * Local storage: one value for each task, cgroup, inode or socket, in a hash by the object's address. When an object's
 * memory is given back, after readers, its values go too (rt_storage_forget), and so it does from other maps that watch.
 */
#include "hash.h"

#define MAX_OBJECTS (1u << 20)
#define MAX_BYTES (4ULL << 30) /* of address space; pages come as they are touched */
#define STORAGE_CREATE 1

struct storage_link {
	struct storage_link *next;
	struct rt_map *m;
	rt_forget_fn forget;
	int at_once;
};

int rt_objects_watch(struct rt_kernel *k, struct rt_map *m, rt_forget_fn forget, int at_once)
{
	struct storage_link *link = calloc(1, sizeof(*link));

	if (!link)
		return -ENOMEM;
	link->m = m;
	link->forget = forget;
	link->at_once = at_once;
	rt_spin_lock(&k->storages_lock);
	link->next = k->storages;
	k->storages = link;
	rt_spin_unlock(&k->storages_lock);
	return 0;
}

void rt_objects_unwatch(struct rt_map *m)
{
	struct rt_kernel *k = m->kernel;
	struct storage_link **at, *gone = NULL;

	rt_spin_lock(&k->storages_lock);
	for (at = &k->storages; *at && (*at)->m != m; at = &(*at)->next)
		;
	if (*at) {
		gone = *at;
		*at = gone->next;
	}
	rt_spin_unlock(&k->storages_lock);
	free(gone);
}

static void storage_forget(struct rt_map *m, void *object)
{
	rt_hash_delete(m, &object);
}

static struct rt_map *storage_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct bpf_map inside = *shape;
	struct rt_map *m;

	inside.key_size = sizeof(void *);
	inside.max_entries = MAX_BYTES / (round_up((u64)shape->value_size, 8) + 8);
	if (inside.max_entries > MAX_OBJECTS)
		inside.max_entries = MAX_OBJECTS;
	m = rt_hash_alloc(k, &inside, err);
	if (!m)
		return NULL;
	if ((*err = rt_objects_watch(k, m, storage_forget, 0))) {
		rt_hash_free(m);
		return NULL;
	}
	m->map.key_size = shape->key_size;
	m->map.max_entries = 0;
	m->memory_bytes = sizeof(struct rt_hash);
	return m;
}

static void storage_free(struct rt_map *m)
{
	rt_objects_unwatch(m);
	rt_hash_free(m);
}

static void forget(struct rt_kernel *k, void *object, int closed)
{
	struct rt_cpu *cpu;

	if (likely(!__atomic_load_n(&k->storages, __ATOMIC_ACQUIRE)))
		return;
	cpu = rt_enter(k);
	rt_spin_lock(&k->storages_lock);
	for (struct storage_link *link = k->storages; link; link = link->next)
		if (link->at_once || !closed)
			link->forget(link->m, object);
	rt_spin_unlock(&k->storages_lock);
	rt_leave(cpu);
}

/* An object is no more: nobody can find it, and its memory will be another's. */
void rt_storage_forget(struct rt_kernel *k, void *object)
{
	forget(k, object, 0);
}

void rt_sock_closed(struct rt_kernel *k, void *sk)
{
	forget(k, sk, 1);
}

void *rt_storage_get(struct bpf_map *map, void *object, const void *value, u64 flags)
{
	struct rt_map *m = rt_map_of(map);
	struct rt_hash *h = rt_hash_of(m);
	void *found, *fresh = NULL;

	if (flags & ~(u64)STORAGE_CREATE || !object)
		return NULL;
	found = rt_hash_lookup(m, &object, 0);
	if (found || !flags)
		return found;
	if (!value) {
		fresh = calloc(1, h->m.map.value_size);
		if (!fresh)
			return NULL;
	}
	rt_hash_update(m, &object, value ? value : fresh, BPF_NOEXIST);
	free(fresh);
	return rt_hash_lookup(m, &object, 0);
}

/* Programs of a cgroup's sockets have the socket as their context. */
void *rt_ctx_storage_get(struct bpf_map *map, void *ctx, const void *value, u64 flags)
{
	return rt_storage_get(map, rt_event_sock(ctx), value, flags);
}

s64 rt_storage_delete(struct bpf_map *map, void *object)
{
	return object ? rt_hash_delete(rt_map_of(map), &object) : -EINVAL;
}

#define STORAGE_OPS(name, type)                                                                                        \
	static const struct bpf_map_ops name = {                                                                       \
		.map_type = type,                                                                                      \
		.alloc = storage_alloc,                                                                                \
		.free = storage_free,                                                                                  \
		.delete = rt_hash_delete,                                                                              \
		.copy_out = rt_hash_copy_out,                                                                          \
		.copy_in = rt_hash_copy_in,                                                                            \
		.owns = rt_hash_owns,                                                                                  \
	};                                                                                                             \
	RT_MAP_TYPE(name)

STORAGE_OPS(task_storage_ops, BPF_MAP_TYPE_TASK_STORAGE);
STORAGE_OPS(cgrp_storage_ops, BPF_MAP_TYPE_CGRP_STORAGE);
STORAGE_OPS(inode_storage_ops, BPF_MAP_TYPE_INODE_STORAGE);
STORAGE_OPS(sk_storage_ops, BPF_MAP_TYPE_SK_STORAGE);
