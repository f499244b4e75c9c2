/* SPDX-License-Identifier: MIT */
/*
 * Run statistics (BPF_ENABLE_STATS): how often each program ran, and for how long. Programs are counted by their
 * entry's address, found in a table that is looked into only while somebody wants the figures.
 */
#include "rt.h"

static struct rt_counter **bucket(struct rt_kernel *k, rt_prog_fn fn)
{
	u64 hash = (u64)(uintptr_t)fn * 0x9E3779B97F4A7C15ULL;

	return &k->counters[hash >> (64 - RT_COUNTER_BITS)];
}

struct rt_counter *rt_counter_new(struct rt_kernel *k, rt_prog_fn fn)
{
	struct rt_counter *c = calloc(1, sizeof(*c)), **at = bucket(k, fn);

	if (!c)
		return NULL;
	c->fn = fn;
	pthread_mutex_lock(&k->lock);
	c->next = *at;
	__atomic_store_n(at, c, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&k->lock);
	return c;
}

static void release(struct rt_kernel *k, void *obj, size_t size)
{
	(void)k;
	(void)size;
	free(obj);
}

void rt_counter_free(struct rt_kernel *k, struct rt_counter *c)
{
	struct rt_counter **at = bucket(k, c->fn);

	pthread_mutex_lock(&k->lock);
	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		__atomic_store_n(at, c->next, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&k->lock);
	rt_defer(k, release, c, 0);
}

void rt_stats_users(struct rt_kernel *k, int by)
{
	__atomic_add_fetch(&k->stats_users, by, __ATOMIC_RELAXED);
}

u64 rt_run_counted(struct rt_kernel *k, rt_prog_fn fn, void *ctx)
{
	struct rt_counter *c = __atomic_load_n(bucket(k, fn), __ATOMIC_ACQUIRE);
	struct timespec before, after;
	u64 ret;

	while (c && c->fn != fn)
		c = __atomic_load_n(&c->next, __ATOMIC_ACQUIRE);
	if (!c)
		return fn(ctx);
	clock_gettime(CLOCK_MONOTONIC, &before);
	ret = fn(ctx);
	clock_gettime(CLOCK_MONOTONIC, &after);
	__atomic_add_fetch(&c->runs, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&c->ns, (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec,
			   __ATOMIC_RELAXED);
	return ret;
}
