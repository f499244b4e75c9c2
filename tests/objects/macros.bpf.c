// SPDX-License-Identifier: MIT
/* Each macro that programs expect of bpf_helpers.h, bpf_core_read.h and bpf_endian.h, used and checked by value. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

struct node {
	struct node *next;
	int value;
	char name[8];
	unsigned int low : 4;
	int high : 6;
} __attribute__((preserve_access_index));

struct node nodes[11];
char text[32], copied[8], copied_plain[8];
long out[16];
int into, into_plain;

struct outer {
	int first;
	struct node inside;
};

SEC("syscall")
int strings(void *ctx)
{
	BPF_SNPRINTF(text, sizeof(text), "[%d %s %lx]", -7, "str", 255UL);
	bpf_printk("nothing");
	bpf_printk("%d %d %d", 1, 2, 3);
	return 0;
}

SEC("syscall")
int reads(void *ctx)
{
	struct node *n = nodes;

	/* Of the tests: nodes[i].next = &nodes[i + 1], value = 100 + i, name = "node". */
	out[0] = BPF_CORE_READ(n, value);
	out[1] = BPF_CORE_READ(n, next, value);
	out[2] = BPF_CORE_READ(n, next, next, next, next, value);
	out[3] = BPF_CORE_READ(n, next, next, next, next, next, next, next, next, value);
	out[4] = BPF_PROBE_READ(n, next, next, value);
	BPF_CORE_READ_INTO(&into, n, next, value);
	BPF_PROBE_READ_INTO(&into_plain, n, next, next, next, value);
	BPF_CORE_READ_STR_INTO(&copied, n, next, name);
	BPF_PROBE_READ_STR_INTO(&copied_plain, n, name);
	out[5] = BPF_CORE_READ_BITFIELD_PROBED(n, low);
	out[6] = BPF_CORE_READ_BITFIELD_PROBED(n, high);
	out[7] = BPF_CORE_READ_BITFIELD(n, high);
	BPF_CORE_WRITE_BITFIELD(n, high, -9);
	BPF_CORE_WRITE_BITFIELD(n, low, 3);
	out[8] = BPF_CORE_READ_BITFIELD(n, high) * 100 + BPF_CORE_READ_BITFIELD(n, low);
	bpf_core_read(&out[9], sizeof(int), &n->value);
	out[10] = bpf_core_field_offset(n->name);
	out[11] = bpf_core_field_size(struct node, name);
	return 0;
}

/* Fill what `reads` expects: the addresses are known here only. */
SEC("syscall")
int link_up(void *ctx)
{
#pragma unroll
	for (int i = 0; i < 10; i++)
		nodes[i].next = &nodes[i + 1];
	return 0;
}

SEC("syscall")
int language(void *ctx)
{
	struct outer o = {.first = 5};
	struct node *inside = &o.inside;
	long x = 1;

	barrier_var(x);
	barrier();
	out[0] = container_of(inside, struct outer, inside)->first;
	out[1] = offsetof(struct outer, inside);
	out[2] = KERNEL_VERSION(6, 18, 300);
	out[3] = bpf_htons(0x1234);
	out[4] = bpf_ntohl(0x12345678);
	out[5] = bpf_cpu_to_be64(1) == 0x0100000000000000ULL && bpf_be64_to_cpu(0x0100000000000000ULL) == 1;
	out[6] = likely(x == 1) + unlikely(x == 1);
	out[7] = READ_ONCE(out[6]);
	WRITE_ONCE(out[8], 9);
	out[9] = LIBBPF_PIN_BY_NAME;
	out[10] = TRI_MODULE;
	switch (bpf_htons((u16)out[3])) {
	case __bpf_constant_ntohs(0x3412):
		out[11] = 1;
	}
	return 0;
}

char _license[] SEC("license") = "GPL";
