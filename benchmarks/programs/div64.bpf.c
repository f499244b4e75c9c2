/* SPDX-License-Identifier: MIT */
/* 32 divisions of 64-bit numbers, each waiting for the one before. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u64 *p = (u64 *)PACKET(ctx, 64);
	u64 v = p[0] | 1ull << 63, sum = 0;

	for (u32 i = 0; i < 32; i++) {
		u64 by = (p[1] & 0xff) + 3 + i;

		sum += v % by;
		v = v / by + (1ull << 63);
	}
	return fold(sum);
}

char _license[] SEC("license") = "GPL";
