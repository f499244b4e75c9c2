/* SPDX-License-Identifier: MIT */
/* Arrays: elements of round_up(value_size, 8) bytes side by side; per-CPU arrays have one such block a CPU. */
#include "array.h"

static struct rt_map *alloc_blocks(struct rt_kernel *k, const struct bpf_map *shape, int blocks, int *err)
{
	u32 stride = round_up((u64)shape->value_size, 8);
	u64 block = round_up((u64)stride * shape->max_entries, RT_CACHE_LINE);
	struct rt_array *a;

	*err = -ENOMEM;
	if (block > UINT64_MAX / RT_MAX_CPUS)
		return NULL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->values = rt_pages_alloc(block * blocks);
	if (!a->values) {
		free(a);
		return NULL;
	}
	a->block_bytes = block;
	a->blocks = blocks;
	a->m.value_stride = stride;
	a->m.value_bytes = blocks > 1 || shape->map_type == BPF_MAP_TYPE_PERCPU_ARRAY ? (u64)stride * blocks : shape->value_size;
	a->m.memory_bytes = block * blocks + sizeof(*a);
	return &a->m;
}

static struct rt_map *array_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	return alloc_blocks(k, shape, 1, err);
}

static struct rt_map *percpu_array_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	return alloc_blocks(k, shape, k->ncpus, err);
}

static void array_free(struct rt_map *m)
{
	struct rt_array *a = (struct rt_array *)m;

	for (u64 i = 0; m->fields.count && i < (u64)m->map.max_entries * a->blocks; i++)
		rt_value_drop(m, a->values + a->block_bytes * (i / m->map.max_entries) + m->value_stride * (i % m->map.max_entries));
	rt_pages_free(a->values, a->block_bytes * a->blocks);
	free(a);
}

static u32 index_of(const void *key)
{
	u32 index;

	memcpy(&index, key, sizeof(index)); /* a key may lie anywhere */
	return index;
}

static char *element(struct rt_map *m, const void *key, int cpu)
{
	struct rt_array *a = (struct rt_array *)m;
	u32 index = index_of(key);

	if (unlikely(index >= m->map.max_entries))
		return NULL;
	return a->values + a->block_bytes * cpu + (u64)m->value_stride * index;
}

static void *array_lookup(struct rt_map *m, const void *key, int cpu)
{
	(void)cpu;
	return element(m, key, 0);
}

static void *percpu_array_lookup(struct rt_map *m, const void *key, int cpu)
{
	return element(m, key, cpu);
}

static int check_update(struct rt_map *m, const void *key, u64 flags)
{
	if (unlikely((flags & ~(u64)BPF_F_LOCK) > BPF_EXIST))
		return -EINVAL;
	if (unlikely(index_of(key) >= m->map.max_entries))
		return -E2BIG;
	if (unlikely(flags & BPF_NOEXIST))
		return -EEXIST;
	return unlikely(flags & BPF_F_LOCK && m->fields.lock_off < 0) ? -EINVAL : 0;
}

static int array_update(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	int err = check_update(m, key, flags);
	char *to = element(m, key, 0);

	if (err)
		return err;
	if (flags & BPF_F_LOCK)
		rt_value_write_locked(m, to, value);
	else
		rt_value_write(m, to, value);
	rt_value_drop(m, to);
	return 0;
}

static int percpu_array_update(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	int err = check_update(m, key, flags);
	char *to = element(m, key, rt_this_cpu->index);

	if (err)
		return err;
	rt_value_write(m, to, value);
	rt_value_drop(m, to);
	return 0;
}

static int array_delete(struct rt_map *m, const void *key)
{
	(void)m;
	(void)key;
	return -EINVAL;
}

static int array_copy_out(struct rt_map *m, const void *key, void *value, u64 flags)
{
	char *found = element(m, key, 0);

	if (!found)
		return -ENOENT;
	if (flags & BPF_F_LOCK)
		rt_value_read_locked(m, value, found);
	else
		rt_value_read(m, value, found);
	return 0;
}

static int percpu_array_copy_out(struct rt_map *m, const void *key, void *value, u64 flags)
{
	(void)flags;
	if (!element(m, key, 0))
		return -ENOENT;
	for (int cpu = 0; cpu < m->kernel->ncpus; cpu++) {
		char *to = (char *)value + (u64)m->value_stride * cpu;

		if (m->fields.count)
			rt_value_read(m, to, element(m, key, cpu));
		else
			memcpy(to, element(m, key, cpu), m->value_stride);
	}
	return 0;
}

static int percpu_array_copy_in(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	int err = check_update(m, key, flags);

	for (int cpu = 0; !err && cpu < m->kernel->ncpus; cpu++) {
		char *to = element(m, key, cpu);
		const char *from = (const char *)value + (u64)m->value_stride * cpu;

		if (m->fields.count)
			rt_value_write(m, to, from);
		else
			memcpy(to, from, m->value_stride);
		rt_value_drop(m, to);
	}
	return err;
}

static int array_walk(struct rt_map *m, struct rt_cursor *at, void **key, void **value)
{
	if (at->pos >= m->map.max_entries)
		return 0;
	at->index = (u32)at->pos++;
	*key = &at->index;
	*value = element(m, &at->index, ((struct rt_array *)m)->blocks > 1 ? rt_this_cpu->index : 0);
	return 1;
}

static s64 array_seek(struct rt_map *m, const void *key)
{
	u32 index = index_of(key);

	return index >= m->map.max_entries ? -ENOENT : (s64)index + 1;
}

static int array_owns(struct rt_map *m, u64 addr, u64 size)
{
	struct rt_array *a = (struct rt_array *)m;
	u64 start = (u64)(uintptr_t)a->values, all = a->block_bytes * a->blocks;

	return addr >= start && size <= all && addr - start <= all - size;
}

static void *array_direct(struct rt_map *m)
{
	return ((struct rt_array *)m)->values;
}

static const struct bpf_map_ops array_ops = {
	.map_type = BPF_MAP_TYPE_ARRAY,
	.alloc = array_alloc,
	.free = array_free,
	.lookup = array_lookup,
	.update = array_update,
	.delete = array_delete,
	.copy_out = array_copy_out,
	.copy_in = array_update,
	.walk = array_walk,
	.seek = array_seek,
	.owns = array_owns,
	.direct = array_direct,
};
RT_MAP_TYPE(array_ops);

static const struct bpf_map_ops percpu_array_ops = {
	.map_type = BPF_MAP_TYPE_PERCPU_ARRAY,
	.alloc = percpu_array_alloc,
	.free = array_free,
	.lookup = percpu_array_lookup,
	.update = percpu_array_update,
	.delete = array_delete,
	.copy_out = percpu_array_copy_out,
	.copy_in = percpu_array_copy_in,
	.walk = array_walk,
	.seek = array_seek,
	.owns = array_owns,
};
RT_MAP_TYPE(percpu_array_ops);
