/* SPDX-License-Identifier: MIT */
/* Near misses of per-CPU objects: what Linux says of each stands in its tag (test_refused.py). */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf_experimental.h>

#define __refused(text) __attribute__((btf_decl_tag("refused:" text)))

/* Refused here, for native code would do harm; Linux accepts it. */
#define __stricter(text) __attribute__((btf_decl_tag("stricter:" text)))

char _license[] SEC("license") = "GPL";

struct counters {
	long a, b;
};

struct large {
	long n[65];
};

struct locked {
	struct bpf_spin_lock lock;
	long n;
};

struct pointing {
	struct counters *p;
};

struct slot {
	struct counters __percpu_kptr *all;
	struct counters __kptr *one;
	int n;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct slot);
} slots SEC(".maps");

static struct slot *slot(void)
{
	int zero = 0;

	return bpf_map_lookup_elem(&slots, &zero);
}

SEC("syscall") __refused("bpf_percpu_obj_new type size (520) is greater than 512")
int too_large(void *ctx)
{
	struct large __percpu_kptr *p = bpf_percpu_obj_new(struct large);

	if (p)
		bpf_percpu_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("bpf_percpu_obj_new type ID argument must not contain special fields")
int with_a_lock(void *ctx)
{
	struct locked __percpu_kptr *p = bpf_percpu_obj_new(struct locked);

	if (p)
		bpf_percpu_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("bpf_percpu_obj_new type ID argument must be of a struct of scalars")
int with_a_pointer(void *ctx)
{
	struct pointing __percpu_kptr *p = bpf_percpu_obj_new(struct pointing);

	if (p)
		bpf_percpu_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("arg#0 expected for bpf_percpu_obj_drop_impl()")
int dropped_as_one(void *ctx)
{
	struct counters __percpu_kptr *p = bpf_percpu_obj_new(struct counters);

	if (p)
		bpf_obj_drop((struct counters *)p);
	return 0;
}

SEC("syscall") __refused("arg#0 expected for bpf_obj_drop_impl()")
int one_dropped_as_all(void *ctx)
{
	struct counters *p = bpf_obj_new(struct counters);

	if (p)
		bpf_percpu_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("is ptr_counters access percpu memory: off=0")
int read_as_it_is(void *ctx)
{
	struct counters __percpu_kptr *p = bpf_percpu_obj_new(struct counters);
	long a = 0;

	if (p) {
		a = *(volatile long *)p;
		bpf_percpu_obj_drop(p);
	}
	return a;
}

SEC("syscall") __refused("expected=percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_")
int owned_is_not_looked_into(void *ctx)
{
	struct counters __percpu_kptr *p = bpf_percpu_obj_new(struct counters);

	if (!p)
		return 0;
	bpf_this_cpu_ptr(p);
	bpf_percpu_obj_drop(p);
	return 0;
}

SEC("syscall") __refused("expected=percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_")
int outside_of_a_section(void *ctx)
{
	struct slot *s = slot();
	struct counters __percpu_kptr *p;

	if (!s)
		return 0;
	p = s->all;
	if (p)
		bpf_this_cpu_ptr(p);
	return 0;
}

SEC("syscall") __refused("expected=percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_")
int of_what_is_one(void *ctx)
{
	struct slot *s = slot();
	struct counters *p;

	if (!s)
		return 0;
	bpf_rcu_read_lock();
	p = s->one;
	if (p)
		bpf_this_cpu_ptr(p);
	bpf_rcu_read_unlock();
	return 0;
}

/* Linux 6.18 lets it, though the value would be taken for many; later ones refuse it. */
SEC("syscall") __stricter("invalid kptr access, R2 type=ptr_counters expected=ptr_counters")
int one_for_all(void *ctx)
{
	struct counters *p = bpf_obj_new(struct counters);
	struct counters __percpu_kptr *old;
	struct slot *s = slot();

	if (!p)
		return 0;
	if (!s) {
		bpf_obj_drop(p);
		return 0;
	}
	old = bpf_kptr_xchg(&s->all, p);
	if (old)
		bpf_percpu_obj_drop(old);
	return 0;
}

SEC("syscall") __stricter("invalid mem access 'rcu_ptr_or_null_'")
int a_cpu_that_is_not_there(void *ctx)
{
	struct slot *s = slot();
	struct counters __percpu_kptr *p;
	struct counters *c;

	if (!s)
		return 0;
	bpf_rcu_read_lock();
	p = s->all;
	if (p) {
		c = bpf_per_cpu_ptr(p, s->n);
		c->a = 1;
	}
	bpf_rcu_read_unlock();
	return 0;
}
