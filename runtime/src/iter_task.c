/* SPDX-License-Identifier: MIT */
/* iter/task: tasks by ascending pid; one of them, or the threads of one, where the link says so. */
#include "iter.h"

static void *from(struct rt_iter *it)
{
	struct task_struct *t;

	for (;;) {
		t = rt_index_from(it->how.subject, &it->pos, &it->hint);
		if (!t || ((!it->how.tid || (u32)t->pid == it->how.tid) && (!it->how.tgid || (u32)t->tgid == it->how.tgid)))
			return t;
		it->pos++;
	}
}

static void *next(struct rt_iter *it)
{
	it->pos++;
	return from(it);
}

static int show(struct rt_iter *it, void *task)
{
	struct bpf_iter__task ctx = { .meta = &it->meta, .task = task };

	return rt_iter_run(it, &ctx);
}

const struct rt_iter_ops rt_iter_task_ops = { .start = from, .next = next, .show = show };
