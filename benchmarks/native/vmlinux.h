/* SPDX-License-Identifier: MIT */
/*
 * Stands in for vmlinux.h when a benchmark program is compiled for this machine: the same source, the same
 * function. struct xdp_md is the runtime's own context: the UAPI structure, then real packet pointers.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;
typedef int s32;

enum { XDP_ABORTED, XDP_DROP, XDP_PASS };

struct xdp_md {
	u8 uapi[24];
	unsigned long data;
	unsigned long data_end;
	unsigned long data_meta;
};
