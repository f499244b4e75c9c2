// SPDX-License-Identifier: MIT
/* An object for loaders of every make: maps of its own and of each data section, five programs, functions, CO-RE. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} sums SEC(".maps");

struct pair {
	__s32 first;
	__s32 second;
};

const volatile __u32 step = 3;
const volatile struct pair limits = { 10, 20 };
struct pair both = { 4, 5 };
__u64 names[2] = { 1, 2 };
__u64 calls;
char text[16];

extern unsigned int LINUX_KERNEL_VERSION __kconfig;

static __attribute__((noinline)) int add(struct pair *p, int by)
{
	p->first += by;
	return p->first + p->second;
}

__attribute__((noinline)) int twice(int x)
{
	return x * 2;
}

SEC("syscall")
int count(void *ctx)
{
	calls += step;
	return calls;
}

SEC("syscall")
int sum(void *ctx)
{
	return twice(add(&both, limits.first)) + (LINUX_KERNEL_VERSION > 0);
}

SEC("xdp")
int keep(struct xdp_md *ctx)
{
	__u32 key = ctx->rx_queue_index;
	__u64 one = 1, *old = bpf_map_lookup_elem(&seen, &key);

	if (old)
		*old += 1;
	else
		bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
	old = bpf_map_lookup_elem(&sums, &key);
	if (old)
		*old += names[1];
	return XDP_PASS;
}

SEC("syscall")
int fields(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (!bpf_core_field_exists(task->pid) || !bpf_core_type_exists(struct cgroup))
		return -1;
	return BPF_CORE_READ(task, pid) == (__u32)bpf_get_current_pid_tgid() ? 42 : 1;
}

SEC("raw_tp/sched_switch")
int BPF_PROG(switched, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	calls += BPF_CORE_READ(next, pid);
	return 0;
}

char _license[] SEC("license") = "GPL";
