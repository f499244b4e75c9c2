/* SPDX-License-Identifier: MIT */
/* 256 bytes copied within the packet. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 1024);

	for (int i = 0; i < 256; i++)
		p[768 + i] = p[256 + i];
	return p[1023];
}

char _license[] SEC("license") = "GPL";
