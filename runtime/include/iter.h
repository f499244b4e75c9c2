/* SPDX-License-Identifier: MIT */
/* Iterators: one ops struct for each target, which iter.c drives. */
#pragma once

#include "rt.h"

struct rt_iter {
	struct seq_file seq;
	struct bpf_iter_meta meta;
	struct rt_kernel *kernel;
	const struct rt_iter_ops *ops;
	rt_prog_fn fn;
	struct rt_iter_how how;
	int stopped; /* the call at the end was made: it is not made again */
	/* where the walk is: what it means is the target's */
	u64 pos, inner; /* the place among what is walked, and within one of them (a task's fds, its memory) */
	u32 hint, inner_hint;
	struct rt_cursor ahead; /* in a map: behind the element under way; pos stays before it */
	void *key, *value;
	void *current; /* the cgroup, or the task whose files or memory is walked */
	int terminate, visited_all;
	size_t values_size;
	char *values; /* per-CPU map elements: every CPU's value side by side */
};

/*
 * start: the element at the walk's place, NULL at its end, or an errno (rt_error). next: moves past the
 * element. show: runs the program, in the end with NULL. What show returns is what a seq_file's does.
 */
struct rt_iter_ops {
	const char *name; /* as the rows of bpfjit/spec/targets.py say it */
	void *(*start)(struct rt_iter *it);
	void *(*next)(struct rt_iter *it);
	int (*show)(struct rt_iter *it, void *element);
};

extern const struct rt_iter_ops rt_iter_objects_ops, rt_iter_socket_ops, rt_iter_task_ops, rt_iter_task_file_ops,
	rt_iter_task_vma_ops, rt_iter_cgroup_ops, rt_iter_map_elem_ops,
	rt_iter_sk_storage_ops, rt_iter_sockmap_ops;

/* The walk over a cgroup's descendants or ancestors, in one of enum bpf_cgroup_iter_order. */
struct cgroup *rt_cgroup_first(struct cgroup *top, u32 order);
struct cgroup *rt_cgroup_next(struct cgroup *c, struct cgroup *top, u32 order);

void *rt_index_from(struct rt_index *x, u64 *key, u32 *hint);
void *rt_index_find(struct rt_index *x, u64 key);

static inline void *rt_error(int err)
{
	return (void *)(intptr_t)err;
}

static inline int rt_is_error(const void *p)
{
	return (uintptr_t)p >= (uintptr_t)-4095;
}

/* Runs the program on a context: 0, or -EAGAIN when it returns 1. */
static inline int rt_iter_run(struct rt_iter *it, void *ctx)
{
	return (u32)rt_run(it->kernel, it->fn, ctx) ? -EAGAIN : 0;
}

typedef int (*rt_walk_fn)(struct rt_map *m, struct rt_cursor *at, void **key, void **value);

/* The element of the map at the walk's place: one that was rolled back is found again. 0 at the end. */
static inline int rt_iter_map_start(struct rt_iter *it, rt_walk_fn walk)
{
	it->ahead = (struct rt_cursor){ .pos = it->pos };
	return walk(rt_map_of(it->how.subject), &it->ahead, &it->key, &it->value);
}

static inline int rt_iter_map_next(struct rt_iter *it, rt_walk_fn walk)
{
	it->pos = it->ahead.pos;
	return walk(rt_map_of(it->how.subject), &it->ahead, &it->key, &it->value);
}
