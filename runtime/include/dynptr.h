/* SPDX-License-Identifier: MIT */
/* A dynptr as it lies in two words of a program's stack, or of a helper's that hands one to a callback. */
#pragma once

#include "rt.h"

enum { LOCAL = 1, RINGBUF, SKB, XDP };

#define RT_DYNPTR_MAX ((1u << 24) - 1) /* bytes */

struct dynptr {
	void *data; /* the memory itself, or the packet's context; NULL: nothing */
	u32 size;
	u32 offset : 27, kind : 4, rdonly : 1;
};
