/* SPDX-License-Identifier: MIT */
/* One block through XTEA's 32 cycles, the key on the stack. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u32 *w = (u32 *)PACKET(ctx, 192);
	u32 key[4] = { w[4], w[5], w[6], w[7] }, a = w[0], b = w[1], sum = 0;

	for (int i = 0; i < 32; i++) {
		a += ((b << 4 ^ b >> 5) + b) ^ (sum + key[sum & 3]);
		sum += 0x9e3779b9;
		b += ((a << 4 ^ a >> 5) + a) ^ (sum + key[sum >> 11 & 3]);
	}
	return a ^ b;
}

char _license[] SEC("license") = "GPL";
