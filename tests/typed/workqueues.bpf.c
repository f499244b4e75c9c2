// SPDX-License-Identifier: MIT
/* Work queues: what they are told, and the work itself, which sleeps. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct queued {
	u64 done;
	struct bpf_wq work;
	u64 key;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct queued);
} in_hash SEC(".maps");

static int work(void *map, int *key, void *value)
{
	struct queued *q = value;
	char byte;

	bpf_copy_from_user(&byte, 1, NULL); /* it may sleep; there is nothing at NULL */
	__sync_fetch_and_add(&q->done, 1);
	q->key = *key;
	return 0;
}

SEC("tc")
int told(struct __sk_buff *skb)
{
	struct queued empty = {}, *q;
	u32 key = 1;

	bpf_map_update_elem(&in_hash, &key, &empty, BPF_ANY);
	q = bpf_map_lookup_elem(&in_hash, &key);
	if (!q)
		return 1;
	if (bpf_wq_start(&q->work, 0) != -22 || bpf_wq_set_callback_impl(&q->work, work, 0, NULL) != -22)
		return 2;
	if (bpf_wq_init(&q->work, &in_hash, 1) != -22 || bpf_wq_init(&q->work, &in_hash, 0))
		return 3;
	if (bpf_wq_init(&q->work, &in_hash, 0) != -16)
		return 4;
	if (bpf_wq_start(&q->work, 0) != -22)
		return 5;
	if (bpf_wq_set_callback_impl(&q->work, work, 1, NULL) != -22 || bpf_wq_set_callback_impl(&q->work, work, 0, NULL))
		return 6;
	if (bpf_wq_start(&q->work, 1) != -22)
		return 7;
	return bpf_map_delete_elem(&in_hash, &key);
}

SEC("tc")
int begin(struct __sk_buff *skb)
{
	struct queued empty = {}, *q;
	u32 key = 7;

	bpf_map_update_elem(&in_hash, &key, &empty, BPF_ANY);
	q = bpf_map_lookup_elem(&in_hash, &key);
	if (!q)
		return 1;
	if (bpf_wq_init(&q->work, &in_hash, 0) || bpf_wq_set_callback_impl(&q->work, work, 0, NULL))
		return 2;
	return bpf_wq_start(&q->work, 0);
}

char _license[] SEC("license") = "GPL";
