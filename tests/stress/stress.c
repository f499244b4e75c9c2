/* SPDX-License-Identifier: MIT */
/*
 * The runtime under real threads, for ThreadSanitizer and AddressSanitizer: `make sanitize`. Every case states
 * what must hold whatever the order of events, and fails loudly when it does not. One argument: seconds a case.
 */
#include <sys/mman.h>

#include "stress.h"

static double seconds = 0.5;
static u32 stop;

u64 draw(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

int going(void)
{
	return !__atomic_load_n(&stop, __ATOMIC_RELAXED);
}

u64 race(struct rt_kernel *k, struct bpf_map *map, int n, void *(*fn)(void *))
{
	pthread_t threads[THREADS];
	struct worker workers[THREADS];
	struct timespec pause = { (time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9) };
	u64 done = 0;

	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	for (int i = 0; i < n; i++) {
		workers[i] = (struct worker){ .k = k, .map = map, .index = i, .random = 88172645463325252ULL + i };
		CHECK(!pthread_create(&threads[i], NULL, fn, &workers[i]), "thread %d", i);
	}
	nanosleep(&pause, NULL);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < n; i++) {
		pthread_join(threads[i], NULL);
		done += workers[i].done;
	}
	return done;
}

struct bpf_map *map_new(struct rt_kernel *k, u32 type, u32 key_size, u32 value_size, u32 entries, u32 flags)
{
	struct bpf_map shape = { .map_type = type, .key_size = key_size, .value_size = value_size, .max_entries = entries };
	struct bpf_map *map;
	int err;

	shape.map_flags = flags;
	map = rt_map_new(k, &shape, NULL, 0, &err);
	CHECK(map, "map type %u: %d", type, err);
	return map;
}

u64 count_keys(struct bpf_map *map)
{
	u64 key, n = 0;

	for (int err = rt_map_next_key(map, NULL, &key); !err; err = rt_map_next_key(map, &key, &key))
		n++;
	return n;
}

/* -- faults and strings at the edge of a page that is not there (AddressSanitizer watches our own side) -- */

void test_edges(struct rt_kernel *k)
{
	char *page = mmap(NULL, 2 * RT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), out[64], text[64];
	struct rt_out to = { .buf = text, .size = sizeof(text) };
	u64 arg = (u64)(uintptr_t)(page + RT_PAGE - 4);

	CHECK(page != MAP_FAILED && !munmap(page + RT_PAGE, RT_PAGE), "guard page");
	memcpy(page + RT_PAGE - 4, "abc", 4);
	CHECK(rt_probe_read_str(out, sizeof(out), page + RT_PAGE - 4) == 4 && !strcmp(out, "abc"), "string before a hole");
	page[RT_PAGE - 1] = 'd';
	CHECK(rt_probe_read_str(out, sizeof(out), page + RT_PAGE - 4) == -EFAULT && !out[0], "string into a hole");
	CHECK(rt_probe_read(out, 8, page + RT_PAGE - 4) == -EFAULT && !out[0] && !out[3], "read into a hole");
	for (u32 size = 0; size < 40; size++) { /* every output size: not one byte too many */
		char *exact = malloc(size ? size : 1);

		to = (struct rt_out){ .buf = exact, .size = size };
		struct rt_cpu *cpu = rt_enter(k);

		CHECK(!rt_bprintf(k, &to, "%-9d|%s|%pI4|%016llx", 21, (u64[]){ 5, arg, arg, 1 }, 4), "format");
		rt_leave(cpu);
		free(exact);
	}
	munmap(page, RT_PAGE);
	puts("edges");
}

int main(int argc, char **argv)
{
	struct rt_kernel *k = rt_kernel_new(3);

	if (argc > 1)
		seconds = atof(argv[1]);
	CHECK(k, "no kernel");
	test_edges(k);
	test_churn(k, BPF_MAP_TYPE_HASH, 40); /* fewer than there are keys: full now and then */
	test_churn(k, BPF_MAP_TYPE_HASH, 4096);
	test_churn(k, BPF_MAP_TYPE_LRU_HASH, 2);
	test_churn(k, BPF_MAP_TYPE_LRU_HASH, 30);
	test_churn_flags(k, BPF_MAP_TYPE_LRU_HASH, 30, BPF_F_NO_COMMON_LRU);
	test_percpu(k, BPF_MAP_TYPE_PERCPU_ARRAY);
	test_percpu(k, BPF_MAP_TYPE_PERCPU_HASH);
	test_percpu(k, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	test_trie(k);
	test_queue(k, BPF_MAP_TYPE_QUEUE);
	test_queue(k, BPF_MAP_TYPE_STACK);
	test_ring(k);
	test_timers(k);
	test_storage(k);
	test_inner(k);
	test_arena(k);
	test_user_ring(k);
	test_stacks(k);
	test_rcu(k);
	test_tracepoint(k);
	test_views(k);
	test_fuse(k);
	test_walk(k);
	test_symbols(k);
	test_rstat(k);
	rt_kernel_free(k);
	puts("ok");
	return 0;
}
