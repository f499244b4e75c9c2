/* SPDX-License-Identifier: MIT */
/*
 * The streams of a program: what it prints for whoever holds it, and what the kernel has to say of it. Texts are kept
 * until they are read, in order; all together at most what Linux keeps (BPF_STREAM_MAX_CAPACITY).
 */
#include <stdarg.h>
#include <stdio.h>

#include "rt.h"

#define MAX_CAPACITY 100000
#define MAX_TEXT 1024 /* MAX_BPRINTF_BUF */
#define MAX_ARGS 12
#define STDERR 2

struct rt_text {
	struct rt_text *next;
	u32 size, read;
	char text[];
};

static struct rt_stream *stream_of(struct rt_prog *prog, u32 id)
{
	return prog && id - 1 < RT_STREAMS ? &prog->streams[id - 1] : NULL;
}

static s64 push(struct rt_stream *s, const char *text, u32 size)
{
	struct rt_text *t;
	s64 err = 0;

	rt_spin_lock(&s->lock);
	if (s->used + size >= MAX_CAPACITY) {
		err = -ENOSPC;
	} else if (!(t = malloc(sizeof(*t) + size))) {
		err = -ENOMEM;
	} else {
		*t = (struct rt_text){ .size = size };
		memcpy(t->text, text, size);
		*(s->last ? &s->last->next : &s->first) = t;
		s->last = t;
		s->used += size;
	}
	rt_spin_unlock(&s->lock);
	return err;
}

s64 rt_bpf_stream_vprintk_impl(s32 id, const char *fmt, const u64 *args, u32 len, struct rt_prog *prog)
{
	struct rt_stream *s = stream_of(prog, id);
	char text[MAX_TEXT];
	struct rt_out out = { .buf = text, .size = sizeof(text) - 1 };
	int err;

	if (!s)
		return -ENOENT;
	if (len & 7 || len > MAX_ARGS * 8 || (len && !args))
		return -EINVAL;
	err = rt_bprintf(rt_this_cpu->kernel, &out, fmt, 0xffffffff, args, len / 8);
	if (err)
		return err;
	return push(s, text, out.count < out.size ? out.count : out.size);
}

/* Complaints of the kernel end with where they come from; Linux tells the stack there, which native code here has no names for. */
static void complain(struct rt_prog *prog, const char *what)
{
	struct task_struct *task = rt_this_cpu->current;
	char text[256];
	int n = snprintf(text, sizeof(text), "ERROR: %s\nCPU: %u UID: %u PID: %d Comm: %.15s\nCall trace:\n\n", what,
			 rt_this_cpu->index, 0, task ? task->pid : 0, task ? task->comm : "");

	push(stream_of(prog, STDERR), text, n);
}

/*
 * A loop of may_gotos has used up its rounds: how many more it has. Time is looked at only here: a quarter of a second from
 * the first look on, as on Linux.
 */
u64 rt_may_goto(struct rt_prog *prog, u64 *since)
{
	struct timespec ts;
	u64 now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = ts.tv_sec * 1000000000ULL + ts.tv_nsec;
	if (!*since)
		*since = now;
	if (now - *since < 250000000)
		return RT_MAY_GOTO_ROUNDS;
	if (prog)
		complain(prog, "Timeout detected for may_goto instruction");
	return 0;
}

/* A copy of the first `size` bytes that wait to be read; the bytes there were, or -ENOENT for a stream that there is not. */
s64 rt_stream_peek(struct rt_prog *prog, u32 id, char *buf, u64 size)
{
	struct rt_stream *s = stream_of(prog, id);
	u64 done = 0;

	if (!s)
		return -ENOENT;
	rt_spin_lock(&s->lock);
	for (struct rt_text *t = s->first; t && done < size; t = t->next) {
		u32 left = t->size - t->read, n = left < size - done ? left : size - done;

		memcpy(buf + done, t->text + t->read, n);
		done += n;
	}
	rt_spin_unlock(&s->lock);
	return (s64)done;
}

/* They have been read. A text makes room for others once it has been read whole. */
void rt_stream_drop(struct rt_prog *prog, u32 id, u64 size)
{
	struct rt_stream *s = stream_of(prog, id);

	rt_spin_lock(&s->lock);
	for (struct rt_text *t = s->first; t && size >= t->size - t->read; t = s->first) {
		size -= t->size - t->read;
		s->used -= t->size;
		s->first = t->next;
		free(t);
	}
	if (s->first)
		s->first->read += size;
	else
		s->last = NULL;
	rt_spin_unlock(&s->lock);
}

void rt_streams_free(struct rt_prog *prog)
{
	for (int i = 0; i < RT_STREAMS; i++)
		for (struct rt_text *t = prog->streams[i].first, *next; t; t = next) {
			next = t->next;
			free(t);
		}
}
