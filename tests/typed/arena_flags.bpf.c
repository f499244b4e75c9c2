// SPDX-License-Identifier: MIT
/* An arena whose pointers stay 32 bits for its user, and in which the user's touch makes nothing. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_NO_USER_CONV | BPF_F_SEGV_ON_FAULT);
	__uint(max_entries, 8);
} arena SEC(".maps");

u64 as_the_user_has_it;

/* Page 2 is there from now on. */
SEC("syscall")
int begin(void *ctx)
{
	char __attribute__((address_space(1))) *p = bpf_arena_alloc_pages(&arena, NULL, 3, -1, 0);
	u64 user;

	if (!p)
		return 1;
	bpf_arena_free_pages(&arena, p, 2);
	p += 2 * 4096;
	*p = 42;
	asm volatile("r1 = %[p]\n"
		     "r1 = addr_space_cast(r1, 0, 1)\n"
		     "r1 = addr_space_cast(r1, 1, 0)\n"
		     "%[user] = r1\n"
		     : [user] "=r"(user)
		     : [p] "r"(p)
		     : "r1");
	as_the_user_has_it = user;
	return 0;
}

char _license[] SEC("license") = "GPL";
