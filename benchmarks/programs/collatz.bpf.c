/* SPDX-License-Identifier: MIT */
/* 256 steps of the 3n+1 walk, in which the odd ones are counted. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u64 *p = (u64 *)PACKET(ctx, 192);
	u64 v = p[8], odd = 0;

	for (int i = 0; i < 256; i++) {
		if (v & 1) {
			v = 3 * v + 1;
			odd++;
		} else {
			v >>= 1;
		}
	}
	return fold(v ^ odd);
}

char _license[] SEC("license") = "GPL";
