/* SPDX-License-Identifier: MIT */
/* What the runtime's maps and views cost, ns an operation: the least disturbed of many rounds. `python tests/stress/sanitize.py figures` */
#include <stdio.h>
#include <unistd.h>

#include "ringbuf.h"

void *rt_ringbuf_reserve(struct bpf_map *map, u64 size, u64 flags);
void rt_ringbuf_submit(void *record, u64 flags);
void *rt_map_lookup_elem(struct bpf_map *map, const void *key);
s64 rt_map_update_elem(struct bpf_map *map, const void *key, const void *value, u64 flags);
s64 rt_seq_printf(struct seq_file *seq, const char *fmt, u64 fmt_size, const u64 *data, u64 data_len);

#define KEYS 10000
#define LOOPS 100000
#define ROUNDS 60

static struct rt_kernel *k;
static u64 keys[LOOPS];
static u64 sink;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static void array_inc(void *map, u64 salt)
{
	for (u64 i = 0; i < LOOPS; i++) {
		u32 key = keys[i] & 1023;
		u64 *value = rt_map_lookup_elem(map, &key);

		if (value)
			++*value;
	}
	sink += salt;
}

static void lookup(void *map, u64 salt)
{
	for (u64 i = 0; i < LOOPS; i++) {
		u64 *value = rt_map_lookup_elem(map, &keys[i]);

		sink += value ? *value : salt;
	}
}

static void update(void *map, u64 salt)
{
	for (u64 i = 0; i < LOOPS; i++)
		rt_map_update_elem(map, &keys[(i + salt * 7919) % LOOPS], &i, BPF_ANY);
}

/* The least disturbed of many short rounds: other processes only ever take time away. */
static double least(const double *rounds, int n)
{
	double best = rounds[0];

	for (int i = 1; i < n; i++)
		if (rounds[i] < best)
			best = rounds[i];
	return best;
}

/* Threads on processors of their own, this one the first, that begin a round together and end it together. */
struct job {
	void (*fn)(void *arg, u64 salt);
	void *arg;
	int salt, threads;
	pthread_t thread;
	double rounds[ROUNDS];
};

static u32 met; /* atomic: how often somebody has come to a round's beginning or end */

static void pin(int cpu)
{
	cpu_set_t where;

	CPU_ZERO(&where);
	CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &where);
	pthread_setaffinity_np(pthread_self(), sizeof(where), &where);
}

/* A thread that is on its processor from the beginning: it might never get away from one on which somebody waits for it. */
static pthread_t begin_on(int cpu, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	cpu_set_t where;

	CPU_ZERO(&where);
	CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &where);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(where), &where);
	if (pthread_create(&thread, &attr, fn, arg))
		exit(1);
	pthread_attr_destroy(&attr);
	return thread;
}

static void meet(u32 all)
{
	__atomic_add_fetch(&met, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&met, __ATOMIC_ACQUIRE) < all)
		__builtin_ia32_pause();
}

static void *work(void *arg)
{
	struct job *job = arg;
	struct rt_cpu *cpu;

	cpu = rt_enter(k);
	for (int r = 0; r < ROUNDS; r++) {
		double start;

		meet((2 * r + 1) * job->threads);
		start = now();
		job->fn(job->arg, job->salt);
		meet((2 * r + 2) * job->threads);
		job->rounds[r] = now() - start;
	}
	rt_leave(cpu);
	return NULL;
}

/* ns an operation over all threads together. */
static double measure(void (*fn)(void *, u64), void *arg, int threads)
{
	static struct job jobs[2];

	met = 0;
	for (int i = threads - 1; i >= 0; i--) {
		jobs[i] = (struct job){ .fn = fn, .arg = arg, .salt = i, .threads = threads };
		if (i)
			jobs[i].thread = begin_on(i, work, &jobs[i]);
	}
	pin(0);
	work(&jobs[0]);
	for (int i = 1; i < threads; i++)
		pthread_join(jobs[i].thread, NULL);
	return least(jobs[0].rounds, ROUNDS) / LOOPS / threads;
}

/* Keys that no cache holds; each thread has its own way through them. */
#define MANY (1u << 21)

static void update_many(void *map, u64 salt)
{
	static u64 at[2][8];
	u64 x = at[salt][0] ? at[salt][0] : 88172645463325252ULL + salt;

	for (u64 i = 0; i < LOOPS; i++) {
		u64 key;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		key = x % MANY;
		rt_map_update_elem(map, &key, &i, BPF_ANY);
	}
	at[salt][0] = x;
}

/* What two threads can reach at all: a lock and a counter on a line of its own for each key. */
static struct line {
	u32 lock;
	u64 value;
} __attribute__((aligned(64))) lines[KEYS];

static void plain_update(void *arg, u64 salt)
{
	(void)arg;
	for (u64 i = 0; i < LOOPS; i++) {
		struct line *l = &lines[keys[(i + salt * 7919) % LOOPS]];

		rt_spin_lock(&l->lock);
		l->value = i;
		rt_spin_unlock(&l->lock);
	}
}

