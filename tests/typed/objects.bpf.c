/* SPDX-License-Identifier: MIT */
/* Objects of the program's own types in lists, trees and maps: each program returns a number that test_typed.py knows. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf_experimental.h>

char _license[] SEC("license") = "GPL";

struct inner {
	long value;
};

struct item {
	long key;
	struct bpf_list_node list;
	struct bpf_rb_node tree;
	struct bpf_refcount count;
	struct inner __kptr *owned;
};

struct shelf {
	struct bpf_list_head items __contains(item, list);
	struct bpf_spin_lock lock;
	long many;
};

struct plain {
	struct bpf_list_node node;
	long n;
};

struct slot {
	struct item __kptr *item;
	struct inner __kptr *inner;
	struct task_struct __kptr *task;
	struct bpf_cpumask __kptr *mask;
	int generation;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, struct shelf);
} shelves SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, struct slot);
} slots SEC(".maps");

private(A) struct bpf_spin_lock lock;
private(A) struct bpf_rb_root tree __contains(item, tree);
private(A) struct bpf_list_head list __contains(item, list);
private(B) struct bpf_spin_lock plain_lock;
private(B) struct bpf_list_head plain_list __contains(plain, node);

int pid;

static bool by_key(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	return container_of(a, struct item, tree)->key < container_of(b, struct item, tree)->key;
}

static int put_into_tree(long key)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return -1;
	i->key = key;
	bpf_spin_lock(&lock);
	bpf_rbtree_add(&tree, &i->tree, by_key);
	bpf_spin_unlock(&lock);
	return 0;
}

static long take_first(void)
{
	struct bpf_rb_node *n;
	struct item *i;
	long key;

	bpf_spin_lock(&lock);
	n = bpf_rbtree_first(&tree);
	if (!n) {
		bpf_spin_unlock(&lock);
		return -1;
	}
	n = bpf_rbtree_remove(&tree, n);
	bpf_spin_unlock(&lock);
	if (!n)
		return -2;
	i = container_of(n, struct item, tree);
	key = i->key;
	bpf_obj_drop(i);
	return key;
}

SEC("syscall")
int made_written_and_dropped(void *ctx)
{
	struct inner *p = bpf_obj_new(struct inner);
	long value;

	if (!p)
		return 1;
	value = p->value; /* zeroed */
	p->value = 41;
	value += p->value + 1;
	bpf_obj_drop(p);
	return value;
}

SEC("syscall")
int list_is_a_queue_and_a_stack(void *ctx)
{
	struct bpf_list_node *n;
	struct plain *p;
	int sum = 0, i;

	bpf_for(i, 0, 4) {
		p = bpf_obj_new(struct plain);
		if (!p)
			return -1;
		p->n = i + 1;
		bpf_spin_lock(&plain_lock);
		if (i & 1)
			bpf_list_push_front(&plain_list, &p->node);
		else
			bpf_list_push_back(&plain_list, &p->node);
		bpf_spin_unlock(&plain_lock);
	}
	/* 4 2 1 3 */
	bpf_for(i, 0, 4) {
		bpf_spin_lock(&plain_lock);
		n = i & 1 ? bpf_list_pop_back(&plain_list) : bpf_list_pop_front(&plain_list);
		bpf_spin_unlock(&plain_lock);
		if (!n)
			return -2;
		p = container_of(n, struct plain, node);
		sum = sum * 10 + p->n;
		bpf_obj_drop(p);
	}
	bpf_spin_lock(&plain_lock);
	n = bpf_list_pop_front(&plain_list);
	bpf_spin_unlock(&plain_lock);
	if (n) {
		bpf_obj_drop(container_of(n, struct plain, node));
		return -3;
	}
	return sum;
}

SEC("syscall")
int ends_of_a_list_are_looked_at(void *ctx)
{
	struct bpf_list_node *n;
	struct plain *p;
	int sum = 0, i;

	bpf_spin_lock(&plain_lock);
	n = bpf_list_front(&plain_list);
	bpf_spin_unlock(&plain_lock);
	if (n)
		return -1;
	bpf_for(i, 0, 3) {
		p = bpf_obj_new(struct plain);
		if (!p)
			return -1;
		p->n = i + 1;
		bpf_spin_lock(&plain_lock);
		bpf_list_push_back(&plain_list, &p->node);
		n = bpf_list_front(&plain_list);
		if (n)
			sum = sum * 10 + container_of(n, struct plain, node)->n;
		n = bpf_list_back(&plain_list);
		if (n)
			sum = sum * 10 + container_of(n, struct plain, node)->n;
		bpf_spin_unlock(&plain_lock);
	}
	bpf_for(i, 0, 3) {
		bpf_spin_lock(&plain_lock);
		n = bpf_list_pop_back(&plain_list);
		bpf_spin_unlock(&plain_lock);
		if (n)
			bpf_obj_drop(container_of(n, struct plain, node));
	}
	return sum;
}

