// SPDX-License-Identifier: MIT
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

SEC("iter/tcp")
int tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;

	if (sk)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d %d %u\n", sk->skc_num, sk->skc_state, ctx->uid);
	return 0;
}

SEC("dump/task")
int tasks(struct bpfdump__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d %s\n", task->pid, task->comm);
	return 0;
}

SEC("iter/task_file")
int files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	char path[64];

	if (!task || !file)
		return 0;
	bpf_d_path(&file->f_path, path, sizeof(path));
	BPF_SEQ_PRINTF(ctx->meta->seq, "%d %u %s\n", task->pid, ctx->fd, path);
	return 0;
}

char _license[] SEC("license") = "GPL";
