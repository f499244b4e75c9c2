/* SPDX-License-Identifier: MIT */
/*
 * The runtime under real threads, for ThreadSanitizer and AddressSanitizer: `make sanitize`. Every case states
 * what must hold whatever the order of events, and fails loudly when it does not. One argument: seconds a case.
 */
#include <linux/fuse.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rt.h"

#define CHECK(cond, ...)                                                                                               \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s: ", __func__, __LINE__, #cond);                                     \
			fprintf(stderr, __VA_ARGS__);                                                                  \
			fputc('\n', stderr);                                                                           \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

/* The helpers, as compiled programs call them. */
void *rt_map_lookup_elem(struct bpf_map *map, const void *key);
s64 rt_seq_printf(struct seq_file *seq, const char *fmt, u64 fmt_size, const u64 *data, u64 data_len);
s64 rt_probe_read(void *dst, u64 size, const void *src);
s64 rt_probe_read_str(char *dst, u64 size, const char *src);

#define THREADS 4
#define KEYS 61

static double seconds = 0.5;
static u32 stop;

struct pair {
	u64 a, b;
};

struct worker {
	struct rt_kernel *k;
	struct bpf_map *map;
	int index;
	u64 done;
	u64 random;
};

static u64 draw(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static int going(void)
{
	return !__atomic_load_n(&stop, __ATOMIC_RELAXED);
}

/* Run `n` threads of `fn` for the time given, and add up what they did. */
static u64 race(struct rt_kernel *k, struct bpf_map *map, int n, void *(*fn)(void *))
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

static struct bpf_map *map_new(struct rt_kernel *k, u32 type, u32 key_size, u32 value_size, u32 entries, u32 flags)
{
	struct bpf_map shape = { .map_type = type, .key_size = key_size, .value_size = value_size, .max_entries = entries };
	struct bpf_map *map;
	int err;

	shape.map_flags = flags;
	map = rt_map_new(k, &shape, NULL, 0, &err);
	CHECK(map, "map type %u: %d", type, err);
	return map;
}

static u64 count_keys(struct bpf_map *map)
{
	u64 key, n = 0;

	for (int err = rt_map_next_key(map, NULL, &key); !err; err = rt_map_next_key(map, &key, &key))
		n++;
	return n;
}

/* Values are pairs that must match: a syscall's copy is never half of one update and half of another. */
static void *churn(void *arg)
{
	struct worker *w = arg;
	struct pair value = { 0 };
	u64 key, next;

	for (; going(); w->done++) {
		u64 r = draw(w);

		key = r % KEYS;
		switch (r >> 32 & 7) {
		case 0:
			rt_map_delete(w->map, &key);
			break;
		case 1:
		case 2:
		case 3:
			if (!rt_map_copy_out(w->map, &key, &value, 0))
				CHECK(value.b == ~value.a && value.a % KEYS == key, "key %llu: %llx %llx",
				      (unsigned long long)key, (unsigned long long)value.a, (unsigned long long)value.b);
			break;
		case 4:
			if (!rt_map_next_key(w->map, r & 1 << 20 ? &key : NULL, &next))
				CHECK(next < KEYS, "key %llx", (unsigned long long)next);
			break;
		default:
			value.a = (r >> 8) / KEYS * KEYS + key;
			value.b = ~value.a;
			int err = rt_map_copy_in(w->map, &key, &value, BPF_ANY);

			CHECK(!err || (err == -E2BIG && w->map->map_type == BPF_MAP_TYPE_HASH), "update: %d", err);
		}
	}
	return NULL;
}

static void test_churn_flags(struct rt_kernel *k, u32 type, u32 entries, u32 flags)
{
	struct bpf_map *map = map_new(k, type, 8, sizeof(struct pair), entries, flags);
	u64 done = race(k, map, THREADS, churn), left;
	int err = 0;

	left = count_keys(map);
	CHECK(left <= entries && left <= KEYS, "%llu keys", (unsigned long long)left);
	/* Nothing was lost and nothing is there twice: the map can be emptied, and then filled to the last element. */
	for (u64 key = 0; key < KEYS; key++)
		rt_map_delete(map, &key);
	CHECK(count_keys(map) == 0, "keys left");
	for (u64 key = 0; key < entries && !err; key++)
		err = rt_map_copy_in(map, &key, &(struct pair){ key, ~key }, BPF_NOEXIST);
	CHECK(!err, "refill: %d", err);
	if (type == BPF_MAP_TYPE_HASH) {
		struct pair value;
		u64 more = entries;

		CHECK(count_keys(map) == entries, "refilled");
		for (u64 key = 0; key < entries; key++)
			CHECK(!rt_map_copy_out(map, &key, &value, 0) && value.a == key && value.b == ~key, "an element given out twice");
		CHECK(rt_map_copy_in(map, &more, &value, BPF_ANY) == -E2BIG, "an element too many");
	}
	rt_map_free(map);
	printf("churn type %u of %u: %llu operations\n", type, entries, (unsigned long long)done);
}

static void test_churn(struct rt_kernel *k, u32 type, u32 entries)
{
	test_churn_flags(k, type, entries, 0);
}

/* Per-CPU values have one user at a time: plain increments lose nothing. */
static void *count(void *arg)
{
	struct worker *w = arg;
	u64 key = 5;
	u32 index = 0;

	for (; going(); w->done++) {
		struct rt_cpu *cpu = rt_enter(w->k);
		u64 *value = rt_map_lookup_elem(w->map, w->map->key_size == 4 ? (void *)&index : (void *)&key);

		CHECK(value, "no value");
		++*value;
		rt_leave(cpu);
	}
	return NULL;
}

static void test_percpu(struct rt_kernel *k, u32 type)
{
	u64 values[RT_MAX_CPUS] = { 0 }, key = 5, sum = 0, done;
	struct bpf_map *map = map_new(k, type, type == BPF_MAP_TYPE_PERCPU_ARRAY ? 4 : 8, 8, 4, 0);

	if (type != BPF_MAP_TYPE_PERCPU_ARRAY)
		CHECK(!rt_map_copy_in(map, &key, values, BPF_ANY), "update");
	done = race(k, map, THREADS, count);
	key = type == BPF_MAP_TYPE_PERCPU_ARRAY ? 0 : 5;
	CHECK(!rt_map_copy_out(map, &key, values, 0), "lookup");
	for (int i = 0; i < rt_ncpus(k); i++)
		sum += values[i];
	CHECK(sum == done, "%llu counted, %llu done", (unsigned long long)sum, (unsigned long long)done);
	rt_map_free(map);
	printf("per-CPU type %u: %llu exact\n", type, (unsigned long long)done);
}

#include "stress_maps.h"

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

static void test_rcu(struct rt_kernel *k)
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

static void test_tracepoint(struct rt_kernel *k)
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

static void test_views(struct rt_kernel *k)
{
	shared_view = rt_view_open(k, show_pages, NULL);
	u64 done = race(k, NULL, THREADS, read_view);

	rt_view_close(shared_view);
	printf("views: %llu reads\n", (unsigned long long)done);
}

/* -- /dev/fuse, a socket in its place: views opened, read and closed while their nodes come and go -- */

#define NODES 5
#define HANDLES 64
#define MAGIC 0x5ec0de5ec0de5ec0ULL
#define SLOW 7 /* the handle of what is opened the long way */

static struct rt_fuse *fuse;
static int near, far;
static u64 handles[HANDLES]; /* atomic */

struct answer {
	struct fuse_out_header head;
	union {
		struct fuse_open_out open;
		char text[100];
	};
};

static u64 show_magic(void *arg)
{
	struct {
		struct seq_file *seq;
		u64 *object;
	} *ctx = arg;

	CHECK(*ctx->object == MAGIC, "object %llx", (unsigned long long)*ctx->object);
	rt_seq_printf(ctx->seq, "magic\n", 7, NULL, 0);
	return 0;
}

static void *ask(void *arg)
{
	struct worker *w = arg;

	for (; going(); w->done++) {
		struct {
			struct fuse_in_header head;
			union {
				struct fuse_open_in open;
				struct fuse_read_in read;
				struct fuse_release_in release;
			};
		} in = { 0 };
		u64 r = draw(w), fh = __atomic_load_n(&handles[r / 8 % HANDLES], __ATOMIC_RELAXED);

		in.head.nodeid = 1 + r % NODES;
		in.head.unique = r | 1;
		if (r / 1024 % 4 == 0) {
			in.head.opcode = FUSE_OPEN;
			in.head.len = sizeof(in.head) + sizeof(in.open);
		} else if (r / 1024 % 4 == 1) {
			in.head.opcode = FUSE_RELEASE;
			in.head.len = sizeof(in.head) + sizeof(in.release);
			in.release.fh = fh;
		} else {
			in.head.opcode = FUSE_READ;
			in.head.len = sizeof(in.head) + sizeof(in.read);
			in.read.fh = fh;
			in.read.size = 100;
		}
		if (send(near, &in, in.head.len, 0) < 0)
			break;
	}
	return NULL;
}

/* What the caller of rt_fuse_next() does: what a node shows is freed when its tag comes back. */
static void reap(void)
{
	for (u64 tag; (tag = rt_fuse_reap(fuse));) {
		*(u64 *)(uintptr_t)tag = 0;
		free((void *)(uintptr_t)tag);
	}
}

static void *serve_rest(void *arg)
{
	struct rt_kernel *k = arg;
	char buf[8192];
	s64 n;

	while ((n = rt_fuse_next(fuse, buf, sizeof(buf))) > 0) {
		struct fuse_in_header *head = (void *)buf;
		struct answer out = { 0 };

		out.head = (struct fuse_out_header){ .len = sizeof(out.head), .unique = head->unique };
		if (head->opcode == FUSE_OPEN) {
			u64 *object = malloc(sizeof(*object));

			*object = MAGIC;
			CHECK(!rt_fuse_show(fuse, head->nodeid, k, show_magic, object, (uintptr_t)object), "no memory");
			out.open.fh = SLOW;
			out.head.len += sizeof(out.open);
		} else if (head->opcode == FUSE_READ) {
			s64 got = rt_fuse_read(fuse, ((struct fuse_read_in *)(head + 1))->fh, out.text, 100, 0);

			if (got < 0)
				out.head.error = got;
			else
				out.head.len += got;
		} else {
			rt_fuse_release(fuse, ((struct fuse_release_in *)(head + 1))->fh);
			reap();
		}
		CHECK(send(far, &out, out.head.len, 0) == out.head.len, "reply");
	}
	return NULL;
}

static void *cool(void *arg)
{
	struct worker *w = arg;

	for (; going(); w->done++) {
		if (draw(w) % 2)
			rt_fuse_retire(fuse);
		else
			rt_fuse_forget(fuse, 1 + draw(w) % NODES);
		reap();
		usleep(100);
	}
	return NULL;
}

static void *ask_or_cool(void *arg)
{
	struct worker *w = arg;

	return w->index ? ask(arg) : cool(arg);
}

static void *collect(void *arg)
{
	struct answer in;
	u64 *texts = arg, opened = 0;
	ssize_t n;

	while ((n = recv(near, &in, sizeof(in), 0)) > 0) {
		CHECK(n == in.head.len && in.head.unique, "%zd bytes", n);
		if (n == sizeof(in.head) + sizeof(in.open))
			__atomic_store_n(&handles[opened++ % HANDLES], in.open.fh, __ATOMIC_RELAXED);
		else if (n == sizeof(in.head) + 6)
			*texts += !memcmp(in.text, "magic\n", 6);
		else
			CHECK(n == sizeof(in.head) && (!in.head.error || in.head.error == -EBADF), "error %d", in.head.error);
	}
	return NULL;
}

static void test_fuse(struct rt_kernel *k)
{
	pthread_t servers[3], collector;
	u64 texts = 0, done;
	int pair[2];

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), "socketpair");
	near = pair[0];
	far = pair[1];
	fuse = rt_fuse_new(far);
	for (int i = 0; i < 3; i++)
		pthread_create(&servers[i], NULL, serve_rest, k);
	pthread_create(&collector, NULL, collect, &texts);
	done = race(k, NULL, THREADS, ask_or_cool);
	shutdown(near, SHUT_WR);
	for (int i = 0; i < 3; i++)
		pthread_join(servers[i], NULL);
	shutdown(far, SHUT_WR);
	pthread_join(collector, NULL);
	CHECK(texts, "nothing was read of %llu requests", (unsigned long long)done);
	rt_fuse_shut(fuse);
	reap();
	rt_fuse_free(fuse);
	close(near);
	close(far);
	printf("fuse: %llu requests, %llu texts\n", (unsigned long long)done, (unsigned long long)texts);
}

/* -- faults and strings at the edge of a page that is not there (AddressSanitizer watches our own side) -- */

static void test_edges(struct rt_kernel *k)
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
	test_rcu(k);
	test_tracepoint(k);
	test_views(k);
	test_fuse(k);
	rt_kernel_free(k);
	puts("ok");
	return 0;
}
