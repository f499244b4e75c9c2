/* SPDX-License-Identifier: MIT */
/*
 * Who stands at a device, and how they wait for what comes next.
 *
 * A device wakes those who sleep at it in turn, wherever they slept: with one for two CPUs, whose other is the requester's,
 * requests are served faster than with one for each. The others stand in line until there is a place.
 *
 * Whoever has just served a request looks for the next one for a while before it sleeps, giving its CPU away between two
 * looks: to wake somebody on another CPU, in a guest by an interrupt that its host must deliver, costs more than most
 * requests do. While requests keep coming so, twice as many may stand there, one on each CPU. Where other work wants the
 * CPU it is not done: who has given it away is then too long without it. Who finds nothing while others look stands in
 * line until it is called for: asleep in read(2) it would be woken by every request, and find each gone.
 */
#pragma once

#include <pthread.h>

#include "rt.h"

struct rt_line {
	int fd;
	pthread_mutex_t lock;
	pthread_cond_t place;
	u32 there, places; /* threads at the device, and how many there may be */
	u32 usual, most; /* places at rest, and while requests keep coming */
	u64 sleep_until, pause_ns; /* atomic: nobody looks before then; the next such pause */
};

/* What one thread remembers of its place. */
struct rt_stand {
	u64 served_at; /* 0: what it has served was no quick request */
	u32 in_a_row; /* requests found by looking */
};

void rt_line_init(struct rt_line *l, int fd);
void rt_line_destroy(struct rt_line *l);
void rt_line_in(struct rt_line *l);
void rt_line_out(struct rt_line *l);
/* Until there is a request, or it is better to sleep in read(2); the caller has a place, and has it afterwards. */
void rt_line_look(struct rt_line *l, struct rt_stand *s);
u64 rt_now_ns(void);
