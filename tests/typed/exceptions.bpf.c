/* SPDX-License-Identifier: MIT */
/* Exceptions: each program returns a number that test_typed.py knows, most of them by bpf_throw(). */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf_experimental.h>

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, u64);
} seen SEC(".maps");

int limit = 3;

__noinline int answer(u64 cookie)
{
	int zero = 0;
	u64 *value = bpf_map_lookup_elem(&seen, &zero);

	if (value)
		*value = cookie;
	return cookie + 100;
}

static __noinline int throws_above(int x)
{
	if (x > limit)
		bpf_throw(x);
	return x * 2;
}

static __noinline int calls_one_that_throws(int x)
{
	int y = throws_above(x);

	return y + 1;
}

__noinline int throws_globally(int x)
{
	bpf_throw(x + 7);
	return 0;
}

static __noinline int always_throws(int x)
{
	bpf_throw(x);
	return 0;
}

SEC("tc")
int thrown_at_once(struct __sk_buff *ctx)
{
	bpf_throw(42);
	return 1;
}

SEC("tc")
int thrown_in_two_functions(struct __sk_buff *ctx)
{
	return calls_one_that_throws(5) + 1000;
}

SEC("tc")
int not_thrown(struct __sk_buff *ctx)
{
	return calls_one_that_throws(2) + 1000;
}

SEC("tc")
__exception_cb(answer)
int answered(struct __sk_buff *ctx)
{
	return calls_one_that_throws(5) + 1000;
}

SEC("tc")
__exception_cb(answer)
int answered_in_main(struct __sk_buff *ctx)
{
	if (limit == 3)
		bpf_throw(1);
	return 0;
}

SEC("tc")
int thrown_by_a_global_function(struct __sk_buff *ctx)
{
	return throws_globally(10);
}

SEC("tc")
int called_and_never_back(struct __sk_buff *ctx)
{
	return always_throws(9) + 1;
}

SEC("tc")
int thrown_out_of_a_loop(struct __sk_buff *ctx)
{
	int i, sum = 0;

	for (i = 0; i < 10; i++)
		sum += throws_above(i);
	return sum;
}
