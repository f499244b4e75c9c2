/* SPDX-License-Identifier: MIT */
/* Helpers on packets: what test_packets.py hands in, each program changes; both kernels give the same packet back. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

char _license[] SEC("license") = "GPL";

#define ETH_HLEN 14

SEC("tc")
int bytes_are_stored(struct __sk_buff *skb)
{
	u32 word = 0x04030201;
	int err = bpf_skb_store_bytes(skb, 20, &word, 4, 0);

	err += 2 * bpf_skb_store_bytes(skb, skb->len - 3, &word, 4, 0); /* beyond its end */
	err += 3 * bpf_skb_store_bytes(skb, 0, &word, 4, 1 << 10); /* no flag */
	err += 5 * bpf_skb_store_bytes(skb, skb->len - 4, &word, 4, BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
	return -err;
}

SEC("tc")
int bytes_from_the_headers(struct __sk_buff *skb)
{
	u8 mac[2] = {}, net[2] = {};
	int err = bpf_skb_load_bytes_relative(skb, 1, mac, 2, BPF_HDR_START_MAC);

	err += bpf_skb_load_bytes_relative(skb, 1, net, 2, BPF_HDR_START_NET);
	if (err)
		return -err;
	err = bpf_skb_load_bytes_relative(skb, skb->len, mac, 1, BPF_HDR_START_NET);
	return mac[1] * 100000 + net[0] * 1000 + net[1] - err * 7;
}

SEC("tc")
int checksums_are_replaced(struct __sk_buff *skb)
{
	int err = bpf_l3_csum_replace(skb, 24, 0x1234, 0x4321, 2);

	err += 2 * bpf_l3_csum_replace(skb, 26, 0x12345678, 0x87654321, 4);
	err += 3 * bpf_l3_csum_replace(skb, 28, 0, 0xfedc1234, 0);
	err += 5 * bpf_l4_csum_replace(skb, 30, 0xffff, 1, 2);
	err += 7 * bpf_l4_csum_replace(skb, 32, 0xffffffff, 7, BPF_F_PSEUDO_HDR | 4);
	err += 11 * bpf_l4_csum_replace(skb, 34, 0, 0x80008000, BPF_F_MARK_MANGLED_0);
	return -err;
}

SEC("tc")
int checksums_that_are_not_there(struct __sk_buff *skb)
{
	int err = -bpf_l3_csum_replace(skb, 25, 1, 2, 2);

	err = err * 30 - bpf_l3_csum_replace(skb, skb->len - 1 + (skb->len & 1), 1, 2, 2);
	err = err * 30 - bpf_l3_csum_replace(skb, 24, 1, 2, 3);
	err = err * 30 - bpf_l3_csum_replace(skb, 24, 1, 2, 0);
	err = err * 30 - bpf_l4_csum_replace(skb, 24, 1, 2, 1 << 12);
	return err;
}

SEC("tc")
int udp_without_a_checksum(struct __sk_buff *skb)
{
	u16 zero = 0;
	int err = bpf_skb_store_bytes(skb, 24, &zero, 2, 0);

	err += bpf_l4_csum_replace(skb, 24, 1, 2, BPF_F_MARK_MANGLED_0 | 2);
	err += bpf_l4_csum_replace(skb, 26, 0, 0, BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE);
	return -err;
}

SEC("tc")
int difference_of_sums(struct __sk_buff *skb)
{
	u32 from[3] = { 0x12345678, 0xffffffff, 0x00010002 }, to[2] = { 0xdeadbeef, 0xffff0001 };
	s64 a = bpf_csum_diff(from, sizeof(from), to, sizeof(to), 0);
	s64 b = bpf_csum_diff(0, 0, to, sizeof(to), 0xffff1234);
	s64 c = bpf_csum_diff(from, sizeof(from), 0, 0, 5);

	skb->cb[0] = a;
	skb->cb[1] = b;
	skb->cb[2] = c;
	skb->cb[3] = bpf_csum_diff(from, 4, to, 8, -1);
	skb->cb[4] = bpf_csum_diff(from, 12, to, 4, 0x80000001);
	return (a >> 32) + (b >> 32) + (c >> 32);
}

SEC("tc")
int levels_of_sums(struct __sk_buff *skb)
{
	int out = -bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY);

	out = out * 5 + bpf_csum_level(skb, BPF_CSUM_LEVEL_INC);
	out = out * 5 + bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY);
	bpf_csum_level(skb, BPF_CSUM_LEVEL_INC);
	out = out * 5 + bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY);
	bpf_csum_level(skb, BPF_CSUM_LEVEL_DEC);
	out = out * 5 + bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY);
	bpf_csum_level(skb, BPF_CSUM_LEVEL_RESET);
	out = out * 5 - bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY);
	return out - bpf_csum_update(skb, 5) - bpf_csum_level(skb, 9);
}

