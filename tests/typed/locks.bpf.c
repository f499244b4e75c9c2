/* SPDX-License-Identifier: MIT */
/* Resilient locks and disabled interrupts: each program returns a number that test_typed.py knows. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf_experimental.h>

char _license[] SEC("license") = "GPL";

struct node {
	struct bpf_list_node list;
	int n;
};

struct value {
	struct bpf_res_spin_lock lock;
	int n;
	struct bpf_list_head items __contains(node, list);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, struct value);
} values SEC(".maps");

private(A) struct bpf_res_spin_lock lock;
private(B) struct bpf_res_spin_lock second;

static struct value *value(int key)
{
	return bpf_map_lookup_elem(&values, &key);
}

SEC("tc")
int taken_and_given_back(struct __sk_buff *ctx)
{
	int err = bpf_res_spin_lock(&lock);

	if (err)
		return err;
	bpf_res_spin_unlock(&lock);
	err = bpf_res_spin_lock(&lock);
	if (err)
		return err;
	bpf_res_spin_unlock(&lock);
	return 42;
}

SEC("tc")
int two_at_once(struct __sk_buff *ctx)
{
	int err = bpf_res_spin_lock(&lock);

	if (err)
		return err;
	err = bpf_res_spin_lock(&second);
	if (!err)
		bpf_res_spin_unlock(&second);
	bpf_res_spin_unlock(&lock);
	return err ? err : 42;
}

/* The verifier cannot know that these are one lock; taking it twice fails. */
SEC("tc")
int the_same_one_twice(struct __sk_buff *ctx)
{
	struct value *a = value(0), *b = value(0);
	int err;

	if (!a || !b)
		return 1;
	err = bpf_res_spin_lock(&a->lock);
	if (err)
		return 2;
	err = bpf_res_spin_lock(&b->lock);
	if (!err)
		bpf_res_spin_unlock(&b->lock);
	bpf_res_spin_unlock(&a->lock);
	return err;
}

SEC("tc")
int with_interrupts_off(struct __sk_buff *ctx)
{
	struct value *a = value(1);
	unsigned long flags, more;
	int n;

	if (!a)
		return 1;
	bpf_local_irq_save(&more);
	if (bpf_res_spin_lock_irqsave(&a->lock, &flags)) {
		bpf_local_irq_restore(&more);
		return 2;
	}
	n = ++a->n;
	bpf_res_spin_unlock_irqrestore(&a->lock, &flags);
	bpf_local_irq_restore(&more);
	return n > 0 ? 42 : 3;
}

SEC("tc")
int list_under_it(struct __sk_buff *ctx)
{
	struct value *a = value(1);
	struct bpf_list_node *l;
	struct node *n;
	int found = 0;

	if (!a)
		return 1;
	n = bpf_obj_new(struct node);
	if (!n)
		return 2;
	n->n = 42;
	if (bpf_res_spin_lock(&a->lock)) {
		bpf_obj_drop(n);
		return 3;
	}
	bpf_list_push_back(&a->items, &n->list);
	l = bpf_list_pop_front(&a->items);
	bpf_res_spin_unlock(&a->lock);
	if (l) {
		n = container_of(l, struct node, list);
		found = n->n;
		bpf_obj_drop(n);
	}
	return found;
}
