/* SPDX-License-Identifier: MIT */
/* Helpers on the packets of skb programs: bytes, sizes, headers, types. A packet is one buffer with room at both ends. */
#include "packet.h"

enum {
	VLAN_HLEN = 4,
	IPV4_HLEN = 20,
	IPV6_HLEN = 40,
	P_IP = 0x0800,
	P_IPV6 = 0x86dd,
	P_8021Q = 0x8100,
	P_8021AD = 0x88a8,
};

static u32 swapped(u32 proto)
{
	return __builtin_bswap16((u16)proto);
}

static int is_vlan(u32 proto)
{
	return proto == swapped(P_8021Q) || proto == swapped(P_8021AD);
}

int rt_skb_resize(struct rt_skb *skb, u32 at, s32 by)
{
	size_t len = skb_len(skb), want = by > skb->data - skb->head ? (size_t)by : 0;

	if (want) { /* too little room in front: the packet moves back, as Linux moves it into a larger buffer */
		ptrdiff_t back = skb->limit - skb->data_end;

		if ((size_t)(skb->data - skb->head + back) < want)
			return -ENOMEM;
		memmove(skb->data + back, skb->data, len);
		skb->data += back;
		skb->data_end += back;
		skb->mac += back;
		skb->network += back;
	}
	memmove(skb->data - by, skb->data, at);
	skb->data -= by;
	if (by > 0)
		memset(skb->data + at, 0, by);
	skb->data_meta = skb->data;
	skb->skb.len = skb_len(skb);
	return 0;
}

static void forget_hash(struct rt_skb *skb)
{
	skb->skb.hash = 0;
	skb->hash_known = 0;
}

s64 rt_skb_load_bytes(struct rt_skb *skb, u64 offset, void *to, u64 len)
{
	u64 size = skb_len(skb);

	if ((u32)offset > size || (u32)len > size - (u32)offset) {
		memset(to, 0, (u32)len);
		return -EFAULT;
	}
	memcpy(to, skb->data + (u32)offset, (u32)len);
	return 0;
}

s64 rt_skb_load_bytes_relative(struct rt_skb *skb, u64 offset, void *to, u64 len, u64 start)
{
	const u8 *from = (u32)start == BPF_HDR_START_MAC ? skb->mac : (u32)start == BPF_HDR_START_NET ? skb->network : NULL;

	if (!from || (u32)offset > 0xffff || (u64)(u32)offset + (u32)len > (u64)(skb->data_end - from)) {
		memset(to, 0, (u32)len);
		return -EFAULT;
	}
	memcpy(to, from + (u32)offset, (u32)len);
	return 0;
}

s64 rt_skb_store_bytes(struct rt_skb *skb, u64 offset, const void *from, u64 len, u64 flags)
{
	if (flags & ~(u64)(BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH))
		return -EINVAL;
	if ((u32)offset > 0x7fffffff || (u64)(u32)offset + (u32)len > skb_len(skb))
		return -EFAULT;
	memcpy(skb->data + (u32)offset, from, (u32)len);
	if (flags & BPF_F_INVALIDATE_HASH)
		forget_hash(skb);
	return 0;
}

/* All of a packet lies in its one buffer: there is nothing to pull, but it may be too short. */
s64 rt_skb_pull_data(struct rt_skb *skb, u64 len)
{
	return (u32)len > skb_len(skb) ? -ENOMEM : 0;
}

s64 rt_skb_change_type(struct rt_skb *skb, u64 type)
{
	if ((u32)type > 3 || skb->skb.pkt_type > 3)
		return -EINVAL;
	skb->skb.pkt_type = (u32)type;
	return 0;
}

s64 rt_skb_change_tail(struct rt_skb *skb, u64 new_len, u64 flags)
{
	u32 len = (u32)new_len, old = skb_len(skb);
	ptrdiff_t least = skb->network - skb->data;

	if (flags || len > MAX_SKB_LEN || (least > 0 && len < (u64)least))
		return -EINVAL;
	if (len > (u64)(skb->limit - skb->data)) { /* the packet moves to the front of its buffer */
		ptrdiff_t front = skb->data - skb->head;

		if (len > (u64)(skb->limit - skb->head))
			return -ENOMEM;
		memmove(skb->head, skb->data, old);
		skb->data -= front;
		skb->data_end -= front;
		skb->mac -= front;
		skb->network -= front;
	}
	if (len > old)
		memset(skb->data + old, 0, len - old);
	skb->data_end = skb->data + len;
	skb->data_meta = skb->data;
	skb->skb.len = len;
	return 0;
}

