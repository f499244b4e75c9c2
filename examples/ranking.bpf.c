// SPDX-License-Identifier: MIT
/* A ranking of packet sizes, kept in a tree of the program's own objects: the largest five are there, in order. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf_experimental.h>

char _license[] SEC("license") = "GPL";

struct entry {
	u32 bytes;
	struct bpf_rb_node node;
};

private(ranking) struct bpf_spin_lock lock;
private(ranking) struct bpf_rb_root ranking __contains(entry, node);
int entries;

static bool smaller(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	return container_of(a, struct entry, node)->bytes < container_of(b, struct entry, node)->bytes;
}

SEC("tc")
int rank(struct __sk_buff *skb)
{
	struct entry *e = bpf_obj_new(typeof(*e));
	struct bpf_rb_node *least;

	if (!e)
		return -1;
	e->bytes = skb->len;

	bpf_spin_lock(&lock);
	bpf_rbtree_add(&ranking, &e->node, smaller); /* from here on the tree owns it */
	entries++;
	least = bpf_rbtree_first(&ranking);
	if (entries <= 5 || !least) {
		bpf_spin_unlock(&lock);
		return entries;
	}
	least = bpf_rbtree_remove(&ranking, least); /* and now we do */
	entries--;
	bpf_spin_unlock(&lock);

	if (least) {
		e = container_of(least, struct entry, node);
		bpf_printk("%u bytes are not among the five largest", e->bytes);
		bpf_obj_drop(e);
	}
	return entries;
}

/* The mistake that is made most: what the tree owns is used after its lock was given back. */
SEC("?tc")
int rank_and_look(struct __sk_buff *skb)
{
	struct entry *e = bpf_obj_new(typeof(*e));

	if (!e)
		return -1;
	e->bytes = skb->len;
	bpf_spin_lock(&lock);
	bpf_rbtree_add(&ranking, &e->node, smaller);
	bpf_spin_unlock(&lock);
	return e->bytes;
}
