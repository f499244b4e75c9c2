/* SPDX-License-Identifier: MIT */
/* Views of every kind of text: none, one without an end of line, bytes that are no UTF-8. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("view/cgroup")
int BPF_PROG(empty, struct seq_file *seq, struct cgroup *cgroup)
{
	return 0;
}

SEC("view/cgroup")
int BPF_PROG(endless, struct seq_file *seq, struct cgroup *cgroup)
{
	BPF_SEQ_PRINTF(seq, "%d", 5);
	return 0;
}

SEC("view/cgroup")
int BPF_PROG(raw_bytes, struct seq_file *seq, struct cgroup *cgroup)
{
	u32 bytes = 0xfffefdfc;

	bpf_seq_write(seq, &bytes, sizeof(bytes));
	return 0;
}

char _license[] SEC("license") = "GPL";