s64 rt_skb_change_head(struct rt_skb *skb, u64 by, u64 flags)
{
	s32 room = (s32)by;
	int err;

	if (flags || room < 0 || (u64)skb_len(skb) + (u32)room > MAX_SKB_LEN)
		return -EINVAL;
	err = rt_skb_resize(skb, 0, room);
	if (!err)
		skb->mac = skb->data;
	return err;
}

/* Between IPv4 and IPv6: the network header grows or shrinks, what is in it is the program's business. */
s64 rt_skb_change_proto(struct rt_skb *skb, u64 proto, u64 flags)
{
	u32 from = skb->skb.protocol, to = (u16)proto;
	s32 by = IPV6_HLEN - IPV4_HLEN, mac_len = (s32)(skb->network - skb->mac);
	int err;

	if (flags)
		return -EINVAL;
	if (from == swapped(P_IPV6) && to == swapped(P_IP))
		by = -by;
	else if (from != swapped(P_IP) || to != swapped(P_IPV6))
		return -RT_ENOTSUPP;
	if (by < 0 && (u32)(mac_len - by) > skb_len(skb))
		return -ENOMEM;
	err = rt_skb_resize(skb, (u32)mac_len, by);
	if (err)
		return err;
	skb->mac = skb->data;
	skb->network = skb->mac + mac_len;
	skb->skb.protocol = to;
	forget_hash(skb);
	return 0;
}

/* -- VLAN tags: the outermost stands beside the packet, as devices hand it over -- */

static void set_tag(struct rt_skb *skb, u32 proto, u32 tci)
{
	skb->skb.vlan_present = 1;
	skb->skb.vlan_proto = proto;
	skb->skb.vlan_tci = tci;
}

s64 rt_skb_vlan_push(struct rt_skb *skb, u64 proto, u64 tci)
{
	u32 tag = is_vlan((u16)proto) ? (u16)proto : swapped(P_8021Q);

	if (skb->skb.vlan_present) {
		u16 inner = (u16)swapped(skb->skb.vlan_tci);
		int err;

		if (skb->data != skb->mac)
			return -EINVAL;
		err = rt_skb_resize(skb, 12, VLAN_HLEN);
		if (err)
			return err;
		skb->mac = skb->data;
		memcpy(skb->data + 12, &skb->skb.vlan_proto, 2);
		memcpy(skb->data + 14, &inner, 2);
		skb->skb.protocol = skb->skb.vlan_proto;
	}
	set_tag(skb, tag, (u16)tci);
	forget_hash(skb);
	return 0;
}

/* The tag within the packet, if it has one: 0 and its number, or -ENOMEM for a packet that ends in it. */
static int pop_inner(struct rt_skb *skb, u32 *tci)
{
	u16 word;

	if (skb_len(skb) < ETH_HLEN + VLAN_HLEN)
		return -ENOMEM;
	memcpy(&word, skb->data + 14, 2);
	*tci = swapped(word);
	rt_skb_resize(skb, 12, -VLAN_HLEN);
	skb->mac = skb->data;
	memcpy(&word, skb->data + 12, 2);
	skb->skb.protocol = word;
	if (skb->network < skb->mac + ETH_HLEN)
		skb->network = skb->mac + ETH_HLEN;
	return 0;
}

s64 rt_skb_vlan_pop(struct rt_skb *skb)
{
	u32 proto, tci;
	int err;

	if (skb->skb.vlan_present) {
		skb->skb.vlan_present = skb->skb.vlan_tci = skb->skb.vlan_proto = 0;
	} else {
		if (!is_vlan(skb->skb.protocol))
			return 0;
		err = pop_inner(skb, &tci);
		if (err)
			return err;
	}
	if (!is_vlan(skb->skb.protocol))
		return 0;
	proto = skb->skb.protocol;
	err = pop_inner(skb, &tci);
	if (!err)
		set_tag(skb, proto, tci);
	return err;
}

/* -- hashes, times, marks -- */

static u32 mixed(const u8 *at, const u8 *end)
{
	u32 hash = 0x811c9dc5;

	for (; at < end; at++)
		hash = (hash ^ *at) * 0x01000193;
	return hash ? hash : 1;
}

