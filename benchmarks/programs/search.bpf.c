/* SPDX-License-Identifier: MIT */
/* 32 binary searches in a table of 16 numbers. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 192), *bounds = p + 128;
	u32 sum = 0;

	for (int i = 0; i < 32; i++) {
		u32 at = 0;

		for (u32 step = 8; step; step >>= 1)
			if (bounds[at | step] <= p[64 + i])
				at |= step;
		sum = sum * 17 + at;
	}
	return sum;
}

char _license[] SEC("license") = "GPL";
