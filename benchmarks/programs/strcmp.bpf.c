/* SPDX-License-Identifier: MIT */
/* Two strings of 63 characters compared: equal so far, and not the end. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *a = PACKET(ctx, 384) + 256, *b = a + 64;

	for (int i = 0; i < 64; i++) {
		if (a[i] != b[i])
			return a[i] - b[i];
		if (!a[i])
			return i;
	}
	return 64;
}

char _license[] SEC("license") = "GPL";
