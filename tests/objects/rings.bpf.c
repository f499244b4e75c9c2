// SPDX-License-Identifier: MIT
/* Ring buffers: one program that does what it is told to. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

enum op { SUBMIT, DISCARD, OUTPUT, QUERY };

struct order {
	u64 op, value, flags, count;
	u64 data[8];
};

struct record {
	u64 value, number;
	u32 tail;
};

/* How many of `count` records went in; for QUERY what it says, for OUTPUT of one its result. */
SEC("syscall")
int produce(struct order *o)
{
	u64 number, data[8];

	if (o->op == QUERY)
		return bpf_ringbuf_query(&ring, o->flags);
	if (o->op == OUTPUT) {
		for (int i = 0; i < 8; i++)
			data[i] = o->data[i];
		return bpf_ringbuf_output(&ring, data, o->count & 63, o->flags);
	}
	for (number = 0; number < (o->count & 255); number++) {
		struct record *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

		if (!r)
			break;
		r->value = o->value;
		r->number = number;
		r->tail = 7;
		if (o->op == DISCARD)
			bpf_ringbuf_discard(r, o->flags);
		else
			bpf_ringbuf_submit(r, o->flags);
	}
	return number;
}

char _license[] SEC("license") = "GPL";
