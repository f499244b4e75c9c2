// SPDX-License-Identifier: MIT
/* The macros of bpf_tracing.h, each around a program that uses its arguments. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

u64 seen;

SEC("kprobe/do_nanosleep")
int BPF_KPROBE(probe, void *a, unsigned long b, int c, long d, long e)
{
	seen = (u64)a + b + c + d + e;
	return 0;
}

SEC("kretprobe/do_nanosleep")
int BPF_KRETPROBE(retprobe, long ret)
{
	seen = ret;
	return 0;
}

SEC("kretprobe/do_nanosleep")
int BPF_KRETPROBE(retprobe_bare)
{
	seen = PT_REGS_IP(ctx) + PT_REGS_SP(ctx) + PT_REGS_FP(ctx);
	return 0;
}

SEC("ksyscall/kill")
int BPF_KSYSCALL(syscall_probe, int pid, int sig)
{
	seen = (u64)pid << 32 | sig;
	return 0;
}

SEC("uprobe")
int BPF_UPROBE(user_probe, int x)
{
	seen = x + PT_REGS_PARM2(ctx) + PT_REGS_PARM3_CORE(ctx);
	return 0;
}

SEC("raw_tp/sched_switch")
int BPF_PROG(raw, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	seen = BPF_CORE_READ(prev, pid) + BPF_CORE_READ(next, pid);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(typed, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	seen = prev->pid + next->pid + preempt;
	return 0;
}

SEC("tp/sched/sched_switch")
int plain(void *ctx)
{
	seen = bpf_get_current_pid_tgid();
	return 0;
}

SEC("iter/task")
int lines(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;

	if (!task)
		return 0;
	BPF_SEQ_PRINTF(seq, "nothing to fill in\n");
	BPF_SEQ_PRINTF(seq, "%d %d %s %d %d %d %d %d %d %d %d %d\n", task->pid, task->tgid, task->comm, 1, 2, 3, 4, 5, 6, 7,
		       8, 9);
	return 0;
}

char _license[] SEC("license") = "GPL";
