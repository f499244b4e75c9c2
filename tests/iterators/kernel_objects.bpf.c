// SPDX-License-Identifier: MIT
/* Programs that show kernel objects: what each target hands out, in columns that a test compares between kernels. */
#define BPF_NO_KFUNC_PROTOTYPES /* one of them is a symbol without a type here */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET6 10
#define sk_family __sk_common.skc_family
#define sk_state __sk_common.skc_state
#define sk_refcnt __sk_common.skc_refcnt
#define sk_v6_daddr __sk_common.skc_v6_daddr
#define sk_v6_rcv_saddr __sk_common.skc_v6_rcv_saddr
#define sk_rmem_alloc sk_backlog.rmem_alloc
#define s6_addr32 in6_u.u6_addr32
#define BPF_F_NO_PREALLOC 1
#define BPF_SK_STORAGE_GET_F_CREATE 1
#define MAJOR(dev) ((dev) >> 20)
#define MINOR(dev) ((dev) & 0xfffff)

volatile u32 wanted_tgid = 0;
char path[512];

static unsigned long inode_of(struct socket *socket)
{
	struct socket_alloc *both;
	unsigned long ino = 0;

	if (!socket)
		return 0;
	both = (struct socket_alloc *)((char *)socket - __builtin_offsetof(struct socket_alloc, socket));
	bpf_probe_read_kernel(&ino, sizeof(ino), (char *)both + bpf_core_field_offset(both->vfs_inode.i_ino));
	return ino;
}

SEC("iter/task_file")
int files(struct bpf_iter__task_file *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	long n;

	if (!task || !file) {
		BPF_SEQ_PRINTF(seq, "end %d %d %u\n", task != 0, file != 0, ctx->fd);
		return 0;
	}
	if (wanted_tgid && task->tgid != wanted_tgid)
		return 0;
	n = bpf_d_path(&file->f_path, path, sizeof(path));
	BPF_SEQ_PRINTF(seq, "%d %d %u %lu %x %lld ", task->tgid, task->pid, ctx->fd, file->f_inode->i_ino,
		       file->f_inode->i_mode, file->f_pos);
	BPF_SEQ_PRINTF(seq, "%x %d %ld %s\n", file->f_flags & 0x3fff, file->f_mode & 3, n, path);
	return 0;
}

SEC("iter/task_file")
int file_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file || task->tgid != wanted_tgid)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%u %d %d %d\n", ctx->fd, sk->sk_family, sk->sk_protocol, sk->sk_type);
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} marks SEC(".maps");

/* Each socket of the wanted process gets its fd as a mark. */
SEC("iter/task_file")
int mark_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	u64 *mark;

	if (!task || !file || task->tgid != wanted_tgid)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	mark = bpf_sk_storage_get(&marks, socket->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (mark)
		*mark = ctx->fd;
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int marked(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	u64 *mark = ctx->value;

	if (!sk || !mark) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "end %d %d %d\n", ctx->map != 0, sk != 0, mark != 0);
		return 0;
	}
	BPF_SEQ_PRINTF(ctx->meta->seq, "%llu %d %d\n", *mark, sk->sk_family, sk->sk_protocol);
	*mark += 100;
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int marked_wide(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	u64 *mark = ctx->value;

	if (mark)
		mark[1] = 0;
	return 0;
}

SEC("iter/task_vma")
int maps(struct bpf_iter__task_vma *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct vm_area_struct *vma = ctx->vma;
	struct file *file;
	char perms[] = "----";

	if (!task || !vma) {
		BPF_SEQ_PRINTF(seq, "end %d %d\n", task != 0, vma != 0);
		return 0;
	}
	if (wanted_tgid && task->tgid != wanted_tgid)
		return 0;
	perms[0] = vma->vm_flags & 1 ? 'r' : '-';
	perms[1] = vma->vm_flags & 2 ? 'w' : '-';
	perms[2] = vma->vm_flags & 4 ? 'x' : '-';
	perms[3] = vma->vm_flags & 0x80 ? 's' : 'p';
	BPF_SEQ_PRINTF(seq, "%08lx-%08lx %s ", vma->vm_start, vma->vm_end, perms);
	file = vma->vm_file;
	if (file) {
		u32 dev = file->f_inode->i_sb->s_dev;

		bpf_d_path(&file->f_path, path, sizeof(path));
		BPF_SEQ_PRINTF(seq, "%08lx %02x:%02x %lu %s\n", vma->vm_pgoff << 12, MAJOR(dev), MINOR(dev),
			       file->f_inode->i_ino, path);
	} else {
		BPF_SEQ_PRINTF(seq, "00000000 00:00 0\n");
	}
	return 0;
}

