// SPDX-License-Identifier: MIT
/* Kernel functions and maps of maps, which a loader has to find and to fill. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &first, [1] = &second } };

int xdp_tail(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps") = { .values = { [0] = (void *)&xdp_tail } };

extern int bpf_no_such_function(int x) __ksym __weak;

SEC("xdp")
int xdp_tail(struct xdp_md *ctx)
{
	return 7;
}

SEC("xdp")
int xdp_main(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &jumps, 0);
	return 1;
}

SEC("syscall")
int nested(void *ctx)
{
	__u32 one = 1, zero = 0;
	void *map = bpf_map_lookup_elem(&outer, &one);
	__u64 *value = map ? bpf_map_lookup_elem(map, &zero) : 0;

	if (!value)
		return -1;
	*value += 5;
	return *value;
}

SEC("syscall")
int locked(void *ctx)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	if (bpf_ksym_exists(bpf_no_such_function))
		return bpf_no_such_function(1);
	return 9;
}

char _license[] SEC("license") = "GPL";
