/* Ten common mistakes, each of which the verifier refuses; docs/verifier.md shows what it says of them. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, int);
	__type(value, long);
} counts SEC(".maps");

int table[16];
const volatile int limit = 8;

SEC("tp_btf/sched_switch")
int BPF_PROG(no_null_check, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	int key = prev->pid;
	long *count = bpf_map_lookup_elem(&counts, &key);

	*count += 1;
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(index_too_large, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	unsigned int i = prev->pid;

	if (i > 16)
		return 0;
	table[i] += 1;
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(index_negative, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	int i = prev->pid;

	if (i >= 16)
		return 0;
	table[i] += 1;
	return 0;
}

SEC("xdp")
int packet_unchecked(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;

	return data[12] == 8 ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int packet_check_too_short(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;
	unsigned char *end = (void *)(long)ctx->data_end;

	if (data + 12 > end)
		return XDP_DROP;
	return data[12] == 8 ? XDP_PASS : XDP_DROP;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(size_unbounded, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	char name[16];

	bpf_probe_read_kernel(name, prev->pid, prev->comm);
	return name[0];
}

SEC("tp_btf/sched_switch")
int BPF_PROG(kernel_memory_written, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	prev->pid = 1;
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(address_from_a_number, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	unsigned long address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &prev->cgroups);
	return *(int *)address;
}

SEC("socket")
int helper_of_another_type(struct __sk_buff *skb)
{
	return bpf_xdp_adjust_head((void *)skb, 14);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(loop_without_end, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	while (table[0] < limit)
		asm volatile("");
	return 0;
}