SEC("iter/task")
int processes(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task || (wanted_tgid && task->tgid != wanted_tgid))
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%d %d %s %d %d", task->tgid, task->pid, task->comm, task->real_parent->tgid,
		       task->group_leader->pid);
	BPF_SEQ_PRINTF(ctx->meta->seq, " %u %u %d %d %llu %d\n", task->cred->uid.val, task->cred->gid.val, task->prio,
		       task->static_prio, task->start_boottime / 10000000, task->mm != 0);
	return 0;
}

SEC("iter/netlink")
int netlink(struct bpf_iter__netlink *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct netlink_sock *nlk = ctx->sk;
	unsigned long group = 0;
	struct sock *s;

	if (!nlk)
		return 0;
	if (ctx->meta->seq_num == 0)
		BPF_SEQ_PRINTF(seq, "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n");
	s = &nlk->sk;
	if (nlk->groups)
		bpf_probe_read_kernel(&group, sizeof(group), &nlk->groups[0]);
	BPF_SEQ_PRINTF(seq, "%pK %-3d %-10u %08x ", s, s->sk_protocol, nlk->portid, (u32)group);
	BPF_SEQ_PRINTF(seq, "%-8d %-8d %-5d %-8d %-8u %-8lu\n", s->sk_rmem_alloc.counter,
		       s->sk_wmem_alloc.refs.counter - 1, nlk->cb_running, s->sk_refcnt.refs.counter,
		       s->sk_drops.counter, inode_of(s->sk_socket));
	return 0;
}

SEC("iter/ipv6_route")
int routes(struct bpf_iter__ipv6_route *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct fib6_info *rt = ctx->rt;
	struct fib6_nh *hop;
	u32 flags;

	if (!rt)
		return 0;
	hop = &rt->fib6_nh[0];
	flags = rt->fib6_flags;
	BPF_SEQ_PRINTF(seq, "%pi6 %02x 00000000000000000000000000000000 00 ", &rt->fib6_dst.addr, rt->fib6_dst.plen);
	if (hop->nh_common.nhc_gw_family) {
		flags |= 2;
		BPF_SEQ_PRINTF(seq, "%pi6 ", &hop->nh_common.nhc_gw.ipv6);
	} else {
		BPF_SEQ_PRINTF(seq, "00000000000000000000000000000000 ");
	}
	BPF_SEQ_PRINTF(seq, "%08x %08x %08x %08x %8s\n", rt->fib6_metric, rt->fib6_ref.refs.counter, 0, flags,
		       hop->nh_common.nhc_dev ? hop->nh_common.nhc_dev->name : "");
	return 0;
}

static void show_end(struct seq_file *seq, const struct in6_addr *a, u16 port)
{
	BPF_SEQ_PRINTF(seq, "%08X%08X%08X%08X:%04X ", a->s6_addr32[0], a->s6_addr32[1], a->s6_addr32[2], a->s6_addr32[3],
		       port);
}

