/* SPDX-License-Identifier: MIT */
/* Checksums: sums of 16-bit words in one's complement, and their places in headers. */
#include "packet.h"

#define MANGLED_0 0xff /* twice: what stands for a UDP checksum that comes out as 0 */

static u32 add(u32 a, u32 b)
{
	u32 sum = a + b;

	return sum + (sum < b);
}

static u32 folded(u32 sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return (sum >> 16) + (sum & 0xffff);
}

/* `size` is a multiple of 4. */
static u32 partial(const void *from, u32 size, u32 sum)
{
	const u8 *at = from;

	for (u32 i = 0; i < size; i += 4) {
		u32 word;

		memcpy(&word, at + i, 4);
		sum = add(sum, word);
	}
	return sum;
}

s64 rt_csum_diff(const void *from, u64 from_size, const void *to, u64 to_size, u64 seed)
{
	u32 sum = (u32)seed;

	if (((u32)from_size | (u32)to_size) & 3)
		return -EINVAL;
	if (to_size)
		sum = partial(to, (u32)to_size, sum);
	if (from_size)
		sum = add(sum, ~partial(from, (u32)from_size, 0));
	return folded(sum);
}

static void put(u8 *at, u32 sum)
{
	u16 field = (u16)~folded(sum);

	memcpy(at, &field, 2);
}

static u32 inverse_of(const u8 *at)
{
	u16 field;

	memcpy(&field, at, 2);
	return (u32)(u16)~field;
}

/* The checksum at `at` after what it sums up was changed, by the size that the flags say. */
static s64 replace(u8 *at, u64 from, u64 to, u32 size)
{
	u32 sum = inverse_of(at);

	switch (size) {
	case 0:
		if (from)
			return -EINVAL;
		put(at, add((u32)to, sum));
		return 0;
	case 2:
		put(at, add(add(sum, (u16)~(u16)from), (u16)to));
		return 0;
	case 4:
		put(at, add(add(sum, ~(u32)from), (u32)to));
		return 0;
	}
	return -EINVAL;
}

static u8 *field_at(struct rt_skb *skb, u64 offset)
{
	return (u32)offset > 0xffff || offset & 1 || (u64)(u32)offset + 2 > skb_len(skb) ? NULL : skb->data + (u32)offset;
}

s64 rt_l3_csum_replace(struct rt_skb *skb, u64 offset, u64 from, u64 to, u64 flags)
{
	u8 *at = field_at(skb, offset);

	if (flags & ~(u64)BPF_F_HDR_FIELD_MASK)
		return -EINVAL;
	return at ? replace(at, from, to, (u32)flags) : -EFAULT;
}

s64 rt_l4_csum_replace(struct rt_skb *skb, u64 offset, u64 from, u64 to, u64 flags)
{
	u8 *at = field_at(skb, offset);
	s64 err;

	if (flags & ~(u64)(BPF_F_HDR_FIELD_MASK | BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE | BPF_F_IPV6))
		return -EINVAL;
	if (!at)
		return -EFAULT;
	if (flags & BPF_F_MARK_MANGLED_0 && !(flags & BPF_F_MARK_ENFORCE) && !at[0] && !at[1])
		return 0; /* there is none: UDP without a checksum */
	err = replace(at, from, to, (u32)flags & BPF_F_HDR_FIELD_MASK);
	if (!err && flags & BPF_F_MARK_MANGLED_0 && !at[0] && !at[1])
		at[0] = at[1] = MANGLED_0;
	return err;
}

/* No device has summed up a test run's packet. */
s64 rt_csum_update(struct rt_skb *skb, u64 sum)
{
	(void)skb;
	(void)sum;
	return -RT_ENOTSUPP;
}

/* How many of the packet's checksums are known to be right (skb->csum_known - 1 beyond the first). */
s64 rt_csum_level(struct rt_skb *skb, u64 what)
{
	switch (what) {
	case BPF_CSUM_LEVEL_QUERY:
		return skb->csum_known ? (s64)skb->csum_known - 1 : -EACCES;
	case BPF_CSUM_LEVEL_INC:
		if (skb->csum_known < 4)
			skb->csum_known++;
		return 0;
	case BPF_CSUM_LEVEL_DEC:
		if (skb->csum_known)
			skb->csum_known--;
		return 0;
	case BPF_CSUM_LEVEL_RESET:
		skb->csum_known = 0;
		return 0;
	}
	return -EINVAL;
}
