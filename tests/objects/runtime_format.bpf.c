// SPDX-License-Identifier: MIT
/* One bpf_seq_printf whose format and arguments are data: on Linux an iterator, here a view. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define SEQ_WRITE (~0u)

struct format_case {
	u32 fmt_size; /* SEQ_WRITE: fmt holds plain bytes, data_len of them */
	u32 data_len;
	u64 in_memory; /* bit i: argument i is an offset into memory[] */
	s64 ret;
	u64 base;
	u64 args[16];
	char fmt[512];
	char memory[2048];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct format_case);
} cases SEC(".maps");

static __always_inline int print_case(struct seq_file *seq)
{
	u32 zero = 0, size, len, i;
	struct format_case *c = bpf_map_lookup_elem(&cases, &zero);
	u64 args[16], base;

	if (!c)
		return 0;
	c->base = (u64)(unsigned long)c->memory; /* what comes back out of a map is a number, not a pointer */
	barrier();
	base = c->base;
	for (i = 0; i < 16; i++)
		args[i] = c->args[i] + (c->in_memory >> i & 1) * base;
	size = c->fmt_size;
	len = c->data_len;
	barrier_var(size);
	barrier_var(len);
	if (size == SEQ_WRITE) {
		if (len <= sizeof(c->memory))
			c->ret = bpf_seq_write(seq, c->memory, len);
		return 0;
	}
	if (size > sizeof(c->fmt) || len > sizeof(args))
		return 0;
	barrier_var(size);
	if (!size)
		return 0;
	c->ret = bpf_seq_printf(seq, c->fmt, size, args, len);
	return 0;
}

/* Walks one task: one execution, and the last one without a task. */
SEC("?iter/task")
int iter_case(struct bpf_iter__task *ctx)
{
	return ctx->task ? print_case(ctx->meta->seq) : 0;
}

SEC("?view/cgroup")
int BPF_PROG(view_case, struct seq_file *seq, struct cgroup *cgroup)
{
	return print_case(seq);
}

char _license[] SEC("license") = "GPL";
