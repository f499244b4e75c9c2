/* SPDX-License-Identifier: MIT */
/*
 * Open-coded iterators. What a program has on its stack is a cursor: *_next() moves it, and goes on saying "no more" once it
 * has said so. They run in one stay on a CPU, so what they point at stays.
 */
#include "iter.h"

/* -- numbers: start to end - 1 -- */

struct num {
	s32 cur, end;
};

s64 rt_bpf_iter_num_new(struct num *it, u64 from, u64 to)
{
	s32 start = (s32)from, end = (s32)to;

	it->cur = it->end = 0;
	if (start > end)
		return -EINVAL;
	if ((s64)end - start > 1 << 23) /* BPF_MAX_LOOPS */
		return -E2BIG;
	it->cur = (s32)((u32)start - 1);
	it->end = end;
	return 0;
}

s32 *rt_bpf_iter_num_next(struct num *it)
{
	if ((s64)(s32)((u32)it->cur + 1) >= it->end) {
		it->cur = it->end = 0;
		return NULL;
	}
	it->cur++;
	return &it->cur;
}

void rt_bpf_iter_num_destroy(struct num *it)
{
	it->cur = it->end = 0;
}

/* -- the bits that are set in up to 511 words -- */

struct bits {
	union {
		u64 *words;
		u64 word;
	};
	s32 nr_bits, bit;
};

#define MAX_WORDS 511

s64 rt_bpf_iter_bits_new(struct bits *it, const u64 *from, u64 nr)
{
	u32 words = (u32)nr;
	u64 *to = &it->word;
	int err;

	memset(it, 0, sizeof(*it));
	it->bit = -1;
	if (!from || !words)
		return -EINVAL;
	if (words > MAX_WORDS)
		return -E2BIG;
	if (words > 1 && !(to = malloc(words * sizeof(*to))))
		return -ENOMEM;
	err = rt_copy_fault(to, from, words * sizeof(*to));
	if (err) {
		if (words > 1)
			free(to);
		it->word = 0;
		return words > 1 ? err : -EFAULT;
	}
	if (words > 1)
		it->words = to;
	it->nr_bits = words * 64;
	return 0;
}

s32 *rt_bpf_iter_bits_next(struct bits *it)
{
	const u64 *words = it->nr_bits == 64 ? &it->word : it->words;

	for (s32 at = it->bit + 1; at < it->nr_bits; at = (at | 63) + 1) {
		u64 rest = words[at / 64] >> at % 64;

		if (rest) {
			it->bit = at + __builtin_ctzll(rest);
			return &it->bit;
		}
	}
	it->bit = it->nr_bits;
	return NULL;
}

void rt_bpf_iter_bits_destroy(struct bits *it)
{
	if (it->nr_bits > 64)
		free(it->words);
}

/* -- tasks, after the idle task by ascending pid: all processes, all threads, or the threads of one process -- */

enum { ALL_PROCS, ALL_THREADS, PROC_THREADS };

struct tasks {
	u64 pid; /* the next one that is looked at; MAX_PID says that there is none */
	u32 tgid; /* PROC_THREADS */
	u32 flags;
	u64 begun;
};

#define NO_MORE ~0ULL

s64 rt_bpf_iter_task_new(struct tasks *it, struct task_struct *task, u64 how)
{
	u32 flags = (u32)how;

	*it = (struct tasks){ .flags = flags };
	if (flags > PROC_THREADS || (flags == PROC_THREADS && !task)) {
		it->pid = NO_MORE;
		return -EINVAL;
	}
	it->tgid = flags == PROC_THREADS ? (u32)task->tgid : 0;
	it->begun = flags == PROC_THREADS; /* the others begin with the idle task */
	return 0;
}

struct task_struct *rt_bpf_iter_task_next(struct tasks *it)
{
	struct rt_kernel *k = rt_this_cpu->kernel;
	struct task_struct *t;
	u32 hint = 0;

	if (it->pid == NO_MORE)
		return NULL;
	if (!it->begun++)
		return k->idle;
	for (; (t = rt_index_from(k->tasks, &it->pid, &hint)); it->pid++) {
		if (it->flags == ALL_PROCS && t->pid != t->tgid)
			continue;
		if (it->flags == PROC_THREADS && (u32)t->tgid != it->tgid)
			continue;
		it->pid++;
		return t;
	}
	it->pid = NO_MORE;
	return NULL;
}

