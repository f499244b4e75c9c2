/* SPDX-License-Identifier: MIT */
/* What the runtime's maps and views cost, ns an operation: medians of 15 rounds. `python tests/stress/sanitize.py figures` */
#include <stdio.h>

#include "ringbuf.h"

void *rt_ringbuf_reserve(struct bpf_map *map, u64 size, u64 flags);
void rt_ringbuf_submit(void *record, u64 flags);
void *rt_map_lookup_elem(struct bpf_map *map, const void *key);
s64 rt_map_update_elem(struct bpf_map *map, const void *key, const void *value, u64 flags);
s64 rt_seq_printf(struct seq_file *seq, const char *fmt, u64 fmt_size, const u64 *data, u64 data_len);

#define KEYS 10000
#define LOOPS 100000
#define ROUNDS 15

static struct rt_kernel *k;
static u64 keys[LOOPS];
static u64 sink;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static void array_inc(struct bpf_map *map, u64 salt)
{
	for (u64 i = 0; i < LOOPS; i++) {
		u32 key = keys[i] & 1023;
		u64 *value = rt_map_lookup_elem(map, &key);

		if (value)
			++*value;
	}
	sink += salt;
}

static void lookup(struct bpf_map *map, u64 salt)
{
	for (u64 i = 0; i < LOOPS; i++) {
		u64 *value = rt_map_lookup_elem(map, &keys[i]);

		sink += value ? *value : salt;
	}
}

