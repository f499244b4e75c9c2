// SPDX-License-Identifier: MIT
/* One helper call, chosen and fed by a map: the same program in both kernels. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define BUF_BYTES 256

enum op {
	STRTOL,
	STRTOUL,
	STRNCMP,
	READ_USER,
	READ_USER_STR,
	READ_KERNEL,
	READ_KERNEL_STR,
	COPY_FROM_USER,
	COMM,
	SNPRINTF,
	CLOCKS,
	RANDOM,
	LOOP,
};

struct helper_case {
	u32 op;
	u32 size;
	u64 flags; /* or an address */
	s64 ret;
	u64 res;
	char buf[BUF_BYTES];
	char memory[64]; /* something in the kernel to read: its address is what READ_KERNEL gets for flags 1 */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct helper_case);
} cases SEC(".maps");

static int count_to(u32 index, struct helper_case **c)
{
	u32 zero = 0;
	struct helper_case *mine = bpf_map_lookup_elem(&cases, &zero);

	if (!mine)
		return 1;
	mine->res++;
	return index + 1 == mine->flags;
}

SEC("syscall")
int one_case(void *ctx)
{
	u32 zero = 0, size, i;
	struct helper_case *c = bpf_map_lookup_elem(&cases, &zero);
	u64 from;
	long res = 0;
	u64 *out;

	if (!c)
		return 1;
	size = c->size;
	barrier_var(size);
	if (size > BUF_BYTES)
		return 2;
	from = c->flags == 1 ? (u64)(unsigned long)c->memory : c->flags;
	switch (c->op) {
	case READ_USER:
		c->ret = bpf_probe_read_user(c->buf, size, (void *)from);
		return 0;
	case READ_USER_STR:
		c->ret = bpf_probe_read_user_str(c->buf, size, (void *)from);
		return 0;
	case READ_KERNEL:
		c->ret = bpf_probe_read_kernel(c->buf, size, (void *)from);
		return 0;
	case READ_KERNEL_STR:
		c->ret = bpf_probe_read_kernel_str(c->buf, size, (void *)from);
		return 0;
	case COPY_FROM_USER:
		c->ret = bpf_copy_from_user(c->buf, size, (void *)from);
		return 0;
	case LOOP:
		c->ret = bpf_loop(size == 255 ? (1 << 23) + 1 : size, count_to, &c, 0);
		return 0;
	case CLOCKS:
		out = (u64 *)c->buf;
		out[0] = bpf_ktime_get_ns();
		out[1] = bpf_ktime_get_boot_ns();
		out[2] = bpf_ktime_get_tai_ns();
		out[3] = bpf_jiffies64();
		out[4] = bpf_get_smp_processor_id();
		out[5] = bpf_get_numa_node_id();
		return 0;
	case RANDOM:
		for (i = 0; i < BUF_BYTES / 4; i++)
			((u32 *)c->buf)[i] = bpf_get_prandom_u32();
		return 0;
	case SNPRINTF:
		c->ret = size ? BPF_SNPRINTF(c->buf, size, "%llu:%s:%04x", c->flags, "text", 0xab) :
				BPF_SNPRINTF(NULL, 0, "%llu:%s:%04x", c->flags, "text", 0xab);
		return 0;
	}
	if (!size)
		return 3;
	switch (c->op) {
	case STRTOL:
		c->ret = bpf_strtol(c->buf, size, c->flags, &res);
		c->res = res;
		return 0;
	case STRTOUL:
		c->ret = bpf_strtoul(c->buf, size, c->flags, (unsigned long *)&res);
		c->res = res;
		return 0;
	case STRNCMP:
		c->ret = bpf_strncmp(c->buf, size, "hello");
		return 0;
	case COMM:
		c->ret = bpf_get_current_comm(c->buf, size);
		return 0;
	}
	return 4;
}

char _license[] SEC("license") = "GPL";
