// SPDX-License-Identifier: MIT
/* How often a file was opened, kept with its inode. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} opens SEC(".maps");
SEC("lsm/file_open")
int BPF_PROG(opened, struct file *file)
{
	u64 *n = bpf_inode_storage_get(&opens, file->f_inode, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}
char _license[] SEC("license") = "GPL";
