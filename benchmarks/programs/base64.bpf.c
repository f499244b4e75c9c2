/* SPDX-License-Identifier: MIT */
/* 96 bytes to base64 on the stack, which is then hashed. */
#include "bench.h"

static __always_inline u8 letter(u32 v)
{
	return v < 26 ? 'A' + v : v < 52 ? 'a' + v - 26 : v < 62 ? '0' + v - 52 : v == 62 ? '+' : '/';
}

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 512) + 128, out[128];
	u32 sum = 0;

	for (int i = 0; i < 32; i++) {
		u32 v = p[3 * i] << 16 | p[3 * i + 1] << 8 | p[3 * i + 2];

		out[4 * i] = letter(v >> 18);
		out[4 * i + 1] = letter(v >> 12 & 63);
		out[4 * i + 2] = letter(v >> 6 & 63);
		out[4 * i + 3] = letter(v & 63);
	}
	for (int i = 0; i < 128; i++)
		sum = sum * 31 + out[i];
	return sum;
}

char _license[] SEC("license") = "GPL";
