/* SPDX-License-Identifier: MIT */
/* Maps: creation, what programs call, what syscalls call. Each type is an ops struct in a file of its own. */
#include "rt.h"

/* What RT_MAP_TYPE() gathered: the linker names a section's ends. */
extern const struct bpf_map_ops *const __start_rt_map_types[], *const __stop_rt_map_types[];

static const struct bpf_map_ops *ops_of(u32 map_type)
{
	for (const struct bpf_map_ops *const *at = __start_rt_map_types; at < __stop_rt_map_types; at++)
		if ((*at)->map_type == map_type)
			return *at;
	return NULL;
}

int rt_map_type_known(u32 map_type)
{
	return ops_of(map_type) != NULL;
}

/* Types of objects that the values own live as long as the map. */
static struct rt_structs *types_of(const struct rt_map *m)
{
	for (u32 i = 0; i < m->fields.count; i++)
		if (m->fields.field[i].type)
			return m->fields.field[i].type->set;
	return NULL;
}

void rt_fields_take(struct rt_fields *to, const struct rt_field *fields, u32 count)
{
	to->count = count;
	to->lock_off = -1;
	for (u32 i = 0; i < count; i++) {
		to->field[i] = fields[i];
		to->kinds |= fields[i].kind;
		if (fields[i].kind == RT_SPIN_LOCK)
			to->lock_off = (int)fields[i].offset;
		else if (fields[i].kind == RT_TIMER)
			to->timer_off = (int)fields[i].offset;
		else if (fields[i].kind == RT_WORKQUEUE)
			to->work_off = (int)fields[i].offset;
	}
}

struct bpf_map *rt_map_new(struct rt_kernel *k, const struct bpf_map *shape, const struct rt_field *fields, u32 nfields,
			   int *err)
{
	struct bpf_map made = *shape;
	struct rt_map *m;

	made.ops = ops_of(shape->map_type);
	*err = -EINVAL;
	if (!made.ops || nfields > RT_MAX_FIELDS)
		return NULL;
	*err = -ENOMEM;
	m = made.ops->alloc(k, &made, err);
	if (!m)
		return NULL;
	if (!m->map.ops) /* a type that keeps another shape than it was asked for has filled this in itself */
		m->map = made;
	m->kernel = k;
	if (!m->stored_bytes)
		m->stored_bytes = made.value_size;
	rt_fields_take(&m->fields, fields, nfields);
	rt_structs_get(types_of(m));
	rt_fault_install();
	return &m->map;
}

static void release(struct rt_kernel *k, void *obj, size_t size)
{
	struct rt_map *m = obj;
	struct rt_structs *types = types_of(m);

	(void)k;
	(void)size;
	m->map.ops->free(m);
	rt_structs_put(types);
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
	return map->ops->owns && map->ops->owns(rt_map_of(map), addr, size);
}

/* -- syscall side -- */

int rt_map_copy_out(struct bpf_map *map, const void *key, void *value, u64 flags)
{
	const struct bpf_map_ops *ops = map->ops;
	struct rt_map *m = rt_map_of(map);
	struct rt_cpu *cpu = rt_enter(m->kernel);
	int err = ops->copy_out ? ops->copy_out(m, key, value, flags) : ops->peek ? ops->peek(m, value) : -RT_ENOTSUPP;

	rt_leave(cpu);
	return err;
}

int rt_map_copy_in(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	const struct bpf_map_ops *ops = map->ops;
	struct rt_map *m = rt_map_of(map);
	struct rt_cpu *cpu = rt_enter(m->kernel);
	int err = ops->copy_in ? ops->copy_in(m, key, value, flags) : ops->push ? ops->push(m, value, flags) : -RT_ENOTSUPP;

	rt_leave(cpu);
	return err;
}

int rt_map_delete(struct bpf_map *map, const void *key)
{
	struct rt_cpu *cpu = rt_enter(rt_map_of(map)->kernel);
	int err = map->ops->delete ? map->ops->delete(rt_map_of(map), key) : -RT_ENOTSUPP;

	rt_leave(cpu);
	return err;
}

int rt_map_take(struct bpf_map *map, const void *key, void *value, u64 flags)
{
	const struct bpf_map_ops *ops = map->ops;
	struct rt_map *m = rt_map_of(map);
	struct rt_cpu *cpu = rt_enter(m->kernel);
	int err = ops->take ? ops->take(m, key, value, flags) : ops->pop ? ops->pop(m, value) : -RT_ENOTSUPP;

	rt_leave(cpu);
	return err;
}

/* The key after `key`, or the first one when `key` is NULL or not there. */
int rt_map_next_key(struct bpf_map *map, const void *key, void *next)
{
	struct rt_map *m = rt_map_of(map);
	struct rt_cpu *cpu = rt_enter(m->kernel);
	int err = -ENOENT;

	if (map->ops->next_key) {
		err = map->ops->next_key(m, key, next);
	} else if (!map->ops->walk) {
		err = -RT_ENOTSUPP;
	} else {
		s64 at = key ? map->ops->seek(m, key) : 0;
		struct rt_cursor cursor = { .pos = at < 0 ? 0 : at };
		void *found, *value;

		while (map->ops->walk(m, &cursor, &found, &value)) {
			rt_copy_racing(next, found, map->key_size);
			if (map->ops->seek(m, next) == (s64)cursor.pos) {
				err = 0;
				break;
			} /* else it went while it was copied: on to the next one */
		}
	}
	rt_leave(cpu);
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

s64 rt_map_push_elem(struct bpf_map *map, const void *value, u64 flags)
{
	return map->ops->push(rt_map_of(map), value, flags);
}

s64 rt_map_pop_elem(struct bpf_map *map, void *value)
{
	return map->ops->pop(rt_map_of(map), value);
}

s64 rt_map_peek_elem(struct bpf_map *map, void *value)
{
	return map->ops->peek(rt_map_of(map), value);
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
