// SPDX-License-Identifier: MIT
/* Arenas: pages that programs and their user share. A program returns 0 where all is as it should be. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define __arena __attribute__((address_space(1)))
#define __arg_arena __attribute__((btf_decl_tag("arg:arena")))
#define PAGE 4096

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 32);
	__ulong(map_extra, 1ull << 44);
} arena SEC(".maps");

/* A program has an arena if it names it. */
#define mention(map) asm volatile("" : : "r"(map))

/* The arena's first page has these. */
u64 __arena counter = 40;
u64 __arena room[16];
u32 __arena half = 5;

u64 out[32];
u64 number;

static char __arena *page(int i)
{
	mention(&arena);
	return (char __arena *)((1ul << 44) + i * PAGE);
}

SEC("syscall")
int variables(void *ctx)
{
	counter += half;
	return counter != 45;
}

/* What allocations give, as page numbers; -1: nothing. */
static int place(void __arena *p)
{
	return p ? ((u64)(long)p - (1ull << 44)) / PAGE : -1;
}

SEC("syscall")
int allocations(void *ctx)
{
	void __arena *p;
	int i = 0;

	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 1, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 2, -1, 0));
	p = bpf_arena_alloc_pages(&arena, NULL, 1, 0, 0);
	out[i++] = place(p);
	bpf_arena_free_pages(&arena, p, 1);
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 1, 0, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 0, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 33, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 1, 1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 1, -2, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 1, -1, 1));
	out[i++] = place(bpf_arena_alloc_pages(&arena, page(10), 2, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, page(11), 2, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, page(31), 2, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, page(31), 1, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, page(13) + 8, 1, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 4, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 1, -1, 0));
	out[i++] = bpf_arena_reserve_pages(&arena, page(20), 2);
	out[i++] = bpf_arena_reserve_pages(&arena, page(21), 1);
	out[i++] = bpf_arena_reserve_pages(&arena, page(20), 0);
	out[i++] = bpf_arena_reserve_pages(&arena, page(31), 2);
	out[i++] = bpf_arena_reserve_pages(&arena, page(23) + 8, 1);
	out[i++] = place(bpf_arena_alloc_pages(&arena, page(20), 1, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 12, -1, 0));
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 8, -1, 0));
	bpf_arena_free_pages(&arena, page(20), 12); /* cut off at the end */
	out[i++] = place(bpf_arena_alloc_pages(&arena, NULL, 12, -1, 0));
	bpf_arena_free_pages(&arena, page(1), 31);
	return i;
}

SEC("syscall")
int of_another_map(void *ctx)
{
	if (bpf_arena_alloc_pages(&arena, page(3), 1, -1, 0) != page(3))
		return 1;
	bpf_arena_free_pages(&arena, page(3) + 17, 1); /* anywhere in the page */
	if (bpf_arena_alloc_pages(&arena, page(3), 1, -1, 0) != page(3))
		return 2;
	bpf_arena_free_pages(&arena, NULL, 1);
	bpf_arena_free_pages(&arena, page(3), 0);
	if (bpf_arena_alloc_pages(&arena, page(3), 1, -1, 0))
		return 3;
	bpf_arena_free_pages(&arena, page(3), 1);
	return 0;
}

struct node {
	struct node __arena *next;
	u64 value;
};

SEC("syscall")
int list_of_nodes(void *ctx)
{
	struct node __arena *head = NULL, *n;
	u64 sum = 0;
	int i;

	for (i = 0; i < 4; i++) {
		n = bpf_arena_alloc_pages(&arena, NULL, 1, -1, 0);
		if (!n)
			return 1;
		n->value = i * 10 + 10; /* two zeros clang would make a memset(), without the cast */
		n->next = head;
		head = n;
	}
	for (n = head, i = 0; n && i < 10; n = n->next, i++)
		sum += n->value;
	number = (u64)(long)head; /* as the user knows it */
	return sum == 100 ? 0 : 2;
}

SEC("syscall")
int free_the_list(void *ctx)
{
	struct node __arena *n = (struct node __arena *)(long)number, *next;
	int i;

	for (i = 0; n && i < 10; i++) {
		next = n->next;
		bpf_arena_free_pages(&arena, n, 1);
		n = next;
	}
	return i;
}

/* What is not there reads as 0 and takes nothing, on all widths. */
SEC("syscall")
int missing_pages(void *ctx)
{
	volatile char __arena *p = page(7);

	*(volatile u64 __arena *)(p + 8) = 0x1122334455667788;
	*(volatile u32 __arena *)(p + 16) = 5;
	*(volatile u16 __arena *)(p + 20) = 5;
	*(volatile u8 __arena *)(p + 22) = 5;
	if (*(volatile u64 __arena *)(p + 8) || *(volatile u32 __arena *)(p + 16) || *(volatile u16 __arena *)(p + 20))
		return 1;
	if (*(volatile u8 __arena *)(p + 22))
		return 2;
	if (bpf_arena_alloc_pages(&arena, (void __arena *)p, 1, -1, 0) != p)
		return 3;
	if (*(volatile u64 __arena *)(p + 8) || *(volatile u64 __arena *)(p + 16))
		return 4;
	*(volatile u64 __arena *)(p + 8) = 0x1122334455667788;
	*(volatile u32 __arena *)(p + 16) = 5;
	*(volatile u16 __arena *)(p + 20) = 6;
	*(volatile u8 __arena *)(p + 22) = 7;
	if (*(volatile u64 __arena *)(p + 8) != 0x1122334455667788 || *(volatile u64 __arena *)(p + 16) != 0x7000600000005)
		return 5;
	if (*(volatile u32 __arena *)(p + 16) != 5 || *(volatile u16 __arena *)(p + 20) != 6 || *(volatile u8 __arena *)(p + 22) != 7)
		return 6;
	bpf_arena_free_pages(&arena, (void __arena *)p, 1);
	return *(volatile u64 __arena *)(p + 8) ? 7 : 0;
}

