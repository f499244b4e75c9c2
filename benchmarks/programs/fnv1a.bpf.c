/* SPDX-License-Identifier: MIT */
/* FNV-1a of 1,500 bytes: one multiplication a byte. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 1500);
	u64 hash = 0xcbf29ce484222325ull;

	for (int i = 0; i < 1500; i++)
		hash = (hash ^ p[i]) * 0x100000001b3ull;
	return fold(hash);
}

char _license[] SEC("license") = "GPL";
