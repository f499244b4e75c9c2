/* SPDX-License-Identifier: MIT */
/* Near misses of programs with objects of their own: what Linux says of each stands in its tag (test_refused.py). */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf_experimental.h>

#define __refused(text) __attribute__((btf_decl_tag("refused:" text)))

char _license[] SEC("license") = "GPL";

struct inner {
	long value;
};

struct item {
	long key;
	struct bpf_list_node list;
	struct bpf_rb_node tree;
	struct bpf_list_node other;
	struct bpf_refcount count;
	struct inner __kptr *owned;
};

struct plain {
	struct bpf_list_node node;
	struct bpf_rb_node tree;
	struct bpf_refcount count;
};

struct shelf {
	struct bpf_list_head items __contains(item, list);
	struct bpf_rb_root tree __contains(item, tree);
	struct bpf_spin_lock lock;
};

struct slot {
	struct inner __kptr *inner;
	struct item __kptr *item;
	struct task_struct __kptr *task;
	struct task_struct __kptr_untrusted *seen;
	int n;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, struct shelf);
} shelves SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct slot);
} slots SEC(".maps");

private(A) struct bpf_spin_lock lock;
private(A) struct bpf_rb_root tree __contains(item, tree);
private(A) struct bpf_list_head list __contains(item, list);
private(B) struct bpf_spin_lock other_lock;
private(B) struct bpf_list_head other_list __contains(item, other);

static bool by_key(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	return container_of(a, struct item, tree)->key < container_of(b, struct item, tree)->key;
}

static struct shelf *shelf(int i)
{
	return bpf_map_lookup_elem(&shelves, &i);
}

static struct slot *slot(void)
{
	int zero = 0;

	return bpf_map_lookup_elem(&slots, &zero);
}

/* -- references -- */

