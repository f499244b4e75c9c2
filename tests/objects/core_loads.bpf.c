// SPDX-License-Identifier: MIT
/* Loads whose width follows the kernel's field, and accesses that some kernels cannot serve. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define CORE __attribute__((preserve_access_index))

struct wide {
	unsigned int first;
	unsigned int grows;
	unsigned long shrinks;
	unsigned char *pointer;
} CORE;

struct signs {
	int value;
} CORE;

struct lacks {
	int here;
	int not_here;
} CORE;

struct flags {
	unsigned int low : 3;
	int mid : 7;
} CORE;

unsigned char memory[64];
const volatile int reach;

SEC("syscall")
int read_wide(void *ctx)
{
	struct wide *w = (void *)memory;

	return (int)(w->grows + w->shrinks);
}

SEC("syscall")
int write_wide(void *ctx)
{
	struct wide *w = (void *)memory;

	w->grows = 0x1020304;
	return 0;
}

SEC("syscall")
int guarded(void *ctx)
{
	struct lacks *l = (void *)memory;

	if (bpf_core_field_exists(l->not_here))
		return l->not_here;
	return 4;
}

SEC("syscall")
int bitfields(void *ctx)
{
	struct flags *f = (void *)memory;

	return (int)BPF_CORE_READ_BITFIELD_PROBED(f, low) * 1000 + (int)BPF_CORE_READ_BITFIELD_PROBED(f, mid);
}

SEC("?syscall")
int unguarded(void *ctx)
{
	struct lacks *l = (void *)memory;

	return l->not_here;
}

SEC("?syscall")
int read_signed(void *ctx)
{
	struct signs *s = (void *)memory;

	return s->value;
}

char _license[] SEC("license") = "GPL";
