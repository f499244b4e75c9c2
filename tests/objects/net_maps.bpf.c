// SPDX-License-Identifier: MIT
/* Programs on maps of devices and sockets. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} devices SEC(".maps");

SEC("xdp")
int device(struct xdp_md *ctx)
{
	__u32 key = 3;
	struct bpf_devmap_val *found = bpf_map_lookup_elem(&devices, &key);

	return found ? 100 + found->ifindex + found->bpf_prog.id : 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 4);
	__type(key, __u64);
	__type(value, __u64);
} by_name SEC(".maps");

/* From one map to the other; what kind of socket it was. */
SEC("tc")
int move(struct __sk_buff *skb)
{
	__u32 from = 1;
	__u64 to = 7;
	struct bpf_sock *sk = bpf_map_lookup_elem(&sockets, &from);
	int kind;

	if (!sk)
		return 0;
	kind = bpf_map_update_elem(&by_name, &to, sk, BPF_NOEXIST) ? -1 : 1000 * sk->family + sk->type;
	bpf_sk_release(sk);
	return kind;
}

SEC("tc")
int drop(struct __sk_buff *skb)
{
	__u64 key = 7;

	return bpf_map_delete_elem(&by_name, &key);
}

SEC("sockops")
int collect(struct bpf_sock_ops *ops)
{
	__u32 index = 1;
	__u64 name = 7;

	bpf_sock_map_update(ops, &sockets, &index, BPF_ANY);
	bpf_sock_hash_update(ops, &by_name, &name, BPF_ANY);
	return 1;
}

SEC("iter/sockmap")
int list(struct bpf_iter__sockmap *ctx)
{
	struct sock *sk = ctx->sk;
	__u32 *key = ctx->key;

	if (sk && key)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u %u %u\n", *key, sk->__sk_common.skc_family, sk->sk_protocol);
	else
		BPF_SEQ_PRINTF(ctx->meta->seq, "end %d %d %d\n", ctx->map != 0, key != 0, sk != 0);
	return 0;
}

/* From the map under way into the other. */
SEC("iter/sockmap")
int copy(struct bpf_iter__sockmap *ctx)
{
	struct sock *sk = ctx->sk;
	__u64 name = 7;

	if (sk)
		bpf_map_update_elem(&by_name, &name, sk, BPF_ANY);
	return 0;
}

SEC("iter/sockmap")
int list_wide(struct bpf_iter__sockmap *ctx)
{
	__u64 *key = ctx->key;

	return key && key[2] ? 1 : 0;
}

char LICENSE[] SEC("license") = "GPL";
