/* SPDX-License-Identifier: MIT */
/* iter/bpf_map_elem: one map's elements, in the map's own order. */
#include "iter.h"

static void *elem_start(struct rt_iter *it)
{
	struct bpf_map *map = it->how.subject;

	return rt_iter_map_start(it, map->ops->walk) ? it->value : NULL;
}

static void *elem_next(struct rt_iter *it)
{
	struct bpf_map *map = it->how.subject;

	return rt_iter_map_next(it, map->ops->walk) ? it->value : NULL;
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
