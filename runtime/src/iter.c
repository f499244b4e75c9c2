/* SPDX-License-Identifier: MIT */
/*
 * bpf_seq_read(): how Linux serves an iterator's file. A buffer of eight pages is filled element by
 * element until the read is satisfied; an element that does not fit is rolled back and made again by
 * the next read; what a fill leaves over comes alone. Measured on Linux 6.18; tests run on both.
 */
#include "iter.h"

#define BUFFER_BYTES (8 * RT_PAGE)
#define MAX_OBJECTS 1000000

static const struct rt_iter_ops *const walks[] = {
	&rt_iter_objects_ops, &rt_iter_socket_ops, &rt_iter_task_ops, &rt_iter_task_file_ops,
	&rt_iter_task_vma_ops, &rt_iter_cgroup_ops, &rt_iter_map_elem_ops,
	&rt_iter_sk_storage_ops,
	&rt_iter_sockmap_ops,
};

const struct rt_iter_ops *rt_iter_walk(const char *name)
{
	for (size_t i = 0; i < sizeof(walks) / sizeof(walks[0]); i++)
		if (!strcmp(walks[i]->name, name))
			return walks[i];
	return NULL;
}

struct rt_iter *rt_iter_open(struct rt_kernel *k, rt_prog_fn fn, const struct rt_iter_how *how, u64 session_id)
{
	struct rt_iter *it = rt_kobj_alloc(k, sizeof(*it)); /* programs read its meta, a kernel object as any */

	if (!it)
		return NULL;
	it->kernel = k;
	it->fn = fn;
	it->how = *how;
	it->ops = how->ops;
	it->meta.seq = &it->seq;
	it->meta.session_id = session_id;
	if (how->ops == &rt_iter_map_elem_ops) {
		/* Among the kernel's objects where they have room for it, so that the checking interpreter knows it. */
		it->values_size = rt_map_value_bytes(how->subject);
		it->values = it->values_size < RT_PAGE - 64 ? rt_kobj_alloc(k, it->values_size) : malloc(it->values_size);
		if (!it->values) {
			rt_kobj_free_rcu(k, it, sizeof(*it));
			return NULL;
		}
	}
	return it;
}

void rt_iter_close(struct rt_iter *it)
{
	if (!it)
		return;
	free(it->seq.buf);
	if (it->values && it->values_size < RT_PAGE - 64)
		rt_kobj_free_rcu(it->kernel, it->values, it->values_size);
	else
		free(it->values);
	rt_kobj_free_rcu(it->kernel, it, sizeof(*it));
}

static int overflowed(const struct seq_file *seq)
{
	return seq->count == seq->size;
}

/* The program's last call, with no element; made once. Its output must fit as any element's. */
static int stop(struct rt_iter *it)
{
	size_t before = it->seq.count;

	if (!it->stopped)
		it->ops->show(it, NULL);
	if (!overflowed(&it->seq)) {
		it->stopped = 1;
		return 0;
	}
	it->seq.count = before;
	return before ? 0 : -E2BIG;
}

/* Fill the buffer from the walk's place on. */
static int fill(struct rt_iter *it, size_t size)
{
	struct seq_file *seq = &it->seq;
	u64 objects = 0;
	void *v = it->ops->start(it);
	int err;

	if (rt_is_error(v))
		return (int)(intptr_t)v;
	if (!v)
		return stop(it);
	err = it->ops->show(it, v);
	if (err || overflowed(seq)) {
		seq->count = 0;
		return err ? err : -E2BIG;
	}
	for (;;) {
		size_t before = seq->count;

		objects++;
		v = it->ops->next(it);
		if (!v)
			return stop(it);
		it->meta.seq_num++;
		if (seq->count >= size)
			return 0;
		if (objects >= MAX_OBJECTS)
			return before ? 0 : -EAGAIN;
		err = it->ops->show(it, v);
		if (err || overflowed(seq)) {
			seq->count = before;
			if (before)
				return 0;
			return err ? err : -E2BIG;
		}
	}
}

s64 rt_iter_read(struct rt_iter *it, void *buf, size_t size, struct task_struct *current)
{
	struct seq_file *seq = &it->seq;
	int err = 0;
	size_t n;

	if (!seq->buf) {
		seq->buf = malloc(BUFFER_BYTES);
		if (!seq->buf)
			return -ENOMEM;
		seq->size = BUFFER_BYTES;
	}
	if (!seq->count) {
		struct rt_cpu *cpu = rt_enter(it->kernel);
		struct task_struct *before = cpu->current;

		rt_become(cpu, current);
		seq->from = 0;
		err = fill(it, size);
		cpu->current = before;
		rt_leave(cpu);
		if (err) {
			seq->count = 0;
			return err;
		}
	}
	n = seq->count < size ? seq->count : size;
	memcpy(buf, seq->buf + seq->from, n);
	seq->count -= n;
	seq->from += n;
	return (s64)n;
}
