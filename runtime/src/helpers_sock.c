/* SPDX-License-Identifier: MIT */
/*
 * Programs of cgroups at an event, and what they may ask and want of the socket that it is about. A helper that is handed the
 * context finds the socket in the event under way; there is none in a test run.
 */
#include "rt.h"

enum { SOL_SOCKET_ = 1, SOL_IP_ = 0, SOL_IPV6_ = 41, SOL_TCP_ = 6 };
enum { AF_INET_ = 2, AF_INET6_ = 10, SOCK_STREAM_ = 1, TCP_TIME_WAIT_ = 6, TCP_CLOSE_ = 7, TCP_NEW_SYN_RECV_ = 12 };
enum {
	SO_REUSEADDR_ = 2,
	SO_SNDBUF_ = 7,
	SO_RCVBUF_ = 8,
	SO_KEEPALIVE_ = 9,
	SO_PRIORITY_ = 12,
	SO_REUSEPORT_ = 15,
	SO_RCVLOWAT_ = 18,
	SO_MARK_ = 36,
	SO_MAX_PACING_RATE_ = 47,
	SO_BINDTOIFINDEX_ = 62,
	IP_TOS_ = 1,
	IPV6_TCLASS_ = 67,
};
#define SOCK_KEEPOPEN 3 /* a bit of skc_flags */
#define BUFFER_MAX 212992 /* net.core.wmem_max and rmem_max as they come */
#define MIN_SNDBUF 4608
#define MIN_RCVBUF 2304
#define ALL_CB_FLAGS 0x7f /* BPF_SOCK_OPS_ALL_CB_FLAGS */

s64 rt_cgroup_run(struct rt_kernel *k, const rt_prog_fn *fns, void **storage, u32 count, void *ctx,
		  struct rt_event *event, struct task_struct *current)
{
	struct rt_cpu *cpu = rt_enter(k);
	struct task_struct *before = cpu->current;
	struct rt_event *outer = cpu->event;
	s32 *retval = event->retval ? event->retval : &event->own;

	event->ctx = ctx;
	event->retval = retval;
	cpu->event = event;
	rt_become(cpu, current);
	for (u32 i = 0; i < count; i++) {
		u64 ret;

		event->storage = storage ? storage + 2 * i : NULL;
		ret = rt_run(k, fns[i], ctx);

		event->flags |= (u32)ret >> 1;
		/* A program that says no is EPERM, unless one has said which error it shall be. */
		if (!(ret & 1) && !(*retval < 0 && *retval >= -4095))
			*retval = -EPERM;
	}
	cpu->event = outer;
	cpu->current = before;
	rt_leave(cpu);
	return *retval;
}

struct sock *rt_event_sock(const void *ctx)
{
	struct rt_event *event = rt_this_cpu->event;

	return event && event->ctx == ctx ? event->sk : NULL;
}

static int is_full(const struct sock *sk)
{
	return sk && sk->__sk_common.skc_state != TCP_TIME_WAIT_ && sk->__sk_common.skc_state != TCP_NEW_SYN_RECV_;
}

static int is_inet(const struct sock *sk)
{
	return sk->__sk_common.skc_family == AF_INET_ || sk->__sk_common.skc_family == AF_INET6_;
}

static int is_tcp(const struct sock *sk)
{
	return is_full(sk) && is_inet(sk) && sk->sk_type == SOCK_STREAM_ && sk->sk_protocol == SOL_TCP_;
}

s64 rt_get_retval(void)
{
	struct rt_event *event = rt_this_cpu->event;

	return event ? *event->retval : 0;
}

s64 rt_set_retval(u64 value)
{
	struct rt_event *event = rt_this_cpu->event;

	if (event)
		*event->retval = (s32)value;
	return 0;
}

