/* SPDX-License-Identifier: MIT */
/* Simulated kernels: CPUs that executions hold, RCU over them, and the heap of kernel objects. */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "rt.h"

/* Address space for kernel objects; pages come as they are touched. */
#define HEAP_BYTES (16UL << 30)
#define UNIT 64UL
#define SMALL_UNITS 64

RT_TLS struct rt_cpu *rt_this_cpu;
static RT_TLS u32 preferred_cpu;
static u32 next_thread;

static void *reserve(size_t size)
{
	void *p = mmap(NULL, round_up(size, RT_PAGE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Zeroed pages that come as they are touched; what is more than the machine has is refused, as vmalloc does. */
void *rt_pages_alloc(size_t size)
{
	return size <= (size_t)sysconf(_SC_PHYS_PAGES) * RT_PAGE ? reserve(size) : NULL;
}

void rt_pages_free(void *pages, size_t size)
{
	if (pages)
		munmap(pages, round_up(size, RT_PAGE));
}

struct rt_kernel *rt_kernel_new(int ncpus)
{
	struct rt_kernel *k;

	if (ncpus < 1 || ncpus > RT_MAX_CPUS)
		return NULL;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->ncpus = ncpus;
	k->cpus = aligned_alloc(128, sizeof(*k->cpus) * ncpus);
	k->heap = reserve(HEAP_BYTES);
	k->prog_symbols = rt_index_new(k);
	if (!k->cpus || !k->heap || !k->prog_symbols || getrandom(k->pointer_key, sizeof(k->pointer_key), 0) < 0) {
		rt_pages_free(k->heap, HEAP_BYTES);
		rt_index_free(k->prog_symbols);
		free(k->cpus);
		free(k);
		return NULL;
	}
	memset(k->cpus, 0, sizeof(*k->cpus) * ncpus);
	for (int i = 0; i < ncpus; i++) {
		k->cpus[i].index = i;
		k->cpus[i].kernel = k;
		k->cpus[i].random = k->pointer_key[0] ^ (k->pointer_key[1] + i) * 0x9e3779b97f4a7c15ULL;
	}
	pthread_mutex_init(&k->lock, NULL);
	rt_fault_install();
	return k;
}

static void reclaim(struct rt_kernel *k, int wait);

void rt_kernel_free(struct rt_kernel *k)
{
	if (!k)
		return;
	rt_timers_stop(k);
	reclaim(k, 1);
	rt_objects_free(k);
	rt_timers_free(k);
	rt_types_free(k);
	rt_index_free(k->pointer_names);
	rt_index_free(k->prog_symbols);
	rt_pages_free(k->heap, HEAP_BYTES);
	pthread_mutex_destroy(&k->lock);
	free(k->trace);
	free(k->cpus);
	free(k);
}

int rt_ncpus(struct rt_kernel *k)
{
	return k->ncpus;
}

/* The task that is current where no other does the work, as when a test run is asked for from outside. */
void rt_kernel_idle(struct rt_kernel *k, struct task_struct *idle)
{
	k->idle = idle;
}

/* An odd count says that the CPU is held and, to whoever frees something, that its holder may be reading it. */
static int try_hold(struct rt_cpu *cpu)
{
	u64 seq = __atomic_load_n(&cpu->rcu_seq, __ATOMIC_RELAXED);

	return !(seq & 1) && __atomic_compare_exchange_n(&cpu->rcu_seq, &seq, seq + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* Hold a CPU of `k`, the one this thread had last if it is free. Nests. */
struct rt_cpu *rt_enter(struct rt_kernel *k)
{
	struct rt_cpu *outer = rt_this_cpu, *cpu;
	unsigned spins = 0;
	u32 i;

	if (outer && outer->kernel == k) {
		outer->nesting++;
		return outer;
	}
	if (unlikely(!preferred_cpu))
		preferred_cpu = __atomic_add_fetch(&next_thread, 1, __ATOMIC_RELAXED);
	for (i = preferred_cpu;; i++) {
		cpu = &k->cpus[i % k->ncpus];
		if (try_hold(cpu))
			break;
		if ((i - preferred_cpu + 1) % k->ncpus == 0)
			rt_relax(&spins);
	}
	preferred_cpu = i ? i : 1;
#ifndef __x86_64__
	/* The mark is visible before anything is read: pairs with the fence of rt_defer(). x86's exchange is one. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
	cpu->nesting = 1;
	cpu->current = k->idle;
	cpu->outer = outer;
	rt_this_cpu = cpu;
	return cpu;
}

void rt_leave(struct rt_cpu *cpu)
{
	if (--cpu->nesting)
		return;
	rt_this_cpu = cpu->outer;
	__atomic_store_n(&cpu->rcu_seq, __atomic_load_n(&cpu->rcu_seq, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
}

/* -- RCU: free when every CPU that was held has been let go -- */

static int passed(struct rt_kernel *k, const struct rt_deferred *d)
{
	for (int i = 0; i < k->ncpus; i++)
		if ((d->seen[i] & 1) && __atomic_load_n(&k->cpus[i].rcu_seq, __ATOMIC_ACQUIRE) == d->seen[i])
			return 0;
	return 1;
}

static void reclaim(struct rt_kernel *k, int wait)
{
	struct rt_deferred *ready = NULL, **at, *d;
	unsigned spins = 0;

	do {
		pthread_mutex_lock(&k->lock);
		for (at = &k->deferred; (d = *at);) {
			if (passed(k, d)) {
				*at = d->next;
				d->next = ready;
				ready = d;
			} else {
				at = &d->next;
			}
		}
		int left = k->deferred != NULL;
		pthread_mutex_unlock(&k->lock);
		while ((d = ready)) {
			ready = d->next;
			d->release(k, d->obj, d->size);
			free(d);
		}
		if (!left)
			break;
		rt_relax(&spins);
	} while (wait);
}

/* As rt_defer(), for whoever holds locks that what is released may want: nothing is released now. */
void rt_defer_quietly(struct rt_kernel *k, void (*release)(struct rt_kernel *, void *, size_t), void *obj, size_t size)
{
	struct rt_deferred *d = malloc(sizeof(*d));

	if (!d)
		abort(); /* losing the object would be worse, and freeing it under a reader worst */
	d->release = release;
	d->obj = obj;
	d->size = size;
	/*
	 * The caller has unpublished the object. A reader whose mark we do not see yet marks itself after this fence
	 * and so cannot find it; one that we see may hold it until its count moves on.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (int i = 0; i < k->ncpus; i++)
		d->seen[i] = __atomic_load_n(&k->cpus[i].rcu_seq, __ATOMIC_ACQUIRE);
	pthread_mutex_lock(&k->lock);
	d->next = k->deferred;
	k->deferred = d;
	pthread_mutex_unlock(&k->lock);
}

void rt_defer(struct rt_kernel *k, void (*release)(struct rt_kernel *, void *, size_t), void *obj, size_t size)
{
	rt_defer_quietly(k, release, obj, size);
	reclaim(k, 0);
}

/* Release what readers are through with; the caller holds no lock. */
void rt_rcu_poll(struct rt_kernel *k)
{
	reclaim(k, 0);
}

void rt_rcu_barrier(struct rt_kernel *k)
{
	reclaim(k, 1);
}

/* -- kernel objects: zeroed, in one range of addresses, so that "is this one of ours" is a compare -- */

/* The list that a freed object of that size is on; *units becomes what it takes. */
static u32 class_of(size_t size, size_t *units)
{
	*units = size / UNIT + !!(size % UNIT);
	if (*units < SMALL_UNITS)
		return *units;
	u32 log = 64 - __builtin_clzll(*units - 1);

	*units = 1UL << log;
	return SMALL_UNITS + log;
}

void *rt_kobj_alloc(struct rt_kernel *k, size_t size)
{
	size_t units;
	u32 class = class_of(size, &units);
	void *obj = NULL;

	if (size > HEAP_BYTES)
		return NULL;
	pthread_mutex_lock(&k->lock);
	if (k->heap_free[class]) {
		obj = k->heap_free[class];
		k->heap_free[class] = *(void **)obj;
	} else if (units <= (HEAP_BYTES - k->heap_used) / UNIT) {
		obj = k->heap + k->heap_used;
		__atomic_store_n(&k->heap_used, k->heap_used + units * UNIT, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&k->lock);
	return obj ? memset(obj, 0, size) : NULL;
}

void *rt_heap_reserve(struct rt_kernel *k, size_t size)
{
	size_t units = size / UNIT + !!(size % UNIT);
	void *obj = NULL;

	pthread_mutex_lock(&k->lock);
	if (units <= (HEAP_BYTES - k->heap_used) / UNIT) {
		obj = k->heap + k->heap_used;
		__atomic_store_n(&k->heap_used, k->heap_used + units * UNIT, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&k->lock);
	return obj;
}

void rt_kobj_free(struct rt_kernel *k, void *obj, size_t size)
{
	size_t units;
	u32 class = class_of(size, &units);

	pthread_mutex_lock(&k->lock);
	*(void **)obj = k->heap_free[class];
	k->heap_free[class] = obj;
	pthread_mutex_unlock(&k->lock);
}

static void kobj_release(struct rt_kernel *k, void *obj, size_t size)
{
	rt_storage_forget(k, obj);
	rt_kobj_free(k, obj, size);
}

void rt_kobj_free_rcu(struct rt_kernel *k, void *obj, size_t size)
{
	if (obj)
		rt_defer(k, kobj_release, obj, size);
}

static void kobj_forget(struct rt_kernel *k, void *obj, size_t size)
{
	(void)size;
	rt_storage_forget(k, obj);
}

void rt_kobj_forget_rcu(struct rt_kernel *k, void *obj)
{
	rt_defer(k, kobj_forget, obj, 0);
}

int rt_kobj_owns(struct rt_kernel *k, u64 addr, u64 size)
{
	u64 start = (u64)(uintptr_t)k->heap, used = __atomic_load_n(&k->heap_used, __ATOMIC_RELAXED);

	return addr >= start && size <= used && addr - start <= used - size;
}