SEC("tc")
int pulled(struct __sk_buff *skb)
{
	int err = bpf_skb_pull_data(skb, 0);

	err = err * 100 - bpf_skb_pull_data(skb, skb->len);
	return err * 100 - bpf_skb_pull_data(skb, skb->len + 1);
}

SEC("tc")
int type_is_changed(struct __sk_buff *skb)
{
	int err = bpf_skb_change_type(skb, 1);

	return skb->pkt_type * 1000 - err - bpf_skb_change_type(skb, 4);
}

SEC("tc")
int tail_grows(struct __sk_buff *skb)
{
	int err = bpf_skb_change_tail(skb, skb->len + 33, 0);

	return skb->len - err * 1000;
}

SEC("tc")
int tail_grows_far(struct __sk_buff *skb)
{
	int err = bpf_skb_change_tail(skb, 16064, 0);

	if (!err)
		err = bpf_skb_change_tail(skb, 60, 0);
	return skb->len - err * 1000;
}

SEC("tc")
int tail_shrinks(struct __sk_buff *skb)
{
	int err = bpf_skb_change_tail(skb, 14, 0);

	return skb->len - err * 1000;
}

SEC("tc")
int tail_at_its_limits(struct __sk_buff *skb)
{
	int out = -bpf_skb_change_tail(skb, 13, 0);

	out = out * 30 - bpf_skb_change_tail(skb, 16065, 0);
	out = out * 30 - bpf_skb_change_tail(skb, 60, 1);
	return out * 30 - bpf_skb_change_head(skb, -1, 0);
}

SEC("tc")
int head_grows(struct __sk_buff *skb)
{
	u32 before = skb->len;
	int err = bpf_skb_change_head(skb, 32, 0);

	if (!err)
		err = bpf_skb_change_head(skb, 400, 0);
	return skb->len - before - err * 1000;
}

SEC("tc")
int into_ipv6(struct __sk_buff *skb)
{
	u32 before = skb->len;
	int err = bpf_skb_change_proto(skb, bpf_htons(0x86dd), 0);

	return (skb->len - before) * 100000 + skb->protocol - err * 1000;
}

SEC("tc")
int into_ipv6_and_back(struct __sk_buff *skb)
{
	u32 before = skb->len;
	int err = bpf_skb_change_proto(skb, bpf_htons(0x86dd), 0);

	err += bpf_skb_change_proto(skb, bpf_htons(0x0800), 0);
	err += bpf_skb_change_proto(skb, bpf_htons(0x0800), 0);
	err += bpf_skb_change_proto(skb, bpf_htons(0x86dd), 1);
	return (skb->len - before) * 100000 + skb->protocol - err;
}

SEC("tc")
int tagged(struct __sk_buff *skb)
{
	u32 before = skb->len;
	int err = bpf_skb_vlan_push(skb, bpf_htons(0x8100), 5);

	return skb->vlan_present * 10000000 + skb->vlan_tci * 1000000 + skb->vlan_proto + (skb->len - before) - err;
}

SEC("tc")
int tagged_twice(struct __sk_buff *skb)
{
	u32 before = skb->len;
	int err = bpf_skb_vlan_push(skb, bpf_htons(0x8100), 5);

	err += bpf_skb_vlan_push(skb, bpf_htons(0x88a8), 6);
	return skb->vlan_tci * 1000000 + skb->vlan_proto + (skb->len - before) * 100 - err;
}

SEC("tc")
int untagged_again(struct __sk_buff *skb)
{
	u32 before = skb->len;
	int err = bpf_skb_vlan_push(skb, bpf_htons(0x8100), 5);

	err += bpf_skb_vlan_push(skb, bpf_htons(0x8100), 6);
	err += bpf_skb_vlan_pop(skb);
	err += bpf_skb_vlan_pop(skb);
	err += bpf_skb_vlan_pop(skb);
	return skb->vlan_present * 1000000 + (skb->len - before) * 100 + skb->protocol - err;
}

SEC("tc")
int hash_is_kept(struct __sk_buff *skb)
{
	u32 a, b;

	bpf_set_hash(skb, 77);
	a = bpf_get_hash_recalc(skb);
	bpf_set_hash_invalid(skb);
	b = skb->hash;
	return a * 1000 + b + (bpf_get_hash_recalc(skb) == bpf_get_hash_recalc(skb));
}

SEC("tc")
int time_is_set(struct __sk_buff *skb)
{
	int out = -bpf_skb_set_tstamp(skb, 0, BPF_SKB_TSTAMP_DELIVERY_MONO);

	out = out * 30 - bpf_skb_set_tstamp(skb, 5, BPF_SKB_TSTAMP_UNSPEC);
	out = out * 30 - bpf_skb_set_tstamp(skb, 5, 7);
	out = out * 30 - bpf_skb_set_tstamp(skb, 5, BPF_SKB_TSTAMP_DELIVERY_MONO);
	return out * 30 + skb->tstamp_type + skb->tstamp;
}

