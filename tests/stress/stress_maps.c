/* SPDX-License-Identifier: MIT */
/* Cases of the stress program: maps that are no hashes: tries, queues, ring buffers, timers, storage, slots of objects. */
#include "held.h"
#include "ringbuf.h"
#include "stress.h"

s64 rt_map_push_elem(struct bpf_map *map, const void *value, u64 flags);
s64 rt_map_pop_elem(struct bpf_map *map, void *value);
void *rt_ringbuf_reserve(struct bpf_map *map, u64 size, u64 flags);
void rt_ringbuf_submit(void *record, u64 flags);
void rt_ringbuf_discard(void *record, u64 flags);
void *rt_storage_get(struct bpf_map *map, void *object, const void *value, u64 flags);
s64 rt_timer_init(void *at, struct bpf_map *map, u64 flags);
s64 rt_timer_set_callback(void *at, u64 (*fn)(struct bpf_map *, void *, void *, u64, u64));
s64 rt_timer_start(void *at, u64 nsecs, u64 flags);
s64 rt_timer_cancel(void *at);

/* -- tries: a value found belongs to a prefix of the key -- */

struct prefix {
	u32 bits;
	u32 address;
};

static struct prefix prefix_of(u64 r)
{
	struct prefix p = { .bits = (u32)(r % 33), .address = (u32)(r >> 32) & 0x070307ff };

	return p;
}

static u64 masked(const struct prefix *p)
{
	u32 address = __builtin_bswap32(p->address);

	return p->bits ? (u64)(address >> (32 - p->bits)) << 8 | p->bits : 0;
}

static void *route(void *arg)
{
	struct worker *w = arg;

	for (; going(); w->done++) {
		u64 r = draw(w), value;
		struct prefix p = prefix_of(r), next;
		struct rt_cpu *cpu = rt_enter(w->k);

		switch (r >> 8 & 3) {
		case 0:
			rt_map_delete(w->map, &p);
			break;
		case 1:
			value = masked(&p);
			rt_map_copy_in(w->map, &p, &value, BPF_ANY);
			break;
		case 2: {
			u64 *found = rt_map_lookup_elem(w->map, &p);

			if (found) {
				u64 bits = *found & 255;
				struct prefix shorter = { .bits = (u32)bits, .address = p.address };

				CHECK(bits <= p.bits && *found == masked(&shorter), "%llx", (unsigned long long)*found);
			}
			break;
		}
		default:
			if (!rt_map_next_key(w->map, r & 1 << 20 ? &p : NULL, &next))
				CHECK(next.bits <= 32, "%u", next.bits);
		}
		rt_leave(cpu);
	}
	return NULL;
}

void test_trie(struct rt_kernel *k)
{
	struct bpf_map *map = map_new(k, BPF_MAP_TYPE_LPM_TRIE, 8, 8, 200, BPF_F_NO_PREALLOC);
	u64 done = race(k, map, THREADS, route);
	struct prefix p;

	while (!rt_map_next_key(map, NULL, &p))
		CHECK(!rt_map_delete(map, &p), "delete");
	rt_map_free(map);
	printf("trie: %llu operations\n", (unsigned long long)done);
}

/* -- queues: what was pushed is popped once, whole -- */

static u64 pushed, popped;

