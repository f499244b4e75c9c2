/* SPDX-License-Identifier: MIT */
/* Bubble sort of 32 numbers on the stack, largest first. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 192) + 128;
	u32 n[32], sum = 0;

	for (int i = 0; i < 32; i++)
		n[i] = p[i];
	for (int i = 31; i > 0; i--)
		for (int j = 0; j < i; j++) {
			u32 a = n[j], b = n[j + 1];

			n[j] = a < b ? a : b;
			n[j + 1] = a < b ? b : a;
		}
	for (int i = 0; i < 32; i++)
		sum = sum * 31 + n[i];
	return sum;
}

char _license[] SEC("license") = "GPL";
