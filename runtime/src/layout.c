/* SPDX-License-Identifier: MIT */
/* What must hold of the headers for Linux's programs and attrs to mean the same here. */
#include "rt.h"

#define SAME(type, member, offset) _Static_assert(offsetof(type, member) == (offset), #type "." #member)

_Static_assert(sizeof(struct bpf_insn) == 8, "bpf_insn");
_Static_assert(sizeof(struct bpf_prog_info) == 232, "bpf_prog_info");
_Static_assert(sizeof(struct bpf_map_info) == 104, "bpf_map_info");
_Static_assert(sizeof(struct bpf_btf_info) == 32, "bpf_btf_info");
_Static_assert(sizeof(struct __sk_buff) == 192, "__sk_buff");
_Static_assert(sizeof(struct xdp_md) == 24, "xdp_md");
SAME(union bpf_attr, map_extra, 64);
SAME(union bpf_attr, prog_name, 48);
SAME(union bpf_attr, fd_array, 120);
SAME(union bpf_attr, test.ctx_in, 48);
SAME(union bpf_attr, link_create.iter_info, 16);
SAME(struct bpf_link_info, iter.target_name, 16);
/* The runtime's contexts keep the packet pointers where spec/prog_types.py says. */
SAME(struct rt_xdp, data, 24);
SAME(struct rt_skb, data, 192);
/* What programs that trace others see of their packets. */
#define SEEN(type, member, own, part) _Static_assert(offsetof(type, member) == offsetof(own, part), #type "." #member)
SEEN(struct xdp_buff, data, struct rt_xdp, data);
SEEN(struct xdp_buff, data_end, struct rt_xdp, data_end);
SEEN(struct xdp_buff, data_meta, struct rt_xdp, data_meta);
SEEN(struct xdp_buff, data_hard_start, struct rt_xdp, hard_start);
SEEN(struct sk_buff, len, struct rt_skb, skb.len);
SEEN(struct sk_buff, mark, struct rt_skb, skb.mark);
SEEN(struct sk_buff, queue_mapping, struct rt_skb, skb.queue_mapping);
SEEN(struct sk_buff, protocol, struct rt_skb, skb.protocol);
SEEN(struct sk_buff, vlan_tci, struct rt_skb, skb.vlan_tci);
SEEN(struct sk_buff, vlan_proto, struct rt_skb, skb.vlan_proto);
SEEN(struct sk_buff, priority, struct rt_skb, skb.priority);
SEEN(struct sk_buff, skb_iif, struct rt_skb, skb.ingress_ifindex);
SEEN(struct sk_buff, tc_index, struct rt_skb, skb.tc_index);
SEEN(struct sk_buff, hash, struct rt_skb, skb.hash);
SEEN(struct sk_buff, data, struct rt_skb, data);
SEEN(struct sk_buff, head, struct rt_skb, head);
