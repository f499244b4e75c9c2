/* SPDX-License-Identifier: MIT */
/* Helpers on kernel objects: what kind of socket a sock_common is, the socket and the path of a file. */
#include "rt.h"

#define AF_UNIX 1
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define SOCK_DGRAM 2
#define S_IFMT 0170000
#define S_IFSOCK 0140000

/* A sock_common that a whole sock begins with: neither a connection that is being made nor what is left of one. */
static const struct sock *full(const struct sock_common *sk)
{
	struct sock_common head;

	if (!sk || rt_copy_fault(&head, sk, sizeof(head)))
		return NULL;
	return head.skc_state == TCP_TIME_WAIT || head.skc_state == TCP_NEW_SYN_RECV ? NULL : (const struct sock *)sk;
}

static void *if_full(const struct sock_common *sk, int family, int protocol, int type)
{
	const struct sock *s = full(sk);

	if (!s || (family && sk->skc_family != family) || (protocol && s->sk_protocol != protocol))
		return NULL;
	return type && s->sk_type != type ? NULL : (void *)sk;
}

static void *if_state(const struct sock_common *sk, int state)
{
	struct sock_common head;

	return sk && !rt_copy_fault(&head, sk, sizeof(head)) && head.skc_state == state ? (void *)sk : NULL;
}

void *rt_skc_to_tcp6_sock(const struct sock_common *sk)
{
	return if_full(sk, AF_INET6, IPPROTO_TCP, 0);
}

void *rt_skc_to_tcp_sock(const struct sock_common *sk)
{
	return if_full(sk, 0, IPPROTO_TCP, 0);
}

void *rt_skc_to_tcp_timewait_sock(const struct sock_common *sk)
{
	return if_state(sk, TCP_TIME_WAIT);
}

void *rt_skc_to_tcp_request_sock(const struct sock_common *sk)
{
	return if_state(sk, TCP_NEW_SYN_RECV);
}

void *rt_skc_to_udp6_sock(const struct sock_common *sk)
{
	return if_full(sk, AF_INET6, IPPROTO_UDP, SOCK_DGRAM);
}

void *rt_skc_to_unix_sock(const struct sock_common *sk)
{
	return if_full(sk, AF_UNIX, 0, 0);
}

void *rt_sock_from_file(const struct file *file)
{
	struct file f;
	struct inode inode;

	if (!file || rt_copy_fault(&f, file, sizeof(f)) || rt_copy_fault(&inode, f.f_inode, sizeof(inode)))
		return NULL;
	return (inode.i_mode & S_IFMT) == S_IFSOCK ? f.private_data : NULL;
}

/* The path into `buf`, from its end on and then moved to its start: its bytes with the NUL, or an errno. */
s64 rt_d_path(const struct path *path, char *buf, u64 size)
{
	char *end = buf + (u32)size, *at = end;
	struct vfsmount mount;
	struct dentry d, *next;
	struct path p;

	if (!(u32)size)
		return 0;
	if (rt_copy_fault(&p, path, sizeof(p)))
		return -EFAULT;
	*--at = 0;
	if (!p.mnt || !p.dentry || rt_copy_fault(&mount, p.mnt, sizeof(mount)))
		return -EFAULT;
	for (next = p.dentry;; next = d.d_parent) {
		if (rt_copy_fault(&d, next, sizeof(d)))
			return -EFAULT;
		if (next == mount.mnt_root) {
			if (next != p.dentry)
				break;
			d.d_name.len = 1; /* the root itself */
		}
		if (at - buf < (s64)d.d_name.len + (mount.mnt_root && next != mount.mnt_root))
			return -ENAMETOOLONG;
		at -= d.d_name.len;
		if (rt_copy_fault(at, d.d_name.name, d.d_name.len))
			return -EFAULT;
		if (!mount.mnt_root || next == mount.mnt_root)
			break; /* a name that is no path, as a socket's or a pipe's */
		*--at = '/';
	}
	memmove(buf, at, end - at);
	return end - at;
}
