/* SPDX-License-Identifier: MIT */
/* Cases of the stress program: readers, tracepoints, views. */
#include "stress.h"

/* -- RCU: what a held CPU found stays until it is let go -- */

static struct bpf_map *shared_map;
static u64 *shared_obj;

static void *reader(void *arg)
{
	struct worker *w = arg;
	u32 zero = 0;

	for (; going(); w->done++) {
		struct rt_cpu *cpu = rt_enter(w->k);
		struct bpf_map *map = __atomic_load_n(&shared_map, __ATOMIC_ACQUIRE);
		u64 *obj = __atomic_load_n(&shared_obj, __ATOMIC_ACQUIRE), *value = rt_map_lookup_elem(map, &zero);

		for (int i = 0; i < 50; i++)
			CHECK(*(volatile u64 *)value == 42 && *(volatile u64 *)obj == 43, "freed under a reader");
		rt_leave(cpu);
	}
	return NULL;
}

static void publish(struct rt_kernel *k)
{
	struct bpf_map *before = shared_map, *map;
	u64 *obj_before = shared_obj, *obj, value = 42;
	u32 zero = 0;

	map = map_new(k, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	obj = rt_kobj_alloc(k, 128);
	CHECK(map && obj, "no memory");
	CHECK(!rt_map_copy_in(map, &zero, &value, BPF_ANY), "update");
	*obj = 43;
	__atomic_store_n(&shared_map, map, __ATOMIC_RELEASE);
	__atomic_store_n(&shared_obj, obj, __ATOMIC_RELEASE);
	rt_map_free(before);
	if (obj_before)
		rt_kobj_free_rcu(k, obj_before, 128);
}

static void *publisher(void *arg)
{
	struct worker *w = arg;

	if (w->index)
		return reader(arg);
	for (; going(); w->done++)
		publish(w->k);
	return NULL;
}

void test_rcu(struct rt_kernel *k)
{
	u64 done;

	publish(k);
	done = race(k, NULL, THREADS, publisher);
	rt_map_free(shared_map);
	rt_kobj_free_rcu(k, shared_obj, 128);
	rt_rcu_barrier(k);
	printf("rcu: %llu rounds\n", (unsigned long long)done);
}

/* -- tracepoints: a detached program has run for the last time when the barrier returns -- */

static struct rt_tracepoint *tracepoint;
static u32 attached;
static u64 fired;

static u64 probe(void *ctx)
{
	(void)ctx;
	CHECK(__atomic_load_n(&attached, __ATOMIC_SEQ_CST), "runs after it was detached");
	__atomic_fetch_add(&fired, 1, __ATOMIC_RELAXED);
	return 0;
}

static void *attach_or_fire(void *arg)
{
	struct worker *w = arg;
	u64 args[2] = { 0 };

	for (; going(); w->done++) {
		if (w->index) {
			rt_tracepoint_fire(tracepoint, args, NULL, 3);
			continue;
		}
		__atomic_store_n(&attached, 1, __ATOMIC_SEQ_CST);
		CHECK(!rt_tracepoint_attach(tracepoint, probe, NULL), "attach");
		CHECK(!rt_tracepoint_attach(tracepoint, probe, NULL), "attach again");
		CHECK(!rt_tracepoint_detach(tracepoint, probe), "detach");
		CHECK(!rt_tracepoint_detach(tracepoint, probe), "detach again");
		CHECK(rt_tracepoint_detach(tracepoint, probe) == -ENOENT, "detached once too often");
		rt_rcu_barrier(w->k);
		__atomic_store_n(&attached, 0, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

void test_tracepoint(struct rt_kernel *k)
{
	tracepoint = rt_tracepoint_new(k);
	u64 done = race(k, NULL, THREADS, attach_or_fire);

	rt_tracepoint_free(tracepoint);
	printf("tracepoint: %llu rounds, %llu executions\n", (unsigned long long)done, (unsigned long long)fired);
}

/* -- views: one open file shared by all threads, and one each -- */

static struct rt_view *shared_view;

static u64 show_pages(void *arg)
{
	struct seq_file *seq = *(struct seq_file **)arg;

	for (u64 i = 0; i < 300; i++)
		if (rt_seq_printf(seq, "%llu %d 0123456789\n", 20, (u64[]){ i + 1000, 7 }, 16))
			break;
	return 0;
}

static void *read_view(void *arg)
{
	struct worker *w = arg;
	struct rt_view *own = rt_view_open(w->k, show_pages, NULL);
	char buf[16384];

	for (; going(); w->done++) {
		s64 n = rt_view_read(own, buf, sizeof(buf), 0, NULL);

		CHECK(n == 300 * 18 && !memcmp(buf, "1000 7 0123456789\n", 18) && buf[n - 1] == '\n', "%lld bytes", (long long)n);
		n = rt_view_read(shared_view, buf, 100, draw(w) % 6000, NULL);
		CHECK(n >= 0 && n <= 100, "%lld bytes", (long long)n);
	}
	rt_view_close(own);
	return NULL;
}

void test_views(struct rt_kernel *k)
{
	shared_view = rt_view_open(k, show_pages, NULL);
	u64 done = race(k, NULL, THREADS, read_view);

	rt_view_close(shared_view);
	printf("views: %llu reads\n", (unsigned long long)done);
}
