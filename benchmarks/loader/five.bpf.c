// SPDX-License-Identifier: MIT
/* Five small programs on three maps: what bench loader generates a loader for and loads. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

const volatile __u64 step = 1;
__u64 total;

#define COUNT(name, key_of)                                                                                           \
	SEC("xdp") int name(struct xdp_md *ctx)                                                                       \
	{                                                                                                             \
		__u32 key = ctx->key_of;                                                                              \
		__u64 one = step, *old = bpf_map_lookup_elem(&seen, &key);                                            \
                                                                                                                      \
		if (old)                                                                                              \
			*old += step;                                                                                 \
		else                                                                                                  \
			bpf_map_update_elem(&seen, &key, &one, BPF_ANY);                                              \
		total += step;                                                                                        \
		return XDP_PASS;                                                                                      \
	}

COUNT(by_queue, rx_queue_index)
COUNT(by_device, ingress_ifindex)
COUNT(by_queue_again, rx_queue_index)
COUNT(by_device_again, ingress_ifindex)
COUNT(last, rx_queue_index)

char _license[] SEC("license") = "GPL";