SEC("syscall")
int through_null(void *ctx)
{
	volatile u64 __arena *p = NULL; /* the arena's first address has these 32 bits */
	u64 before, seen;

	before = *p;
	*p = 3;
	seen = *(volatile u64 __arena *)page(0);
	*p = before;
	return seen != 3;
}

SEC("syscall")
int atomics(void *ctx)
{
	u64 __arena *p = &room[0];
	u32 __arena *w = (u32 __arena *)&room[1];

	*p = 10;
	__sync_fetch_and_add(p, 5);
	if (__sync_fetch_and_add(p, 1) != 15 || *p != 16)
		return 1;
	if (__sync_lock_test_and_set(p, 3) != 16 || *p != 3)
		return 2;
	if (__sync_val_compare_and_swap(p, 4, 9) != 3 || *p != 3)
		return 3;
	if (__sync_val_compare_and_swap(p, 3, 9) != 3 || *p != 9)
		return 4;
	*w = 0xF0;
	w[1] = 77;
	__sync_fetch_and_or(w, 0x0F);
	__sync_fetch_and_and(w, 0x3C);
	__sync_fetch_and_xor(w, 0x01);
	if (*w != 0x3D)
		return 5;
	if (__sync_fetch_and_add(w, -1) != 0x3D || __sync_lock_test_and_set(w, 8) != 0x3C)
		return 6;
	if (__sync_val_compare_and_swap(w, 8, 0xFFFFFFFF) != 8 || *w != 0xFFFFFFFF || w[1] != 77)
		return 7;
	return 0;
}

/* Where nothing is, registers stay as they were. */
SEC("syscall")
int atomics_on_missing_pages(void *ctx)
{
	u64 __arena *p = (u64 __arena *)page(8);
	u64 added = __sync_fetch_and_add(p, 5), put = __sync_lock_test_and_set(p, 6), swapped = __sync_val_compare_and_swap(p, 7, 8);

	out[0] = added;
	out[1] = put;
	out[2] = swapped;
	return 3;
}

__noinline int fill(u64 __arena *p __arg_arena, int n)
{
	if (!p)
		return -1;
	for (int i = 0; i < 4; i++)
		p[i] = n + i;
	return p[3];
}

SEC("syscall")
int global_function(void *ctx)
{
	return fill(&room[4], 20) == 23 && room[4] == 20 && fill(NULL, 1) == -1 ? 0 : 1;
}

/* Arithmetic on an arena's pointer is done on 32 bits. */
SEC("syscall")
int arithmetic(void *ctx)
{
	u64 a, b, c;

	mention(&arena);
	asm volatile("r1 = 0x1fffffff8 ll\n"
		     "r1 = addr_space_cast(r1, 0, 1)\n"
		     "%[a] = r1\n"
		     "r1 += 0x10\n"
		     "%[b] = r1\n"
		     "r1 -= 0x10\n"
		     "r1 >>= 4\n"
		     "r1 *= 0x20\n"
		     "%[c] = r1\n"
		     : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c)
		     :
		     : "r1");
	out[0] = a;
	out[1] = b;
	out[2] = c;
	return 3;
}

SEC("syscall")
int casts(void *ctx)
{
	u64 a, b, c;

	mention(&arena);
	asm volatile("r1 = 0x500001000 ll\n"
		     "r1 = addr_space_cast(r1, 0, 1)\n"
		     "%[a] = r1\n"
		     "r1 = addr_space_cast(r1, 1, 0)\n"
		     "%[b] = r1\n"
		     "r1 = 0x500000000 ll\n"
		     "r1 = addr_space_cast(r1, 1, 0)\n"
		     "%[c] = r1\n"
		     : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c)
		     :
		     : "r1");
	out[0] = a;
	out[1] = b;
	out[2] = c;
	return 3;
}

/* What the user has put into a page that no program asked for. */
SEC("syscall")
int look(void *ctx)
{
	number = *(volatile u64 __arena *)page(9);
	*(volatile u64 __arena *)(page(9) + 8) = number + 1;
	return bpf_arena_alloc_pages(&arena, page(9), 1, -1, 0) ? 1 : 0;
}

SEC("syscall")
int free_nine(void *ctx)
{
	bpf_arena_free_pages(&arena, page(9), 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
