/* SPDX-License-Identifier: MIT */
/* Maps: creation, what programs call, what syscalls call. Each type is an ops struct in a file of its own. */
#include "rt.h"

static const struct bpf_map_ops *ops_of(u32 map_type)
{
	switch (map_type) {
	case BPF_MAP_TYPE_ARRAY:
		return &rt_array_ops;
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		return &rt_percpu_array_ops;
	case BPF_MAP_TYPE_HASH:
		return &rt_hash_ops;
	case BPF_MAP_TYPE_PERCPU_HASH:
		return &rt_percpu_hash_ops;
	case BPF_MAP_TYPE_LRU_HASH:
		return &rt_lru_hash_ops;
	}
	return NULL;
}

struct bpf_map *rt_map_new(struct rt_kernel *k, u32 map_type, u32 key_size, u32 value_size, u32 max_entries, u32 flags,
			   u64 map_extra, int *err)
{
	struct bpf_map shape = {
		.ops = ops_of(map_type),
		.map_type = map_type,
		.key_size = key_size,
		.value_size = value_size,
		.max_entries = max_entries,
		.map_flags = flags,
		.map_extra = map_extra,
		.numa_node = -1,
	};
	struct rt_map *m;

	*err = -EINVAL;
	if (!shape.ops)
		return NULL;
	*err = -ENOMEM;
	m = shape.ops->alloc(k, &shape, err);
	if (!m)
		return NULL;
	m->map = shape;
	m->kernel = k;
	rt_fault_install();
	return &m->map;
}

static void release(struct rt_kernel *k, void *obj, size_t size)
{
	struct rt_map *m = obj;

	(void)k;
	(void)size;
	m->map.ops->free(m);
}

void rt_map_free(struct bpf_map *map)
{
	if (map)
		rt_defer(rt_map_of(map)->kernel, release, map, 0);
}

u64 rt_map_value_bytes(struct bpf_map *map)
{
	return rt_map_of(map)->value_bytes;
}

u64 rt_map_memory_bytes(struct bpf_map *map)
{
	return rt_map_of(map)->memory_bytes;
}

void *rt_map_direct(struct bpf_map *map)
{
	return map->ops->direct ? map->ops->direct(rt_map_of(map)) : NULL;
}

int rt_map_owns(struct bpf_map *map, u64 addr, u64 size)
{
	return map->ops->owns(rt_map_of(map), addr, size);
}

/* -- syscall side -- */

int rt_map_copy_out(struct bpf_map *map, const void *key, void *value)
{
	struct rt_cpu *cpu = rt_enter(rt_map_of(map)->kernel);
	int err = map->ops->copy_out(rt_map_of(map), key, value);

	rt_leave(cpu);
	return err;
}

int rt_map_copy_in(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	struct rt_cpu *cpu = rt_enter(rt_map_of(map)->kernel);
	int err = map->ops->copy_in(rt_map_of(map), key, value, flags);

	rt_leave(cpu);
	return err;
}

int rt_map_delete(struct bpf_map *map, const void *key)
{
	struct rt_cpu *cpu = rt_enter(rt_map_of(map)->kernel);
	int err = map->ops->delete(rt_map_of(map), key);

	rt_leave(cpu);
	return err;
}

/* The key after `key`, or the first one when `key` is NULL or not there. */
int rt_map_next_key(struct bpf_map *map, const void *key, void *next)
{
	struct rt_map *m = rt_map_of(map);
	struct rt_cpu *cpu = rt_enter(m->kernel);
	s64 at = key ? map->ops->seek(m, key) : 0;
	struct rt_cursor cursor = { .pos = at < 0 ? 0 : at };
	void *found, *value;
	int err = -ENOENT;

	while (map->ops->walk(m, &cursor, &found, &value)) {
		rt_copy_racing(next, found, map->key_size);
		if (map->ops->seek(m, next) == (s64)cursor.pos) {
			err = 0;
			break;
		} /* else it went while it was copied: on to the next one */
	}
	rt_leave(cpu);
	return err;
}