static void *push_or_pop(void *arg)
{
	struct worker *w = arg;
	struct pair value;

	for (; going(); w->done++) {
		if (draw(w) & 1 << 10) {
			value.a = draw(w);
			value.b = ~value.a;
			if (!rt_map_push_elem(w->map, &value, BPF_ANY))
				__atomic_fetch_add(&pushed, value.a, __ATOMIC_RELAXED);
		} else if (!rt_map_pop_elem(w->map, &value)) {
			CHECK(value.b == ~value.a, "torn");
			__atomic_fetch_add(&popped, value.a, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

void test_queue(struct rt_kernel *k, u32 type)
{
	struct bpf_map *map = map_new(k, type, 0, sizeof(struct pair), 30, 0);
	struct pair value;
	u64 done;

	pushed = popped = 0;
	done = race(k, map, THREADS, push_or_pop);
	while (!rt_map_take(map, NULL, &value, 0))
		popped += value.a;
	CHECK(pushed == popped, "something was lost, or came twice");
	rt_map_free(map);
	printf("queue type %u: %llu operations\n", type, (unsigned long long)done);
}

/* -- ring buffers: three produce, one consumes through the mapped pages -- */

static void *produce_or_consume(void *arg)
{
	struct worker *w = arg;
	struct rt_ring *r = rt_ring_of(rt_map_of(w->map));
	u64 last[THREADS] = { 0 }, sent = 0;

	for (; going() || !w->index; w->done++) {
		if (w->index) {
			struct rt_cpu *cpu = rt_enter(w->k);
			u64 words = 3 + draw(w) % 5, *record = rt_ringbuf_reserve(w->map, words * 8, 0);

			if (record) {
				for (u64 i = 2; i < words; i++)
					record[i] = sent + 1 + i;
				record[0] = w->index;
				record[1] = ++sent;
				if (draw(w) & 1 << 9)
					rt_ringbuf_submit(record, 0);
				else
					rt_ringbuf_discard(record, 0);
			}
			rt_leave(cpu);
			continue;
		}
		u64 at = __atomic_load_n(rt_ring_consumer(r), __ATOMIC_RELAXED);

		if (at == __atomic_load_n(rt_ring_producer(r), __ATOMIC_ACQUIRE)) {
			if (!going())
				return NULL;
			continue;
		}
		struct rt_ring_header *h = (void *)(rt_ring_data(r) + (at & r->mask));
		u32 len = __atomic_load_n(&h->len, __ATOMIC_ACQUIRE);

		if (len & BPF_RINGBUF_BUSY_BIT)
			continue;
		u64 size = len & ~(u32)BPF_RINGBUF_DISCARD_BIT, *record = (u64 *)(h + 1);

		if (!(len & BPF_RINGBUF_DISCARD_BIT)) {
			CHECK(record[0] < THREADS && record[1] > last[record[0]], "out of order");
			last[record[0]] = record[1];
			for (u64 i = 2; i < size / 8; i++)
				CHECK(record[i] == record[1] + i, "a record of pieces");
		}
		__atomic_store_n(rt_ring_consumer(r), at + round_up(size + 8, 8), __ATOMIC_RELEASE);
	}
	return NULL;
}

void test_ring(struct rt_kernel *k)
{
	struct bpf_map *map = map_new(k, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	u64 done = race(k, map, THREADS, produce_or_consume);

	rt_map_free(map);
	printf("ring: %llu rounds\n", (unsigned long long)done);
}

/* -- timers: armed, cancelled and dropped with their elements while they fire -- */

static u64 fires;

static u64 fire(struct bpf_map *map, void *key, void *value, u64 a, u64 b)
{
	(void)map;
	(void)a;
	(void)b;
	CHECK(*(volatile u64 *)key < KEYS, "key %llx", (unsigned long long)*(u64 *)key);
	__atomic_fetch_add(&fires, 1, __ATOMIC_RELAXED);
	rt_timer_start((char *)value + 8, 20000, 0);
	return 0;
}

static void *time_out(void *arg)
{
	struct worker *w = arg;
	u64 fresh[3] = { 0 };

	for (; going(); w->done++) {
		u64 r = draw(w), key = r % 7;
		struct rt_cpu *cpu = rt_enter(w->k);
		char *value = rt_map_lookup_elem(w->map, &key);

		if (!value) {
			rt_map_copy_in(w->map, &key, fresh, BPF_NOEXIST);
		} else if ((r >> 16 & 31) == 0) {
			rt_map_delete(w->map, &key);
		} else {
			rt_timer_init(value + 8, w->map, CLOCK_MONOTONIC);
			rt_timer_set_callback(value + 8, fire);
			rt_timer_start(value + 8, r >> 40 & 65535, 0);
			if ((r >> 24 & 7) == 0)
				rt_timer_cancel(value + 8);
		}
		rt_leave(cpu);
	}
	return NULL;
}

void test_timers(struct rt_kernel *k)
{
	struct bpf_map shape = { .map_type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = 24, .max_entries = 16 }, *map;
	struct rt_field timer = { .kind = RT_TIMER, .offset = 8, .size = 16 };
	int err;
	u64 done;

	shape.usercnt.counter = 1;
	map = rt_map_new(k, &shape, &timer, 1, &err);
	CHECK(map, "%d", err);
	done = race(k, map, THREADS, time_out);
	rt_map_drop_timers(map);
	rt_map_free(map);
	rt_rcu_barrier(k);
	printf("timers: %llu operations, %llu calls\n", (unsigned long long)done, (unsigned long long)fires);
}

/* -- storage: a value goes with its object, and never belongs to the next one in its place -- */

static void *own(void *arg)
{
	struct worker *w = arg;

	for (; going(); w->done++) {
		u64 *object = rt_kobj_alloc(w->k, 192), *value;
		struct rt_cpu *cpu = rt_enter(w->k);

		CHECK(object, "no object");
		CHECK(!rt_storage_get(w->map, object, NULL, 0), "another one's value");
		value = rt_storage_get(w->map, object, NULL, 1);
		CHECK(value && !*value, "no fresh value");
		*value = 1;
		CHECK(rt_storage_get(w->map, object, NULL, 0) == value, "another value");
		rt_leave(cpu);
		rt_kobj_free_rcu(w->k, object, 192);
	}
	return NULL;
}

void test_storage(struct rt_kernel *k)
{
	struct bpf_map *map = map_new(k, BPF_MAP_TYPE_TASK_STORAGE, 4, 8, 0, BPF_F_NO_PREALLOC);
	u64 done = race(k, map, THREADS, own);

	rt_rcu_barrier(k);
	rt_map_free(map);
	rt_rcu_barrier(k);
	printf("storage: %llu objects\n", (unsigned long long)done);
}

/* -- maps of maps: what is taken out is freed after whoever found it -- */

static void *find_inner(void *arg)
{
	struct worker *w = arg;
	u32 zero = 0;

	for (; going(); w->done++) {
		if (w->index) {
			struct rt_cpu *cpu = rt_enter(w->k);
			struct bpf_map *inner = rt_map_lookup_elem(w->map, &zero);
			u64 *value = inner ? rt_map_lookup_elem(inner, &zero) : NULL;

			for (int i = 0; value && i < 20; i++)
				CHECK(*(volatile u64 *)value == 42, "freed under a reader");
			rt_leave(cpu);
			continue;
		}
		struct bpf_map *fresh = map_new(w->k, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0), *before = NULL;
		u64 value = 42;

		CHECK(!rt_map_copy_in(fresh, &zero, &value, BPF_ANY), "fill");
		rt_map_copy_out(w->map, &zero, &before, 0);
		CHECK(!rt_map_copy_in(w->map, &zero, &fresh, BPF_ANY), "put");
		rt_map_free(before);
	}
	return NULL;
}

void test_inner(struct rt_kernel *k)
{
	struct bpf_map *map = map_new(k, BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, 0), *last = NULL;
	u64 done = race(k, map, THREADS, find_inner);
	u32 zero = 0;

	rt_map_copy_out(map, &zero, &last, 0);
	rt_map_free(map);
	rt_map_free(last);
	rt_rcu_barrier(k);
	printf("maps of maps: %llu rounds\n", (unsigned long long)done);
}
