/* SPDX-License-Identifier: MIT */
/* Cases of the stress program: memory that programs share with users: arenas, a user's ring buffer; and stacks. */
#include "dynptr.h"
#include "ringbuf.h"
#include "stress.h"

u64 rt_bpf_arena_alloc_pages(struct bpf_map *map, u64 addr, u64 count, u64 node, u64 flags);
void rt_bpf_arena_free_pages(struct bpf_map *map, u64 addr, u64 count);
s64 rt_bpf_arena_reserve_pages(struct bpf_map *map, u64 addr, u64 count);
s64 rt_user_ringbuf_drain(struct bpf_map *map, u64 (*callback)(void *, void *, u64, u64, u64), void *ctx, u64 flags);
s64 rt_get_stackid(void *ctx, struct bpf_map *map, u64 flags);

/* -- arenas: a page is one thread's at a time, zero when it comes; what is not there reads as 0 -- */

#define PAGES 32
#define TAG 0x5a5a000000000000ULL

static char *window, *user;

/* As compiled programs do it, one instruction each: it may fault and be passed over. */
static u64 load(u64 addr)
{
	u64 value = 1;

	__asm__ volatile("movq (%1,%2), %0" : "=r"(value) : "r"(window), "r"((u64)(u32)addr) : "memory");
	return value;
}

static void store(u64 addr, u64 value)
{
	__asm__ volatile("movq %0, (%1,%2)" : : "r"(value), "r"(window), "r"((u64)(u32)addr) : "memory");
}

static void *share_pages(void *arg)
{
	struct worker *w = arg;
	u64 size, start = rt_arena_user(w->map, &size);

	for (; going(); w->done++) {
		struct rt_cpu *cpu = rt_enter(w->k);
		u64 n = 1 + draw(w) % 3, addr, seen;

		if (w->index == 0) { /* the user's own page, which nobody allocated */
			u64 value = TAG | (draw(w) & 7), at = start + (PAGES - 1) * RT_PAGE;

			__asm__ volatile("movq %0, (%1)" : : "r"(value), "r"(user + (PAGES - 1) * RT_PAGE) : "memory");
			CHECK(load(at) == value, "what the user wrote");
			CHECK(rt_bpf_arena_reserve_pages(w->map, at, 1) == -EBUSY, "the user's");
		}
		addr = rt_bpf_arena_alloc_pages(w->map, 0, n, -1, 0);
		for (u64 i = 0; addr && i < n; i++) {
			CHECK(!load(addr + i * RT_PAGE), "not new: %llx", (unsigned long long)load(addr + i * RT_PAGE));
			store(addr + i * RT_PAGE, TAG | w->index);
		}
		seen = load(start + draw(w) % PAGES * RT_PAGE);
		CHECK(!seen || (seen & ~7ULL) == TAG, "%llx", (unsigned long long)seen);
		for (u64 i = 0; addr && i < n; i++) {
			CHECK(load(addr + i * RT_PAGE) == (TAG | w->index), "another's");
			store(addr + i * RT_PAGE, 0);
		}
		if (addr)
			rt_bpf_arena_free_pages(w->map, addr, n);
		rt_leave(cpu);
	}
	return NULL;
}

void test_arena(struct rt_kernel *k)
{
	struct bpf_map *map = map_new(k, BPF_MAP_TYPE_ARENA, 0, 0, PAGES, BPF_F_MMAPABLE);
	s64 at = rt_arena_mmap(map, 0, PAGES * RT_PAGE, 1);
	u64 done;

	CHECK(at > 0, "mmap: %lld", (long long)at);
	user = (char *)(uintptr_t)at;
	window = rt_map_direct(map);
	__asm__ volatile("movq %0, (%1)" : : "r"(TAG), "r"(user + (PAGES - 1) * RT_PAGE) : "memory");
	done = race(k, map, 3, share_pages);
	rt_bpf_arena_free_pages(map, (u64)at, PAGES);
	for (u64 page = 0; page < PAGES; page++) {
		store((u64)at + page * RT_PAGE, 1);
		CHECK(!load((u64)at + page * RT_PAGE), "a page that was freed");
	}
	rt_arena_munmap(map, user);
	rt_map_free(map);
	printf("arena: %llu rounds\n", (unsigned long long)done);
}

/* -- a user's ring: one writes, all drain; every sample arrives once, in order -- */

