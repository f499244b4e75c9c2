/* SPDX-License-Identifier: MIT */
/* iter/bpf_map_elem: one map's elements, in the map's own order. */
#include "iter.h"

/* The cursor stays before the element under way, so that one that is rolled back is found again. */
static void *elem_start(struct rt_iter *it)
{
	struct bpf_map *map = it->how.subject;

	it->ahead = it->cursor;
	if (!map->ops->walk(rt_map_of(map), &it->ahead, &it->key, &it->value))
		return NULL;
	return it->value;
}

static void *elem_next(struct rt_iter *it)
{
	it->cursor = it->ahead;
	return elem_start(it);
}

static int elem_show(struct rt_iter *it, void *value)
{
	struct bpf_map *map = it->how.subject;
	struct rt_map *m = rt_map_of(map);
	struct bpf_iter__bpf_map_elem ctx = { .meta = &it->meta, .map = map };

	if (value) {
		ctx.key = it->key;
		ctx.value = value;
		if (m->value_bytes != map->value_size) { /* per CPU: programs see every CPU's value, 8-byte rounded */
			if (map->ops->copy_out(m, it->key, it->values, 0))
				return 0;
			ctx.value = it->values;
		}
	}
	return rt_iter_run(it, &ctx);
}

const struct rt_iter_ops rt_iter_map_elem_ops = {
	.name = "map_elem",
	.start = elem_start,
	.next = elem_next,
	.show = elem_show,
};
