/* SPDX-License-Identifier: MIT */
/* Maps with values of every kind of type, and programs to show. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
enum color { RED, GREEN = 5 };
struct inner { int a; char name[8]; };
union u { int i; unsigned char b[4]; };
struct val { unsigned long long n; struct inner in; enum color c; unsigned int f1:3, f2:5; int arr[2][2]; void *p; _Bool ok; union u un; char ch; struct inner *ip; signed char sc; unsigned char uc[3]; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, struct inner); __type(value, struct val); } things SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 3); __type(key, int); __type(value, unsigned long long); } arr SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 2); __type(key, int); __type(value, struct inner); } pc SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __uint(key_size, 6); __uint(value_size, 40); } plain SEC(".maps");
int counter = 7; const volatile char tag[6] = "hello";
static __attribute__((noinline)) int twice(int x) { asm volatile("" : "+r"(x)); return x * 2; }
SEC("socket")
int filt(struct __sk_buff *skb)
{
	int k = 1;
	unsigned long long *v = bpf_map_lookup_elem(&arr, &k);
	struct inner i = {};
	char kk[6] = {};

	if (v)
		__sync_fetch_and_add(v, 1);
	bpf_map_lookup_elem(&things, &i);
	bpf_map_lookup_elem(&pc, &k);
	bpf_map_lookup_elem(&plain, kk);
	counter++;
	return twice(skb->len) + tag[1];
}
static __attribute__((noinline)) int bits(int x) { volatile int r = x; r |= 3; r &= x; r = r << 2 >> 1; return r; }
static long add(unsigned int i, void *sum) { *(int *)sum += i; return 0; }
SEC("socket")
int ways(struct __sk_buff *skb)
{
	int sum = 0, mark = skb->mark;

	bpf_loop(skb->len & 3, add, &sum, 0);
	if (mark < 0 || (skb->len & 8 && mark > 5))
		sum = bits(mark);
	else
		sum |= 6;
	return sum;
}
SEC("iter/bpf_map") int a_name_beyond_fifteen(struct bpf_iter__bpf_map *ctx) { return 0; }
char _license[] SEC("license") = "GPL";