static u64 next_sample;

static u64 take_sample(void *dynptr, void *ctx, u64 a, u64 b, u64 c)
{
	struct dynptr *p = dynptr;
	u64 *words = p->data;

	CHECK(p->size >= 8 && words[0] == next_sample, "%llu of %u bytes, wanted %llu", (unsigned long long)words[0], p->size,
	      (unsigned long long)next_sample);
	for (u32 i = 1; i < p->size / 8; i++)
		CHECK(words[i] == ~words[0], "torn");
	next_sample++; /* whoever drains is alone */
	return 0;
}

static void *write_or_drain(void *arg)
{
	struct worker *w = arg;
	struct rt_ring *r = rt_ring_of(rt_map_of(w->map));
	u64 at = 0, number = 0;

	for (; going(); w->done++) {
		if (w->index) {
			struct rt_cpu *cpu = rt_enter(w->k);
			s64 got = rt_user_ringbuf_drain(w->map, take_sample, NULL, 0);

			CHECK(got >= 0 || got == -EBUSY, "drain: %lld", (long long)got);
			rt_leave(cpu);
			continue;
		}
		u64 words = 1 + draw(w) % 6, bytes = words * 8 + 8;

		if (at + bytes - __atomic_load_n(rt_ring_consumer(r), __ATOMIC_ACQUIRE) > r->size)
			continue;
		struct rt_ring_header *h = (void *)(rt_ring_data(r) + (at & r->mask));
		u64 *data = (u64 *)(h + 1);

		data[0] = number;
		for (u64 i = 1; i < words; i++)
			data[i] = ~number;
		number++;
		__atomic_store_n(&h->len, (u32)(words * 8), __ATOMIC_RELEASE);
		at += bytes;
		__atomic_store_n(rt_ring_producer(r), at, __ATOMIC_RELEASE);
	}
	return NULL;
}

void test_user_ring(struct rt_kernel *k)
{
	struct bpf_map *map = map_new(k, BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0);
	u64 done;

	next_sample = 0;
	done = race(k, map, 3, write_or_drain);
	rt_map_free(map);
	printf("user ring: %llu rounds, %llu samples\n", (unsigned long long)done, (unsigned long long)next_sample);
}

/* -- stacks: a number stands for one whole stack, while tasks get others and numbers are let go -- */

#define DEPTH 6

static struct task_struct *tasks[THREADS];

static void *keep_stacks(void *arg)
{
	struct worker *w = arg;
	struct task_struct *task = tasks[w->index];

	for (; going(); w->done++) {
		u64 ip[DEPTH], base = 1 + draw(w) % 8, found[DEPTH];
		struct rt_cpu *cpu = rt_enter(w->k);
		u32 key;
		s64 id;

		for (u64 i = 0; i < DEPTH; i++)
			ip[i] = base * 1000 + i;
		CHECK(!rt_task_stack(w->k, task, ip, DEPTH, NULL, 0), "stack");
		rt_become(cpu, task);
		id = rt_get_stackid(NULL, w->map, draw(w) & 32 ? 1 << 10 : 0);
		key = (u32)id;
		CHECK(id >= 0 || id == -EEXIST || id == -ENOMEM, "%lld", (long long)id);
		if (id >= 0 && !rt_map_copy_out(w->map, &key, found, 0))
			for (u64 i = 0; i < DEPTH; i++)
				CHECK(found[i] == found[0] + i && found[0] % 1000 == 0, "torn");
		if (draw(w) & 128)
			rt_map_delete(w->map, &key);
		rt_leave(cpu);
	}
	return NULL;
}

void test_stacks(struct rt_kernel *k)
{
	struct bpf_map *map = map_new(k, BPF_MAP_TYPE_STACK_TRACE, 4, DEPTH * 8, 4, 0);
	u64 done;

	for (int i = 0; i < THREADS; i++)
		CHECK((tasks[i] = rt_kobj_alloc(k, sizeof(*tasks[i]))), "task");
	done = race(k, map, THREADS, keep_stacks);
	for (int i = 0; i < THREADS; i++) {
		rt_task_stack(k, tasks[i], NULL, 0, NULL, 0);
		rt_kobj_free_rcu(k, tasks[i], sizeof(*tasks[i]));
	}
	rt_map_free(map);
	printf("stacks: %llu rounds\n", (unsigned long long)done);
}
