/* SPDX-License-Identifier: MIT */
/* One tree, one list and one slot, which several threads put objects into and take objects out of at once. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf_experimental.h>

char _license[] SEC("license") = "GPL";

struct item {
	u64 key;
	struct bpf_rb_node tree;
	struct bpf_list_node list;
	struct bpf_refcount count;
};

struct slot {
	struct item __kptr *item;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct slot);
} slots SEC(".maps");

private(A) struct bpf_spin_lock lock;
private(A) struct bpf_rb_root tree __contains(item, tree);
private(A) struct bpf_list_head list __contains(item, list);

static bool less(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	return container_of(a, struct item, tree)->key < container_of(b, struct item, tree)->key;
}

SEC("tc")
int through_a_tree(struct __sk_buff *skb)
{
	struct item *i = bpf_obj_new(struct item);
	struct bpf_rb_node *n;

	if (!i)
		return 1;
	i->key = bpf_get_prandom_u32();
	bpf_spin_lock(&lock);
	bpf_rbtree_add(&tree, &i->tree, less);
	bpf_spin_unlock(&lock);
	bpf_spin_lock(&lock);
	n = bpf_rbtree_first(&tree);
	if (n)
		n = bpf_rbtree_remove(&tree, n);
	bpf_spin_unlock(&lock);
	if (n)
		bpf_obj_drop(container_of(n, struct item, tree));
	return 0;
}

SEC("tc")
int through_both(struct __sk_buff *skb)
{
	struct item *i = bpf_obj_new(struct item), *again;
	struct bpf_list_node *n;
	struct bpf_rb_node *r;

	if (!i)
		return 1;
	again = bpf_refcount_acquire(i);
	bpf_spin_lock(&lock);
	bpf_rbtree_add(&tree, &i->tree, less);
	bpf_list_push_front(&list, &again->list);
	bpf_spin_unlock(&lock);
	bpf_spin_lock(&lock);
	n = bpf_list_pop_back(&list);
	r = bpf_rbtree_first(&tree);
	if (r)
		r = bpf_rbtree_remove(&tree, r);
	bpf_spin_unlock(&lock);
	if (n)
		bpf_obj_drop(container_of(n, struct item, list));
	if (r)
		bpf_obj_drop(container_of(r, struct item, tree));
	return 0;
}

SEC("tc")
int through_a_slot(struct __sk_buff *skb)
{
	struct item *i, *old;
	struct slot *s;
	int zero = 0, bad = 0;

	s = bpf_map_lookup_elem(&slots, &zero);
	if (!s)
		return 1;
	i = bpf_obj_new(struct item);
	if (!i)
		return 2;
	i->key = 5;
	old = bpf_kptr_xchg(&s->item, i);
	if (old) {
		bad = old->key != 5;
		bpf_obj_drop(old);
	}
	bpf_rcu_read_lock();
	i = s->item;
	if (i) {
		old = bpf_refcount_acquire(i); /* NULL where another thread has just dropped it */
		if (old) {
			bad |= old->key != 5;
			bpf_obj_drop(old);
		}
	}
	bpf_rcu_read_unlock();
	return bad ? 3 : 0;
}
