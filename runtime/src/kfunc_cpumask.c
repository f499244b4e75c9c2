/* SPDX-License-Identifier: MIT */
/* Kernel functions on sets of CPUs. Only the bits of the kernel's CPUs count; masks have room for RT_MAX_CPUS. */
#include "rt.h"

static u64 bits(const struct cpumask *m)
{
	return __atomic_load_n(&m->bits[0], __ATOMIC_RELAXED);
}

static u32 ncpus(void)
{
	return rt_this_cpu->kernel->ncpus;
}

static u64 all(void)
{
	return ncpus() == 64 ? ~0ULL : (1ULL << ncpus()) - 1;
}

/* The lowest bit, or the number of CPUs where there is none. */
static u64 first(u64 mask)
{
	return mask & all() ? (u32)__builtin_ctzll(mask & all()) : ncpus();
}

struct bpf_cpumask *rt_bpf_cpumask_create(void)
{
	struct bpf_cpumask *m = rt_kobj_alloc(rt_this_cpu->kernel, sizeof(*m));

	if (m)
		m->usage.refs.counter = 1;
	return m;
}

struct bpf_cpumask *rt_bpf_cpumask_acquire(struct bpf_cpumask *m)
{
	__atomic_add_fetch(&m->usage.refs.counter, 1, __ATOMIC_RELAXED);
	return m;
}

void rt_bpf_cpumask_release(struct bpf_cpumask *m)
{
	if (!__atomic_sub_fetch(&m->usage.refs.counter, 1, __ATOMIC_ACQ_REL))
		rt_kobj_free_rcu(rt_this_cpu->kernel, m, sizeof(*m));
}

u64 rt_bpf_cpumask_first(const struct cpumask *m)
{
	return first(bits(m));
}

u64 rt_bpf_cpumask_first_zero(const struct cpumask *m)
{
	return first(~bits(m));
}

u64 rt_bpf_cpumask_first_and(const struct cpumask *a, const struct cpumask *b)
{
	return first(bits(a) & bits(b));
}

void rt_bpf_cpumask_set_cpu(u64 cpu, struct bpf_cpumask *m)
{
	if ((u32)cpu < ncpus())
		__atomic_or_fetch(&m->cpumask.bits[0], 1UL << (u32)cpu, __ATOMIC_SEQ_CST);
}

void rt_bpf_cpumask_clear_cpu(u64 cpu, struct bpf_cpumask *m)
{
	if ((u32)cpu < ncpus())
		__atomic_and_fetch(&m->cpumask.bits[0], ~(1UL << (u32)cpu), __ATOMIC_SEQ_CST);
}

u64 rt_bpf_cpumask_test_cpu(u64 cpu, const struct cpumask *m)
{
	return (u32)cpu < ncpus() && bits(m) >> (u32)cpu & 1;
}

u64 rt_bpf_cpumask_test_and_set_cpu(u64 cpu, struct bpf_cpumask *m)
{
	if ((u32)cpu >= ncpus())
		return 0;
	return __atomic_fetch_or(&m->cpumask.bits[0], 1UL << (u32)cpu, __ATOMIC_SEQ_CST) >> (u32)cpu & 1;
}

u64 rt_bpf_cpumask_test_and_clear_cpu(u64 cpu, struct bpf_cpumask *m)
{
	if ((u32)cpu >= ncpus())
		return 0;
	return __atomic_fetch_and(&m->cpumask.bits[0], ~(1UL << (u32)cpu), __ATOMIC_SEQ_CST) >> (u32)cpu & 1;
}

void rt_bpf_cpumask_setall(struct bpf_cpumask *m)
{
	m->cpumask.bits[0] = all();
}

void rt_bpf_cpumask_clear(struct bpf_cpumask *m)
{
	m->cpumask.bits[0] = 0;
}

u64 rt_bpf_cpumask_and(struct bpf_cpumask *dst, const struct cpumask *a, const struct cpumask *b)
{
	return (dst->cpumask.bits[0] = bits(a) & bits(b)) != 0;
}

void rt_bpf_cpumask_or(struct bpf_cpumask *dst, const struct cpumask *a, const struct cpumask *b)
{
	dst->cpumask.bits[0] = bits(a) | bits(b);
}

void rt_bpf_cpumask_xor(struct bpf_cpumask *dst, const struct cpumask *a, const struct cpumask *b)
{
	dst->cpumask.bits[0] = bits(a) ^ bits(b);
}

u64 rt_bpf_cpumask_equal(const struct cpumask *a, const struct cpumask *b)
{
	return bits(a) == bits(b);
}

u64 rt_bpf_cpumask_intersects(const struct cpumask *a, const struct cpumask *b)
{
	return (bits(a) & bits(b)) != 0;
}

u64 rt_bpf_cpumask_subset(const struct cpumask *a, const struct cpumask *b)
{
	return !(bits(a) & ~bits(b));
}

u64 rt_bpf_cpumask_empty(const struct cpumask *m)
{
	return !(bits(m) & all());
}

u64 rt_bpf_cpumask_full(const struct cpumask *m)
{
	return (bits(m) & all()) == all();
}

void rt_bpf_cpumask_copy(struct bpf_cpumask *dst, const struct cpumask *src)
{
	dst->cpumask.bits[0] = bits(src);
}

/* Linux goes round from call to call on each CPU; any CPU of the set will do. */
u64 rt_bpf_cpumask_any_distribute(const struct cpumask *m)
{
	return first(bits(m));
}

u64 rt_bpf_cpumask_any_and_distribute(const struct cpumask *a, const struct cpumask *b)
{
	return first(bits(a) & bits(b));
}

u64 rt_bpf_cpumask_weight(const struct cpumask *m)
{
	return __builtin_popcountll(bits(m) & all());
}

s64 rt_bpf_cpumask_populate(struct cpumask *m, const void *src, u64 size)
{
	if ((u32)size < sizeof(u64) || (uintptr_t)src % sizeof(long))
		return (u32)size < sizeof(u64) ? -EACCES : -EINVAL;
	memcpy(&m->bits[0], src, sizeof(u64));
	return 0;
}
