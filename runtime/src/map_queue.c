/* SPDX-License-Identifier: MIT */
/* Queues and stacks: a ring of values under one lock. */
#include "rt.h"

struct queue {
	struct rt_map m;
	char *values;
	u32 lock;
	u32 first, count; /* the oldest value, and how many there are */
};

static struct rt_map *queue_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	struct queue *q = calloc(1, sizeof(*q));

	(void)k;
	*err = -ENOMEM;
	if (!q)
		return NULL;
	q->values = rt_pages_alloc((u64)shape->max_entries * shape->value_size);
	if (!q->values) {
		free(q);
		return NULL;
	}
	q->m.value_stride = q->m.value_bytes = shape->value_size;
	q->m.memory_bytes = sizeof(*q) + (u64)shape->max_entries * shape->value_size;
	return &q->m;
}

static void queue_free(struct rt_map *m)
{
	struct queue *q = (struct queue *)m;

	rt_pages_free(q->values, (u64)m->map.max_entries * m->map.value_size);
	free(q);
}

static char *value_at(const struct queue *q, u32 index)
{
	return q->values + (((u64)q->first + index) % q->m.map.max_entries) * q->m.map.value_size;
}

static int queue_push(struct rt_map *m, const void *value, u64 flags)
{
	struct queue *q = (struct queue *)m;
	int err = 0;

	if (flags & BPF_NOEXIST || flags > BPF_EXIST)
		return -EINVAL;
	rt_spin_lock(&q->lock);
	if (q->count == m->map.max_entries) {
		if (flags & BPF_EXIST) { /* the oldest makes room, in a stack too */
			q->first = (q->first + 1) % m->map.max_entries;
			q->count--;
		} else {
			err = -E2BIG;
		}
	}
	if (!err)
		memcpy(value_at(q, q->count++), value, m->map.value_size);
	rt_spin_unlock(&q->lock);
	return err;
}

static int take(struct rt_map *m, void *value, int newest, int remove)
{
	struct queue *q = (struct queue *)m;
	int err = 0;

	rt_spin_lock(&q->lock);
	if (!q->count) {
		memset(value, 0, m->map.value_size);
		err = -ENOENT;
	} else {
		memcpy(value, value_at(q, newest ? q->count - 1 : 0), m->map.value_size);
		if (remove) {
			q->count--;
			if (!newest)
				q->first = (q->first + 1) % m->map.max_entries;
		}
	}
	rt_spin_unlock(&q->lock);
	return err;
}

static int queue_pop(struct rt_map *m, void *value)
{
	return take(m, value, 0, 1);
}

static int queue_peek(struct rt_map *m, void *value)
{
	return take(m, value, 0, 0);
}

static int stack_pop(struct rt_map *m, void *value)
{
	return take(m, value, 1, 1);
}

static int stack_peek(struct rt_map *m, void *value)
{
	return take(m, value, 1, 0);
}

static int no_delete(struct rt_map *m, const void *key)
{
	(void)m;
	(void)key;
	return -EINVAL;
}

static int no_next_key(struct rt_map *m, const void *key, void *next)
{
	(void)m;
	(void)key;
	(void)next;
	return -EINVAL;
}

static const struct bpf_map_ops queue_ops = {
	.map_type = BPF_MAP_TYPE_QUEUE,
	.alloc = queue_alloc,
	.free = queue_free,
	.delete = no_delete,
	.push = queue_push,
	.pop = queue_pop,
	.peek = queue_peek,
	.next_key = no_next_key,
};
RT_MAP_TYPE(queue_ops);

static const struct bpf_map_ops stack_ops = {
	.map_type = BPF_MAP_TYPE_STACK,
	.alloc = queue_alloc,
	.free = queue_free,
	.delete = no_delete,
	.push = queue_push,
	.pop = stack_pop,
	.peek = stack_peek,
	.next_key = no_next_key,
};
RT_MAP_TYPE(stack_ops);
