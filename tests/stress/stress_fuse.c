/* SPDX-License-Identifier: MIT */
/* Cases of the stress program: /dev/fuse. */
#include <linux/fuse.h>
#include <sys/socket.h>

#include "stress.h"

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
			__atomic_fetch_add(texts, !memcmp(in.text, "magic\n", 6), __ATOMIC_RELAXED);
		else
			CHECK(n == sizeof(in.head) && (!in.head.error || in.head.error == -EBADF), "error %d", in.head.error);
	}
	return NULL;
}

void test_fuse(struct rt_kernel *k)
{
	pthread_t servers[3], collector;
	u64 texts = 0, done = 0;
	int pair[2];

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), "socketpair");
	near = pair[0];
	far = pair[1];
	fuse = rt_fuse_new(far);
	for (int i = 0; i < 3; i++)
		pthread_create(&servers[i], NULL, serve_rest, k);
	pthread_create(&collector, NULL, collect, &texts);
	/* On a busy machine a short race may be over before anything was opened and read. */
	for (int i = 0; i < 50 && !__atomic_load_n(&texts, __ATOMIC_RELAXED); i++)
		done += race(k, NULL, THREADS, ask_or_cool);
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
