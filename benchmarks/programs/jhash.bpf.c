/* SPDX-License-Identifier: MIT */
/* Bob Jenkins' lookup3 of 1,500 bytes, twelve at a time. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 1500);
	u32 a = 0xdeadbeef, b = a, c = a;

	for (int i = 0; i < 1500; i += 12) {
		u32 *w = (u32 *)(p + i);

		a += w[0];
		b += w[1];
		c += w[2];
		a = (a - c) ^ rotate(c, 4);
		c += b;
		b = (b - a) ^ rotate(a, 6);
		a += c;
		c = (c - b) ^ rotate(b, 8);
		b += a;
		a = (a - c) ^ rotate(c, 16);
		c += b;
		b = (b - a) ^ rotate(a, 19);
		a += c;
		c = (c - b) ^ rotate(b, 4);
		b += a;
	}
	return c;
}

char _license[] SEC("license") = "GPL";
