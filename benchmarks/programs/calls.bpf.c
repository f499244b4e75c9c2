/* SPDX-License-Identifier: MIT */
/* 32 calls of a function of the program. */
#include "bench.h"

static __noinline u64 step(u64 v, u64 by)
{
	return (v ^ by) * 0x9e3779b97f4a7c15ull;
}

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u64 v = *(u64 *)PACKET(ctx, 64);

	for (u32 i = 0; i < 32; i++)
		v = step(v, i);
	return fold(v);
}

char _license[] SEC("license") = "GPL";
