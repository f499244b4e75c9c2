// SPDX-License-Identifier: MIT
/* Loops by the kernel's iterators, long printk and static tail calls: for Linux. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

int target(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(struct __sk_buff *));
} jumps SEC(".maps") = {
	.values = {[1] = (void *)&target},
};

SEC("syscall")
int numbers(void *ctx)
{
	int i, sum = 0;

	bpf_for(i, 3, 7)
		sum += i;
	bpf_repeat(5)
		sum += 100;
	bpf_printk("%d %d %d %d", 1, 2, 3, 4);
	return sum;
}

SEC("socket")
int target(struct __sk_buff *skb)
{
	return 42;
}

SEC("socket")
int jumper(struct __sk_buff *skb)
{
	bpf_tail_call_static(skb, &jumps, 1);
	return 1;
}

char _license[] SEC("license") = "GPL";
