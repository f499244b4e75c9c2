/* SPDX-License-Identifier: MIT */
/* Arrays' layout, which native code knows too (offsets.c). */
#pragma once

#include "rt.h"

struct rt_array {
	struct rt_map m;
	char *values;
	u64 block_bytes; /* one CPU's elements */
	int blocks;
};
