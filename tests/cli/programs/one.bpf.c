/* SPDX-License-Identifier: MIT */
/* One program: --prog is not needed. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("xdp")
int only(struct xdp_md *ctx)
{
	return 7;
}

char _license[] SEC("license") = "GPL";