static struct bpf_map *filled(u32 type, u32 entries, u32 keys_in)
{
	int err;
	struct bpf_map shape = { .map_type = type, .key_size = type == BPF_MAP_TYPE_ARRAY ? 4 : 8, .value_size = 8 };
	struct bpf_map *map;

	shape.max_entries = entries;
	map = rt_map_new(k, &shape, NULL, 0, &err);

	for (u64 i = 0; map && i < keys_in && type != BPF_MAP_TYPE_ARRAY; i++)
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
	return least(rounds, ROUNDS);
}

/* -- a ring buffer between two threads: records of 16 bytes, reserved, filled, submitted; read through the pages -- */

#define RECORDS 200000
#define RING_ROUNDS 25

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

/* M records a second. */
static double ring_rate(void)
{
	struct bpf_map shape = { .map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = 1 << 20 };
	double rounds[RING_ROUNDS];

	pin(0);
	for (int r = 0; r < RING_ROUNDS; r++) {
		int err;
		struct bpf_map *map = rt_map_new(k, &shape, NULL, 0, &err);
		pthread_t reader;
		double start = now();

		if (!map)
			exit(1);
		reader = begin_on(1, consume, map);
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
		rounds[r] = now() - start;
		rt_map_free(map);
	}
	return RECORDS / least(rounds, RING_ROUNDS) * 1e3;
}

/* The same records through a ring of one producer and one consumer that does nothing but that. */
static struct {
	u64 head __attribute__((aligned(64))), tail __attribute__((aligned(64)));
	u64 data[1 << 17] __attribute__((aligned(64)));
} plain;

static void *consume_plain(void *arg)
{
	u64 at = 0;

	(void)arg;
	while (at < RECORDS * 3) {
		u64 end = __atomic_load_n(&plain.head, __ATOMIC_ACQUIRE);

		for (int i = 0; end == at && i < 50; i++)
			__builtin_ia32_pause();
		for (; at < end; at += 3)
			sink += plain.data[at & ((1 << 17) - 1)];
		__atomic_store_n(&plain.tail, at, __ATOMIC_RELEASE);
	}
	return NULL;
}

static double plain_rate(void)
{
	double rounds[RING_ROUNDS];

	for (int r = 0; r < RING_ROUNDS; r++) {
		pthread_t reader;
		double start = now();
		u64 tail = 0;

		plain.head = plain.tail = 0;
		reader = begin_on(1, consume_plain, NULL);
		for (u64 at = 0; at < RECORDS * 3; at += 3) {
			while (at - tail > (1 << 17) - 8)
				tail = __atomic_load_n(&plain.tail, __ATOMIC_ACQUIRE);
			for (int i = 0; i < 3; i++)
				plain.data[(at + i) & ((1 << 17) - 1)] = at;
			__atomic_store_n(&plain.head, at + 3, __ATOMIC_RELEASE);
		}
		pthread_join(reader, NULL);
		rounds[r] = now() - start;
	}
	return RECORDS / least(rounds, RING_ROUNDS) * 1e3;
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
	struct bpf_map *array = filled(BPF_MAP_TYPE_ARRAY, 16384, 0), *hash = filled(BPF_MAP_TYPE_HASH, 16384, KEYS);
	struct bpf_map *lru = filled(BPF_MAP_TYPE_LRU_HASH, 16384, KEYS), *large = filled(BPF_MAP_TYPE_HASH, MANY + 64, MANY);
	double one = measure(update, hash, 1), two = measure(update, hash, 2);

	printf("array lookup+increment (called) %7.2f\n", measure(array_inc, array, 1));
	printf("hash lookup of 10k u64 keys     %7.2f\n", measure(lookup, hash, 1));
	printf("LRU lookup of 10k u64 keys      %7.2f\n", measure(lookup, lru, 1));
	printf("hash update of 10k u64 keys     %7.2f\n", one);
	printf("the same, two threads           %7.2f  (%.2f times one)\n", two, one / two);
	one = measure(plain_update, NULL, 1);
	two = measure(plain_update, NULL, 2);
	printf("a lock and a store, two threads %7.2f  (%.2f times one, %.2f)\n", two, one / two, one);
	one = measure(update_many, large, 1);
	two = measure(update_many, large, 2);
	printf("hash update of 2M u64 keys      %7.2f\n", one);
	printf("the same, two threads           %7.2f  (%.2f times one)\n", two, one / two);
	printf("LRU update of 10k u64 keys      %7.2f\n", measure(update, lru, 1));
	printf("bulk view read, a cgroup        %7.2f\n", bulk());
	printf("ring buffer, M records/s        %7.2f\n", ring_rate());
	printf("one that does nothing else      %7.2f\n", plain_rate());
	memory();
	return 0;
}
