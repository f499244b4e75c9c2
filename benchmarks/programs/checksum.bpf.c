/* SPDX-License-Identifier: MIT */
/* The Internet checksum of 1,480 bytes, two at a time. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *p = PACKET(ctx, 1514) + 34;
	u32 sum = 0;

	for (int i = 0; i < 1480; i += 2)
		sum += *(u16 *)(p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}

char _license[] SEC("license") = "GPL";
