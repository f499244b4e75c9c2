/* SPDX-License-Identifier: MIT */
/* An iterator over one cgroup that looks a number up for it: what Linux offers today to show it as a file. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, u64);
} waits SEC(".maps");

SEC("iter/cgroup")
int show(struct bpf_iter__cgroup *ctx)
{
	struct cgroup *cgroup = ctx->cgroup;
	u64 id, *longest;

	if (!cgroup)
		return 0;
	id = cgroup->kn->id;
	longest = bpf_map_lookup_elem(&waits, &id);
	BPF_SEQ_PRINTF(ctx->meta->seq, "%llu %llu\n", id, longest ? *longest : 0);
	return 0;
}

char _license[] SEC("license") = "GPL";