SEC("syscall")
int made_and_dropped(void *ctx)
{
	struct inner *p = bpf_obj_new(struct inner);

	if (p)
		bpf_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("BPF_EXIT instruction in main prog would lead to reference leak")
int not_dropped(void *ctx)
{
	struct inner *p = bpf_obj_new(struct inner);

	return p ? p->value : 0;
}

SEC("syscall") __refused("Possibly NULL pointer passed to trusted arg0")
int dropped_unseen(void *ctx)
{
	bpf_obj_drop(bpf_obj_new(struct inner));
	return 0;
}

SEC("syscall") __refused("R1 must be referenced or trusted")
int dropped_twice(void *ctx)
{
	struct inner *p = bpf_obj_new(struct inner);

	if (!p)
		return 0;
	bpf_obj_drop(p);
	bpf_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("invalid mem access 'scalar'")
int read_after_drop(void *ctx)
{
	struct inner *p = bpf_obj_new(struct inner);

	if (!p)
		return 0;
	bpf_obj_drop(p);
	return p->value;
}

SEC("syscall") __refused("invalid mem access 'ptr_or_null_'")
int written_without_a_null_check(void *ctx)
{
	struct inner *p = bpf_obj_new(struct inner);

	p->value = 1;
	if (p)
		bpf_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("must have zero offset when passed to release func or trusted arg to kfunc")
int dropped_by_its_middle(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (i)
		bpf_obj_drop(&i->list);
	return 0;
}

SEC("syscall") __refused("access beyond struct inner at off 8 size 8")
int written_behind_its_end(void *ctx)
{
	struct inner *p = bpf_obj_new(struct inner);

	if (!p)
		return 0;
	((volatile long *)p)[1] = 1;
	bpf_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("direct access to bpf_list_node is disallowed")
int node_written(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	*(volatile u64 *)&i->list = 0;
	bpf_obj_drop(i);
	return 0;
}

SEC("syscall") __refused("direct access to bpf_refcount is disallowed")
int count_read(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);
	u32 n;

	if (!i)
		return 0;
	n = *(volatile u32 *)&i->count;
	bpf_obj_drop(i);
	return n;
}

SEC("syscall") __refused("direct access to kptr is disallowed")
int owned_pointer_read(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);
	long at;

	if (!i)
		return 0;
	at = *(volatile long *)&i->owned;
	bpf_obj_drop(i);
	return at;
}

SEC("syscall") __refused("arg#0 doesn't point to a type with bpf_refcount field")
int counted_without_a_count(void *ctx)
{
	struct shelf *s = bpf_obj_new(struct shelf), *again;

	if (!s)
		return 0;
	again = bpf_refcount_acquire(s);
	bpf_obj_drop(s);
	bpf_obj_drop(again);
	return 0;
}

SEC("syscall")
int counted(void *ctx)
{
	struct item *i = bpf_obj_new(struct item), *again;

	if (!i)
		return 0;
	again = bpf_refcount_acquire(i);
	bpf_obj_drop(i);
	bpf_obj_drop(again); /* never NULL: it was owned */
	return 0;
}

/* -- lists -- */

SEC("syscall")
int pushed_and_popped(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);
	struct bpf_list_node *n;

	if (!i)
		return 0;
	bpf_spin_lock(&lock);
	bpf_list_push_back(&list, &i->list);
	n = bpf_list_pop_front(&list);
	bpf_spin_unlock(&lock);
	if (n)
		bpf_obj_drop(container_of(n, struct item, list));
	return 0;
}

SEC("syscall") __refused("must be held for bpf_list_head")
int pushed_without_the_lock(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (i)
		bpf_list_push_back(&list, &i->list);
	return 0;
}

SEC("syscall") __refused("held lock and object are not in the same allocation")
int pushed_under_another_lock(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	bpf_spin_lock(&other_lock);
	bpf_list_push_back(&list, &i->list);
	bpf_spin_unlock(&other_lock);
	return 0;
}

SEC("syscall") __refused("held lock and object are not in the same allocation")
int pushed_under_another_values_lock(void *ctx)
{
	struct shelf *a = shelf(0), *b = shelf(1);
	struct item *i;

	if (!a || !b)
		return 0;
	i = bpf_obj_new(struct item);
	if (!i)
		return 0;
	bpf_spin_lock(&a->lock);
	bpf_list_push_back(&b->items, &i->list);
	bpf_spin_unlock(&a->lock);
	return 0;
}

SEC("syscall") __refused("arg#1 offset=")
int pushed_by_another_node(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	bpf_spin_lock(&lock);
	bpf_list_push_back(&list, &i->other);
	bpf_spin_unlock(&lock);
	return 0;
}

SEC("syscall") __refused("bpf_list_node not found at offset=0")
int pushed_by_no_node(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	bpf_spin_lock(&lock);
	bpf_list_push_back(&list, (void *)i);
	bpf_spin_unlock(&lock);
	return 0;
}

SEC("syscall") __refused("operation on bpf_list_head expects arg#1 bpf_list_node at offset=")
int pushed_into_a_list_of_others(void *ctx)
{
	struct plain *p = bpf_obj_new(struct plain);

	if (!p)
		return 0;
	bpf_spin_lock(&lock);
	bpf_list_push_back(&list, &p->node);
	bpf_spin_unlock(&lock);
	return 0;
}

SEC("syscall") __refused("bpf_list_head not found at offset=")
int pushed_where_no_list_is(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	bpf_spin_lock(&lock);
	bpf_list_push_back((void *)&tree, &i->list);
	bpf_spin_unlock(&lock);
	return 0;
}

SEC("syscall") __refused("arg#1 expected pointer to allocated object")
int pushed_twice(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	bpf_spin_lock(&lock);
	bpf_list_push_back(&list, &i->list);
	bpf_list_push_back(&list, &i->list);
	bpf_spin_unlock(&lock);
	return 0;
}

SEC("syscall") __refused("invalid mem access 'scalar'")
int borrowed_beyond_the_lock(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	bpf_spin_lock(&lock);
	bpf_list_push_back(&list, &i->list);
	bpf_spin_unlock(&lock);
	return i->key;
}

SEC("syscall")
int borrowed_under_the_lock(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	bpf_spin_lock(&lock);
	bpf_list_push_back(&list, &i->list);
	i->key = 3;
	bpf_spin_unlock(&lock);
	return 0;
}

SEC("syscall") __refused("arg#1 expected pointer to allocated object")
int borrowed_is_not_pushed(void *ctx)
{
	struct bpf_rb_node *n;

	bpf_spin_lock(&lock);
	n = bpf_rbtree_first(&tree);
	if (n)
		bpf_list_push_back(&list, &container_of(n, struct item, tree)->list);
	bpf_spin_unlock(&lock);
	return 0;
}

SEC("syscall") __refused("BPF_EXIT instruction in main prog would lead to reference leak")
int popped_and_forgotten(void *ctx)
{
	bpf_spin_lock(&lock);
	bpf_list_pop_front(&list);
	bpf_spin_unlock(&lock);
	return 0;
}

SEC("syscall") __refused("function calls are not allowed while holding a lock")
int made_under_the_lock(void *ctx)
{
	struct inner *p;

	bpf_spin_lock(&lock);
	p = bpf_obj_new(struct inner);
	bpf_spin_unlock(&lock);
	if (p)
		bpf_obj_drop(p);
	return 0;
}

/* -- trees -- */

SEC("syscall") __refused("bpf_rbtree_remove can only take non-owning or refcounted bpf_rb_node pointer")
int removed_what_is_no_object(void *ctx)
{
	bpf_spin_lock(&lock);
	bpf_rbtree_remove(&tree, (void *)&list);
	bpf_spin_unlock(&lock);
	return 0;
}

static bool that_locks(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	bpf_spin_unlock(&lock);
	bpf_spin_lock(&lock);
	return 0;
}

SEC("syscall") __refused("can't spin_{lock,unlock} in rbtree cb")
int callback_locks(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	bpf_spin_lock(&lock);
	bpf_rbtree_add(&tree, &i->tree, that_locks);
	bpf_spin_unlock(&lock);
	return 0;
}

static bool that_removes(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	bpf_rbtree_remove(&tree, a);
	return 0;
}

SEC("syscall") __refused("bpf_rbtree_remove not allowed in rbtree cb")
int callback_removes(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	bpf_spin_lock(&lock);
	bpf_rbtree_add(&tree, &i->tree, that_removes);
	bpf_spin_unlock(&lock);
	return 0;
}

SEC("syscall")
int removed_while_it_is_looked_at(void *ctx)
{
	struct bpf_rb_node *n, *gone;
	long key = 0;

	bpf_spin_lock(&lock);
	n = bpf_rbtree_first(&tree);
	if (!n) {
		bpf_spin_unlock(&lock);
		return 0;
	}
	gone = bpf_rbtree_remove(&tree, n);
	key = container_of(n, struct item, tree)->key; /* still borrowed */
	bpf_spin_unlock(&lock);
	if (gone)
		bpf_obj_drop(container_of(gone, struct item, tree));
	return key;
}

/* -- locks in objects -- */

SEC("syscall") __refused("bpf_spin_unlock of different lock")
int two_objects_two_locks(void *ctx)
{
	struct shelf *a = bpf_obj_new(struct shelf), *b;

	if (!a)
		return 0;
	b = bpf_obj_new(struct shelf);
	if (b) {
		bpf_spin_lock(&a->lock);
		bpf_spin_unlock(&b->lock);
		bpf_obj_drop(b);
	}
	bpf_obj_drop(a);
	return 0;
}

SEC("syscall") __refused("off 0 doesn't point to 'struct bpf_spin_lock' that is at 32")
int locked_where_no_lock_is(void *ctx)
{
	struct shelf *a = bpf_obj_new(struct shelf);

	if (!a)
		return 0;
	bpf_spin_lock((void *)a);
	bpf_spin_unlock((void *)a);
	bpf_obj_drop(a);
	return 0;
}

SEC("syscall") __refused("local 'kptr' has no valid bpf_spin_lock")
int locked_without_a_lock(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);

	if (!i)
		return 0;
	bpf_spin_lock((void *)i);
	bpf_spin_unlock((void *)i);
	bpf_obj_drop(i);
	return 0;
}

