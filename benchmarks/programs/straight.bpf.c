/* SPDX-License-Identifier: MIT */
/* A long straight line: 48 rounds unrolled, each with two choices that the data makes. */
#include "bench.h"

#define ROUND(i)                                                                \
	v ^= *(u64 *)(p + (i));                                                 \
	v *= 0x100000001b3ull;                                                  \
	if (v & 1)                                                              \
		v ^= v >> 29;                                                   \
	else                                                                    \
		v += 0x9e3779b9;                                                \
	v ^= v << 7;                                                            \
	if (v & 0x80)                                                           \
		w += v;                                                         \
	w = w << 3 | w >> 61;

#define ROUNDS4(i) ROUND(i) ROUND(i + 1) ROUND(i + 2) ROUND(i + 3)
#define ROUNDS16(i) ROUNDS4(i) ROUNDS4(i + 4) ROUNDS4(i + 8) ROUNDS4(i + 12)

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 192) + 64;
	u64 v = *(u64 *)(p + 50), w = *(u64 *)p;

	ROUNDS16(0)
	ROUNDS16(16)
	ROUNDS16(32)
	return fold(v ^ w);
}

char _license[] SEC("license") = "GPL";
