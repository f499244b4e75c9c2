// SPDX-License-Identifier: MIT
/* Kernel symbols that no kernel has: harmless where weak or out of reach. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

extern const void bpf_no_such_symbol __ksym __weak;
extern const int bpf_no_such_variable __ksym __weak;
extern int bpf_no_such_function(int x) __ksym __weak;
extern int bpf_no_such_strong_function(int x) __ksym;

const volatile int reach;

SEC("syscall")
int weak(void *ctx)
{
	int seen = 0;

	if (&bpf_no_such_symbol)
		seen |= 1;
	if (&bpf_no_such_variable)
		seen |= 2;
	if (bpf_ksym_exists(bpf_no_such_function))
		seen |= bpf_no_such_function(4);
	return seen;
}

SEC("syscall")
int out_of_reach(void *ctx)
{
	return reach ? bpf_no_such_strong_function(1) : 8;
}

SEC("?syscall")
int within_reach(void *ctx)
{
	return bpf_no_such_strong_function(1);
}

char _license[] SEC("license") = "GPL";
