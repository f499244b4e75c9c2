/* SPDX-License-Identifier: MIT */
/* An extern that nobody has, in code that is reached. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

extern int nobody_has_this __ksym;

SEC("xdp")
int reach(struct xdp_md *ctx)
{
	return *(volatile int *)&nobody_has_this;
}

char _license[] SEC("license") = "GPL";