SEC("syscall")
int tree_is_in_order(void *ctx)
{
	static const int keys[] = { 5, 3, 9, 1, 7, 2, 8, 6, 4 };
	int i;
	long sum = 0;

	bpf_for(i, 0, 9)
		if (put_into_tree(keys[i]))
			return -1;
	bpf_for(i, 0, 9)
		sum = sum * 10 + take_first();
	return take_first() == -1 ? sum : -2;
}

/* Linux's shape: the same rotations and colours. */
SEC("syscall")
int tree_is_walked_from_its_root(void *ctx)
{
	struct bpf_rb_node *n, *below;
	long sum = 0;
	int i;

	bpf_for(i, 1, 8)
		if (put_into_tree(i))
			return -1;
	bpf_spin_lock(&lock);
	n = bpf_rbtree_root(&tree);
	if (n) {
		sum = container_of(n, struct item, tree)->key;
		below = bpf_rbtree_left(&tree, n);
		if (below)
			sum = sum * 10 + container_of(below, struct item, tree)->key;
		below = bpf_rbtree_right(&tree, n);
		if (below) {
			sum = sum * 10 + container_of(below, struct item, tree)->key;
			below = bpf_rbtree_right(&tree, below);
			if (below)
				sum = sum * 10 + container_of(below, struct item, tree)->key;
		}
	}
	bpf_spin_unlock(&lock);
	bpf_for(i, 1, 8)
		take_first();
	return sum;
}

SEC("syscall")
int large_tree(void *ctx)
{
	long last = -1, key, bad = 0;
	u32 seed = 12345;
	int i;

	bpf_for(i, 0, 300) {
		seed = seed * 1103515245 + 12345;
		if (put_into_tree(seed >> 20))
			return -1;
	}
	bpf_for(i, 0, 300) {
		key = take_first();
		if (key < last)
			bad++;
		last = key;
	}
	return bad;
}

SEC("syscall")
int counted_in_a_list_and_a_tree(void *ctx)
{
	struct item *i = bpf_obj_new(struct item), *again;
	struct bpf_list_node *n;
	struct bpf_rb_node *r;
	int sum = 0;

	if (!i)
		return -1;
	i->key = 7;
	again = bpf_refcount_acquire(i);
	bpf_spin_lock(&lock);
	bpf_rbtree_add(&tree, &i->tree, by_key);
	sum += bpf_list_push_back(&list, &again->list) == 0;
	n = bpf_list_pop_front(&list);
	bpf_spin_unlock(&lock);
	if (!n)
		return -2;
	i = container_of(n, struct item, list);
	i->key++;
	bpf_spin_lock(&lock);
	r = bpf_rbtree_first(&tree);
	if (r)
		r = bpf_rbtree_remove(&tree, r);
	bpf_spin_unlock(&lock);
	if (r) {
		sum += container_of(r, struct item, tree)->key * 10; /* the same object */
		bpf_obj_drop(container_of(r, struct item, tree));
	}
	bpf_obj_drop(i);
	return sum;
}

SEC("syscall")
int not_into_a_tree_twice(void *ctx)
{
	struct item *i = bpf_obj_new(struct item), *again;
	int first, second;

	if (!i)
		return -1;
	again = bpf_refcount_acquire(i);
	bpf_spin_lock(&lock);
	first = bpf_rbtree_add(&tree, &i->tree, by_key);
	second = bpf_rbtree_add(&tree, &again->tree, by_key);
	bpf_spin_unlock(&lock);
	take_first();
	return first == 0 && second == -22 ? 42 : second;
}

