/* Programs of which the verifier walks from a few to several hundred thousand instructions. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, char[256]);
} bytes SEC(".maps");

SEC("socket")
int tiny(struct __sk_buff *skb)
{
	return skb->len > 64;
}

SEC("socket")
int lookup(struct __sk_buff *skb)
{
	int key = 0;
	unsigned char *value = bpf_map_lookup_elem(&bytes, &key);

	return value ? value[skb->len & 0xff] : 0;
}

/* Each condition leaves a number behind that matters later: nothing can be pruned. */
SEC("socket")
int branches(struct __sk_buff *skb)
{
	int key = 0;
	unsigned char *value = bpf_map_lookup_elem(&bytes, &key);
	unsigned int at = 0;

	if (!value)
		return 0;
#pragma unroll
	for (int i = 0; i < 10; i++)
		if (bpf_get_prandom_u32() & 1)
			at += 1 << (i % 5);
	return value[at & 0xff];
}

static __always_inline int walk(unsigned int rounds)
{
	int key = 0;
	unsigned char *value = bpf_map_lookup_elem(&bytes, &key);
	unsigned int sum = 0;

	if (!value)
		return 0;
	for (volatile unsigned int i = 0; i < rounds; i++)
		sum += value[i & 0xff];
	return sum;
}

SEC("socket")
int loop_100(struct __sk_buff *skb)
{
	return walk(100);
}

SEC("socket")
int loop_1000(struct __sk_buff *skb)
{
	return walk(1000);
}

SEC("socket")
int loop_20000(struct __sk_buff *skb)
{
	return walk(20000);
}
