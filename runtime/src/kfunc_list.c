/* SPDX-License-Identifier: MIT */
/* Lists of programs' own objects. Whoever calls holds the lock beside the head; a head of zeroes is an empty list. */
#include "rt.h"

struct list_node_kern {
	struct list_node_kern *next, *prev; /* as struct list_head */
	void *owner; /* atomic: the list that it is in, NULL none */
};

struct list_kern {
	struct list_node_kern *first, *last;
};

static struct list_node_kern *end_of(struct list_kern *l)
{
	return (struct list_node_kern *)l;
}

static void begin(struct list_kern *l)
{
	if (!l->first)
		l->first = l->last = end_of(l);
}

static s64 push(struct list_kern *l, struct list_node_kern *n, u64 off, int front)
{
	struct list_node_kern *before;
	void *nobody = NULL;

	begin(l);
	if (!__atomic_compare_exchange_n(&n->owner, &nobody, l, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		/* It is in some list already (it is counted): the reference that came with it is given back. */
		rt_object_drop(rt_this_cpu->kernel, (char *)n - off);
		return -EINVAL;
	}
	before = front ? end_of(l) : l->last;
	n->prev = before;
	n->next = before->next;
	before->next->prev = n;
	before->next = n;
	return 0;
}

s64 rt_bpf_list_push_front_impl(struct list_kern *l, struct list_node_kern *n, u64 unused, u64 off)
{
	return push(l, n, off, 1);
}

s64 rt_bpf_list_push_back_impl(struct list_kern *l, struct list_node_kern *n, u64 unused, u64 off)
{
	return push(l, n, off, 0);
}

static struct list_node_kern *pop(struct list_kern *l, struct list_node_kern *n)
{
	if (n == end_of(l))
		return NULL;
	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->next = n->prev = n;
	__atomic_store_n(&n->owner, NULL, __ATOMIC_RELEASE);
	return n;
}

struct list_node_kern *rt_bpf_list_pop_front(struct list_kern *l)
{
	begin(l);
	return pop(l, l->first);
}

struct list_node_kern *rt_bpf_list_pop_back(struct list_kern *l)
{
	begin(l);
	return pop(l, l->last);
}

struct list_node_kern *rt_bpf_list_front(struct list_kern *l)
{
	begin(l);
	return l->first == end_of(l) ? NULL : l->first;
}

struct list_node_kern *rt_bpf_list_back(struct list_kern *l)
{
	begin(l);
	return l->last == end_of(l) ? NULL : l->last;
}

void rt_list_empty(void *head, u32 node_off, void (*take)(void *arg, void *object), void *arg)
{
	struct list_node_kern *n;

	while ((n = rt_bpf_list_pop_front(head)))
		take(arg, (char *)n - node_off);
}
