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
