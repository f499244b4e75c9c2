/* SPDX-License-Identifier: MIT */
/* A syscall program: it writes its context. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct args {
	u64 a, b;
};

SEC("syscall")
int add(struct args *args)
{
	args->b += args->a;
	return 3;
}

char _license[] SEC("license") = "GPL";
