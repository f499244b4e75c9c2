/* SPDX-License-Identifier: MIT */
/*
 * Arrays of kernel objects: maps, programs, cgroups. A slot holds the address of what programs get; the control side
 * puts it in, holds the object meanwhile, and lets go of it after readers. As "values" these 8-byte addresses cross
 * copy_in and copy_out; what a syscall sees of them (an id) is the control side's to say.
 */
#include "held.h"

#define MAX_TAIL_CALLS 33

struct rt_map *rt_held_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct held_array *a = calloc(1, sizeof(*a));

	(void)k;
	*err = -ENOMEM;
	if (!a)
		return NULL;
	a->slot = rt_pages_alloc((u64)shape->max_entries * sizeof(void *));
	if (!a->slot) {
		free(a);
		return NULL;
	}
	a->m.value_stride = a->m.value_bytes = sizeof(void *);
	a->m.memory_bytes = sizeof(*a) + (u64)shape->max_entries * sizeof(void *);
	return &a->m;
}

void rt_held_free(struct rt_map *m)
{
	rt_pages_free(rt_held_of(m)->slot, (u64)m->map.max_entries * sizeof(void *));
	free(m);
}

void *rt_held_lookup(struct rt_map *m, const void *key, int cpu)
{
	(void)cpu;
	return rt_held_at(m, rt_index_of(key));
}

int rt_held_copy_in(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	void *object;
	u32 index = rt_index_of(key);

	if (flags != BPF_ANY)
		return -EINVAL;
	if (index >= m->map.max_entries)
		return -E2BIG;
	memcpy(&object, value, sizeof(object));
	__atomic_store_n(&rt_held_of(m)->slot[index], object, __ATOMIC_RELEASE);
	return 0;
}

int rt_held_delete(struct rt_map *m, const void *key)
{
	u32 index = rt_index_of(key);

	if (index >= m->map.max_entries)
		return -E2BIG;
	return __atomic_exchange_n(&rt_held_of(m)->slot[index], NULL, __ATOMIC_ACQ_REL) ? 0 : -ENOENT;
}

int rt_held_copy_out(struct rt_map *m, const void *key, void *value, u64 flags)
{
	void *object = rt_held_at(m, rt_index_of(key));

	(void)flags;
	memcpy(value, &object, sizeof(object));
	return object ? 0 : -ENOENT;
}

int rt_held_walk(struct rt_map *m, struct rt_cursor *at, void **key, void **value)
{
	if (at->pos >= m->map.max_entries)
		return 0;
	at->index = (u32)at->pos++;
	*key = &at->index;
	*value = &rt_held_of(m)->slot[at->index];
	return 1;
}

s64 rt_held_seek(struct rt_map *m, const void *key)
{
	u32 index = rt_index_of(key);

	return index >= m->map.max_entries ? -ENOENT : (s64)index + 1;
}

RT_HELD_OPS(array_of_maps_ops, BPF_MAP_TYPE_ARRAY_OF_MAPS);
RT_HELD_OPS(prog_array_ops, BPF_MAP_TYPE_PROG_ARRAY);
RT_HELD_OPS(cgroup_array_ops, BPF_MAP_TYPE_CGROUP_ARRAY);
RT_HELD_OPS(perf_event_array_ops, BPF_MAP_TYPE_PERF_EVENT_ARRAY);

/* -- tail calls -- */

/* A program that may tail call is entered from outside: its chain begins. What goes back in when it has returned. */
u64 rt_tail_enter(void)
{
	u32 outer = rt_this_cpu->tail_calls;

	rt_this_cpu->tail_calls = 0;
	return outer;
}

void rt_tail_leave(u64 outer)
{
	rt_this_cpu->tail_calls = (u32)outer;
}

/* The program to go on with, or NULL where the caller goes on itself: no such program, or the 33 of a chain are used up. */
void *rt_tail_call(struct bpf_map *map, u64 index)
{
	struct rt_cpu *cpu = rt_this_cpu;
	void *fn;

	if ((u32)index >= map->max_entries || cpu->tail_calls >= MAX_TAIL_CALLS)
		return NULL;
	fn = rt_held_at(rt_map_of(map), (u32)index);
	if (fn)
		cpu->tail_calls++;
	return fn;
}

/* -- cgroup arrays -- */

s64 rt_current_task_under_cgroup(struct bpf_map *map, u64 index)
{
	struct task_struct *task = rt_this_cpu->current;
	struct cgroup *above, *at;

	if ((u32)index >= map->max_entries)
		return -E2BIG;
	above = rt_held_at(rt_map_of(map), (u32)index);
	if (!above)
		return -EAGAIN;
	at = task ? task->cgroups->dfl_cgrp : NULL;
	return at && at->level >= above->level && at->ancestors[above->level] == above;
}
