// SPDX-License-Identifier: MIT
/* What `cases` has is something to be printed: a format with its arguments, or bytes of a kernel type. */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct printed {
	u32 fmt_bytes, nargs; /* or: type, flags */
	u32 texts; /* a bit for each argument that is the address of `text` */
	u32 room;
	u64 args[12];
	char fmt[64];
	char text[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct printed);
} cases SEC(".maps");

char buffer[1024];
volatile u64 text_at;

SEC("iter/task")
int formats(struct bpf_iter__task *ctx)
{
	u32 only = 0;
	struct printed *p = bpf_map_lookup_elem(&cases, &only);
	struct seq_file *seq = ctx->meta->seq;
	u64 args[12];
	long err;
	u32 n;

	if (!ctx->task || !p || !p->fmt_bytes)
		return 0;
	text_at = (u64)p->text; /* read back it is a number, of which bits may be taken: no branches, and so no paths */
	for (int i = 0; i < 12; i++) {
		u64 take = -(u64)(p->texts >> i & 1);

		args[i] = (text_at & take) | (p->args[i] & ~take);
	}
	n = p->fmt_bytes & 63;
	if (!n)
		n = 1;
	err = bpf_seq_printf(seq, p->fmt, n, args, (p->nargs & 15) > 12 ? 96 : (p->nargs & 15) * 8);
	BPF_SEQ_PRINTF(seq, "\n= %d\n", (int)err);
	return 0;
}

SEC("iter/task")
int types(struct bpf_iter__task *ctx)
{
	u32 only = 0;
	struct printed *p = bpf_map_lookup_elem(&cases, &only);
	struct seq_file *seq = ctx->meta->seq;
	struct btf_ptr ptr = {};
	long err;

	if (!ctx->task || !p || !p->room)
		return 0;
#define TYPE(n, t) if (p->fmt_bytes == n) ptr.type_id = bpf_core_type_id_kernel(t)
	TYPE(0, struct in6_addr);
	TYPE(1, struct sockaddr_un);
	TYPE(2, struct list_head);
	TYPE(3, struct timer_list);
	TYPE(4, struct qstr);
	TYPE(5, struct rt6key);
	TYPE(6, struct task_cputime);
	TYPE(7, struct bpf_iter_meta);
	TYPE(8, kuid_t);
	TYPE(9, struct bpf_insn);
	TYPE(10, struct btf_header);
	TYPE(11, struct path);
	TYPE(12, u64);
	TYPE(13, refcount_t);
	TYPE(14, enum kernfs_node_type);
	ptr.ptr = p->text;
	err = bpf_seq_printf_btf(seq, &ptr, sizeof(ptr), p->nargs);
	BPF_SEQ_PRINTF(seq, "= %d\n", (int)err);
	err = bpf_snprintf_btf(buffer, (p->room & 511) + 1, &ptr, sizeof(ptr), p->nargs);
	BPF_SEQ_PRINTF(seq, "%s\n= %d\n", buffer, (int)err);
	return 0;
}

char _license[] SEC("license") = "GPL";