/* Of the flow that the packet is of: what its headers say, without the link's. Linux's has a key of its own as well. */
u64 rt_get_hash_recalc(struct rt_skb *skb)
{
	if (!skb->hash_known) {
		const u8 *end = skb->network + IPV6_HLEN + 4 < skb->data_end ? skb->network + IPV6_HLEN + 4 : skb->data_end;

		skb->skb.hash = mixed(skb->network, end);
		skb->hash_known = 1;
	}
	return skb->skb.hash;
}

u64 rt_set_hash_invalid(struct rt_skb *skb)
{
	forget_hash(skb);
	return 0;
}

u64 rt_set_hash(struct rt_skb *skb, u64 hash)
{
	skb->skb.hash = (u32)hash;
	skb->hash_known = 1;
	return 0;
}

s64 rt_skb_set_tstamp(struct rt_skb *skb, u64 tstamp, u64 type)
{
	if (skb->skb.protocol != swapped(P_IP) && skb->skb.protocol != swapped(P_IPV6))
		return -EOPNOTSUPP;
	if ((u32)type > BPF_SKB_CLOCK_TAI || ((u32)type && !tstamp))
		return -EINVAL;
	skb->skb.tstamp = tstamp;
	skb->skb.tstamp_type = (u8)type;
	return 0;
}

/* -- sizes -- */

static s64 check_mtu(u32 len, u32 ifindex, u32 *mtu_len, s32 more, u64 flags)
{
	s64 size = *mtu_len ? (s64)*mtu_len + ETH_HLEN : len;

	if (flags & ~1ULL)
		return -EINVAL;
	if (flags && (more || *mtu_len))
		return -EINVAL;
	if (ifindex > 1)
		return -ENODEV;
	*mtu_len = DEVICE_MTU;
	return size + more <= DEVICE_MTU + ETH_HLEN ? 0 : 1; /* BPF_MTU_CHK_RET_FRAG_NEEDED */
}

s64 rt_skb_check_mtu(struct rt_skb *skb, u64 ifindex, u32 *mtu_len, u64 more, u64 flags)
{
	return check_mtu(skb_len(skb), (u32)ifindex, mtu_len, (s32)more, flags);
}

s64 rt_xdp_check_mtu(struct rt_xdp *xdp, u64 ifindex, u32 *mtu_len, u64 more, u64 flags)
{
	return flags ? -EINVAL : check_mtu((u32)(xdp->data_end - xdp->data), (u32)ifindex, mtu_len, (s32)more, flags);
}

/* -- what a packet of a test run does not have: a class, a realm, a user -- */

u64 rt_get_cgroup_classid(struct rt_skb *skb)
{
	(void)skb;
	return 0;
}

u64 rt_skb_cgroup_classid(struct rt_skb *skb)
{
	(void)skb;
	return 0;
}

u64 rt_get_route_realm(struct rt_skb *skb)
{
	(void)skb;
	return 0;
}

u64 rt_get_socket_uid(struct rt_skb *skb)
{
	(void)skb;
	return 0; /* the socket is root's */
}

/* -- congestion: a packet whose sender understands it is marked -- */

static u64 mark_ipv4(u8 *header)
{
	u32 ecn = (header[1] + 1u) & 3, sum = header[10] << 8 | header[11];

	if (!(ecn & 2))
		return !ecn; /* it does not, or it is marked already */
	sum += 0xfffb + ecn;
	sum = (sum >> 16) + (sum & 0xffff);
	header[10] = (u8)(sum >> 8);
	header[11] = (u8)sum;
	header[1] |= 3;
	return 1;
}

/* Of the packet within VLAN tags. As in Linux the network header is taken to be where it was before them. */
static u32 inner_proto(const struct rt_skb *skb)
{
	const u8 *at = skb->network + 2;
	u32 proto = skb->skb.protocol;
	u16 word;

	for (; is_vlan(proto) && at + 2 <= skb->data_end; at += VLAN_HLEN) {
		memcpy(&word, at, 2);
		proto = word;
	}
	return proto;
}

u64 rt_skb_ecn_set_ce(struct rt_skb *skb)
{
	u32 proto = inner_proto(skb);
	u8 *header = skb->network;

	if (proto == swapped(P_IP) && header + IPV4_HLEN <= skb->data_end)
		return mark_ipv4(header);
	if (proto != swapped(P_IPV6) || header + IPV6_HLEN > skb->data_end || !(header[1] & 0x30))
		return 0;
	header[1] |= 0x30;
	return 1;
}
