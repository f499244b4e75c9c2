// SPDX-License-Identifier: MIT
/* A program that makes a map and a program, as a loader does; and one that asks for many maps. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct made {
	__u64 value; /* a pointer of the user's: 8 bytes for the map's first element */
	__u32 key;
	__s32 map_fd;
	__s32 prog_fd;
	__s32 step; /* where it stopped */
};

union bpf_attr attr;
char gpl[] = "GPL";
__u64 value;
struct insn {
	__u8 code;
	__u8 regs;
	__s16 off;
	__s32 imm;
};
struct insn insns[] = { { 0xb7, 0, 0, 7 }, { 0x95, 0, 0, 0 } };

SEC("syscall")
int makes(struct made *ctx)
{
	static union bpf_attr create = {
		.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 10, .map_name = "made",
	};
	long ret;
	__u32 key;

	ctx->step = 1;
	ret = bpf_sys_bpf(BPF_MAP_CREATE, &create, sizeof(create));
	if (ret <= 0)
		return ret;
	ctx->map_fd = ret;
	ctx->step = 2;
	ret = bpf_copy_from_user(&value, sizeof(value), (void *)ctx->value);
	if (ret)
		goto out;
	key = ctx->key;
	attr.map_fd = ctx->map_fd;
	attr.key = (__u64)&key;
	attr.value = (__u64)&value;
	ctx->step = 3;
	ret = bpf_sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
	if (ret)
		goto out;
	__builtin_memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_XDP;
	attr.insns = (__u64)insns;
	attr.insn_cnt = 2;
	attr.license = (__u64)gpl;
	ctx->step = 4;
	ret = bpf_sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (ret < 0)
		goto out;
	ctx->prog_fd = ret;
	return 0;
out:
	bpf_sys_close(ctx->map_fd);
	return ret;
}

SEC("syscall")
int many(struct made *ctx)
{
	static union bpf_attr create = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1,
	};
	long failed = 0;
	int i;

	for (i = 0; i < 100; i++) {
		long fd = bpf_sys_bpf(BPF_MAP_CREATE, &create, sizeof(create));

		if (fd < 0)
			return fd;
		failed |= bpf_sys_close(fd);
	}
	return failed;
}

char _license[] SEC("license") = "GPL";
