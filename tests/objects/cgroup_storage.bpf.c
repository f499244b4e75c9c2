// SPDX-License-Identifier: MIT
/* Programs that count in the deprecated storage of cgroups. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, __u64);
} by_type SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, __u64);
} by_cgroup SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, __u32);
} by_cpu SEC(".maps");

SEC("cgroup_skb/ingress")
int count(struct __sk_buff *skb)
{
	__u64 *n = bpf_get_local_storage(&by_type, 0);
	__u32 *here = bpf_get_local_storage(&by_cpu, 0);

	*here += 10;
	return ++*n & 1;
}

SEC("cgroup_skb/ingress")
int shared(struct __sk_buff *skb)
{
	__u64 *n = bpf_get_local_storage(&by_cgroup, 0);

	__sync_fetch_and_add(n, 100);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
