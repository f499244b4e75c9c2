// SPDX-License-Identifier: MIT
/* A user's ring buffer: drained into an array, as far as the program is told to. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct order {
	u64 flags;
	u64 stop_at; /* the callback says 1 at this many samples */
	u64 nested;
	u64 samples; /* how many came, what their first words add up to, their sizes, and what draining inside gave */
	u64 sum, bytes;
	s64 inside;
};

struct seen {
	struct order *order;
	u64 stop_at, nested;
	u64 samples, sum, bytes;
	s64 inside;
};

static long ignored(const struct bpf_dynptr *sample, void *unused)
{
	return 0;
}

static long taken(const struct bpf_dynptr *sample, struct seen *seen)
{
	u32 first = 0;
	u32 *word = bpf_dynptr_data(sample, 0, sizeof(*word));

	if (word)
		first = *word;
	else
		bpf_dynptr_read(&first, 1, sample, 0, 0);
	seen->sum += first;
	seen->samples++;
	if (word)
		*word = ~first; /* the sample is memory like any other */
	if (seen->nested)
		seen->inside = bpf_user_ringbuf_drain(&ring, ignored, NULL, 0);
	return seen->samples == seen->stop_at;
}

SEC("syscall")
int drain(struct order *o)
{
	struct seen seen = { .stop_at = o->stop_at, .nested = o->nested };
	long got = bpf_user_ringbuf_drain(&ring, taken, &seen, o->flags);

	o->samples = seen.samples;
	o->sum = seen.sum;
	o->inside = seen.inside;
	return got;
}

char _license[] SEC("license") = "GPL";
