/* SPDX-License-Identifier: MIT */
/* Eight numbers to decimal digits on the stack, and read back. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 192) + 64;
	u32 sum = 0;

	for (int i = 0; i < 8; i++) {
		u32 v = *(u32 *)(p + i * 4), back = 0;
		char text[10];

		for (int j = 9; j >= 0; j--) {
			text[j] = '0' + v % 10;
			v /= 10;
		}
		for (int j = 0; j < 10; j++)
			back = back * 10 + (text[j] - '0');
		sum = sum * 31 + back;
	}
	return sum;
}

char _license[] SEC("license") = "GPL";
