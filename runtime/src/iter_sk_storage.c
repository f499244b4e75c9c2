/* SPDX-License-Identifier: MIT */
/* iter/bpf_sk_storage_map: the sockets that have a value in one map of socket storage, with that value. */
#include "hash.h"
#include "iter.h"

static void *start(struct rt_iter *it)
{
	return rt_iter_map_start(it, rt_hash_walk) ? it->value : NULL;
}

static void *next(struct rt_iter *it)
{
	return rt_iter_map_next(it, rt_hash_walk) ? it->value : NULL;
}

/* The element's key is the address of the socket. */
static int show(struct rt_iter *it, void *value)
{
	struct bpf_iter__bpf_sk_storage_map ctx = { .meta = &it->meta, .map = it->how.subject };

	if (value) {
		ctx.sk = *(struct sock **)it->key;
		ctx.value = value;
	}
	return rt_iter_run(it, &ctx);
}

const struct rt_iter_ops rt_iter_sk_storage_ops = { .name = "sk_storage", .start = start, .next = next, .show = show };
