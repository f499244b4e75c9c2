/* SPDX-License-Identifier: MIT */
/* A tracepoint that there is not. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("tp_btf/no_such_tracepoint")
int BPF_PROG(nowhere, int x)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
