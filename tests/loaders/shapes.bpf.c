// SPDX-License-Identifier: MIT
/* Data of every shape that C has, for skeletons to show. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

enum mood { CALM = 1, WILD = 7 };
typedef __u16 port_t;

struct inner {
	char tag;
	__u64 wide; /* a hole before it */
	union {
		__u32 number;
		__u8 bytes[4];
	};
	__s8 small;
} __attribute__((aligned(16)));

struct bits {
	__u32 low : 3;
	__u32 high : 29;
	__u32 after;
};

struct packed {
	__u8 a;
	__u32 b;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct packed);
	__type(value, struct inner);
} table SEC(".maps");

bool flag = 1;
char letter = 'x';
__s16 minus = -2;
double half = 0.5;
enum mood mood = WILD;
port_t ports[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } };
struct inner nested = { 'n', 1ULL << 40, { 0x01020304 }, -3 };
struct bits bits = { 5, 6, 7 };
struct packed tight = { 1, 2 };
void *pointer;
__u64 class; /* a word of Python's */
const volatile char greeting[8] = "hello";

SEC("syscall")
int sum(void *ctx)
{
	struct packed key = tight;
	struct inner *found = bpf_map_lookup_elem(&table, &key);

	class++;
	if (found)
		class += found->wide;
	return ports[1][2] + minus + nested.small + bits.low + bits.after + mood + flag + letter + greeting[0];
}

char _license[] SEC("license") = "GPL";
