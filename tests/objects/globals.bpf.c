// SPDX-License-Identifier: MIT
/* Every place that a variable may lie in, read and written by one program. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

int counter = 40;                       /* .data */
static volatile int hidden_counter = 1; /* .data, static */
long zeroed[3];                         /* .bss */
const volatile int limit = 7;           /* .rodata */
const char greeting[] = "hello";        /* .rodata */
int apart SEC(".data.apart") = 5;
const volatile long fixed SEC(".rodata.fixed") = -3;
long cleared SEC(".bss.cleared");
char text[16];

SEC("syscall")
int touch(void *ctx)
{
	static int calls;

	counter += limit;
	hidden_counter++;
	calls++;
	apart += (int)fixed;
	cleared = 11;
	zeroed[0] = counter;
	zeroed[1] = calls;
	zeroed[2] = hidden_counter;
	bpf_probe_read_kernel_str(text, sizeof(text), "constant");
	return greeting[1];
}

char _license[] SEC("license") = "GPL";
