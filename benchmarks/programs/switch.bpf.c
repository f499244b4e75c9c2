/* SPDX-License-Identifier: MIT */
/* A switch of 16 ways, taken 64 times: a small interpreter's heart. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 192);
	u64 v = *(u64 *)p;

	for (int i = 0; i < 64; i++) {
		switch (p[128 + i] & 15) {
		case 0: v += 3; break;
		case 1: v *= 5; break;
		case 2: v ^= 0x55; break;
		case 3: v -= 7; break;
		case 4: v <<= 1; break;
		case 5: v >>= 1; break;
		case 6: v |= 0x100; break;
		case 7: v += v >> 3; break;
		case 8: v = ~v; break;
		case 9: v *= 9; break;
		case 10: v ^= v << 7; break;
		case 11: v += 11; break;
		case 12: v -= v >> 2; break;
		case 13: v ^= 0xff00; break;
		case 14: v += i; break;
		default: v = -v; break;
		}
	}
	return fold(v);
}

char _license[] SEC("license") = "GPL";
