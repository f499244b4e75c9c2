/* SPDX-License-Identifier: MIT */
/*
 * What is kept of each program while it is loaded. Run statistics (BPF_ENABLE_STATS): how often it ran, and for how long;
 * programs are found by their entry's address, in a table that is looked into only while somebody wants the figures.
 */
#include "rt.h"

#define LINE (RT_CACHE_LINE / sizeof(u32))

static struct rt_prog **bucket(struct rt_kernel *k, rt_prog_fn fn)
{
	u64 hash = (u64)(uintptr_t)fn * 0x9E3779B97F4A7C15ULL;

	return &k->counters[hash >> (64 - RT_COUNTER_BITS)];
}

struct rt_prog *rt_prog_new(struct rt_kernel *k)
{
	struct rt_prog *p = calloc(1, sizeof(*p));

	if (p && !(p->active = calloc(k->ncpus, LINE * sizeof(u32)))) {
		free(p);
		p = NULL;
	}
	return p;
}

void rt_prog_code(struct rt_kernel *k, struct rt_prog *p, rt_prog_fn fn)
{
	struct rt_prog **at = bucket(k, fn);

	p->fn = fn;
	pthread_mutex_lock(&k->lock);
	p->next = *at;
	__atomic_store_n(at, p, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&k->lock);
}

int rt_prog_replace(struct rt_prog *p, u32 function, void *from, void *to)
{
	if (function >= RT_MAX_FUNCTIONS)
		return -EINVAL;
	if (!p->replaced) {
		void **none = NULL, **fresh = calloc(RT_MAX_FUNCTIONS, sizeof(void *));

		if (!fresh)
			return -ENOMEM;
		if (!__atomic_compare_exchange_n(&p->replaced, &none, fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			free(fresh);
	}
	return __atomic_compare_exchange_n(&p->replaced[function], &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) ? 0 : -EBUSY;
}

static void release(struct rt_kernel *k, void *obj, size_t size)
{
	struct rt_prog *p = obj;

	(void)k;
	(void)size;
	rt_streams_free(p);
	free(p->replaced);
	free(p->traced);
	free(p->active);
	free(p);
}

void rt_prog_free(struct rt_kernel *k, struct rt_prog *p)
{
	struct rt_prog **at = bucket(k, p->fn);

	pthread_mutex_lock(&k->lock);
	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		__atomic_store_n(at, p->next, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&k->lock);
	rt_defer(k, release, p, 0);
}

void rt_stats_users(struct rt_kernel *k, int by)
{
	__atomic_add_fetch(&k->stats_users, by, __ATOMIC_RELAXED);
}

u64 rt_run_counted(struct rt_kernel *k, rt_prog_fn fn, void *ctx)
{
	struct rt_prog *p = __atomic_load_n(bucket(k, fn), __ATOMIC_ACQUIRE);
	struct timespec before, after;
	u64 ret;

	while (p && p->fn != fn)
		p = __atomic_load_n(&p->next, __ATOMIC_ACQUIRE);
	if (!p)
		return fn(ctx);
	clock_gettime(CLOCK_MONOTONIC, &before);
	ret = fn(ctx);
	clock_gettime(CLOCK_MONOTONIC, &after);
	__atomic_add_fetch(&p->runs, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&p->ns, (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec,
			   __ATOMIC_RELAXED);
	return ret;
}

/* A program at an event that its own doing lets happen is passed over, and that is counted. */
u64 rt_run_once(struct rt_kernel *k, struct rt_cpu *cpu, struct rt_prog *p, rt_prog_fn fn, void *ctx)
{
	u32 *active = p ? &p->active[cpu->index * LINE] : NULL;
	u64 ret = 0;

	if (!active)
		return rt_run(k, fn, ctx);
	if (unlikely((*active)++))
		__atomic_add_fetch(&p->misses, 1, __ATOMIC_RELAXED);
	else
		ret = rt_run(k, fn, ctx);
	--*active;
	return ret;
}
