/* SPDX-License-Identifier: MIT */
/* Nothing: what an engine's own call costs. */
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
