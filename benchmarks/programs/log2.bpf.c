/* SPDX-License-Identifier: MIT */
/* The integer logarithm of a large number, a bit at a time. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u64 v = *(u64 *)PACKET(ctx, 64) | 1ull << 62;
	u32 bits = 0;

	for (int i = 0; i < 64; i++) {
		v >>= 1;
		if (!v)
			break;
		bits++;
	}
	return bits;
}

char _license[] SEC("license") = "GPL";
