/* SPDX-License-Identifier: MIT */
/*
 * What the benchmark programs share. Each is one XDP program that works on `BYTES` bytes of the packet and
 * returns a number that depends on all of its work, so that engines can be held against each other.
 */
#pragma once
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define PACKET(ctx, bytes)                                                      \
	({                                                                      \
		u8 *begin_ = (u8 *)(unsigned long)(ctx)->data;                  \
		if (begin_ + (bytes) > (u8 *)(unsigned long)(ctx)->data_end)    \
			return 0;                                               \
		begin_;                                                         \
	})

static __always_inline u32 rotate(u32 v, int by)
{
	return v << by | v >> (32 - by);
}

static __always_inline u32 fold(u64 v)
{
	return (u32)(v ^ v >> 32);
}