/* -- kernel pointers in values -- */

SEC("syscall")
int exchanged(void *ctx)
{
	struct inner *p = bpf_obj_new(struct inner);
	struct slot *s = slot();

	if (!p)
		return 0;
	if (!s) {
		bpf_obj_drop(p);
		return 0;
	}
	p = bpf_kptr_xchg(&s->inner, p);
	if (p)
		bpf_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("BPF_EXIT instruction in main prog would lead to reference leak")
int exchanged_and_forgotten(void *ctx)
{
	struct slot *s = slot();

	if (s)
		bpf_kptr_xchg(&s->inner, NULL);
	return 0;
}

SEC("syscall") __refused("invalid kptr access, R2 type=ptr_item expected=ptr_inner")
int another_type(void *ctx)
{
	struct item *i = bpf_obj_new(struct item);
	struct slot *s = slot();

	if (!i)
		return 0;
	if (s)
		i = bpf_kptr_xchg(&s->inner, i);
	if (i)
		bpf_obj_drop(i);
	return 0;
}

SEC("syscall") __refused("off=32 doesn't point to kptr")
int where_no_pointer_is(void *ctx)
{
	struct inner *p = bpf_obj_new(struct inner);
	struct slot *s = slot();

	if (!p)
		return 0;
	if (s)
		p = bpf_kptr_xchg(&s->n, p);
	if (p)
		bpf_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("off=24 kptr isn't referenced kptr")
int into_an_unowned_pointer(void *ctx)
{
	struct slot *s = slot();

	if (s)
		bpf_kptr_xchg(&s->seen, NULL);
	return 0;
}

SEC("syscall") __refused("store to referenced kptr disallowed")
int stored(void *ctx)
{
	struct slot *s = slot();

	if (s)
		*(volatile long *)&s->inner = 0;
	return 0;
}

SEC("syscall") __refused("kptr access size must be BPF_DW")
int a_part_is_read(void *ctx)
{
	struct slot *s = slot();

	return s ? *(volatile int *)&s->inner : 0;
}

SEC("syscall") __refused("kptr cannot be accessed indirectly by helper")
int printed(void *ctx)
{
	struct slot *s = slot();
	char text[16];

	if (s)
		bpf_probe_read_kernel(&s->inner, 8, text);
	return 0;
}

SEC("syscall") __refused("R2 must be referenced when passed to release function")
int what_is_not_owned(void *ctx)
{
	struct slot *s = slot();
	struct task_struct *t;

	if (!s)
		return 0;
	bpf_rcu_read_lock();
	t = s->task;
	if (t)
		t = bpf_kptr_xchg(&s->task, t);
	bpf_rcu_read_unlock();
	if (t)
		bpf_task_release(t);
	return 0;
}

SEC("syscall") __refused("R1 must be referenced or trusted")
int loaded_and_released(void *ctx)
{
	struct slot *s = slot();
	struct task_struct *t;

	if (!s)
		return 0;
	t = s->task;
	if (t)
		bpf_task_release(t);
	return 0;
}

SEC("syscall")
int seen_and_stored(void *ctx)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct slot *s = slot();

	if (!s)
		return 0;
	s->seen = t;
	t = s->seen;
	s->seen = NULL;
	return t ? t->pid == 0 : 0;
}

SEC("syscall") __refused("invalid kptr access, R")
int another_seen_and_stored(void *ctx)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct slot *s = slot();

	if (s)
		s->seen = (void *)t->mm;
	return 0;
}

SEC("syscall") __refused("BPF_ST imm must be 0 when storing to kptr at off=24")
int a_number_is_stored(void *ctx)
{
	struct slot *s = slot();

	if (s)
		asm volatile("*(u64 *)(%[s] + 24) = 5;" ::[s] "r"(s) : "memory");
	return 0;
}

SEC("syscall")
int read_in_a_section(void *ctx)
{
	struct slot *s = slot();
	struct inner *p;
	long value = 0;

	if (!s)
		return 0;
	bpf_rcu_read_lock();
	p = s->inner;
	if (p) {
		value = p->value;
		p->value = 2;
	}
	bpf_rcu_read_unlock();
	return value;
}

SEC("syscall") __refused("only read is supported")
int written_outside_of_a_section(void *ctx)
{
	struct slot *s = slot();
	struct inner *p;

	if (!s)
		return 0;
	p = s->inner;
	if (p)
		p->value = 2;
	return 0;
}

SEC("socket") __refused("socket filter progs cannot use bpf_spin_lock yet")
int lock_in_a_filter(void *ctx)
{
	bpf_spin_lock(&lock);
	bpf_spin_unlock(&lock);
	return 0;
}
