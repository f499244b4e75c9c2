/* SPDX-License-Identifier: MIT */
/*
 * The hot part of serving /dev/fuse: opens, reads and releases of views are answered here, by threads that
 * hold nothing of Python's; every other request is the caller's.
 *
 * A node is hot once the caller has said what it shows (rt_fuse_show). When a name goes or a link gets another
 * program, the caller retires all: later opens are the caller's again, and so are reads of the opens that are left,
 * because only it knows which of them still may. What nobody has open any more is handed back by rt_fuse_reap.
 *
 * A text that took long to make the last time is made by a thread that leaves its place at the device (line.h) to others.
 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include "line.h"
#include "rt.h"

#define BUCKETS 4096
#define OURS (1UL << 63) /* in a file handle: an open of this file's */
#define GONE (~0UL) /* the handle of none */
#define LONG_NS 200000 /* a show that others do not wait for */

struct hot {
	struct hot *next; /* in its bucket; or on the list of the dead */
	u64 nodeid, tag;
	struct rt_kernel *kernel;
	rt_prog_fn fn;
	void *object;
	u32 opens;
	u32 retired; /* atomic */
	u32 slow; /* atomic: the last text took longer than LONG_NS */
};

struct opened {
	struct hot *hot; /* NULL: the slot is free */
	struct rt_view *view;
	u32 users; /* who reads now, and 1 for being open */
	u32 closed; /* whoever still reads is the last */
	u32 next_free;
};

struct rt_fuse {
	int fd;
	u32 lock;
	struct hot *buckets[BUCKETS];
	struct hot *dead;
	struct opened *opens;
	u32 nopens, free; /* a free slot + 1, 0 for none */
	struct rt_line line;
};

struct rt_fuse *rt_fuse_new(int fd)
{
	struct rt_fuse *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->fd = fd;
	rt_line_init(&f->line, fd);
	return f;
}

static struct hot **bucket(struct rt_fuse *f, u64 nodeid)
{
	return &f->buckets[nodeid % BUCKETS];
}

/* With the lock held: off the table, and to the dead if nobody has it open. */
static void retire(struct rt_fuse *f, struct hot *h)
{
	__atomic_store_n(&h->retired, 1, __ATOMIC_RELEASE);
	if (!h->opens) {
		h->next = f->dead;
		f->dead = h;
	}
}

int rt_fuse_show(struct rt_fuse *f, u64 nodeid, struct rt_kernel *k, rt_prog_fn fn, void *object, u64 tag)
{
	struct hot *h = calloc(1, sizeof(*h)), **b = bucket(f, nodeid);

	if (!h)
		return -ENOMEM;
	*h = (struct hot){ .nodeid = nodeid, .tag = tag, .kernel = k, .fn = fn, .object = object };
	rt_spin_lock(&f->lock);
	h->next = *b;
	*b = h;
	rt_spin_unlock(&f->lock);
	return 0;
}

void rt_fuse_retire(struct rt_fuse *f)
{
	rt_spin_lock(&f->lock);
	for (u32 i = 0; i < BUCKETS; i++) {
		struct hot *h = f->buckets[i];

		f->buckets[i] = NULL;
		while (h) {
			struct hot *next = h->next;

			retire(f, h);
			h = next;
		}
	}
	rt_spin_unlock(&f->lock);
}

void rt_fuse_forget(struct rt_fuse *f, u64 nodeid)
{
	rt_spin_lock(&f->lock);
	for (struct hot **at = bucket(f, nodeid); *at;) {
		struct hot *h = *at;

		if (h->nodeid != nodeid) {
			at = &h->next;
			continue;
		}
		*at = h->next;
		retire(f, h);
	}
	rt_spin_unlock(&f->lock);
}

u64 rt_fuse_reap(struct rt_fuse *f)
{
	struct hot *h;
	u64 tag = 0;

	rt_spin_lock(&f->lock);
	h = f->dead;
	if (h)
		f->dead = h->next;
	rt_spin_unlock(&f->lock);
	if (h)
		tag = h->tag;
	free(h);
	return tag;
}

/* -- opens ------------------------------------------------------------------------------------------ */

