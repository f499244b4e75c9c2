/* SPDX-License-Identifier: MIT */
/* A long straight line: 48 rounds unrolled, each with a choice that the data makes. */
#include "bench.h"

#define ROUND(i)                                                                \
	v += p[i];                                                              \
	v ^= v << 13;                                                           \
	v ^= v >> 7;                                                            \
	if (v & 4)                                                              \
		w += v * 5 + i;                                                 \
	else                                                                    \
		w ^= v >> 3;                                                    \
	v += w;                                                                 \
	v ^= v << 17;

#define ROUNDS4(i) ROUND(i) ROUND(i + 1) ROUND(i + 2) ROUND(i + 3)
#define ROUNDS16(i) ROUNDS4(i) ROUNDS4(i + 4) ROUNDS4(i + 8) ROUNDS4(i + 12)

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 192) + 128;
	u64 v = p[50], w = 1;

	ROUNDS16(0)
	ROUNDS16(16)
	ROUNDS16(32)
	return fold(v ^ w);
}

char _license[] SEC("license") = "GPL";
