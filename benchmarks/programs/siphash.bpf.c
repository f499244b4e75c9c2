/* SPDX-License-Identifier: MIT */
/* SipHash-2-4 of 256 bytes. */
#include "bench.h"

static __always_inline u64 rotate64(u64 v, int by)
{
	return v << by | v >> (64 - by);
}

#define SIPROUND                                                                \
	v0 += v1;                                                               \
	v2 += v3;                                                               \
	v1 = rotate64(v1, 13) ^ v0;                                             \
	v3 = rotate64(v3, 16) ^ v2;                                             \
	v0 = rotate64(v0, 32) + v3;                                             \
	v2 += v1;                                                               \
	v1 = rotate64(v1, 17) ^ v2;                                             \
	v3 = rotate64(v3, 21) ^ v0;                                             \
	v2 = rotate64(v2, 32);

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 512);
	u64 v0 = 0x736f6d6570736575ull, v1 = 0x646f72616e646f6dull;
	u64 v2 = 0x6c7967656e657261ull, v3 = 0x7465646279746573ull;

	for (int i = 0; i < 256; i += 8) {
		u64 m = *(u64 *)(p + 128 + i);

		v3 ^= m;
		SIPROUND
		SIPROUND
		v0 ^= m;
	}
	v2 ^= 0xff;
	SIPROUND
	SIPROUND
	SIPROUND
	SIPROUND
	return fold(v0 ^ v1 ^ v2 ^ v3);
}

char _license[] SEC("license") = "GPL";
