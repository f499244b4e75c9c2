/* SPDX-License-Identifier: MIT */
/*
 * seq_file as BPF programs see it, and views: one show() served as kernfs serves it.
 *
 * seq_read() gives a single show a buffer of one page and doubles it, running show() again from the
 * start, until the text fits; the text of one open is then served over any number of reads.
 */
#include "rt.h"

#define MAX_TEXT (1UL << 31)

static inline int overflowed(struct seq_file *seq)
{
	return seq->count == seq->size; /* as seq_has_overflowed(): a full buffer counts as overflow */
}

s64 rt_seq_printf(struct seq_file *seq, const char *fmt, u64 fmt_size, const u64 *data, u64 data_len)
{
	struct rt_out out = { .buf = seq->buf, .size = seq->size, .count = seq->count };
	int err;

	if ((u32)data_len & 7 || (u32)data_len > 12 * 8 || (data_len && !data))
		return -EINVAL;
	err = rt_bprintf(rt_this_cpu->kernel, &out, fmt, (u32)fmt_size, data, (u32)data_len / 8);
	if (err)
		return err;
	seq->count = out.count < seq->size ? out.count : seq->size;
	return overflowed(seq) ? -EOVERFLOW : 0;
}

s64 rt_seq_write(struct seq_file *seq, const void *data, u64 len)
{
	size_t n = (u32)len;

	if (seq->count + n < seq->size) {
		memcpy(seq->buf + seq->count, data, n);
		seq->count += n;
		return 0;
	}
	seq->count = seq->size;
	return -EOVERFLOW;
}

/* -- views -- */

struct rt_view {
	struct seq_file seq;
	struct rt_kernel *kernel;
	rt_prog_fn fn;
	void *object;
	int made;
	u32 lock; /* one open file may be read by several threads; different ones share nothing */
	u64 read_pos; /* where the next sequential read goes on */
	char page[RT_PAGE];
};

struct view_ctx {
	struct seq_file *seq;
	void *object;
};

static void drop_buffer(struct rt_view *v)
{
	if (v->seq.buf != v->page)
		free(v->seq.buf);
	v->seq.buf = v->page;
	v->seq.size = RT_PAGE;
	v->seq.count = 0;
	v->made = 0;
}

struct rt_view *rt_view_open(struct rt_kernel *k, rt_prog_fn fn, void *object)
{
	struct rt_view *v = malloc(sizeof(*v));

	if (!v)
		return NULL;
	memset(v, 0, offsetof(struct rt_view, page));
	v->kernel = k;
	v->fn = fn;
	v->object = object;
	v->seq.buf = v->page;
	v->seq.size = RT_PAGE;
	return v;
}

void rt_view_close(struct rt_view *v)
{
	if (!v)
		return;
	drop_buffer(v);
	free(v);
}

int rt_view_made(struct rt_view *v)
{
	rt_spin_lock(&v->lock);
	int made = v->made;

	rt_spin_unlock(&v->lock);
	return made;
}

static int double_buffer(struct rt_view *v)
{
	size_t size = v->seq.size * 2;

	if (size > MAX_TEXT)
		return -ENOMEM;
	drop_buffer(v);
	v->seq.buf = malloc(size);
	if (!v->seq.buf) {
		v->seq.buf = v->page;
		return -ENOMEM;
	}
	v->seq.size = size;
	return 0;
}

/* A page has been tried elsewhere and was too small: the next one to try is twice that. */
int rt_view_past_page(struct rt_view *v)
{
	return double_buffer(v);
}

static s64 show(struct rt_view *v)
{
	struct view_ctx ctx = { .seq = &v->seq, .object = v->object };

	for (;;) {
		v->seq.count = 0;
		s32 ret = (s32)rt_run(v->kernel, v->fn, &ctx);

		if (ret < 0)
			return ret;
		if (ret > 0)
			v->seq.count = 0; /* SEQ_SKIP, and seq_read() takes whatever is not 0 for it */
		if (!overflowed(&v->seq))
			break;
		int err = double_buffer(v);

		if (err)
			return err;
	}
	v->made = 1;
	return 0;
}

/* With the lock held: the text for a read at `pos` is there, made anew where it begins or does not go on. */
static s64 ready(struct rt_view *v, u64 pos, struct task_struct *current)
{
	if (pos == 0 || !v->made || pos != v->read_pos) {
		struct rt_cpu *cpu = rt_enter(v->kernel);
		struct task_struct *before = cpu->current;

		rt_become(cpu, current);
		s64 err = show(v);
		cpu->current = before;
		rt_leave(cpu);
		if (err) {
			drop_buffer(v);
			return err;
		}
	}
	return 0;
}

void rt_view_pass(struct rt_view *v, size_t size, u64 pos, rt_text_fn take, void *arg)
{
	if (!size) { /* seq_read() does not run the program for nothing */
		take(arg, 0, NULL);
		return;
	}
	rt_spin_lock(&v->lock);
	s64 n = ready(v, pos, NULL);

	if (!n) {
		n = pos < v->seq.count ? v->seq.count - pos : 0;
		if ((size_t)n > size)
			n = size;
	}
	take(arg, n, n > 0 ? v->seq.buf + pos : NULL);
	if (n >= 0)
		v->read_pos = pos + n;
	rt_spin_unlock(&v->lock);
}

s64 rt_view_read(struct rt_view *v, void *buf, size_t size, u64 pos, struct task_struct *current)
{
	s64 n;

	if (!size)
		return 0;
	rt_spin_lock(&v->lock);
	n = ready(v, pos, current);
	if (!n) {
		n = pos < v->seq.count ? v->seq.count - pos : 0;
		if ((size_t)n > size)
			n = size;
		memcpy(buf, v->seq.buf + pos, n);
		v->read_pos = pos + n;
	}
	rt_spin_unlock(&v->lock);
	return n;
}

/*
 * Many objects through one program in one call: text after text into `buf`, ends[i] where the i-th
 * ends. Returns how many fitted, or the error of the first when none did.
 */
s64 rt_view_read_many(struct rt_kernel *k, rt_prog_fn fn, void **objects, u64 count, char *buf, size_t size, u64 *ends,
		      struct task_struct *current)
{
	struct seq_file seq = { 0 };
	struct view_ctx ctx = { .seq = &seq };
	size_t used = 0;
	u64 i = 0;
	s64 err = 0;

	while (i < count && !err) {
		/* Let go of the CPU now and then: writers wait for it. */
		struct rt_cpu *cpu = rt_enter(k);
		struct task_struct *before = cpu->current;
		u64 stop = i + 64 < count ? i + 64 : count;

		rt_become(cpu, current);
		for (; i < stop; i++) {
			seq.buf = buf + used;
			seq.size = size - used;
			seq.count = 0;
			ctx.object = objects[i];
			s32 ret = (s32)rt_run(k, fn, &ctx);

			if (ret < 0 || (!ret && overflowed(&seq))) {
				err = ret < 0 ? ret : -EOVERFLOW;
				break;
			}
			used += ret > 0 ? 0 : seq.count;
			ends[i] = used;
		}
		cpu->current = before;
		rt_leave(cpu);
	}
	return i || !err ? (s64)i : err;
}
