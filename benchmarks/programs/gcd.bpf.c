/* SPDX-License-Identifier: MIT */
/* Greatest common divisors of neighbours, by remainders. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 192) + 64;
	u32 sum = 0;

	for (int i = 0; i < 8; i++) {
		u32 a = *(u32 *)(p + i * 4), b = *(u32 *)(p + i * 4 + 4);

		for (int j = 0; j < 24; j++) {
			u32 rest;

			if (!b)
				break;
			rest = a % b;
			a = b;
			b = rest;
		}
		sum = sum * 31 + a;
	}
	return sum;
}

char _license[] SEC("license") = "GPL";
