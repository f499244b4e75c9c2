/* SPDX-License-Identifier: MIT */
/* Two matrices of 6 by 6 numbers on the stack, multiplied. */
#include "bench.h"

#define N 6

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 192) + 64;
	u32 a[N * N], b[N * N], sum = 0;

	for (int i = 0; i < N * N; i++) {
		a[i] = p[i];
		b[i] = p[N * N + i];
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < N; i++)
#pragma clang loop unroll(disable)
		for (int j = 0; j < N; j++) {
			u32 cell = 0;

			for (int k = 0; k < N; k++)
				cell += a[i * N + k] * b[k * N + j];
			sum = sum * 31 + cell;
		}
	return sum;
}

char _license[] SEC("license") = "GPL";