/* -- syscall side, for a caller whose memory is this process's: one call copies in, works and copies out -- */

#define ON_STACK 512

/* Room for a key and a value; `small` serves most of them. */
static char *room(char *small, u64 size)
{
	return size <= ON_STACK ? small : malloc(size);
}

static inline const void *at(u64 addr)
{
	return (const void *)(uintptr_t)addr;
}

int rt_map_lookup_user(struct bpf_map *map, u64 key, u64 value)
{
	u64 key_size = round_up(map->key_size, 8), size = rt_map_of(map)->value_bytes;
	char small[ON_STACK] __attribute__((aligned(8))), *buf = room(small, key_size + size);
	int err = buf ? rt_copy_fault(buf, at(key), map->key_size) : -ENOMEM;

	if (!err)
		err = rt_map_copy_out(map, buf, buf + key_size);
	if (!err)
		err = rt_copy_fault((void *)(uintptr_t)value, buf + key_size, size);
	if (buf != small)
		free(buf);
	return err;
}

int rt_map_update_user(struct bpf_map *map, u64 key, u64 value, u64 flags)
{
	u64 key_size = round_up(map->key_size, 8), size = rt_map_of(map)->value_bytes;
	char small[ON_STACK] __attribute__((aligned(8))), *buf = room(small, key_size + size);
	int err = buf ? rt_copy_fault(buf, at(key), map->key_size) : -ENOMEM;

	if (!err)
		err = rt_copy_fault(buf + key_size, at(value), size);
	if (!err)
		err = rt_map_copy_in(map, buf, buf + key_size, flags);
	if (buf != small)
		free(buf);
	return err;
}

int rt_map_delete_user(struct bpf_map *map, u64 key)
{
	char small[ON_STACK] __attribute__((aligned(8))), *buf = room(small, map->key_size);
	int err = buf ? rt_copy_fault(buf, at(key), map->key_size) : -ENOMEM;

	if (!err)
		err = rt_map_delete(map, buf);
	if (buf != small)
		free(buf);
	return err;
}

int rt_map_next_key_user(struct bpf_map *map, u64 key, u64 next)
{
	u64 key_size = round_up(map->key_size, 8);
	char small[ON_STACK] __attribute__((aligned(8))), *buf = room(small, 2 * key_size);
	int err = !buf ? -ENOMEM : key ? rt_copy_fault(buf, at(key), map->key_size) : 0;

	if (!err)
		err = rt_map_next_key(map, key ? buf : NULL, buf + key_size);
	if (!err)
		err = rt_copy_fault((void *)(uintptr_t)next, buf + key_size, map->key_size);
	if (buf != small)
		free(buf);
	return err;
}

/* -- helpers -- */

void *rt_map_lookup_elem(struct bpf_map *map, const void *key)
{
	return map->ops->lookup(rt_map_of(map), key, rt_this_cpu->index);
}

void *rt_map_lookup_percpu_elem(struct bpf_map *map, const void *key, u64 cpu)
{
	u32 index = (u32)cpu;

	return index < (u32)rt_map_of(map)->kernel->ncpus ? map->ops->lookup(rt_map_of(map), key, index) : NULL;
}

s64 rt_map_update_elem(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	return map->ops->update(rt_map_of(map), key, value, flags);
}

s64 rt_map_delete_elem(struct bpf_map *map, const void *key)
{
	return map->ops->delete(rt_map_of(map), key);
}

/* Calls back for every element until the callback returns 1; how many it was called for. */
s64 rt_for_each_map_elem(struct bpf_map *map, rt_map_callback callback, void *ctx, u64 flags)
{
	struct rt_map *m = rt_map_of(map);
	struct rt_cursor cursor = { 0 };
	void *key, *value;
	s64 count = 0;

	if (flags)
		return -EINVAL;
	while (map->ops->walk(m, &cursor, &key, &value)) {
		count++;
		if (callback(map, key, value, ctx, 0))
			break;
	}
	return count;
}
