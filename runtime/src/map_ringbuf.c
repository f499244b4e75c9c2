/* SPDX-License-Identifier: MIT */
/* Ring buffers (layout: ringbuf.h): programs reserve, fill and submit; or drain what a user has produced. */
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dynptr.h"
#include "ringbuf.h"

#define MAX_RECORD (UINT32_MAX / 4)
#define MAX_SAMPLES (128u * 1024)
#define OWN_PAGES 3

static void *map_ring(int fd, u64 size)
{
	u64 once = OWN_PAGES * RT_PAGE + size, all = once + size;
	char *base = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return NULL;
	if (mmap(base, once, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mmap(base + once, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, OWN_PAGES * RT_PAGE) == MAP_FAILED) {
		munmap(base, all);
		return NULL;
	}
	return base;
}

static struct rt_map *ring_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct rt_ring_map *r = calloc(1, sizeof(*r));
	u64 size = shape->max_entries;
	int fd;

	(void)k;
	*err = -ENOMEM;
	if (!r)
		return NULL;
	fd = memfd_create("ringbuf", MFD_CLOEXEC);
	if (fd >= 0) {
		if (!ftruncate(fd, OWN_PAGES * RT_PAGE + size))
			r->ring = map_ring(fd, size);
		close(fd);
	}
	if (!r->ring) {
		free(r);
		return NULL;
	}
	r->ring->map = &r->m;
	r->ring->size = size;
	r->ring->mask = size - 1;
	r->ring->event = -1;
	r->m.memory_bytes = sizeof(*r) + OWN_PAGES * RT_PAGE + size;
	return &r->m;
}

static void ring_free(struct rt_map *m)
{
	struct rt_ring *r = rt_ring_of(m);

	if (r->event >= 0)
		close(r->event);
	munmap(r, OWN_PAGES * RT_PAGE + 2 * r->size);
	free(m);
}

/* -- waking who waits -- */

