/* SPDX-License-Identifier: MIT */
/*
 * Timers and work queues in map values. A kernel that has any keeps a thread, which sleeps until the next one is due and runs its
 * callback as a program would run: holding a CPU. The value holds the timer; whoever drops the value drops the timer.
 */
#include "hash.h"

#define TIMER_ABS 1
#define TIMER_CPU_PIN 2
#define NS 1000000000ULL

typedef u64 (*timer_fn)(struct bpf_map *map, void *key, void *value, u64, u64);

struct rt_timer {
	struct rt_timers *timers;
	struct rt_map *map;
	void *value;
	timer_fn fn;
	clockid_t clock;
	u64 due; /* on CLOCK_MONOTONIC */
	u32 place; /* in the heap, + 1; 0: not armed */
	int running, dead;
	pthread_t runner;
};

struct rt_timers {
	struct rt_kernel *kernel;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	struct rt_timer **heap;
	u32 count, room;
	char *key; /* of the element whose callback runs: a copy, the element may go meanwhile */
	u32 key_room;
	int started, stop;
};

static u64 now_on(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NS + ts.tv_nsec;
}

/* -- the heap of armed timers, the next one first; under the lock -- */

static void set_at(struct rt_timers *t, u32 i, struct rt_timer *x)
{
	t->heap[i] = x;
	x->place = i + 1;
}

