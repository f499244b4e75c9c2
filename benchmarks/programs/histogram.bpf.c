/* SPDX-License-Identifier: MIT */
/* How often each of 32 classes of bytes occurs in 256, counted on the stack. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 1024) + 512;
	u16 counts[32] = {};
	u32 sum = 0;

	for (int i = 0; i < 256; i++)
		counts[p[i] & 31]++;
	for (int i = 0; i < 32; i++)
		sum = sum * 31 + counts[i];
	return sum;
}

char _license[] SEC("license") = "GPL";