/* With the lock held: a slot, or -1. */
static s64 new_slot(struct rt_fuse *f)
{
	u32 slot;

	if (f->free) {
		slot = f->free - 1;
		f->free = f->opens[slot].next_free;
		return slot;
	}
	if (!(f->nopens & (f->nopens - 1))) {
		u32 room = f->nopens ? 2 * f->nopens : 1;
		struct opened *larger = realloc(f->opens, room * sizeof(*larger));

		if (!larger)
			return -1;
		f->opens = larger;
	}
	return f->nopens++;
}

/* The new open's handle, 0 where the node is not hot (or there is no memory: the caller says so then). */
static u64 open_view(struct rt_fuse *f, u64 nodeid)
{
	struct hot *h;
	s64 slot = -1;

	rt_spin_lock(&f->lock);
	for (h = *bucket(f, nodeid); h && h->nodeid != nodeid;)
		h = h->next;
	if (h && (slot = new_slot(f)) >= 0) {
		struct rt_view *view = rt_view_open(h->kernel, h->fn, h->object);

		f->opens[slot] = (struct opened){ .hot = h, .view = view, .users = 1 };
		h->opens++;
		if (!view) {
			f->opens[slot] = (struct opened){ .next_free = f->free };
			f->free = slot + 1;
			h->opens--;
			slot = -1;
		}
	}
	rt_spin_unlock(&f->lock);
	return slot < 0 ? 0 : OURS | slot;
}

/* With the lock held: the open of a handle, NULL for none. */
static struct opened *find(struct rt_fuse *f, u64 fh)
{
	u64 slot = fh & ~OURS;

	if (!(fh & OURS) || slot >= f->nopens || !f->opens[slot].hot || f->opens[slot].closed)
		return NULL;
	return &f->opens[slot];
}

/* The view of a handle with one user more, NULL for none. */
static struct rt_view *use(struct rt_fuse *f, u64 fh, struct hot **hot)
{
	struct rt_view *view = NULL;

	rt_spin_lock(&f->lock);
	struct opened *o = find(f, fh);

	if (o) {
		o->users++;
		*hot = o->hot;
		view = o->view;
	}
	rt_spin_unlock(&f->lock);
	return view;
}

/* One user less; the last closes. Returns 1 where the hot node died of it. */
static int unuse(struct rt_fuse *f, u64 fh)
{
	u64 slot = fh & ~OURS;
	struct rt_view *view = NULL;
	int died = 0;

	rt_spin_lock(&f->lock);
	struct opened *o = &f->opens[slot];

	if (!--o->users) {
		struct hot *h = o->hot;

		view = o->view;
		*o = (struct opened){ .next_free = f->free };
		f->free = slot + 1;
		if (!--h->opens && h->retired) {
			retire(f, h);
			died = 1;
		}
	}
	rt_spin_unlock(&f->lock);
	rt_view_close(view);
	return died;
}

u64 rt_fuse_tag(struct rt_fuse *f, u64 fh)
{
	struct hot *hot;
	u64 tag = 0;

	if (use(f, fh, &hot)) {
		tag = hot->tag;
		unuse(f, fh);
	}
	return tag;
}

s64 rt_fuse_read(struct rt_fuse *f, u64 fh, void *buf, size_t size, u64 pos)
{
	struct hot *hot;
	struct rt_view *view = use(f, fh, &hot);
	s64 n;

	if (!view)
		return -EBADF;
	n = rt_view_read(view, buf, size, pos, NULL);
	unuse(f, fh);
	return n;
}

int rt_fuse_made(struct rt_fuse *f, u64 fh)
{
	struct hot *hot;
	struct rt_view *view = use(f, fh, &hot);
	int made;

	if (!view)
		return -EBADF;
	made = rt_view_made(view);
	unuse(f, fh);
	return made;
}

int rt_fuse_release(struct rt_fuse *f, u64 fh)
{
	rt_spin_lock(&f->lock);
	struct opened *o = find(f, fh);

	if (o)
		o->closed = 1;
	rt_spin_unlock(&f->lock);
	return o ? unuse(f, fh) : -EBADF;
}

/* The connection is gone and no thread is in here: every open is closed, every node retired. */
void rt_fuse_shut(struct rt_fuse *f)
{
	rt_fuse_retire(f);
	for (u32 slot = 0; slot < f->nopens; slot++)
		if (f->opens[slot].hot)
			rt_fuse_release(f, OURS | slot);
}

void rt_fuse_free(struct rt_fuse *f)
{
	if (f) {
		rt_line_destroy(&f->line);
		free(f->opens);
		free(f);
	}
}

