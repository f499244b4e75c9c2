/* SPDX-License-Identifier: MIT */
/*
 * Kernel functions that take locks which cannot deadlock, that disable interrupts (of which there are none), and that end
 * a program out of whatever function it is in.
 */
#include "rt.h"

#define TIMEOUT_NS 250000000ULL

/* A lock's word: 0 free, else 1 and the CPU that holds it. */

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static int holds(const struct rt_cpu *cpu, const u32 *lock)
{
	for (u32 i = 0; i < cpu->nlocks && i < RT_MAX_LOCKS; i++)
		if (cpu->locks[i] == lock)
			return 1;
	return 0;
}

/* Its holder waits for one of ours: neither would ever go on. */
static int in_a_circle(const struct rt_cpu *cpu, const u32 *lock)
{
	u32 word = __atomic_load_n(lock, __ATOMIC_RELAXED), holder = word - 1;
	u32 *wanted;

	if (!word || holder >= (u32)cpu->kernel->ncpus || holder == cpu->index)
		return 0;
	wanted = __atomic_load_n(&cpu->kernel->cpus[holder].wanted, __ATOMIC_ACQUIRE);
	return wanted && holds(cpu, wanted);
}

static int try_lock(const struct rt_cpu *cpu, u32 *lock)
{
	u32 nobody = 0;

	return __atomic_compare_exchange_n(lock, &nobody, cpu->index + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

s64 rt_bpf_res_spin_lock(u32 *lock)
{
	struct rt_cpu *cpu = rt_this_cpu;
	unsigned spins = 0;
	u64 until = 0;
	s64 err = 0;

	if (likely(try_lock(cpu, lock)))
		goto taken;
	if (holds(cpu, lock))
		return -EDEADLK;
	__atomic_store_n(&cpu->wanted, lock, __ATOMIC_RELEASE);
	while (!err && !try_lock(cpu, lock)) {
		rt_relax(&spins);
		if (spins & 63)
			continue;
		if (!until)
			until = now_ns() + TIMEOUT_NS;
		if (in_a_circle(cpu, lock))
			err = -EDEADLK;
		else if (now_ns() > until)
			err = -ETIMEDOUT;
	}
	__atomic_store_n(&cpu->wanted, NULL, __ATOMIC_RELEASE);
	if (err)
		return err;
taken:
	if (cpu->nlocks < RT_MAX_LOCKS)
		cpu->locks[cpu->nlocks] = lock;
	cpu->nlocks++;
	return 0;
}

void rt_bpf_res_spin_unlock(u32 *lock)
{
	rt_this_cpu->nlocks--; /* the last one taken: the verifier has seen to the order */
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

s64 rt_bpf_res_spin_lock_irqsave(u32 *lock, u64 *flags)
{
	*flags = 0;
	return rt_bpf_res_spin_lock(lock);
}

void rt_bpf_res_spin_unlock_irqrestore(u32 *lock, u64 *flags)
{
	(void)flags;
	rt_bpf_res_spin_unlock(lock);
}

void rt_bpf_local_irq_save(u64 *flags)
{
	*flags = 0;
}

void rt_bpf_local_irq_restore(u64 *flags)
{
	(void)flags;
}

/* -- exceptions (bpfjit/jit/throw.py) -- */

void rt_bpf_throw(u64 cookie)
{
	rt_this_cpu->thrown = 1;
	rt_this_cpu->cookie = cookie;
}

u32 rt_thrown(void)
{
	return rt_this_cpu->thrown;
}

u64 rt_catch(void)
{
	rt_this_cpu->thrown = 0;
	return rt_this_cpu->cookie;
}
