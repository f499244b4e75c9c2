// SPDX-License-Identifier: MIT
/* Programs at the corners of soundness: each is accepted and must behave, or must be refused (the name says which). */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

volatile u32 zero, size = 3;
u64 out[8];

static __noinline int leak_frame(void **slot)
{
	u64 local[4] = { 1, 2, 3, 4 };

	*slot = &local[zero & 3];
	return 0;
}

/* A pointer into a callee's stack must not outlive the callee. */
SEC("?xdp")
int refused_callee_stack_in_caller(struct xdp_md *ctx)
{
	void *slot = 0;

	leak_frame(&slot);
	return slot != 0;
}

/* bpf_probe_read of an unknown size leaves the rest of its buffer as it was: zero, where nothing was written. */
SEC("?syscall")
int accepted_partly_written_buffer(u64 *ctx)
{
	char buf[16];
	u64 seven = 0x0707070707070707;

	bpf_probe_read_kernel(buf, size & 7, &seven);
	out[0] = *(u64 *)buf;
	out[1] = *(u64 *)(buf + 8);
	return 0;
}

__noinline int moves_packet(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, 4);
}

/* A global function that moves the packet takes the caller's packet pointers away. */
SEC("?xdp")
int refused_packet_after_global_call(struct xdp_md *ctx)
{
	u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + 8 > end)
		return 0;
	moves_packet(ctx);
	return data[7];
}

/* There is always a current task, also in a test run. */
SEC("?syscall")
int accepted_current_task(u64 *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	out[0] = task->pid;
	out[1] = task->cgroups->dfl_cgrp->kn->id;
	return 0;
}

/* The registers of a system call are an object, whatever the scenario leaves out. */
SEC("?tp_btf/sys_enter")
int BPF_PROG(accepted_sys_enter_regs, struct pt_regs *regs, long id)
{
	out[0] = regs->di;
	out[1] = id;
	return 0;
}

/* What bpf_trace_printk prints beyond its row's arguments must survive a branch before it. */
SEC("?syscall")
int accepted_trace_printk(u64 *ctx)
{
	u64 a = ctx[0], b = 5;

	if (a > 3)
		b = 6;
	bpf_printk("a=%llu b=%llu c=%llu", a, b, a + b);
	return 0;
}

char _license[] SEC("license") = "GPL";
