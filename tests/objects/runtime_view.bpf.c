// SPDX-License-Identifier: MIT
/* A view that writes what a map tells it to: `repeat` times `len` bytes of data, then returns `ret`. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define MAX_REPEAT 400

struct view_case {
	u32 len;
	u32 repeat;
	s64 ret;
	u64 runs; /* executions so far */
	s64 first_error; /* of the last execution's seq_write calls */
	u64 overflows;
	u32 stamp; /* the text begins with the number of the execution */
	u32 id; /* print the cgroup's id, and nothing else */
	char data[32768];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct view_case);
} conf SEC(".maps");

SEC("view/cgroup")
int BPF_PROG(write_view, struct seq_file *seq, struct cgroup *cgroup)
{
	u32 zero = 0, len, i;
	struct view_case *c = bpf_map_lookup_elem(&conf, &zero);
	long err;

	if (!c)
		return 0;
	c->runs++;
	c->first_error = 0;
	if (c->id) {
		BPF_SEQ_PRINTF(seq, "%llu\n", cgroup->kn->id);
		return c->ret;
	}
	if (c->stamp)
		BPF_SEQ_PRINTF(seq, "%llu\n", c->runs);
	len = c->len;
	barrier_var(len);
	if (len > sizeof(c->data))
		return -22;
	for (i = 0; i < MAX_REPEAT; i++) {
		if (i >= c->repeat)
			break;
		err = bpf_seq_write(seq, c->data, len);
		if (err) {
			c->first_error = err;
			c->overflows++;
			break;
		}
	}
	return c->ret;
}

char _license[] SEC("license") = "GPL";
