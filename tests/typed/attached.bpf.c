/* SPDX-License-Identifier: MIT */
/* What programs learn of the function that they are attached to, and of a task's memory (test_attached.py). */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

u64 count, first, last, behind, returned, entered;

static void look(void *ctx)
{
	count = bpf_get_func_arg_cnt(ctx);
	bpf_get_func_arg(ctx, 0, &first);
	bpf_get_func_arg(ctx, 2, &last);
	behind = bpf_get_func_arg(ctx, 3, &entered);
}

SEC("fentry/bpf_fentry_test3")
int at_the_beginning(void *ctx)
{
	look(ctx);
	returned = bpf_get_func_ret(ctx, &entered);
	return 0;
}

SEC("fexit/bpf_fentry_test3")
int at_the_end(void *ctx)
{
	look(ctx);
	bpf_get_func_ret(ctx, &returned);
	return 0;
}

struct found {
	u64 start, end, of_current;
};

static long area(struct task_struct *task, struct vm_area_struct *vma, struct found *found)
{
	found->start = vma->vm_start;
	found->end = vma->vm_end;
	found->of_current = task == bpf_get_current_task_btf();
	return 0;
}

SEC("raw_tp/sched_wakeup")
int area_of_an_address(u64 *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct found found = {};
	u64 addr = ctx[0];
	long err = bpf_find_vma(task, addr, area, &found, ctx[1]);

	if (err)
		return -err;
	return found.start <= addr && addr < found.end && found.of_current ? 42 : 1;
}
