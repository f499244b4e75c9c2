/* SPDX-License-Identifier: MIT */
/* Objects that each CPU has its own of: each program returns a number that test_typed.py knows. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf_experimental.h>

char _license[] SEC("license") = "GPL";

struct counters {
	long a, b;
};

struct slot {
	struct counters __percpu_kptr *all;
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

SEC("syscall")
int kept_in_a_map(void *ctx)
{
	struct counters __percpu_kptr *p = bpf_percpu_obj_new(struct counters);
	struct slot *s = slot();

	if (!p)
		return 1;
	if (!s) {
		bpf_percpu_obj_drop(p);
		return 2;
	}
	p = bpf_kptr_xchg(&s->all, p);
	if (p)
		bpf_percpu_obj_drop(p);
	return 42;
}

SEC("syscall")
int each_cpu_has_its_own(void *ctx)
{
	struct counters __percpu_kptr *p;
	struct counters *c;
	struct slot *s = slot();
	int sum = 0, cpu;

	if (!s)
		return 1;
	kept_in_a_map(ctx);
	bpf_rcu_read_lock();
	p = s->all;
	if (p) {
		for (cpu = 0; cpu < 2; cpu++) {
			c = bpf_per_cpu_ptr(p, cpu);
			if (c) {
				c->a += cpu + 1;
				sum = sum * 10 + c->a;
			}
		}
		c = bpf_per_cpu_ptr(p, 100000);
		if (c)
			sum += 1000;
		c = bpf_this_cpu_ptr(p);
		c->b = 5;
		sum = sum * 10 + c->b;
	}
	bpf_rcu_read_unlock();
	return sum;
}

SEC("syscall")
int dropped(void *ctx)
{
	struct counters __percpu_kptr *p = bpf_percpu_obj_new(struct counters);

	if (p)
		bpf_percpu_obj_drop(p);
	return p ? 42 : 1;
}