SEC("tc")
int sent_elsewhere(struct __sk_buff *skb)
{
	int out = bpf_redirect(1, 4); /* no flag */

	out = out * 10 + bpf_redirect_peer(1, 1);
	out = out * 10 + bpf_redirect_neigh(1, NULL, 0, 1);
	return out;
}

SEC("tc")
int sizes_that_fit(struct __sk_buff *skb)
{
	u32 mtu = 0;
	int out = bpf_check_mtu(skb, 0, &mtu, 0, 0);

	out = out * 30 + (mtu == 65536);
	mtu = 0;
	out = out * 30 + bpf_check_mtu(skb, 1, &mtu, 65550 - skb->len, 0);
	mtu = 0;
	out = out * 30 + bpf_check_mtu(skb, 1, &mtu, 65551 - skb->len, 0);
	mtu = 65537;
	out = out * 30 + bpf_check_mtu(skb, 1, &mtu, 0, 0);
	out = out * 30 - bpf_check_mtu(skb, 4000000, &mtu, 0, 0);
	return out * 30 - bpf_check_mtu(skb, 1, &mtu, 0, 8);
}

SEC("tc")
int congestion_is_marked(struct __sk_buff *skb)
{
	u8 tos = 1;
	int out = bpf_skb_ecn_set_ce(skb);

	bpf_skb_store_bytes(skb, 15, &tos, 1, 0);
	out = out * 2 + bpf_skb_ecn_set_ce(skb);
	tos = 2;
	bpf_skb_store_bytes(skb, 15, &tos, 1, 0);
	out = out * 2 + bpf_skb_ecn_set_ce(skb);
	tos = 0x20;
	bpf_skb_store_bytes(skb, 15, &tos, 1, 0);
	out = out * 2 + bpf_skb_ecn_set_ce(skb);
	return out * 2 + bpf_skb_ecn_set_ce(skb);
}

SEC("tc")
int nobodys_packet(struct __sk_buff *skb)
{
	return bpf_get_route_realm(skb) + 10 * bpf_skb_cgroup_classid(skb) + 100 * bpf_get_cgroup_classid(skb);
}

SEC("tc")
int nobodys_user(struct __sk_buff *skb)
{
	return bpf_get_socket_uid(skb);
}

SEC("xdp")
int frame_with_metadata(struct xdp_md *xdp)
{
	int err = bpf_xdp_adjust_meta(xdp, -8);

	err = -err * 30 - bpf_xdp_adjust_meta(xdp, -2);
	err = err * 30 - bpf_xdp_adjust_meta(xdp, -4000);
	return err * 30 - bpf_xdp_adjust_meta(xdp, 12);
}

SEC("xdp")
int frame_in_bytes(struct xdp_md *xdp)
{
	u8 bytes[8] = {}, more[4] = { 9, 8, 7, 6 };
	int err = bpf_xdp_load_bytes(xdp, 3, bytes, 8);

	err += bpf_xdp_store_bytes(xdp, 20, more, 4);
	if (err)
		return -err;
	err = -bpf_xdp_load_bytes(xdp, bpf_xdp_get_buff_len(xdp) - 7, bytes, 8);
	err = err * 30 - bpf_xdp_store_bytes(xdp, 70000, more, 4);
	return bytes[0] * 100000 + err + bpf_xdp_get_buff_len(xdp);
}

SEC("xdp")
int frame_sent_elsewhere(struct xdp_md *xdp)
{
	return bpf_redirect(1, 1) * 10;
}

/* -- packets that begin behind their link header -- */

SEC("cgroup_skb/egress")
int behind_the_link_header(struct __sk_buff *skb)
{
	u8 *data = (void *)(long)skb->data, mac[2] = {}, first = 0;

	if (data + 1 <= (u8 *)(long)skb->data_end)
		first = *data;
	bpf_skb_load_bytes_relative(skb, 1, mac, 2, BPF_HDR_START_MAC);
	skb->cb[0] = first;
	skb->cb[1] = mac[1];
	skb->cb[2] = skb->len;
	return 1;
}

SEC("lwt_xmit")
int head_for_another_link(struct __sk_buff *skb)
{
	int err = bpf_skb_change_head(skb, 14, 0);

	return skb->len - err * 1000;
}

SEC("lwt_in")
int tunnel_end(struct __sk_buff *skb)
{
	u8 *data = (void *)(long)skb->data;

	return data + 20 <= (u8 *)(long)skb->data_end ? data[0] + skb->len * 1000 : 0;
}
