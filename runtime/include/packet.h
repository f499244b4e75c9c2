/* SPDX-License-Identifier: MIT */
/* Packets under a program's hands: the runtime's sk_buff and what its helpers share. */
#pragma once

#include "rt.h"

#define ETH_HLEN 14
#define DEVICE_MTU 65536 /* the loopback device's, where packets of test runs come from */
#define MAX_SKB_LEN 16064 /* SKB_MAX_ALLOC: what one allocation takes */

/* Room for `by` bytes more (or fewer) in front of offset `at`, zeroed; -ENOMEM where the buffer ends. */
int rt_skb_resize(struct rt_skb *skb, u32 at, s32 by);

static inline u32 skb_len(const struct rt_skb *skb)
{
	return (u32)(skb->data_end - skb->data);
}
