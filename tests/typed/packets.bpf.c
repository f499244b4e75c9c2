/* SPDX-License-Identifier: MIT */
/* LD_ABS and LD_IND, and loops that end by themselves: each program returns a number that test_typed.py knows. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

unsigned long long load_byte(void *skb, unsigned long long off) asm("llvm.bpf.load.byte");
unsigned long long load_half(void *skb, unsigned long long off) asm("llvm.bpf.load.half");
unsigned long long load_word(void *skb, unsigned long long off) asm("llvm.bpf.load.word");

u64 table[16];

SEC("tc")
int bytes_of_the_packet(struct __sk_buff *skb)
{
	return load_byte(skb, 20) + load_half(skb, 21) + load_word(skb, 23);
}

SEC("tc")
int byte_at_a_variable_place(struct __sk_buff *skb)
{
	u64 at = skb->len - 1;

	return load_byte(skb, at);
}

SEC("tc")
int beyond_the_packet_ends_with_0(struct __sk_buff *skb)
{
	table[1] = load_word(skb, skb->len - 3);
	return 5;
}

static __noinline int part(struct __sk_buff *skb, u32 at)
{
	return load_byte(skb, at) + 7;
}

SEC("tc")
int beyond_the_packet_ends_a_function_alone(struct __sk_buff *skb)
{
	return part(skb, skb->len) + part(skb, 0) * 10;
}

#define may_goto_out(label)                                                                                            \
	asm volatile goto("1: .byte 0xe5, 0; .long ((%l[" #label "] - 1b - 8) / 8) & 0xffff; .short 0" : : : : label)

SEC("tc")
int counted_with_a_may_goto(struct __sk_buff *skb)
{
	u64 i = 0, sum = 0;

	for (;;) {
		may_goto_out(out);
		if (i >= 16)
			break;
		table[i & 15] = i;
		sum += table[i & 15];
		i++;
	}
out:
	return sum;
}

SEC("tc")
int ends_after_a_while(struct __sk_buff *skb)
{
	table[0] = 0;
	for (;;) {
		may_goto_out(out);
		table[0]++; /* in a register the number would differ in every round for ever */
	}
out:
	return table[0] > 1000;
}
