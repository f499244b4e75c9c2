/* SPDX-License-Identifier: MIT */
/* The few words of bpf_helpers.h that benchmark programs use, for this machine's compiler. */
#pragma once

#define SEC(name)
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