void rt_bpf_iter_task_destroy(struct tasks *it)
{
}

/* -- cgroups: one and its descendants, or its ancestors -- */

struct css {
	struct cgroup *top, *at;
	u64 order;
};

s64 rt_bpf_iter_css_new(struct css *it, struct cgroup_subsys_state *start, u64 how)
{
	u32 order = (u32)how;

	*it = (struct css){ .order = order };
	if (order < BPF_CGROUP_ITER_DESCENDANTS_PRE || order > BPF_CGROUP_ITER_ANCESTORS_UP)
		return -EINVAL;
	it->top = start->cgroup;
	return 0;
}

struct cgroup_subsys_state *rt_bpf_iter_css_next(struct css *it)
{
	if (!it->top)
		return NULL;
	it->at = it->at ? rt_cgroup_next(it->at, it->top, (u32)it->order) : rt_cgroup_first(it->top, (u32)it->order);
	if (!it->at)
		it->top = NULL;
	return it->at ? &it->at->self : NULL;
}

void rt_bpf_iter_css_destroy(struct css *it)
{
}

/* -- the tasks of one cgroup -- */

struct css_tasks {
	struct cgroup *cgroup;
	u64 pid;
	u32 flags;
};

#define CSS_TASK_ITER_PROCS 1
#define CSS_TASK_ITER_THREADED 2

s64 rt_bpf_iter_css_task_new(struct css_tasks **it, struct cgroup_subsys_state *css, u64 how)
{
	u32 flags = (u32)how;

	*it = NULL;
	if (flags & ~(CSS_TASK_ITER_PROCS | CSS_TASK_ITER_THREADED) || flags == CSS_TASK_ITER_THREADED)
		return -EINVAL;
	*it = malloc(sizeof(**it));
	if (!*it)
		return -ENOMEM;
	**it = (struct css_tasks){ .cgroup = css->cgroup, .flags = flags };
	return 0;
}

struct task_struct *rt_bpf_iter_css_task_next(struct css_tasks **iter)
{
	struct css_tasks *it = *iter;
	struct task_struct *t;
	u32 hint = 0;

	if (!it)
		return NULL;
	for (; (t = rt_index_from(rt_this_cpu->kernel->tasks, &it->pid, &hint)); it->pid++) {
		if (t->cgroups->dfl_cgrp != it->cgroup || (it->flags && t->pid != t->tgid))
			continue;
		it->pid++;
		return t;
	}
	it->pid = NO_MORE;
	return NULL;
}

void rt_bpf_iter_css_task_destroy(struct css_tasks **it)
{
	free(*it);
}

/* -- the memory areas of a process, from an address on -- */

struct areas {
	struct rt_index *index;
	u64 at;
};

s64 rt_bpf_iter_task_vma_new(struct areas **it, struct task_struct *task, u64 addr)
{
	*it = NULL;
	if (!task->mm)
		return -ENOENT;
	*it = malloc(sizeof(**it));
	if (!*it)
		return -ENOMEM;
	**it = (struct areas){ .index = ((struct rt_mm *)task->mm)->areas, .at = addr };
	return 0;
}

struct vm_area_struct *rt_bpf_iter_task_vma_next(struct areas **iter)
{
	struct areas *it = *iter;
	struct vm_area_struct *vma;
	u32 hint = 0;

	if (!it || it->at == NO_MORE)
		return NULL;
	vma = rt_index_from(it->index, &it->at, &hint);
	it->at = vma ? vma->vm_end : NO_MORE;
	return vma;
}

void rt_bpf_iter_task_vma_destroy(struct areas **it)
{
	free(*it);
}

s64 rt_find_vma(struct task_struct *task, u64 addr,
		u64 (*callback)(struct task_struct *task, struct vm_area_struct *vma, void *ctx, u64, u64), void *ctx, u64 flags)
{
	struct vm_area_struct *vma;
	u64 at = addr;
	u32 hint = 0;

	if (flags)
		return -EINVAL;
	if (!task || !task->mm)
		return -ENOENT;
	vma = rt_index_from(((struct rt_mm *)task->mm)->areas, &at, &hint);
	if (!vma || addr < vma->vm_start || addr >= vma->vm_end)
		return -ENOENT;
	callback(task, vma, ctx, 0, 0);
	return 0;
}
