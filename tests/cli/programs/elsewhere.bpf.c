// SPDX-License-Identifier: MIT
/* What the simulated kernel does not have: a helper, a member of a structure, a function. */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct___linux {
	unsigned int personality;
} __attribute__((preserve_access_index));

SEC("tp_btf/sched_switch")
int BPF_PROG(signals, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	return bpf_send_signal(10);
}

SEC("?tp_btf/sched_switch")
int BPF_PROG(member, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	return ((struct task_struct___linux *)next)->personality == 0;
}

SEC("?fentry/vfs_read")
int BPF_PROG(function, struct file *file)
{
	return 0;
}

SEC("?fmod_ret/vfs_read")
int BPF_PROG(answer, struct file *file)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
