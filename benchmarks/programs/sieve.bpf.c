/* SPDX-License-Identifier: MIT */
/* The primes below 256 by Eratosthenes' sieve, on the stack. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 composite[256] = {};
	u32 count = *(u32 *)PACKET(ctx, 64);

	for (int i = 2; i < 16; i++)
		for (int j = i * i; j < 256; j += i)
			composite[j] = 1;
	for (int i = 2; i < 256; i++)
		count += composite[i] ^ 1;
	return count;
}

char _license[] SEC("license") = "GPL";