int rt_ring_event(struct bpf_map *map)
{
	struct rt_ring *r = rt_ring_of(rt_map_of(map));
	int fd = __atomic_load_n(&r->event, __ATOMIC_ACQUIRE), none = -1;

	if (fd >= 0)
		return fd;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (!__atomic_compare_exchange_n(&r->event, &none, fd, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		close(fd);
		fd = none;
	}
	return fd;
}

/* The wakeups so far have been heard. */
void rt_ring_seen(struct bpf_map *map)
{
	u64 count;

	if (read(rt_ring_of(rt_map_of(map))->event, &count, sizeof(count)) < 0)
		return; /* another one heard them */
}

static void wake(struct rt_ring *r)
{
	int fd = __atomic_load_n(&r->event, __ATOMIC_ACQUIRE);
	u64 one = 1;

	if (unlikely(fd >= 0) && write(fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: whoever waits has been woken long since */
}

/* Bytes between consumer and producer, as poll() and bpf_ringbuf_query() count them. */
static u64 available(struct rt_ring *r)
{
	u64 consumed = __atomic_load_n(rt_ring_consumer(r), __ATOMIC_ACQUIRE);

	return __atomic_load_n(rt_ring_producer(r), __ATOMIC_ACQUIRE) - consumed;
}

/* Data for the user to read, or room for it to write. */
int rt_ring_ready(struct bpf_map *map)
{
	struct rt_ring *r = rt_ring_of(rt_map_of(map));

	return map->map_type == BPF_MAP_TYPE_RINGBUF ? available(r) != 0 : available(r) < r->size;
}

/* The memory that mmap(2) gives: from the consumer's page on. */
void *rt_ring_memory(struct bpf_map *map, u64 *size)
{
	struct rt_ring *r = rt_ring_of(rt_map_of(map));

	*size = 2 * RT_PAGE + 2 * r->size;
	return rt_ring_consumer(r);
}

/* -- programs produce -- */

static u64 record_bytes(u64 len)
{
	return round_up((len & ~(u64)(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT)) + BPF_RINGBUF_HDR_SZ, 8);
}

static struct rt_ring_header *header_at(struct rt_ring *r, u64 pos)
{
	return (struct rt_ring_header *)(rt_ring_data(r) + (pos & r->mask));
}

static void *reserve(struct rt_ring *r, u64 size)
{
	u64 bytes = record_bytes(size), at, end;
	struct rt_ring_header *h;

	if (unlikely(size > MAX_RECORD || bytes > r->size))
		return NULL;
	rt_spin_lock(&r->lock);
	at = *rt_ring_producer(r);
	end = at + bytes;
	if (end - r->consumed > r->mask)
		r->consumed = __atomic_load_n(rt_ring_consumer(r), __ATOMIC_ACQUIRE);
	/* Records are never written over while one before them is still open. */
	while (end - r->pending > r->mask && r->pending < at) {
		u32 len = __atomic_load_n(&header_at(r, r->pending)->len, __ATOMIC_ACQUIRE);

		if (len & BPF_RINGBUF_BUSY_BIT)
			break;
		r->pending += record_bytes(len);
	}
	if (unlikely(end - r->consumed > r->mask || end - r->pending > r->mask)) {
		rt_spin_unlock(&r->lock);
		return NULL;
	}
	h = header_at(r, at);
	h->page = (u32)(((char *)h - (char *)r) / RT_PAGE);
	__atomic_store_n(&h->len, (u32)size | BPF_RINGBUF_BUSY_BIT, __ATOMIC_RELAXED);
	__atomic_store_n(rt_ring_producer(r), end, __ATOMIC_RELEASE);
	rt_spin_unlock(&r->lock);
	return h + 1;
}

static struct rt_ring *ring_of_record(struct rt_ring_header *h)
{
	return (struct rt_ring *)(((uintptr_t)h & ~(RT_PAGE - 1)) - (uintptr_t)h->page * RT_PAGE);
}

static void committed(struct rt_ring *r, struct rt_ring_header *h, u64 flags)
{
	u64 place = (char *)h - rt_ring_data(r);

	if (likely(__atomic_load_n(&r->event, __ATOMIC_SEQ_CST) < 0))
		return; /* nobody waits: who begins to looks at the positions after it has said so */
	/* Who has read all before this one may be waiting for it. */
	if (flags & BPF_RB_FORCE_WAKEUP)
		wake(r);
	else if (!(flags & BPF_RB_NO_WAKEUP) &&
		 (__atomic_load_n(rt_ring_consumer(r), __ATOMIC_ACQUIRE) & r->mask) == place)
		wake(r);
}

static void commit(void *record, u64 flags, u32 discard)
{
	struct rt_ring_header *h = (struct rt_ring_header *)record - 1;
	struct rt_ring *r = ring_of_record(h);

	__atomic_exchange_n(&h->len, (h->len ^ BPF_RINGBUF_BUSY_BIT) | discard, __ATOMIC_SEQ_CST);
	committed(r, h, flags);
}

/* The end of a commit whose exchange the JIT's code has made (bpfjit/jit/ring.py). */
void rt_ringbuf_committed(void *record, u64 flags)
{
	struct rt_ring_header *h = (struct rt_ring_header *)record - 1;

	committed(ring_of_record(h), h, flags);
}

void *rt_ringbuf_reserve(struct bpf_map *map, u64 size, u64 flags)
{
	return flags ? NULL : reserve(rt_ring_of(rt_map_of(map)), size);
}

void rt_ringbuf_submit(void *record, u64 flags)
{
	commit(record, flags, 0);
}

void rt_ringbuf_discard(void *record, u64 flags)
{
	commit(record, flags, BPF_RINGBUF_DISCARD_BIT);
}

s64 rt_ringbuf_output(struct bpf_map *map, const void *data, u64 size, u64 flags)
{
	void *record;

	if (flags & ~(u64)(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP))
		return -EINVAL;
	record = reserve(rt_ring_of(rt_map_of(map)), size);
	if (!record)
		return -EAGAIN;
	memcpy(record, data, size);
	commit(record, flags, 0);
	return 0;
}

u64 rt_ringbuf_query(struct bpf_map *map, u64 flags)
{
	struct rt_ring *r = rt_ring_of(rt_map_of(map));

	switch (flags) {
	case BPF_RB_AVAIL_DATA:
		return available(r);
	case BPF_RB_RING_SIZE:
		return r->size;
	case BPF_RB_CONS_POS:
		return __atomic_load_n(rt_ring_consumer(r), __ATOMIC_ACQUIRE);
	case BPF_RB_PROD_POS:
		return __atomic_load_n(rt_ring_producer(r), __ATOMIC_ACQUIRE);
	}
	return 0;
}

/* -- a user produces -- */

/* The next record: 0, -ENODATA for none, -EAGAIN for one that was discarded and is skipped, or what is wrong with it. */
static int peek(struct rt_ring *r, void **sample, u32 *size)
{
	u64 produced = __atomic_load_n(rt_ring_producer(r), __ATOMIC_ACQUIRE);
	u64 consumed = __atomic_load_n(rt_ring_consumer(r), __ATOMIC_ACQUIRE), bytes;
	u32 len;

	if (produced % 8)
		return -EINVAL;
	if (consumed >= produced)
		return -ENODATA;
	len = __atomic_load_n(&header_at(r, consumed)->len, __ATOMIC_ACQUIRE);
	*size = len & ~(u32)(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	bytes = record_bytes(*size);
	if (bytes > produced - consumed)
		return -EINVAL;
	if (bytes > r->size || *size > RT_DYNPTR_MAX)
		return -E2BIG;
	if (len & BPF_RINGBUF_DISCARD_BIT) {
		__atomic_store_n(rt_ring_consumer(r), consumed + bytes, __ATOMIC_RELEASE);
		return -EAGAIN;
	}
	if (len & BPF_RINGBUF_BUSY_BIT)
		return -ENODATA;
	*sample = rt_ring_data(r) + ((consumed + BPF_RINGBUF_HDR_SZ) & r->mask);
	return 0;
}

s64 rt_user_ringbuf_drain(struct bpf_map *map, u64 (*callback)(void *dynptr, void *ctx, u64, u64, u64), void *ctx, u64 flags)
{
	struct rt_ring *r = rt_ring_of(rt_map_of(map));
	s64 samples, discarded = 0, ret = 0;

	if (flags & ~(u64)(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP))
		return -EINVAL;
	if (__atomic_exchange_n(&r->busy, 1, __ATOMIC_ACQUIRE))
		return -EBUSY;
	for (samples = 0; samples < MAX_SAMPLES && !ret; samples++) {
		struct dynptr dynptr = { .kind = LOCAL };
		int err = peek(r, &dynptr.data, &dynptr.size);
		u32 size = dynptr.size;

		if (err == -ENODATA)
			break;
		if (err == -EAGAIN) {
			discarded++;
			continue;
		}
		if (err) {
			ret = err;
			break;
		}
		ret = (s64)callback(&dynptr, ctx, 0, 0, 0);
		__atomic_store_n(rt_ring_consumer(r), *rt_ring_consumer(r) + record_bytes(size), __ATOMIC_RELEASE);
	}
	if (ret >= 0)
		ret = samples - discarded;
	__atomic_store_n(&r->busy, 0, __ATOMIC_RELEASE);
	if (flags & BPF_RB_FORCE_WAKEUP || (!(flags & BPF_RB_NO_WAKEUP) && samples > 0))
		wake(r);
	return ret;
}

/* -- the map -- */

static int ring_owns(struct rt_map *m, u64 addr, u64 size)
{
	struct rt_ring *r = rt_ring_of(m);
	u64 start = (u64)(uintptr_t)rt_ring_data(r), all = 2 * r->size;

	return addr >= start && size <= all && addr - start <= all - size;
}

#define RING_OPS(name, type)                                                                                           \
	static const struct bpf_map_ops name = { .map_type = type, .alloc = ring_alloc, .free = ring_free, .owns = ring_owns }; \
	RT_MAP_TYPE(name)

RING_OPS(ringbuf_ops, BPF_MAP_TYPE_RINGBUF);
RING_OPS(user_ringbuf_ops, BPF_MAP_TYPE_USER_RINGBUF);
