// SPDX-License-Identifier: MIT
/* Programs of several types in one object, one of them optional, all over one map. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} hits SEC(".maps");

static __always_inline int hit(int ret)
{
	u32 zero = 0;
	u64 *count = bpf_map_lookup_elem(&hits, &zero);

	if (count)
		__sync_fetch_and_add(count, 1);
	return ret;
}

SEC("socket")
int on_socket(struct __sk_buff *skb)
{
	return hit(9);
}

SEC("xdp")
int on_xdp(struct xdp_md *ctx)
{
	return hit(XDP_PASS);
}

SEC("tc")
int on_tc(struct __sk_buff *skb)
{
	return hit(-1);
}

SEC("raw_tp/sched_wakeup")
int on_raw_tp(struct bpf_raw_tracepoint_args *ctx)
{
	return hit(0);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_tp_btf, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	return hit(prev->pid > next->pid && next->pid < 0);
}

SEC("iter/task")
int on_iter(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d %s\n", task->pid, task->comm);
	return hit(0);
}

SEC("syscall")
int on_syscall(void *ctx)
{
	return hit(6);
}

SEC("?kprobe/no_such_function_anywhere")
int optional(void *ctx)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
