/* SPDX-License-Identifier: MIT */
/*
 * Perf event arrays: programs write samples into the ring of an event, one for each CPU. The ring is laid out as mmap(2)
 * of a perf event gives it: a page with head and tail, then 2^n pages of records.
 */
#include <sys/eventfd.h>
#include <unistd.h>

#include "held.h"

#define PERF_RECORD_LOST 2
#define PERF_RECORD_SAMPLE 9
#define MAX_RECORD 65528 /* a record's size is 16 bits, and a multiple of 8 */

struct perf_page {
	char unused[1024];
	u64 data_head; /* atomic */
	u64 data_tail; /* atomic: the reader's */
	u64 data_offset;
	u64 data_size;
};

struct perf_header {
	u32 type;
	u16 misc;
	u16 size;
};

struct rt_perf_event {
	struct rt_kernel *kernel;
	u32 cpu;
	u32 lock;
	u64 size; /* of the data */
	u64 lost;
	int event;
	char *pages;
};

struct rt_perf_event *rt_perf_event_new(struct rt_kernel *k, u32 cpu, u32 pages)
{
	struct rt_perf_event *e = calloc(1, sizeof(*e));
	struct perf_page *p;

	if (!e)
		return NULL;
	e->kernel = k;
	e->cpu = cpu;
	e->size = pages * RT_PAGE;
	e->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e->pages = rt_pages_alloc(RT_PAGE + e->size);
	if (e->event < 0 || !e->pages) {
		if (e->event >= 0)
			close(e->event);
		free(e);
		return NULL;
	}
	p = (struct perf_page *)e->pages;
	p->data_offset = RT_PAGE;
	p->data_size = e->size;
	return e;
}

static void release(struct rt_kernel *k, void *obj, size_t size)
{
	struct rt_perf_event *e = obj;

	(void)k;
	(void)size;
	rt_pages_free(e->pages, RT_PAGE + e->size);
	close(e->event);
	free(e);
}

void rt_perf_event_free(struct rt_perf_event *e)
{
	if (e)
		rt_defer(e->kernel, release, e, 0);
}

void *rt_perf_event_memory(struct rt_perf_event *e, u64 *size)
{
	*size = RT_PAGE + e->size;
	return e->pages;
}

int rt_perf_event_fd(struct rt_perf_event *e)
{
	return e->event;
}

int rt_perf_event_ready(struct rt_perf_event *e)
{
	struct perf_page *p = (struct perf_page *)e->pages;

	return __atomic_load_n(&p->data_head, __ATOMIC_ACQUIRE) != __atomic_load_n(&p->data_tail, __ATOMIC_ACQUIRE);
}

static u64 put(struct rt_perf_event *e, u64 at, const void *from, u64 size)
{
	char *data = e->pages + RT_PAGE;
	u64 place = at & (e->size - 1), first = e->size - place < size ? e->size - place : size;

	memcpy(data + place, from, first);
	memcpy(data, (const char *)from + first, size - first);
	return at + size;
}

static int output(struct rt_perf_event *e, const void *data, u32 size)
{
	struct perf_page *p = (struct perf_page *)e->pages;
	struct perf_header sample = { .type = PERF_RECORD_SAMPLE, .misc = 1 }, lost = { .type = PERF_RECORD_LOST };
	u32 raw = round_up(size + (u32)sizeof(u32), 8) - sizeof(u32); /* padded so that the record ends at 8 bytes */
	u64 head, tail, bytes = sizeof(sample) + sizeof(u32) + raw, also, one = 1;
	static const char zeroes[8];

	if (bytes > MAX_RECORD)
		return -E2BIG;
	rt_spin_lock(&e->lock);
	head = p->data_head;
	tail = __atomic_load_n(&p->data_tail, __ATOMIC_ACQUIRE);
	also = e->lost ? sizeof(lost) + 2 * sizeof(u64) : 0;
	if (((tail - head - 1) & (e->size - 1)) < bytes + also) {
		e->lost++;
		rt_spin_unlock(&e->lock);
		return -ENOSPC;
	}
	if (also) {
		u64 said[2] = { 0, e->lost };

		lost.size = (u16)also;
		head = put(e, put(e, head, &lost, sizeof(lost)), said, sizeof(said));
		e->lost = 0;
	}
	sample.size = (u16)bytes;
	head = put(e, put(e, head, &sample, sizeof(sample)), &raw, sizeof(raw));
	head = put(e, put(e, head, data, size), zeroes, raw - size);
	__atomic_store_n(&p->data_head, head, __ATOMIC_RELEASE);
	rt_spin_unlock(&e->lock);
	if (write(e->event, &one, sizeof(one)) < 0)
		return 0; /* the counter is full: whoever waits has been woken long since */
	return 0;
}

/* The event that flags mean, on the CPU that runs; or why there is none. */
static int event_of(struct bpf_map *map, u64 flags, int elsewhere, struct rt_perf_event **found)
{
	u64 index = flags & BPF_F_INDEX_MASK;

	if (flags & ~(u64)BPF_F_INDEX_MASK)
		return -EINVAL;
	if (index == BPF_F_CURRENT_CPU)
		index = rt_this_cpu->index;
	if (index >= map->max_entries)
		return -E2BIG;
	*found = rt_held_at(rt_map_of(map), (u32)index);
	if (!*found)
		return -ENOENT;
	return (*found)->cpu == rt_this_cpu->index ? 0 : elsewhere;
}

/* These events count nothing: programs write to them, and that is no event of theirs. */
s64 rt_perf_event_read(struct bpf_map *map, u64 flags)
{
	struct rt_perf_event *e;

	return event_of(map, flags, -EINVAL, &e);
}

s64 rt_perf_event_read_value(struct bpf_map *map, u64 flags, void *value, u64 size)
{
	struct rt_perf_event *e;
	int err = size == 3 * sizeof(u64) ? event_of(map, flags, -EINVAL, &e) : -EINVAL;

	memset(value, 0, size);
	return err;
}

s64 rt_perf_event_output(void *ctx, struct bpf_map *map, u64 flags, const void *data, u64 size)
{
	struct rt_perf_event *e;
	int err = event_of(map, flags, -EOPNOTSUPP, &e);

	(void)ctx;
	return err ? err : output(e, data, (u32)size);
}
