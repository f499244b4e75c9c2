/* SPDX-License-Identifier: MIT */
/* Bubble sort of 64 numbers on the stack, largest first. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 256) + 128;
	u32 n[64], sum = 0;

	for (int i = 0; i < 64; i++)
		n[i] = p[i];
	for (int i = 63; i > 0; i--)
		for (int j = 0; j < i; j++) {
			u32 a = n[j], b = n[j + 1];

			n[j] = a < b ? a : b;
			n[j + 1] = a < b ? b : a;
		}
	for (int i = 0; i < 64; i++)
		sum = sum * 31 + n[i];
	return sum;
}

char _license[] SEC("license") = "GPL";
