/* SPDX-License-Identifier: MIT */
/* iter/sockmap: the sockets in one sockmap or sockhash, with their keys. */
#include "iter.h"

/* Entries hold the addresses of sockets. All of a sockmap are shown, those without a socket too. */
static void *start(struct rt_iter *it)
{
	struct bpf_map *map = it->how.subject;

	return rt_iter_map_start(it, map->ops->walk) ? it->value : NULL;
}

static void *next(struct rt_iter *it)
{
	struct bpf_map *map = it->how.subject;

	return rt_iter_map_next(it, map->ops->walk) ? it->value : NULL;
}

static int show(struct rt_iter *it, void *entry)
{
	struct bpf_iter__sockmap ctx = { .meta = &it->meta, .map = it->how.subject };

	if (entry) {
		ctx.key = it->key;
		ctx.sk = __atomic_load_n((struct sock **)entry, __ATOMIC_ACQUIRE);
	}
	return rt_iter_run(it, &ctx);
}

const struct rt_iter_ops rt_iter_sockmap_ops = { .name = "sockmap", .start = start, .next = next, .show = show };
