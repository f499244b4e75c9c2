// SPDX-License-Identifier: MIT
/* Functions of every linkage, in .text and beside their program, called and taken by address. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} numbers SEC(".maps");

u64 sum, visited;

static __noinline int twice(int x)
{
	asm volatile("" : "+r"(x));
	return x * 2;
}

/* Calls another one, so that two are pulled in, the second by the first. */
static __noinline int four_times(int x)
{
	asm volatile("" : "+r"(x));
	return twice(twice(x));
}

__noinline int global_add(int a, int b)
{
	asm volatile("" : "+r"(a));
	return a + b;
}

__weak int weak_sub(int a, int b)
{
	asm volatile("" : "+r"(a));
	return a - b;
}

__hidden __noinline int hidden_neg(int a)
{
	asm volatile("" : "+r"(a));
	return -a;
}

/* Only a function verified with its callers may read through its argument unasked. */
__hidden __noinline int hidden_read(int *p)
{
	asm volatile("" : "+r"(p));
	return *p;
}

SEC("syscall")
static __noinline int beside(int x)
{
	asm volatile("" : "+r"(x));
	return x + 100;
}

static long add_index(u64 index, void *ctx)
{
	sum += index;
	return 0;
}

static long visit(void *map, const void *key, void *value, void *ctx)
{
	visited++;
	return 0;
}

SEC("syscall")
int calls(void *ctx)
{
	int seven = 7;

	return four_times(3) + global_add(10, 20) + weak_sub(5, 2) + hidden_neg(1) + hidden_read(&seven);
}

SEC("syscall")
int calls_beside(void *ctx)
{
	return beside(1);
}

SEC("syscall")
int callbacks(void *ctx)
{
	bpf_loop(5, add_index, 0, 0);
	bpf_for_each_map_elem(&numbers, visit, 0, 0);
	return (int)sum;
}

char _license[] SEC("license") = "GPL";
