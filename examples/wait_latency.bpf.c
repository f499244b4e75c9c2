// SPDX-License-Identifier: MIT
/*
 * The longest time that tasks of each cgroup have waited for a CPU, as a file in the cgroup's directory.
 *
 * wait_record runs at every sched_stat_wait and keeps the maximum by cgroup id; wait_show is a view: it
 * prints one line, "<cgroup id> <longest wait in ns>", for the cgroup in whose directory it is read.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65532);
	__type(key, u64);
	__type(value, u64);
} longest_wait SEC(".maps");

SEC("tp_btf/sched_stat_wait")
int BPF_PROG(wait_record, struct task_struct *task, u64 delta)
{
	struct cgroup *cgroup = task->sched_task_group->css.cgroup;
	u64 id, *longest;

	if (!cgroup)
		return 0;
	id = cgroup->kn->id;
	longest = bpf_map_lookup_elem(&longest_wait, &id);
	if (!longest)
		bpf_map_update_elem(&longest_wait, &id, &delta, BPF_NOEXIST);
	else if (*longest < delta)
		*longest = delta;
	return 0;
}

SEC("view/cgroup")
int BPF_PROG(wait_show, struct seq_file *seq, struct cgroup *cgroup)
{
	u64 id = cgroup->kn->id;
	u64 *longest = bpf_map_lookup_elem(&longest_wait, &id);

	if (longest)
		BPF_SEQ_PRINTF(seq, "%llu %llu\n", id, *longest);
	else
		BPF_SEQ_PRINTF(seq, "%llu 0\n", id);
	return 0;
}

char _license[] SEC("license") = "GPL";