SEC("iter/tcp")
int tcp(struct bpf_iter__tcp *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct sock_common *sk = ctx->sk_common;
	struct tcp_timewait_sock *tw;
	struct tcp_request_sock *req;
	struct tcp6_sock *tp6;
	struct tcp_sock *tp;

	if (!sk) {
		BPF_SEQ_PRINTF(seq, "end %u\n", ctx->uid);
		return 0;
	}
	BPF_SEQ_PRINTF(seq, "%d %d %u ", sk->skc_family, sk->skc_state, ctx->uid);
	tp6 = bpf_skc_to_tcp6_sock(sk);
	if (tp6) {
		struct inet_sock *inet = &tp6->tcp.inet_conn.icsk_inet;

		show_end(seq, &inet->sk.sk_v6_rcv_saddr, bpf_ntohs(inet->inet_sport));
		show_end(seq, &inet->sk.sk_v6_daddr, bpf_ntohs(inet->sk.__sk_common.skc_dport));
		BPF_SEQ_PRINTF(seq, "tcp6 %lu %d\n", inode_of(inet->sk.sk_socket), inet->sk.sk_refcnt.refs.counter);
		return 0;
	}
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp) {
		struct inet_sock *inet = &tp->inet_conn.icsk_inet;

		BPF_SEQ_PRINTF(seq, "%08X:%04X %08X:%04X tcp %lu %u %u\n", inet->sk.__sk_common.skc_rcv_saddr,
			       bpf_ntohs(inet->inet_sport), inet->sk.__sk_common.skc_daddr,
			       bpf_ntohs(inet->sk.__sk_common.skc_dport), inode_of(inet->sk.sk_socket),
			       tp->write_seq - tp->snd_una, tp->rcv_nxt - tp->copied_seq);
		return 0;
	}
	tw = bpf_skc_to_tcp_timewait_sock(sk);
	if (tw) {
		show_end(seq, &tw->tw_sk.__tw_common.skc_v6_rcv_saddr, bpf_ntohs(tw->tw_sk.tw_sport));
		BPF_SEQ_PRINTF(seq, "time-wait %d\n", tw->tw_sk.tw_substate);
		return 0;
	}
	req = bpf_skc_to_tcp_request_sock(sk);
	if (req)
		BPF_SEQ_PRINTF(seq, "request %u\n", req->req.req.num_timeout);
	return 0;
}

SEC("iter/udp")
int udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *us = ctx->udp_sk;
	struct seq_file *seq = ctx->meta->seq;
	struct inet_sock *inet;

	if (!us) {
		BPF_SEQ_PRINTF(seq, "end %u %d\n", ctx->uid, ctx->bucket);
		return 0;
	}
	inet = &us->inet;
	BPF_SEQ_PRINTF(seq, "%d %u %d ", inet->sk.sk_family, ctx->uid, bpf_skc_to_udp6_sock(us) != 0);
	if (inet->sk.sk_family == AF_INET6)
		show_end(seq, &inet->sk.sk_v6_rcv_saddr, bpf_ntohs(inet->inet_sport));
	else
		BPF_SEQ_PRINTF(seq, "%08X:%04X ", inet->sk.__sk_common.skc_rcv_saddr, bpf_ntohs(inet->inet_sport));
	BPF_SEQ_PRINTF(seq, "%d %d %d %lu %u\n", inet->sk.sk_refcnt.refs.counter, inet->sk.sk_state, inet->sk.sk_wmem_alloc.refs.counter - 1,
		       inode_of(inet->sk.sk_socket), inet->sk.sk_drops.counter);
	return 0;
}

SEC("iter/unix")
int unix_sockets(struct bpf_iter__unix *ctx)
{
	struct unix_sock *u = ctx->unix_sk;
	struct seq_file *seq = ctx->meta->seq;
	struct sock *sk = (struct sock *)u;

	if (!u) {
		BPF_SEQ_PRINTF(seq, "end %u\n", ctx->uid);
		return 0;
	}
	BPF_SEQ_PRINTF(seq, "%08X %d %d %lu %d", sk->sk_refcnt.refs.counter, sk->sk_type, sk->sk_state,
		       inode_of(sk->sk_socket), bpf_skc_to_unix_sock(u) != 0);
	if (u->addr) {
		int len = u->addr->len;

		if (u->addr->name->sun_path[0])
			BPF_SEQ_PRINTF(seq, " %s", u->addr->name->sun_path);
		else if (len > 3) { /* an abstract name has no NUL: its length says where it ends */
			bpf_probe_read_kernel(path, (len - 3) & 127, u->addr->name->sun_path + 1);
			BPF_SEQ_PRINTF(seq, " @");
			bpf_seq_write(seq, path, (len - 3) & 127);
		}
		BPF_SEQ_PRINTF(seq, " %d", len);
	}
	BPF_SEQ_PRINTF(seq, "\n");
	return 0;
}