SEC("syscall")
int removed_only_from_its_own_tree(void *ctx)
{
	struct item *i = bpf_obj_new(struct item), *mine;
	struct bpf_rb_node *n;

	if (!i)
		return -1;
	mine = bpf_refcount_acquire(i);
	bpf_obj_drop(i);
	bpf_spin_lock(&lock);
	n = bpf_rbtree_remove(&tree, &mine->tree); /* it is in none */
	bpf_spin_unlock(&lock);
	if (n)
		bpf_obj_drop(container_of(n, struct item, tree));
	bpf_obj_drop(mine);
	return n ? 1 : 42;
}

SEC("syscall")
int pointers_are_exchanged(void *ctx)
{
	struct slot empty = {}, *s;
	struct inner *p, *old;
	struct item *i, *was;
	int key = 1, sum = 0;

	bpf_map_update_elem(&slots, &key, &empty, BPF_ANY);
	s = bpf_map_lookup_elem(&slots, &key);
	if (!s)
		return -1;
	p = bpf_obj_new(struct inner);
	if (!p)
		return -2;
	p->value = 3;
	old = bpf_kptr_xchg(&s->inner, p);
	if (old) {
		bpf_obj_drop(old);
		return -3;
	}
	i = bpf_obj_new(struct item);
	if (!i)
		return -4;
	i->key = 4;
	p = bpf_kptr_xchg(&s->inner, NULL);
	if (p) {
		sum = p->value;
		p = bpf_kptr_xchg(&i->owned, p); /* objects own objects */
		if (p)
			bpf_obj_drop(p);
	}
	was = bpf_kptr_xchg(&s->item, i);
	if (was)
		bpf_obj_drop(was);
	bpf_rcu_read_lock();
	i = s->item;
	if (i)
		sum = sum * 10 + i->key;
	bpf_rcu_read_unlock();
	return sum; /* what is in the map goes with it */
}

SEC("syscall")
int tasks_and_masks_are_kept(void *ctx)
{
	struct slot empty = {}, *s;
	struct task_struct *t, *old;
	struct bpf_cpumask *m;
	int key = 2, sum = 0;

	bpf_map_update_elem(&slots, &key, &empty, BPF_ANY);
	s = bpf_map_lookup_elem(&slots, &key);
	t = bpf_task_from_pid(pid);
	if (!s || !t) {
		if (t)
			bpf_task_release(t);
		return -1;
	}
	old = bpf_kptr_xchg(&s->task, t);
	if (old)
		bpf_task_release(old);
	m = bpf_cpumask_create();
	if (!m)
		return -2;
	bpf_cpumask_set_cpu(1, m);
	m = bpf_kptr_xchg(&s->mask, m);
	if (m)
		bpf_cpumask_release(m);
	bpf_rcu_read_lock();
	t = s->task;
	if (t)
		sum += t->pid == pid;
	m = s->mask;
	if (m)
		sum += 10 * bpf_cpumask_test_cpu(1, (struct cpumask *)m);
	bpf_rcu_read_unlock();
	return sum;
}

SEC("syscall")
int lists_in_map_values(void *ctx)
{
	struct bpf_list_node *n;
	struct shelf *s;
	struct item *i;
	int key = 0, k;

	s = bpf_map_lookup_elem(&shelves, &key);
	if (!s)
		return -1;
	bpf_for(k, 0, 5) {
		i = bpf_obj_new(struct item);
		if (!i)
			return -2;
		i->key = k;
		bpf_spin_lock(&s->lock);
		bpf_list_push_back(&s->items, &i->list);
		s->many++;
		bpf_spin_unlock(&s->lock);
	}
	bpf_spin_lock(&s->lock);
	n = bpf_list_pop_back(&s->items);
	s->many--;
	bpf_spin_unlock(&s->lock);
	if (!n)
		return -3;
	i = container_of(n, struct item, list);
	key = i->key;
	bpf_obj_drop(i);
	return s->many * 10 + key; /* four are left: they go with the map */
}

SEC("syscall")
int locks_in_objects(void *ctx)
{
	struct shelf *s = bpf_obj_new(struct shelf);
	struct item *i;
	long many;

	if (!s)
		return -1;
	i = bpf_obj_new(struct item);
	if (!i) {
		bpf_obj_drop(s);
		return -2;
	}
	bpf_spin_lock(&s->lock);
	bpf_list_push_back(&s->items, &i->list);
	s->many = 42;
	bpf_spin_unlock(&s->lock);
	many = s->many;
	bpf_obj_drop(s); /* and with it its list */
	return many;
}
