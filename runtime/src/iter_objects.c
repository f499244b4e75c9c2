/* SPDX-License-Identifier: MIT */
/*
 * Objects by ascending number, each shown as it is: maps, programs, links, routes, netlink sockets, symbols, and
 * whatever a target that was added at run time registers. Sockets also tell who owns them and where they are hashed.
 */
#include "iter.h"

static void *from(struct rt_iter *it)
{
	return rt_index_from(it->how.subject, &it->pos, &it->hint);
}

static void *next(struct rt_iter *it)
{
	it->pos++;
	return from(it);
}

static int show(struct rt_iter *it, void *object)
{
	struct {
		struct bpf_iter_meta *meta;
		void *object;
	} ctx = { &it->meta, object ? object : it->how.last };

	return rt_iter_run(it, &ctx);
}

const struct rt_iter_ops rt_iter_objects_ops = { .name = "objects", .start = from, .next = next, .show = show };

/* The owner's uid: a connection that is being made has its listener's, one that has ended has none. */
static u32 owner(const struct sock_common *sk)
{
	const struct sock *full = (const struct sock *)sk;

	if (sk->skc_state == TCP_TIME_WAIT)
		return 0;
	if (sk->skc_state == TCP_NEW_SYN_RECV)
		full = sk->skc_listener;
	return full ? full->sk_uid.val : 0;
}

/* Linux holds a reference to the socket that it shows, and the program sees it counted. */
static int socket_show(struct rt_iter *it, void *socket)
{
	struct bpf_iter__udp ctx = { .meta = &it->meta, .udp_sk = socket };
	struct sock_common *sk = socket;
	int err;

	if (!sk)
		return rt_iter_run(it, &ctx);
	ctx.uid = owner(sk);
	ctx.bucket = sk->skc_u16hashes[0];
	__atomic_add_fetch(&sk->skc_refcnt.refs.counter, 1, __ATOMIC_RELAXED);
	err = rt_iter_run(it, &ctx);
	__atomic_sub_fetch(&sk->skc_refcnt.refs.counter, 1, __ATOMIC_RELAXED);
	return err;
}

const struct rt_iter_ops rt_iter_socket_ops = { .name = "socket", .start = from, .next = next, .show = socket_show };
