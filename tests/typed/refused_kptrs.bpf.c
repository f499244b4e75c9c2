/* SPDX-License-Identifier: MIT */
/* Near misses with pointers that map values keep: what Linux says of each stands in its tag (test_refused.py). */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf_experimental.h>

#define __refused(text) __attribute__((btf_decl_tag("refused:" text)))

char _license[] SEC("license") = "GPL";

struct coin {
	long worth;
};

struct purse {
	long size;
	struct coin __kptr *coin;
};

struct pocket {
	struct purse __kptr *purse;
	struct task_struct __kptr *task;
	struct bpf_cpumask __kptr *mask;
	struct coin __percpu_kptr *change;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct pocket);
} pockets SEC(".maps");

static struct pocket *pocket(void)
{
	int zero = 0;

	return bpf_map_lookup_elem(&pockets, &zero);
}

SEC("syscall")
int what_is_owned_gives_and_takes(void *ctx)
{
	struct purse *p = bpf_obj_new(struct purse);
	struct coin *c;

	if (!p)
		return 0;
	c = bpf_kptr_xchg(&p->coin, NULL);
	if (c)
		bpf_obj_drop(c);
	bpf_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("R1 type=rcu_ptr_ expected=map_value, ptr_")
int what_is_only_seen_gives_nothing(void *ctx)
{
	struct pocket *v = pocket();
	struct coin *c = NULL;
	struct purse *p;

	if (!v)
		return 0;
	bpf_rcu_read_lock();
	p = v->purse;
	if (p)
		c = bpf_kptr_xchg(&p->coin, NULL);
	bpf_rcu_read_unlock();
	if (c)
		bpf_obj_drop(c);
	return 0;
}

SEC("syscall")
int what_is_seen_is_written(void *ctx)
{
	struct pocket *v = pocket();
	struct purse *p;

	if (!v)
		return 0;
	bpf_rcu_read_lock();
	p = v->purse;
	if (p)
		p->size = 3;
	bpf_rcu_read_unlock();
	return 0;
}

SEC("syscall") __refused("only read is supported")
int written_when_the_section_is_over(void *ctx)
{
	struct pocket *v = pocket();
	struct purse *p;

	if (!v)
		return 0;
	bpf_rcu_read_lock();
	p = v->purse;
	if (!p) {
		bpf_rcu_read_unlock();
		return 0;
	}
	bpf_rcu_read_unlock();
	p->size = 3;
	return 0;
}

SEC("syscall") __refused("invalid kptr access, R2 type=ptr_coin expected=ptr_purse")
int another_object(void *ctx)
{
	struct coin *c = bpf_obj_new(struct coin);
	struct pocket *v = pocket();
	void *old = c;

	if (!c)
		return 0;
	if (v)
		old = bpf_kptr_xchg((void **)&v->purse, c);
	if (old)
		bpf_obj_drop(old);
	return 0;
}

SEC("syscall") __refused("invalid kptr access, R2 type=percpu_ptr_ expected=ptr_purse")
int one_of_each_cpus_where_one_belongs(void *ctx)
{
	struct coin *c = bpf_percpu_obj_new(struct coin);
	struct pocket *v = pocket();
	void *old = c;

	if (!c)
		return 0;
	if (v)
		old = bpf_kptr_xchg((void **)&v->purse, c);
	if (old)
		bpf_obj_drop(old);
	return 0;
}

SEC("syscall") __refused("off=12 doesn't point to kptr")
int between_two(void *ctx)
{
	struct pocket *v = pocket();
	struct task_struct *t;

	if (!v)
		return 0;
	t = bpf_kptr_xchg((struct task_struct **)((char *)&v->task + 4), NULL);
	if (t)
		bpf_task_release(t);
	return 0;
}

SEC("syscall") __refused("R1 must be a rcu pointer")
int a_mask_when_the_section_is_over(void *ctx)
{
	struct pocket *v = pocket();
	struct bpf_cpumask *m;

	if (!v)
		return 0;
	bpf_rcu_read_lock();
	m = v->mask;
	if (!m) {
		bpf_rcu_read_unlock();
		return 0;
	}
	bpf_rcu_read_unlock();
	return bpf_cpumask_first(&m->cpumask);
}
