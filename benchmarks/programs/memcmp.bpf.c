/* SPDX-License-Identifier: MIT */
/* Two runs of 64 equal bytes compared. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *a = PACKET(ctx, 384) + 256, *b = a + 64;

	for (int i = 0; i < 64; i++)
		if (a[i] != b[i])
			return i + 1;
	return 0;
}

char _license[] SEC("license") = "GPL";