/* -- requests --------------------------------------------------------------------------------------- */

struct reply {
	int fd;
	u64 unique;
};

/* A reply that comes too late is nobody's; one that the kernel does not take must not leave the caller waiting. */
static void answer(const struct reply *to, int err, const void *body, size_t size)
{
	struct fuse_out_header head = { .len = sizeof(head) + size, .error = err, .unique = to->unique };
	struct iovec parts[] = { { &head, sizeof(head) }, { (void *)body, size } };

	if (err <= -512 || err > 0) /* the kernel's own errnos do not pass the device */
		head.error = -EIO;
	if (writev(to->fd, parts, size ? 2 : 1) < 0 && errno == EINVAL) {
		head = (struct fuse_out_header){ .len = sizeof(head), .error = -EIO, .unique = to->unique };
		if (write(to->fd, &head, sizeof(head)) < 0)
			return;
	}
}

static void answer_text(void *ctx, s64 n, const char *text)
{
	answer(ctx, n < 0 ? n : 0, text, n < 0 ? 0 : n);
}

/* Whether the thread has left its place for it. */
static int read_view(struct rt_fuse *f, struct hot *hot, struct rt_view *view, const struct fuse_read_in *in,
		     struct reply *to)
{
	if (in->offset) { /* the text is there */
		rt_view_pass(view, in->size, in->offset, answer_text, to);
		return 0;
	}
	int slow = __atomic_load_n(&hot->slow, __ATOMIC_RELAXED);
	u64 began = rt_now_ns();

	if (slow)
		rt_line_out(&f->line);
	rt_view_pass(view, in->size, 0, answer_text, to);
	__atomic_store_n(&hot->slow, rt_now_ns() - began > LONG_NS, __ATOMIC_RELAXED);
	return slow;
}

/* Whether a request was for here. */
static int serve(struct rt_fuse *f, char *buf, size_t size)
{
	const struct fuse_in_header *head = (const void *)buf;
	void *body = buf + sizeof(*head);
	struct reply to = { f->fd, head->unique };
	size_t rest = size - sizeof(*head);
	struct hot *hot;
	u64 fh;

	switch (head->opcode) {
	case FUSE_OPEN: {
		const struct fuse_open_in *in = body;
		struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO | FOPEN_NOFLUSH };

		/* Modes are the kernel's to check; what is written goes another way. */
		if (rest < sizeof(*in) || in->flags & (O_ACCMODE | O_TRUNC))
			return 0;
		out.fh = open_view(f, head->nodeid);
		if (!out.fh)
			return 0;
		answer(&to, 0, &out, sizeof(out));
		return 1;
	}
	case FUSE_READ: {
		const struct fuse_read_in *in = body;

		if (rest < sizeof(*in))
			return 0;
		fh = in->fh;
		struct rt_view *view = use(f, fh, &hot);

		if (!view)
			return 0;
		if (__atomic_load_n(&hot->retired, __ATOMIC_ACQUIRE)) {
			unuse(f, fh);
			return 0;
		}
		int out = read_view(f, hot, view, in, &to);

		unuse(f, fh);
		if (out)
			rt_line_in(&f->line); /* holding nothing: it may be long until there is room */
		return 1;
	}
	case FUSE_RELEASE: {
		struct fuse_release_in *in = body;

		if (rest < sizeof(*in))
			return 0;
		int died = rt_fuse_release(f, in->fh);

		if (died < 0)
			return 0;
		if (died) { /* the caller has something to reap; the handle may be another open's by now */
			in->fh = GONE;
			return 0;
		}
		answer(&to, 0, NULL, 0);
		return 1;
	}
	default:
		return 0;
	}
}

/*
 * The next request that is the caller's: its bytes in `buf`. -errno of the device: -ENODEV and -ECONNABORTED are the
 * end, after -ENOENT and -EINTR one goes on.
 */
s64 rt_fuse_next(struct rt_fuse *f, void *buf, size_t size)
{
	struct rt_stand stand = { 0 };
	ssize_t n;

	rt_line_in(&f->line);
	for (;;) {
		rt_line_look(&f->line, &stand);
		n = read(f->fd, buf, size);
		if (n < 0)
			n = -errno;
		if (n < (ssize_t)sizeof(struct fuse_in_header) || !serve(f, buf, n))
			break;
		stand.served_at = rt_now_ns();
	}
	rt_line_out(&f->line);
	return n;
}