static void update(struct bpf_map *map, u64 salt)
{
	for (u64 i = 0; i < LOOPS; i++)
		rt_map_update_elem(map, &keys[(i + salt * 7919) % LOOPS], &i, BPF_ANY);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct job {
	void (*fn)(struct bpf_map *map, u64 salt);
	struct bpf_map *map;
	u64 salt;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct job *job = arg;
	struct rt_cpu *cpu = rt_enter(k);

	job->fn(job->map, job->salt);
	rt_leave(cpu);
	return NULL;
}

/* ns an operation over all threads together. */
static double measure(void (*fn)(struct bpf_map *, u64), struct bpf_map *map, int threads)
{
	double rounds[ROUNDS];
	struct job jobs[4];

	for (int r = 0; r < ROUNDS; r++) {
		double start = now();

		for (int i = 0; i < threads; i++) {
			jobs[i] = (struct job){ fn, map, i, 0 };
			if (pthread_create(&jobs[i].thread, NULL, work, &jobs[i]))
				exit(1);
		}
		for (int i = 0; i < threads; i++)
			pthread_join(jobs[i].thread, NULL);
		rounds[r] = (now() - start) / LOOPS / threads;
	}
	qsort(rounds, ROUNDS, sizeof(double), by_value);
	return rounds[ROUNDS / 2];
}

static struct bpf_map *filled(u32 type)
{
	int err;
	struct bpf_map shape = { .map_type = type, .key_size = type == BPF_MAP_TYPE_ARRAY ? 4 : 8, .value_size = 8 };
	struct bpf_map *map;

	shape.max_entries = 16384;
	map = rt_map_new(k, &shape, NULL, 0, &err);

	for (u64 i = 0; map && i < KEYS && type != BPF_MAP_TYPE_ARRAY; i++)
		rt_map_copy_in(map, &i, &i, BPF_ANY);
	return map ? map : (exit(1), NULL);
}

static u64 show(void *arg)
{
	u64 values[2] = { (u64)((void **)arg)[1], 12345678 };

	rt_seq_printf(*(struct seq_file **)arg, "%llu %llu\n", 11, values, 16);
	return 0;
}

static double bulk(void)
{
	static void *objects[KEYS];
	static u64 ends[KEYS];
	size_t size = 1 << 20;
	char *buf = malloc(size);
	double rounds[ROUNDS];

	for (u64 i = 0; i < KEYS; i++)
		objects[i] = (void *)(uintptr_t)(i * 1000);
	for (int r = 0; r < ROUNDS; r++) {
		double start = now();

		if (rt_view_read_many(k, show, objects, KEYS, buf, size, ends, NULL) != KEYS)
			exit(1);
		rounds[r] = (now() - start) / KEYS;
	}
	free(buf);
	qsort(rounds, ROUNDS, sizeof(double), by_value);
	return rounds[ROUNDS / 2];
}

/* -- a ring buffer between two threads: records of 16 bytes, reserved, filled, submitted; read through the pages -- */

#define RECORDS 2000000

static void *consume(void *arg)
{
	struct rt_ring *r = rt_ring_of(rt_map_of(arg));
	u64 at = 0, got = 0;

	while (got < RECORDS) {
		u64 end = __atomic_load_n(rt_ring_producer(r), __ATOMIC_ACQUIRE);

		/* Who asks for every record as it comes takes the producer's cache lines from it: a microsecond is soon enough. */
		for (int i = 0; end == at && i < 50; i++)
			__builtin_ia32_pause();
		for (; at < end; got++) {
			struct rt_ring_header *h = (void *)(rt_ring_data(r) + (at & r->mask));
			u32 len = __atomic_load_n(&h->len, __ATOMIC_ACQUIRE);

			if (len & BPF_RINGBUF_BUSY_BIT) {
				for (int i = 0; i < 50; i++)
					__builtin_ia32_pause();
				break;
			}
			sink += *(u64 *)(h + 1);
			at += round_up((u64)len + 8, 8);
		}
		__atomic_store_n(rt_ring_consumer(r), at, __ATOMIC_RELEASE);
	}
	return NULL;
}

static double ring_rate(void)
{
	struct bpf_map shape = { .map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = 1 << 20 };
	double rounds[5];

	for (int r = 0; r < 5; r++) {
		int err;
		struct bpf_map *map = rt_map_new(k, &shape, NULL, 0, &err);
		pthread_t reader;
		double start = now();

		if (!map || pthread_create(&reader, NULL, consume, map))
			exit(1);
		struct rt_cpu *cpu = rt_enter(k);

		for (u64 i = 0; i < RECORDS;) {
			u64 *record = rt_ringbuf_reserve(map, 16, 0);

			if (!record)
				continue;
			record[0] = i++;
			record[1] = 0;
			rt_ringbuf_submit(record, 0);
		}
		rt_leave(cpu);
		pthread_join(reader, NULL);
		rounds[r] = RECORDS / (now() - start) * 1e3;
		rt_map_free(map);
	}
	qsort(rounds, 5, sizeof(double), by_value);
	return rounds[2];
}

/* -- memory of a hash of ten million u64 -> u64: what it says, and what the process takes -- */

static double resident(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long all = 0, pages = 0;

	if (!file || fscanf(file, "%lu %lu", &all, &pages) != 2)
		exit(1);
	fclose(file);
	return pages * 4096.0 / (1 << 20);
}

static void memory(void)
{
	struct bpf_map shape = { .map_type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = 8, .max_entries = 10000000 };
	double before = resident();
	int err;
	struct bpf_map *map = rt_map_new(k, &shape, NULL, 0, &err);

	for (u64 i = 0; map && i < shape.max_entries; i++)
		if (rt_map_copy_in(map, &i, &i, BPF_NOEXIST))
			exit(1);
	if (map)
		printf("hash of 10 M u64 to u64, MiB    %7.0f  (memlock %.0f)\n", resident() - before,
		       rt_map_memory_bytes(map) / 1048576.0);
	rt_map_free(map);
}

int main(void)
{
	k = rt_kernel_new(2);
	if (!k)
		return 1;
	for (u64 i = 0, x = 88172645463325252ULL; i < LOOPS; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		keys[i] = x % KEYS;
	}
	struct bpf_map *array = filled(BPF_MAP_TYPE_ARRAY), *hash = filled(BPF_MAP_TYPE_HASH), *lru = filled(BPF_MAP_TYPE_LRU_HASH);
	double one = measure(update, hash, 1), two = measure(update, hash, 2);

	printf("array lookup+increment (called) %7.2f\n", measure(array_inc, array, 1));
	printf("hash lookup of 10k u64 keys     %7.2f\n", measure(lookup, hash, 1));
	printf("LRU lookup of 10k u64 keys      %7.2f\n", measure(lookup, lru, 1));
	printf("hash update of 10k u64 keys     %7.2f\n", one);
	printf("the same, two threads           %7.2f  (%.2f times one)\n", two, one / two);
	printf("LRU update of 10k u64 keys      %7.2f\n", measure(update, lru, 1));
	printf("bulk view read, a cgroup        %7.2f\n", bulk());
	printf("ring buffer, M records/s        %7.2f\n", ring_rate());
	memory();
	return 0;
}
