/* SPDX-License-Identifier: MIT */
/*
 * Ring buffers in Linux's layout, so that a consumer written for it works: a page with the consumer's position, one with
 * the producer's, then the data twice, so that a record that wraps lies in one piece. In front lies a page of our own.
 */
#pragma once

#include "rt.h"

struct rt_ring_header {
	u32 len; /* atomic */
	u32 page; /* how many pages behind the start of our own page the record begins */
};

/* Our own page; programs' records find it by their header. */
struct rt_ring {
	struct rt_map *map;
	u32 lock; /* of those who reserve */
	u32 busy; /* atomic: a program drains a user's ring */
	u64 size, mask;
	u64 consumed; /* where the consumer was when it was last looked for: its line is not asked for with every record */
	u64 pending; /* the oldest record that is not known to be committed */
	int event; /* atomic: an eventfd that says a wakeup has come, -1 none */
};

struct rt_ring_map {
	struct rt_map m;
	struct rt_ring *ring;
};

static inline struct rt_ring *rt_ring_of(struct rt_map *m)
{
	return ((struct rt_ring_map *)m)->ring;
}

static inline u64 *rt_ring_consumer(struct rt_ring *r)
{
	return (u64 *)((char *)r + RT_PAGE);
}

static inline u64 *rt_ring_producer(struct rt_ring *r)
{
	return (u64 *)((char *)r + 2 * RT_PAGE);
}

static inline char *rt_ring_data(struct rt_ring *r)
{
	return (char *)r + 3 * RT_PAGE;
}
