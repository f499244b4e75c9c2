/* SPDX-License-Identifier: MIT */
/*
 * iter/cgroup: a cgroup alone, its descendants parents or children first, or its ancestors upwards,
 * siblings in order of creation. One read must hold it all: the walk cannot be taken up again.
 */
#include "iter.h"

static struct cgroup *css_cgroup(struct list_head *sibling)
{
	return ((struct cgroup_subsys_state *)((char *)sibling - offsetof(struct cgroup_subsys_state, sibling)))->cgroup;
}

static struct cgroup *first_child(struct cgroup *c)
{
	return c->self.children.next == &c->self.children ? NULL : css_cgroup(c->self.children.next);
}

static struct cgroup *parent(struct cgroup *c)
{
	return c->self.parent ? c->self.parent->cgroup : NULL;
}

static struct cgroup *next_sibling(struct cgroup *c)
{
	struct cgroup *up = parent(c);

	return !up || c->self.sibling.next == &up->self.children ? NULL : css_cgroup(c->self.sibling.next);
}

static struct cgroup *leftmost(struct cgroup *c)
{
	for (struct cgroup *down; (down = first_child(c));)
		c = down;
	return c;
}

static struct cgroup *next_pre(struct cgroup *c, struct cgroup *top)
{
	struct cgroup *next = first_child(c);

	for (; !next && c != top; c = parent(c))
		next = next_sibling(c);
	return next;
}

static struct cgroup *next_post(struct cgroup *c, struct cgroup *top)
{
	struct cgroup *next;

	if (c == top)
		return NULL;
	next = next_sibling(c);
	return next ? leftmost(next) : parent(c);
}

struct cgroup *rt_cgroup_first(struct cgroup *top, u32 order)
{
	return order == BPF_CGROUP_ITER_DESCENDANTS_POST ? leftmost(top) : top;
}

static void *start(struct rt_iter *it)
{
	struct cgroup *top = it->how.subject;

	if (it->pos)
		return it->visited_all ? NULL : rt_error(-EOPNOTSUPP);
	it->pos = 1;
	it->current = rt_cgroup_first(top, it->how.order);
	return it->current;
}

struct cgroup *rt_cgroup_next(struct cgroup *c, struct cgroup *top, u32 order)
{
	if (order == BPF_CGROUP_ITER_DESCENDANTS_PRE)
		return next_pre(c, top);
	if (order == BPF_CGROUP_ITER_DESCENDANTS_POST)
		return next_post(c, top);
	return order == BPF_CGROUP_ITER_ANCESTORS_UP ? parent(c) : NULL;
}

static void *next(struct rt_iter *it)
{
	it->current = it->terminate ? NULL : rt_cgroup_next(it->current, it->how.subject, it->how.order);
	return it->current;
}

static int show(struct rt_iter *it, void *cgroup)
{
	struct bpf_iter__cgroup ctx = { .meta = &it->meta, .cgroup = cgroup };
	struct cgroup *c = cgroup;

	if (c && !(c->self.flags & 2)) /* CSS_ONLINE: a cgroup that has been removed is passed over */
		return 0;
	/* A program that returns 1 has seen enough: its output stays, the walk ends after it. */
	if (rt_iter_run(it, &ctx))
		it->terminate = 1;
	if (!c)
		it->visited_all = 1;
	return 0;
}

const struct rt_iter_ops rt_iter_cgroup_ops = { .name = "cgroup", .start = start, .next = next, .show = show };
