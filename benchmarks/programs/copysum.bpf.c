/* SPDX-License-Identifier: MIT */
/* 256 bytes masked on their way from the packet to the stack, and summed there. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 1024), copy[256];
	u32 sum = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 256; i++)
		copy[i] = p[256 + i] ^ 0x55;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 256; i++)
		sum += copy[i];
	return sum;
}

char _license[] SEC("license") = "GPL";
