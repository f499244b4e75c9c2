/* SPDX-License-Identifier: MIT */
/* Bits set in 32 words, by the masks of every textbook. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 512) + 128;
	u32 bits = 0;

	for (int i = 0; i < 256; i += 8) {
		u64 v = *(u64 *)(p + i);

		v = v - (v >> 1 & 0x5555555555555555ull);
		v = (v & 0x3333333333333333ull) + (v >> 2 & 0x3333333333333333ull);
		v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0full;
		bits += v * 0x0101010101010101ull >> 56;
	}
	return bits;
}

char _license[] SEC("license") = "GPL";
