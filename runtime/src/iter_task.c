/* SPDX-License-Identifier: MIT */
/*
 * iter/task, task_file, task_vma: tasks by ascending pid as the reader's namespace numbers them; one of them, or the
 * threads of one, where the link says so. A thread that shares its process's table of files is passed over where
 * files or memory are walked.
 */
#include "iter.h"

static int wanted(struct rt_iter *it, struct task_struct *leader, struct task_struct *t, int once)
{
	if (it->how.tid)
		return it->pos == it->how.tid;
	if (it->how.tgid && t->group_leader != leader)
		return 0;
	return !once || t == t->group_leader || t->files != t->group_leader->files;
}

static struct task_struct *task_from(struct rt_iter *it, int once)
{
	struct task_struct *leader = NULL, *t;

	if (it->how.tgid) {
		leader = rt_index_find(it->how.subject, it->how.tgid);
		if (!leader || leader->group_leader != leader)
			return NULL;
	}
	if (it->how.tid && it->pos < it->how.tid)
		it->pos = it->how.tid;
	for (;;) {
		t = rt_index_from(it->how.subject, &it->pos, &it->hint);
		if (!t || wanted(it, leader, t, once))
			return t;
		if (it->how.tid)
			return NULL;
		it->pos++;
	}
}

static void *start(struct rt_iter *it)
{
	return task_from(it, 0);
}

static void *next(struct rt_iter *it)
{
	it->pos++;
	return task_from(it, 0);
}

static int show(struct rt_iter *it, void *task)
{
	struct bpf_iter__task ctx = { .meta = &it->meta, .task = task };

	return rt_iter_run(it, &ctx);
}

const struct rt_iter_ops rt_iter_task_ops = { .name = "task", .start = start, .next = next, .show = show };

/* -- what tasks have several of: the first at or after the place within the task under way, or in a later one -- */

static void *within(struct rt_iter *it, void *(*find)(struct rt_iter *, struct task_struct *))
{
	for (;;) {
		u64 before = it->pos;
		struct task_struct *t = task_from(it, 1);
		void *found;

		it->current = t;
		if (!t)
			return NULL;
		if (it->pos != before) /* it has gone, and another comes instead */
			it->inner = it->inner_hint = 0;
		found = find(it, t);
		if (found)
			return found;
		if (it->how.tid) {
			it->current = NULL;
			return NULL;
		}
		it->pos++;
		it->inner = it->inner_hint = 0;
	}
}

static void *next_file(struct rt_iter *it, struct task_struct *t)
{
	struct fdtable *table = t->files ? __atomic_load_n(&t->files->fdt, __ATOMIC_ACQUIRE) : NULL;
	struct file *f;

	for (u64 fd = it->inner; table && fd < table->max_fds; fd++) {
		f = __atomic_load_n(&table->fd[fd], __ATOMIC_ACQUIRE);
		if (f) {
			it->inner = fd;
			return f;
		}
	}
	return NULL;
}

static void *file_start(struct rt_iter *it)
{
	return within(it, next_file);
}

static void *file_next(struct rt_iter *it)
{
	it->inner++;
	return within(it, next_file);
}

static int file_show(struct rt_iter *it, void *file)
{
	struct bpf_iter__task_file ctx = { .meta = &it->meta, .task = it->current, .fd = it->inner, .file = file };

	return rt_iter_run(it, &ctx);
}

const struct rt_iter_ops rt_iter_task_file_ops = {
	.name = "task_file",
	.start = file_start,
	.next = file_next,
	.show = file_show,
};

static void *next_area(struct rt_iter *it, struct task_struct *t)
{
	struct rt_mm *mm = (struct rt_mm *)t->mm;

	return mm ? rt_index_from(mm->areas, &it->inner, &it->inner_hint) : NULL;
}

static void *vma_start(struct rt_iter *it)
{
	return within(it, next_area);
}

static void *vma_next(struct rt_iter *it)
{
	it->inner++;
	return within(it, next_area);
}

static int vma_show(struct rt_iter *it, void *vma)
{
	struct bpf_iter__task_vma ctx = { .meta = &it->meta, .task = it->current, .vma = vma };

	return rt_iter_run(it, &ctx);
}

const struct rt_iter_ops rt_iter_task_vma_ops = {
	.name = "task_vma",
	.start = vma_start,
	.next = vma_next,
	.show = vma_show,
};