/* A socket's number, given when it is first asked for; the caller holds a CPU. */
u64 rt_sk_cookie(struct sock *sk)
{
	s64 *cookie, none = 0;

	if (!sk)
		return 0;
	cookie = (s64 *)&sk->__sk_common.skc_cookie;

	if (!__atomic_load_n(cookie, __ATOMIC_ACQUIRE)) {
		s64 fresh = __atomic_add_fetch(&rt_this_cpu->kernel->cookies, 1, __ATOMIC_RELAXED);

		__atomic_compare_exchange_n(cookie, &none, fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	}
	return __atomic_load_n(cookie, __ATOMIC_ACQUIRE);
}

u64 rt_get_socket_cookie(void *ctx)
{
	return rt_sk_cookie(rt_event_sock(ctx));
}

u64 rt_get_netns_cookie(void *ctx)
{
	struct sock *sk = rt_event_sock(ctx);
	struct net *net = sk ? sk->__sk_common.skc_net.net : NULL;

	return net ? net->net_cookie : 1; /* that of the first namespace */
}

void *rt_sk_fullsock(struct sock *sk)
{
	return is_full(sk) ? sk : NULL;
}

void *rt_tcp_sock(struct sock *sk)
{
	return is_tcp(sk) ? sk : NULL;
}

u64 rt_sk_cgroup_id(struct sock *sk)
{
	if (!is_full(sk))
		return 0;
	return sk->sk_cgrp_data.cgroup ? sk->sk_cgrp_data.cgroup->kn->id : 1; /* the root's */
}

/* -- options: Linux's for programs, as far as a socket here has what they are about; EOPNOTSUPP for the others -- */

static struct inet_sock *inet_of(struct sock *sk)
{
	return (struct inet_sock *)sk; /* struct sock comes first */
}

/* Where an int option lies, what it reads as; NULL for one that is no plain member. */
static int get_option(struct sock *sk, int level, int name, int *value)
{
	if (level == SOL_SOCKET_)
		switch (name) {
		case SO_REUSEADDR_:
			*value = sk->__sk_common.skc_reuse;
			return 0;
		case SO_REUSEPORT_:
			*value = sk->__sk_common.skc_reuseport;
			return 0;
		case SO_SNDBUF_:
			*value = sk->sk_sndbuf;
			return 0;
		case SO_RCVBUF_:
			*value = sk->sk_rcvbuf;
			return 0;
		case SO_KEEPALIVE_:
			*value = sk->__sk_common.skc_flags >> SOCK_KEEPOPEN & 1;
			return 0;
		case SO_PRIORITY_:
			*value = sk->sk_priority;
			return 0;
		case SO_RCVLOWAT_:
			*value = sk->sk_rcvlowat;
			return 0;
		case SO_MARK_:
			*value = sk->sk_mark;
			return 0;
		case SO_MAX_PACING_RATE_:
			*value = sk->sk_pacing_rate > 0xffffffffUL ? -1 : (int)sk->sk_pacing_rate;
			return 0;
		case SO_BINDTOIFINDEX_:
			*value = sk->__sk_common.skc_bound_dev_if;
			return 0;
		}
	if (level == SOL_IP_ && name == IP_TOS_) {
		*value = inet_of(sk)->tos;
		return sk->__sk_common.skc_family == AF_INET_ ? 0 : -EINVAL;
	}
	if (level == SOL_IPV6_ && name == IPV6_TCLASS_) {
		if (sk->__sk_common.skc_family != AF_INET6_ || !inet_of(sk)->pinet6)
			return -EINVAL;
		*value = inet_of(sk)->pinet6->tclass;
		return 0;
	}
	return -EOPNOTSUPP;
}

static int at_least(int value, int least)
{
	return value < least ? least : value;
}

static int doubled(int value)
{
	return (value > BUFFER_MAX || value < 0 ? BUFFER_MAX : value) * 2;
}

static int set_option(struct sock *sk, int level, int name, int value)
{
	int now, err = get_option(sk, level, name, &now);

	if (err)
		return err;
	if (level == SOL_IP_) {
		/* TCP keeps the two bits that tell of congestion to itself. */
		inet_of(sk)->tos = sk->sk_type == SOCK_STREAM_ ? (value & ~3) | (now & 3) : value;
		return 0;
	}
	if (level == SOL_IPV6_) {
		if (value < -1 || value > 255)
			return -EINVAL;
		inet_of(sk)->pinet6->tclass = value < 0 ? 0 : value;
		return 0;
	}
	switch (name) {
	case SO_REUSEADDR_:
		sk->__sk_common.skc_reuse = value ? 1 : 0;
		break;
	case SO_REUSEPORT_:
		sk->__sk_common.skc_reuseport = value ? 1 : 0;
		break;
	case SO_SNDBUF_:
		sk->sk_sndbuf = at_least(doubled(value), MIN_SNDBUF);
		break;
	case SO_RCVBUF_:
		sk->sk_rcvbuf = at_least(doubled(value), MIN_RCVBUF);
		break;
	case SO_KEEPALIVE_:
		sk->__sk_common.skc_flags = (sk->__sk_common.skc_flags & ~(1UL << SOCK_KEEPOPEN)) | (unsigned long)!!value << SOCK_KEEPOPEN;
		break;
	case SO_PRIORITY_:
		sk->sk_priority = value;
		break;
	case SO_RCVLOWAT_:
		sk->sk_rcvlowat = value < 0 ? INT32_MAX : value ? value : 1;
		break;
	case SO_MARK_:
		sk->sk_mark = value;
		break;
	case SO_MAX_PACING_RATE_:
		sk->sk_pacing_rate = value == -1 ? ~0UL : (u32)value;
		break;
	case SO_BINDTOIFINDEX_:
		if (value < 0)
			return -EINVAL;
		sk->__sk_common.skc_bound_dev_if = value;
		break;
	}
	return 0;
}

s64 rt_sk_setsockopt(struct sock *sk, u64 level, u64 name, const void *value, u64 len)
{
	int number;

	if (!is_full(sk) || (u32)len != sizeof(number))
		return -EINVAL;
	memcpy(&number, value, sizeof(number));
	return set_option(sk, (int)level, (int)name, number);
}

s64 rt_sk_getsockopt(struct sock *sk, u64 level, u64 name, void *value, u64 len)
{
	int number, err = !is_full(sk) || (u32)len != sizeof(number) ? -EINVAL : get_option(sk, (int)level, (int)name, &number);

	if (err)
		memset(value, 0, (u32)len);
	else
		memcpy(value, &number, sizeof(number));
	return err;
}

s64 rt_setsockopt(void *ctx, u64 level, u64 name, const void *value, u64 len)
{
	return rt_sk_setsockopt(rt_event_sock(ctx), level, name, value, len);
}

s64 rt_getsockopt(void *ctx, u64 level, u64 name, void *value, u64 len)
{
	return rt_sk_getsockopt(rt_event_sock(ctx), level, name, value, len);
}

s64 rt_sock_ops_cb_flags_set(void *ctx, u64 flags)
{
	struct sock *sk = rt_event_sock(ctx);
	u32 known = (u32)flags & ALL_CB_FLAGS;

	if (!is_tcp(sk))
		return -EINVAL;
	((struct tcp_sock *)sk)->bpf_sock_ops_cb_flags = known;
	((struct bpf_sock_ops *)ctx)->bpf_sock_ops_cb_flags = known;
	return (s32)((u32)flags & ~ALL_CB_FLAGS);
}

/* The address that a socket will be seen from. That nobody else has the port, and the host the address, is not looked at. */
s64 rt_bind(void *ctx, const u8 *addr, u64 len)
{
	struct sock *sk = rt_event_sock(ctx);
	u16 family, port;

	if ((u32)len < sizeof(family) || !sk)
		return -EINVAL;
	memcpy(&family, addr, sizeof(family));
	if (family != AF_INET_ && family != AF_INET6_)
		return -EAFNOSUPPORT;
	if ((u32)len < (family == AF_INET_ ? 16 : 24))
		return -EINVAL;
	if (family != sk->__sk_common.skc_family)
		return -EAFNOSUPPORT;
	if (sk->__sk_common.skc_state != TCP_CLOSE_ || sk->__sk_common.skc_num)
		return -EINVAL;
	memcpy(&port, addr + 2, sizeof(port));
	if (family == AF_INET_) {
		memcpy(&sk->__sk_common.skc_rcv_saddr, addr + 4, 4);
		inet_of(sk)->inet_saddr = sk->__sk_common.skc_rcv_saddr;
	} else {
		memcpy(&sk->__sk_common.skc_v6_rcv_saddr, addr + 8, 16);
	}
	if (port) {
		inet_of(sk)->inet_sport = port;
		sk->__sk_common.skc_num = __builtin_bswap16(port);
	}
	return 0;
}
