/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <unistd.h>

#include "line.h"

#define LOOK_NS 50000 /* about what two wakeups cost */
#define AWAY_NS 300000 /* given away for so long: others want the CPU too */
#define MANY 16
#define SHORTEST_PAUSE_NS 4000000
#define LONGEST_PAUSE_NS 512000000

void rt_line_init(struct rt_line *l, int fd)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	l->fd = fd;
	l->usual = l->places = (cpus + 1) / 2;
	l->most = cpus;
	l->pause_ns = SHORTEST_PAUSE_NS;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->place, NULL);
}

void rt_line_destroy(struct rt_line *l)
{
	pthread_cond_destroy(&l->place);
	pthread_mutex_destroy(&l->lock);
}

void rt_line_in(struct rt_line *l)
{
	pthread_mutex_lock(&l->lock);
	while (l->there >= l->places)
		pthread_cond_wait(&l->place, &l->lock);
	l->there++;
	pthread_mutex_unlock(&l->lock);
}

void rt_line_out(struct rt_line *l)
{
	pthread_mutex_lock(&l->lock);
	l->there--;
	if (l->there < l->places)
		pthread_cond_signal(&l->place);
	pthread_mutex_unlock(&l->lock);
}

u64 rt_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void more_places(struct rt_line *l)
{
	if (__atomic_load_n(&l->places, __ATOMIC_RELAXED) >= l->most)
		return;
	pthread_mutex_lock(&l->lock);
	__atomic_store_n(&l->places, l->most, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&l->place);
	pthread_mutex_unlock(&l->lock);
}

/* Nothing has come: back to the usual number of places. Whether the thread was one too many, and has been in line again. */
static int step_back(struct rt_line *l)
{
	int many;

	pthread_mutex_lock(&l->lock);
	__atomic_store_n(&l->places, l->usual, __ATOMIC_RELAXED);
	many = l->there > l->places;
	if (many) {
		l->there--;
		while (l->there >= l->places)
			pthread_cond_wait(&l->place, &l->lock);
		l->there++;
	}
	pthread_mutex_unlock(&l->lock);
	return many;
}

static void pause_looking(struct rt_line *l, u64 now)
{
	u64 pause = __atomic_load_n(&l->pause_ns, __ATOMIC_RELAXED);

	__atomic_store_n(&l->sleep_until, now + pause, __ATOMIC_RELAXED);
	__atomic_store_n(&l->pause_ns, pause * 2 < LONGEST_PAUSE_NS ? pause * 2 : LONGEST_PAUSE_NS, __ATOMIC_RELAXED);
}

/* Whether a request is there within LOOK_NS of the last one. */
static int look(struct rt_line *l, struct rt_stand *s)
{
	struct pollfd device = { .fd = l->fd, .events = POLLIN };
	u64 end = s->served_at + LOOK_NS, now = rt_now_ns();

	if (!s->served_at || now < __atomic_load_n(&l->sleep_until, __ATOMIC_RELAXED))
		return 0;
	while (now < end) {
		if (poll(&device, 1, 0)) {
			/* Now and then again: the other may have found nothing and gone, and a second reader have come. */
			if (++s->in_a_row % (16 * MANY) == MANY) {
				__atomic_store_n(&l->pause_ns, SHORTEST_PAUSE_NS, __ATOMIC_RELAXED);
				more_places(l);
			}
			return 1;
		}
		sched_yield();
		u64 then = now;

		now = rt_now_ns();
		if (now - then > AWAY_NS)
			pause_looking(l, now);
	}
	return 0;
}

void rt_line_look(struct rt_line *l, struct rt_stand *s)
{
	while (!look(l, s)) {
		s->in_a_row = 0;
		if (!step_back(l))
			return;
		s->served_at = rt_now_ns(); /* called for: requests keep coming, and who waits for them in read() is woken by each */
	}
}
