/* SPDX-License-Identifier: MIT */
/* Dynptrs at work: each program returns a number that test_typed.py knows. The packet is the bytes 0, 1, .. 63. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64[4]);
} words SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

static __always_inline u64 *memory(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&words, &zero);
}

SEC("tc")
int memory_is_written_and_read(struct __sk_buff *skb)
{
	u64 *value = memory(), two[2] = { 3, 4 }, back[2] = {}, *inside;
	struct bpf_dynptr p;
	int ret = 0;

	if (!value)
		return -1;
	if (bpf_dynptr_from_mem(value, 32, 0, &p))
		return -2;
	if (bpf_dynptr_write(&p, 8, two, sizeof(two), 0) || bpf_dynptr_read(back, sizeof(back), &p, 8, 0))
		ret |= 1;
	if (back[0] != 3 || back[1] != 4 || value[1] != 3)
		ret |= 2;
	if (bpf_dynptr_read(back, 16, &p, 17, 0) != -7 || bpf_dynptr_write(&p, 32, two, 1, 0) != -7)
		ret |= 4;
	if (bpf_dynptr_read(back, 8, &p, 0, 1) != -22 || bpf_dynptr_write(&p, 0, two, 8, 1) != -22)
		ret |= 8;
	inside = bpf_dynptr_data(&p, 8, 8);
	if (!inside || *inside != 3)
		ret |= 16;
	if (bpf_dynptr_data(&p, 32, 8))
		ret |= 32;
	if (bpf_dynptr_size(&p) != 32 || bpf_dynptr_is_null(&p) || bpf_dynptr_is_rdonly(&p))
		ret |= 64;
	return ret;
}

SEC("tc")
int bad_flags_make_none(struct __sk_buff *skb)
{
	u64 *value = memory();
	struct bpf_dynptr p;
	int ret = 0;

	if (!value)
		return -1;
	if (bpf_dynptr_from_mem(value, 32, 1, &p) != -22)
		ret |= 1;
	if (!bpf_dynptr_is_null(&p) || bpf_dynptr_data(&p, 0, 1) || bpf_dynptr_size(&p) != (u32)-22)
		ret |= 2;
	if (bpf_dynptr_adjust(&p, 0, 0) != -22)
		ret |= 4;
	return ret;
}

SEC("tc")
int adjusted_and_cloned(struct __sk_buff *skb)
{
	u64 *value = memory(), back = 0;
	struct bpf_dynptr p, q;
	int ret = 0;

	if (!value)
		return -1;
	value[1] = 11;
	value[2] = 22;
	bpf_dynptr_from_mem(value, 32, 0, &p);
	if (bpf_dynptr_adjust(&p, 8, 24) || bpf_dynptr_size(&p) != 16)
		ret |= 1;
	if (bpf_dynptr_clone(&p, &q) || bpf_dynptr_adjust(&q, 8, 16) || bpf_dynptr_size(&p) != 16)
		ret |= 2;
	if (bpf_dynptr_read(&back, 8, &p, 0, 0) || back != 11 || bpf_dynptr_read(&back, 8, &q, 0, 0) || back != 22)
		ret |= 4;
	if (bpf_dynptr_adjust(&p, 3, 2) != -22 || bpf_dynptr_adjust(&p, 17, 17) != -34 || bpf_dynptr_adjust(&p, 0, 17) != -34)
		ret |= 8;
	return ret;
}

SEC("tc")
int packet_in_slices(struct __sk_buff *skb)
{
	struct bpf_dynptr p;
	u8 buffer[16], *slice, nine = 9, byte = 0;
	int ret = 0;

	if (bpf_dynptr_from_skb(skb, 0, &p))
		return -1;
	if (bpf_dynptr_size(&p) != 64 || bpf_dynptr_is_rdonly(&p))
		ret |= 1;
	slice = bpf_dynptr_slice(&p, 20, buffer, sizeof(buffer));
	if (!slice || slice[3] != 23)
		ret |= 2;
	if (bpf_dynptr_slice(&p, 60, buffer, sizeof(buffer)))
		ret |= 4;
	slice = bpf_dynptr_slice_rdwr(&p, 40, buffer, sizeof(buffer));
	if (slice)
		slice[1] = 99;
	if (bpf_dynptr_read(&byte, 1, &p, 41, 0) || byte != 99)
		ret |= 8;
	if (bpf_dynptr_write(&p, 50, &nine, 1, 0) || bpf_dynptr_read(&byte, 1, &p, 50, 0) || byte != 9)
		ret |= 16;
	if (bpf_dynptr_write(&p, 64, &nine, 1, 0) != -7)
		ret |= 32;
	return ret;
}

SEC("socket")
int packet_that_is_only_read(struct __sk_buff *skb)
{
	struct bpf_dynptr p;
	u8 nine = 9;

	if (bpf_dynptr_from_skb(skb, 0, &p))
		return 0;
	return bpf_dynptr_is_rdonly(&p) && bpf_dynptr_write(&p, 50, &nine, 1, 0) == -22;
}

SEC("xdp")
int frame_in_slices(struct xdp_md *ctx)
{
	struct bpf_dynptr p;
	u8 *slice;

	if (bpf_dynptr_from_xdp(ctx, 0, &p))
		return 1;
	slice = bpf_dynptr_slice(&p, 20, (void *)0, 4);
	return slice && slice[3] == 23 ? 2 : 1;
}

SEC("tc")
int copied_and_filled(struct __sk_buff *skb)
{
	u64 *value = memory();
	struct bpf_dynptr p, packet;
	int ret = 0;

	if (!value)
		return -1;
	bpf_dynptr_from_mem(value, 32, 0, &p);
	bpf_dynptr_from_skb(skb, 0, &packet);
	if (bpf_dynptr_copy(&p, 8, &packet, 16, 8) || value[1] != 0x1716151413121110)
		ret |= 1;
	if (bpf_dynptr_memset(&p, 16, 8, 0xab) || value[2] != 0xabababababababab)
		ret |= 2;
	if (bpf_dynptr_copy(&p, 8, &packet, 60, 8) != -7 || bpf_dynptr_memset(&p, 30, 8, 0) != -7)
		ret |= 4;
	return ret;
}

SEC("tc")
int record_of_a_ring(struct __sk_buff *skb)
{
	struct bpf_dynptr p;
	u64 seven = 7, *inside;
	int ret = 0;

	if (bpf_ringbuf_reserve_dynptr(&ring, 16, 0, &p))
		ret |= 1;
	if (bpf_dynptr_write(&p, 8, &seven, 8, 0))
		ret |= 2;
	inside = bpf_dynptr_data(&p, 8, 8);
	if (!inside || *inside != 7)
		ret |= 4;
	bpf_ringbuf_discard_dynptr(&p, 0);
	if (bpf_ringbuf_reserve_dynptr(&ring, 5000, 0, &p) != -22 || !bpf_dynptr_is_null(&p))
		ret |= 8;
	bpf_ringbuf_submit_dynptr(&p, 0);
	return ret;
}