static void settle(struct rt_timers *t, u32 i)
{
	struct rt_timer *x = t->heap[i];

	while (i && t->heap[(i - 1) / 2]->due > x->due) {
		set_at(t, i, t->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		u32 below = 2 * i + 1;

		if (below + 1 < t->count && t->heap[below + 1]->due < t->heap[below]->due)
			below++;
		if (below >= t->count || t->heap[below]->due >= x->due)
			break;
		set_at(t, i, t->heap[below]);
		i = below;
	}
	set_at(t, i, x);
}

static void disarm(struct rt_timers *t, struct rt_timer *x)
{
	u32 i = x->place - 1;
	struct rt_timer *last = t->heap[--t->count];

	x->place = 0;
	if (last == x)
		return;
	set_at(t, i, last);
	settle(t, i);
}

static int arm(struct rt_timers *t, struct rt_timer *x, u64 due)
{
	if (x->place)
		disarm(t, x);
	if (t->count == t->room) {
		u32 room = t->room ? t->room * 2 : 64;
		void *heap = realloc(t->heap, room * sizeof(*t->heap));

		if (!heap)
			return -ENOMEM;
		t->heap = heap;
		t->room = room;
	}
	x->due = due;
	set_at(t, t->count++, x);
	settle(t, x->place - 1);
	return 0;
}

/* -- the thread -- */

/*
 * The key of the element that a value belongs to, or NULL for one that is gone; under the lock, by which an element that
 * goes drops its timer first, and with a CPU held.
 */
static void *key_of(struct rt_timers *t, struct rt_timer *x)
{
	u32 size = x->map->map.key_size, index;

	if (t->key_room < size) {
		char *key = realloc(t->key, size);

		if (!key)
			return NULL;
		t->key = key;
		t->key_room = size;
	}
	if (x->map->map.map_type != BPF_MAP_TYPE_ARRAY) {
		memcpy(t->key, (char *)x->value - rt_hash_of(x->map)->key_bytes, size);
		/* Armed through a value whose element had gone already: where its key was, the free list has its link. */
		return x->map->map.ops->lookup(x->map, t->key, rt_this_cpu->index) == x->value ? t->key : NULL;
	}
	index = (u32)(((char *)x->value - (char *)x->map->map.ops->direct(x->map)) / x->map->value_stride);
	return memcpy(t->key, &index, size);
}

static void release(struct rt_kernel *k, void *obj, size_t size)
{
	(void)k;
	(void)size;
	free(obj);
}

static void run(struct rt_timers *t, struct rt_timer *x)
{
	struct rt_cpu *cpu;
	timer_fn fn;
	void *key;
	int dead = 0;

	/* A CPU first: who waits for a running callback may hold the only other one. */
	pthread_mutex_unlock(&t->lock);
	cpu = rt_enter(t->kernel);
	pthread_mutex_lock(&t->lock);
	/* Meanwhile anything may have come: the first one that is due now is run. */
	if (t->count && t->heap[0]->due <= now_on(CLOCK_MONOTONIC)) {
		x = t->heap[0];
		disarm(t, x);
		x->running = 1;
		x->runner = pthread_self();
		fn = x->fn;
		key = key_of(t, x);
		pthread_mutex_unlock(&t->lock);
		if (fn && key)
			fn(&x->map->map, key, x->value, 0, 0);
		pthread_mutex_lock(&t->lock);
		x->running = 0;
		dead = x->dead;
		pthread_cond_broadcast(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
	if (dead)
		rt_defer_quietly(t->kernel, release, x, 0);
	rt_leave(cpu);
	pthread_mutex_lock(&t->lock);
}

static void *serve(void *arg)
{
	struct rt_timers *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		u64 now = now_on(CLOCK_MONOTONIC);

		if (!t->count) {
			pthread_cond_wait(&t->wake, &t->lock);
		} else if (t->heap[0]->due > now) {
			struct timespec until = { t->heap[0]->due / NS, t->heap[0]->due % NS };

			pthread_cond_timedwait(&t->wake, &t->lock, &until);
		} else {
			run(t, t->heap[0]);
		}
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static struct rt_timers *timers_of(struct rt_kernel *k)
{
	struct rt_timers *t = __atomic_load_n(&k->timers, __ATOMIC_ACQUIRE), *none = NULL;
	pthread_condattr_t monotonic;

	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->kernel = k;
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &monotonic);
	if (!__atomic_compare_exchange_n(&k->timers, &none, t, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		free(t);
		t = none;
	}
	return t;
}

/* The kernel goes: no callback runs any more when this returns. */
void rt_timers_stop(struct rt_kernel *k)
{
	struct rt_timers *t = k->timers;

	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = 1;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
	if (t->started)
		pthread_join(t->thread, NULL);
}

void rt_timers_free(struct rt_kernel *k)
{
	if (k->timers) {
		free(k->timers->heap);
		free(k->timers->key);
	}
	free(k->timers);
	k->timers = NULL;
}

/* -- helpers; a bpf_timer's first word is its struct rt_timer -- */

static struct rt_timer *timer_at(void *at)
{
	return __atomic_load_n((struct rt_timer **)at, __ATOMIC_ACQUIRE);
}

/* Maps with timers want a user, or a pin: without one nobody could take the timers away. */
static int has_user(const struct bpf_map *map)
{
	return __atomic_load_n(&map->usercnt.counter, __ATOMIC_ACQUIRE) != 0;
}

static s64 init(void *at, int field_off, struct bpf_map *map, clockid_t clock)
{
	struct rt_timer *x, *none = NULL;

	if (timer_at(at))
		return -EBUSY;
	if (!has_user(map))
		return -EPERM;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->timers = timers_of(rt_map_of(map)->kernel);
	x->map = rt_map_of(map);
	x->value = (char *)at - field_off;
	x->clock = clock;
	if (!x->timers) {
		free(x);
		return -ENOMEM;
	}
	if (!__atomic_compare_exchange_n((struct rt_timer **)at, &none, x, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		free(x);
		return -EBUSY;
	}
	return 0;
}

s64 rt_timer_init(void *at, struct bpf_map *map, u64 flags)
{
	clockid_t clock = flags & 15;

	if (flags >= 16 || (clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME && clock != CLOCK_BOOTTIME))
		return -EINVAL;
	return init(at, rt_map_of(map)->fields.timer_off, map, clock);
}

s64 rt_timer_set_callback(void *at, timer_fn fn)
{
	struct rt_timer *x = timer_at(at);

	if (!x)
		return -EINVAL;
	if (!has_user(&x->map->map))
		return -EPERM;
	pthread_mutex_lock(&x->timers->lock);
	x->fn = fn;
	pthread_mutex_unlock(&x->timers->lock);
	return 0;
}

s64 rt_timer_start(void *at, u64 nsecs, u64 flags)
{
	struct rt_timer *x = timer_at(at);
	struct rt_timers *t;
	u64 now = now_on(CLOCK_MONOTONIC), there;
	s64 err = 0;

	if (flags & ~(u64)(TIMER_ABS | TIMER_CPU_PIN) || !x)
		return -EINVAL;
	t = x->timers;
	if (flags & TIMER_ABS) {
		there = now_on(x->clock);
		nsecs = nsecs > there ? nsecs - there : 0;
	}
	pthread_mutex_lock(&t->lock);
	if (!x->fn || x->dead)
		err = -EINVAL;
	else
		err = arm(t, x, now + nsecs < now ? UINT64_MAX : now + nsecs);
	if (!err && !t->started && !t->stop) {
		err = -pthread_create(&t->thread, NULL, serve, t);
		t->started = !err;
	}
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
	return err;
}

/* -- work queues: what is queued is due at once, and runs once however often it was queued meanwhile -- */

s64 rt_bpf_wq_init(void *at, struct bpf_map *map, u64 flags)
{
	return (u32)flags ? -EINVAL : init(at, rt_map_of(map)->fields.work_off, map, CLOCK_MONOTONIC);
}

s64 rt_bpf_wq_set_callback_impl(void *at, timer_fn fn, u64 flags)
{
	return (u32)flags ? -EINVAL : rt_timer_set_callback(at, fn);
}

s64 rt_bpf_wq_start(void *at, u64 flags)
{
	return (u32)flags ? -EINVAL : rt_timer_start(at, 0, 0);
}

s64 rt_timer_cancel(void *at)
{
	struct rt_timer *x = timer_at(at);
	struct rt_timers *t;
	s64 was;

	if (!x)
		return -EINVAL;
	t = x->timers;
	pthread_mutex_lock(&t->lock);
	if (x->running && pthread_equal(x->runner, pthread_self())) {
		pthread_mutex_unlock(&t->lock);
		return -EDEADLK; /* its own callback */
	}
	was = x->place != 0;
	if (was)
		disarm(t, x);
	while (x->running)
		pthread_cond_wait(&t->wake, &t->lock);
	x->fn = NULL; /* as Linux: a cancelled timer wants its callback set again */
	pthread_mutex_unlock(&t->lock);
	return was;
}

/* The value goes, or is another's from now on. */
void rt_timer_drop(void *at)
{
	struct rt_timer *x = __atomic_exchange_n((struct rt_timer **)at, NULL, __ATOMIC_ACQ_REL);
	struct rt_timers *t;
	int running;

	if (!x)
		return;
	t = x->timers;
	pthread_mutex_lock(&t->lock);
	if (x->place)
		disarm(t, x);
	running = x->running;
	x->dead = 1;
	pthread_mutex_unlock(&t->lock);
	if (!running) /* a program may just have found it */
		rt_defer_quietly(t->kernel, release, x, 0);
}

/* All timers of a map: its last user has gone. */
void rt_map_drop_timers(struct bpf_map *map)
{
	struct rt_map *m = rt_map_of(map);
	struct rt_cursor at = { 0 };
	struct rt_cpu *cpu;
	void *key, *value;

	if (!(m->fields.kinds & (RT_TIMER | RT_WORKQUEUE)))
		return;
	cpu = rt_enter(m->kernel);
	while (map->ops->walk(m, &at, &key, &value))
		for (u32 i = 0; i < m->fields.count; i++)
			if (m->fields.field[i].kind & (RT_TIMER | RT_WORKQUEUE))
				rt_timer_drop((char *)value + m->fields.field[i].offset);
	rt_leave(cpu);
}

/* -- locks in values -- */

void rt_value_lock(u32 *lock)
{
	rt_spin_lock(lock);
}

void rt_value_unlock(u32 *lock)
{
	rt_spin_unlock(lock);
}
