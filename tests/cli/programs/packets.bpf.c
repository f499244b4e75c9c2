/* SPDX-License-Identifier: MIT */
/* Programs over a packet: state that stays, bytes written, a name to choose. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

int runs;

SEC("xdp")
int count(struct xdp_md *ctx)
{
	return ++runs;
}

SEC("xdp")
int increment(struct xdp_md *ctx)
{
	u8 *data = (void *)(long)ctx->data;

	if (data + 14 > (u8 *)(long)ctx->data_end)
		return XDP_DROP;
	data[0]++;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