SEC("iter/bpf_prog")
int progs(struct bpf_iter__bpf_prog *ctx)
{
	struct bpf_prog *prog = ctx->prog;

	if (!prog)
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%u %s %d %d %d %u %s\n", prog->aux->id, prog->aux->name, prog->type,
		       prog->expected_attach_type, prog->len, prog->aux->used_map_cnt,
		       prog->aux->attach_func_name ? prog->aux->attach_func_name : "-");
	return 0;
}

/* A program by its function's whole name, as its BTF has it, and what it uses. */
SEC("iter/bpf_prog")
int prog_types(struct bpf_iter__bpf_prog *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct bpf_prog *prog = ctx->prog;
	struct bpf_prog_aux *aux;
	struct btf_type *type;
	struct bpf_map *map;
	struct btf *btf;
	u32 type_id;

	if (!prog)
		return 0;
	aux = prog->aux;
	BPF_SEQ_PRINTF(seq, "%u %u %u %u", aux->id, aux->used_map_cnt, aux->func_info_cnt, aux->nr_linfo);
	BPF_SEQ_PRINTF(seq, " %u %u", aux->func_cnt, aux->real_func_cnt);
	if (aux->used_map_cnt) {
		bpf_probe_read_kernel(&map, sizeof(map), &aux->used_maps[aux->used_map_cnt - 1]);
		BPF_SEQ_PRINTF(seq, " %s", BPF_CORE_READ(map, name));
	}
	btf = aux->btf;
	if (btf) {
		type_id = BPF_CORE_READ(aux, func_info, type_id);
		bpf_probe_read_kernel(&type, sizeof(type), &btf->types[type_id]);
		BPF_SEQ_PRINTF(seq, " %u/%u %u %s", type_id, btf->nr_types, btf->hdr.str_len,
			       btf->strings + BPF_CORE_READ(type, name_off));
		BPF_SEQ_PRINTF(seq, " %x", BPF_CORE_READ(type, info));
	}
	BPF_SEQ_PRINTF(seq, "\n");
	return 0;
}

static __attribute__((noinline)) int a_function_of_its_own(struct bpf_iter__bpf_prog *ctx)
{
	return ctx->prog != 0;
}

SEC("iter/bpf_prog")
int a_program_of_a_rather_long_name(struct bpf_iter__bpf_prog *ctx)
{
	return a_function_of_its_own(ctx);
}

SEC("iter/bpf_link")
int links(struct bpf_iter__bpf_link *ctx)
{
	struct bpf_link *link = ctx->link;

	if (link)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u %d %u\n", link->id, link->type, link->prog->aux->id);
	return 0;
}

extern const void css_rstat_updated __ksym;

/* Symbols in all the ways that formats show them. */
SEC("iter/ksym")
int symbol_formats(struct bpf_iter__ksym *ctx)
{
	struct kallsym_iter *sym = ctx->ksym;
	struct seq_file *seq = ctx->meta->seq;

	if (!sym)
		return 0;
	if (sym->pos_bpf_end)
		BPF_SEQ_PRINTF(seq, "end %lld %ps ", sym->pos - ctx->meta->seq_num, &css_rstat_updated);
	BPF_SEQ_PRINTF(seq, "%s|%s|%pS|%ps|", sym->name, sym->module_name, sym->value, sym->value);
	BPF_SEQ_PRINTF(seq, "%pB|%60pS|%-60ps|%60pB|%pSR\n", sym->value + 1, sym->value + 2, sym->value, sym->value + 3, sym->value);
	return 0;
}

SEC("iter/ksym")
int symbols(struct bpf_iter__ksym *ctx)
{
	struct kallsym_iter *sym = ctx->ksym;

	if (sym && sym->module_name[0] == 'b' && sym->module_name[1] == 'p' && sym->module_name[2] == 'f')
		BPF_SEQ_PRINTF(ctx->meta->seq, "%c %s [%s]\n", sym->type, sym->name, sym->module_name);
	return 0;
}

char _license[] SEC("license") = "GPL";
