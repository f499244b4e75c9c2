/* SPDX-License-Identifier: MIT */
/* Near misses of locks, interrupts and exceptions: what Linux says of each stands in its tag (test_refused.py). */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf_experimental.h>

#define __refused(text) __attribute__((btf_decl_tag("refused:" text)))

char _license[] SEC("license") = "GPL";

struct value {
	struct bpf_res_spin_lock lock;
	int n;
};

struct plain {
	struct bpf_spin_lock lock;
	int n;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, struct value);
} values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, struct plain);
} plains SEC(".maps");

private(A) struct bpf_res_spin_lock lock;
private(B) struct bpf_res_spin_lock second;
private(C) struct bpf_spin_lock spin;

static struct value *value(int key)
{
	return bpf_map_lookup_elem(&values, &key);
}

/* -- resilient locks -- */

SEC("tc") __refused("BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region")
int not_given_back(struct __sk_buff *ctx)
{
	bpf_res_spin_lock(&lock);
	return 0;
}

SEC("tc") __refused("bpf_res_spin_unlock without taking a lock")
int given_back_though_it_failed(struct __sk_buff *ctx)
{
	if (bpf_res_spin_lock(&lock))
		bpf_res_spin_unlock(&lock);
	else
		bpf_res_spin_unlock(&lock);
	return 0;
}

SEC("tc") __refused("bpf_res_spin_unlock without taking a lock")
int never_taken(struct __sk_buff *ctx)
{
	bpf_res_spin_unlock(&lock);
	return 0;
}

SEC("tc") __refused("Acquiring the same lock again, AA deadlock detected")
int twice(struct __sk_buff *ctx)
{
	if (bpf_res_spin_lock(&lock))
		return 0;
	if (!bpf_res_spin_lock(&lock))
		bpf_res_spin_unlock(&lock);
	bpf_res_spin_unlock(&lock);
	return 0;
}

SEC("tc") __refused("bpf_res_spin_unlock cannot be out of order")
int out_of_order(struct __sk_buff *ctx)
{
	if (bpf_res_spin_lock(&lock))
		return 0;
	if (bpf_res_spin_lock(&second)) {
		bpf_res_spin_unlock(&lock);
		return 0;
	}
	bpf_res_spin_unlock(&lock);
	bpf_res_spin_unlock(&second);
	return 0;
}

SEC("tc") __refused("bpf_res_spin_unlock of different lock")
int another_values(struct __sk_buff *ctx)
{
	struct value *a = value(0), *b = value(1);

	if (!a || !b || bpf_res_spin_lock(&a->lock))
		return 0;
	bpf_res_spin_unlock(&b->lock);
	return 0;
}

SEC("tc") __refused("map 'plains' has no valid bpf_res_spin_lock")
int of_another_kind(struct __sk_buff *ctx)
{
	int zero = 0;
	struct plain *p = bpf_map_lookup_elem(&plains, &zero);

	if (!p || bpf_res_spin_lock((void *)&p->lock))
		return 0;
	bpf_res_spin_unlock((void *)&p->lock);
	return 0;
}

SEC("tc") __refused("off 4 doesn't point to 'struct bpf_res_spin_lock' that is at 0")
int at_another_place(struct __sk_buff *ctx)
{
	struct value *a = value(0);

	if (!a || bpf_res_spin_lock((void *)&a->n))
		return 0;
	bpf_res_spin_unlock((void *)&a->n);
	return 0;
}

SEC("tc") __refused("arg#0 doesn't point to map value or allocated object")
int on_the_stack(struct __sk_buff *ctx)
{
	struct bpf_res_spin_lock l = {};

	if (bpf_res_spin_lock(&l))
		return 0;
	bpf_res_spin_unlock(&l);
	return 0;
}

SEC("tc") __refused("bpf_res_spin_lock cannot be accessed directly by load/store")
int written(struct __sk_buff *ctx)
{
	struct value *a = value(0);

	if (a)
		*(volatile u32 *)&a->lock = 1;
	return 0;
}

SEC("tc") __refused("function calls are not allowed while holding a lock")
int helper_under_it(struct __sk_buff *ctx)
{
	if (bpf_res_spin_lock(&lock))
		return 0;
	bpf_get_prandom_u32();
	bpf_res_spin_unlock(&lock);
	return 0;
}

SEC("tc")
int one_of_each_kind(struct __sk_buff *ctx)
{
	if (bpf_res_spin_lock(&lock))
		return 0;
	bpf_res_spin_unlock(&lock);
	bpf_spin_lock(&spin);
	bpf_spin_unlock(&spin);
	return 0;
}

/* -- interrupts -- */

SEC("tc") __refused("BPF_EXIT instruction in main prog cannot be used inside bpf_local_irq_save-ed region")
int interrupts_stay_off(struct __sk_buff *ctx)
{
	unsigned long flags;

	bpf_local_irq_save(&flags);
	return 0;
}

SEC("tc") __refused("irq flag acquired by native kfuncs cannot be restored with lock kfuncs")
int restored_by_the_lock(struct __sk_buff *ctx)
{
	unsigned long flags, mine;

	bpf_local_irq_save(&mine);
	if (!bpf_res_spin_lock_irqsave(&lock, &flags))
		bpf_res_spin_unlock_irqrestore(&lock, &mine);
	bpf_local_irq_restore(&mine);
	return 0;
}

SEC("tc") __refused("bpf_res_spin_unlock of different lock")
int interrupts_of_a_plain_one(struct __sk_buff *ctx)
{
	unsigned long flags;

	if (bpf_res_spin_lock_irqsave(&lock, &flags))
		return 0;
	bpf_res_spin_unlock(&lock);
	bpf_local_irq_restore(&flags);
	return 0;
}

/* -- exceptions -- */

static int throws_back(u32 i, void *ctx)
{
	bpf_throw(1);
	return 0;
}

SEC("tc") __refused("cannot be called from callback subprog")
int thrown_by_a_callback(struct __sk_buff *ctx)
{
	bpf_loop(3, throws_back, NULL, 0);
	return 0;
}

SEC("tc") __refused("bpf_throw would lead to reference leak")
int thrown_with_an_object(struct __sk_buff *ctx)
{
	struct value *v = bpf_obj_new(struct value);

	bpf_throw(1);
	if (v)
		bpf_obj_drop(v);
	return 0;
}

SEC("tc") __refused("function calls are not allowed while holding a lock")
int thrown_with_a_lock(struct __sk_buff *ctx)
{
	bpf_spin_lock(&spin);
	bpf_throw(1);
	bpf_spin_unlock(&spin);
	return 0;
}

SEC("tc") __refused("bpf_throw cannot be used inside bpf_rcu_read_lock-ed region")
int thrown_in_a_read_section(struct __sk_buff *ctx)
{
	bpf_rcu_read_lock();
	bpf_throw(1);
	bpf_rcu_read_unlock();
	return 0;
}
