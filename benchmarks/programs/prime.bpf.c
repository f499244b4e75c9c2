/* SPDX-License-Identifier: MIT */
/* Is it prime? Division by every odd number up to 1,011. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u32 n = 1026139 + (PACKET(ctx, 64)[0] & 1) * 4;

	for (u32 d = 3; d < 1013; d += 2)
		if (n % d == 0)
			return d;
	return 1;
}

char _license[] SEC("license") = "GPL";
