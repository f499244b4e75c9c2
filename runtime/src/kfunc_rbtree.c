/* SPDX-License-Identifier: MIT */
/*
 * Red-black trees of programs' own objects, in the order that the program's callback says. Whoever calls holds the lock
 * beside the root.
 */
#include "rt.h"

struct tree_node_kern {
	u64 parent; /* with the colour in its lowest bit: 1 black */
	struct tree_node_kern *right, *left; /* as struct rb_node */
	void *owner; /* atomic: the tree that it is in, NULL none */
};

struct tree_kern {
	struct tree_node_kern *root, *first;
};

typedef u64 (*less_fn)(struct tree_node_kern *a, struct tree_node_kern *b, u64, u64, u64);

static struct tree_node_kern *parent(const struct tree_node_kern *n)
{
	return (struct tree_node_kern *)(uintptr_t)(n->parent & ~1ULL);
}

static int is_red(const struct tree_node_kern *n)
{
	return n && !(n->parent & 1);
}

static void set_parent(struct tree_node_kern *n, struct tree_node_kern *p)
{
	n->parent = (u64)(uintptr_t)p | (n->parent & 1);
}

static void paint(struct tree_node_kern *n, int black)
{
	n->parent = (n->parent & ~1ULL) | (u64)black;
}

/* `to` in the place of `from` below `above`. */
static void hang(struct tree_kern *t, struct tree_node_kern *above, struct tree_node_kern *from, struct tree_node_kern *to)
{
	if (!above)
		t->root = to;
	else if (above->left == from)
		above->left = to;
	else
		above->right = to;
}

/* The child on the other side comes up, and `n` goes down to the left or to the right. */
static void rotate(struct tree_kern *t, struct tree_node_kern *n, int left)
{
	struct tree_node_kern *up = left ? n->right : n->left, *inner = left ? up->left : up->right, *above = parent(n);

	if (left) {
		n->right = inner;
		up->left = n;
	} else {
		n->left = inner;
		up->right = n;
	}
	if (inner)
		set_parent(inner, n);
	set_parent(up, above);
	hang(t, above, n, up);
	set_parent(n, up);
}

static void balance_added(struct tree_kern *t, struct tree_node_kern *n)
{
	struct tree_node_kern *p, *g, *uncle;

	while (is_red(p = parent(n))) {
		int left;

		g = parent(p); /* a red node is not the root */
		left = p == g->left;
		uncle = left ? g->right : g->left;
		if (is_red(uncle)) {
			paint(p, 1);
			paint(uncle, 1);
			paint(g, 0);
			n = g;
			continue;
		}
		if (n == (left ? p->right : p->left)) {
			rotate(t, p, left);
			n = p;
			p = parent(n);
		}
		paint(p, 1);
		paint(g, 0);
		rotate(t, g, !left);
	}
	paint(t->root, 1);
}

/* One black node is missing on the way down to `n` (perhaps NULL), the child of `p`. */
static void balance_removed(struct tree_kern *t, struct tree_node_kern *n, struct tree_node_kern *p)
{
	while (p && !is_red(n)) {
		int left = n == p->left;
		struct tree_node_kern *s = left ? p->right : p->left, *far;

		if (is_red(s)) {
			paint(s, 1);
			paint(p, 0);
			rotate(t, p, left);
			s = left ? p->right : p->left;
		}
		if (!is_red(s->left) && !is_red(s->right)) {
			paint(s, 0);
			n = p;
			p = parent(n);
			continue;
		}
		far = left ? s->right : s->left;
		if (!is_red(far)) {
			paint(left ? s->left : s->right, 1);
			paint(s, 0);
			rotate(t, s, !left);
			s = left ? p->right : p->left;
			far = left ? s->right : s->left;
		}
		paint(s, !is_red(p));
		paint(p, 1);
		paint(far, 1);
		rotate(t, p, left);
		break;
	}
	if (n)
		paint(n, 1);
}

static struct tree_node_kern *following(struct tree_node_kern *n)
{
	struct tree_node_kern *p;

	if (n->right) {
		for (n = n->right; n->left;)
			n = n->left;
		return n;
	}
	while ((p = parent(n)) && n == p->right)
		n = p;
	return p;
}

static void unhook(struct tree_kern *t, struct tree_node_kern *n)
{
	struct tree_node_kern *gap, *below, *above;
	int black;

	if (t->first == n)
		t->first = following(n);
	gap = n->left && n->right ? following(n) : n; /* where a node really goes */
	below = gap->left ? gap->left : gap->right;
	above = parent(gap);
	black = !is_red(gap);
	if (below)
		set_parent(below, above);
	hang(t, above, gap, below);
	if (gap != n) {
		if (above == n)
			above = gap;
		gap->parent = n->parent;
		gap->left = n->left;
		gap->right = n->right;
		hang(t, parent(n), n, gap);
		if (gap->left)
			set_parent(gap->left, gap);
		if (gap->right)
			set_parent(gap->right, gap);
	}
	if (black)
		balance_removed(t, below, above);
	n->left = n->right = NULL;
	n->parent = 0;
	__atomic_store_n(&n->owner, NULL, __ATOMIC_RELEASE);
}

s64 rt_bpf_rbtree_add_impl(struct tree_kern *t, struct tree_node_kern *n, less_fn less, u64 unused, u64 off)
{
	struct tree_node_kern **at = &t->root, *above = NULL;
	void *nobody = NULL;
	int leftmost = 1;

	if (!__atomic_compare_exchange_n(&n->owner, &nobody, t, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		/* It is in some tree already (it is counted): the reference that came with it is given back. */
		rt_object_drop(rt_this_cpu->kernel, (char *)n - off);
		return -EINVAL;
	}
	while (*at) {
		above = *at;
		if (less(n, above, 0, 0, 0)) {
			at = &above->left;
		} else {
			at = &above->right;
			leftmost = 0;
		}
	}
	n->left = n->right = NULL;
	n->parent = (u64)(uintptr_t)above;
	*at = n;
	if (leftmost)
		t->first = n;
	balance_added(t, n);
	return 0;
}

struct tree_node_kern *rt_bpf_rbtree_remove(struct tree_kern *t, struct tree_node_kern *n)
{
	if (__atomic_load_n(&n->owner, __ATOMIC_ACQUIRE) != t)
		return NULL;
	unhook(t, n);
	return n;
}

struct tree_node_kern *rt_bpf_rbtree_first(struct tree_kern *t)
{
	return t->first;
}

struct tree_node_kern *rt_bpf_rbtree_root(struct tree_kern *t)
{
	return t->root;
}

struct tree_node_kern *rt_bpf_rbtree_left(struct tree_kern *t, struct tree_node_kern *n)
{
	return __atomic_load_n(&n->owner, __ATOMIC_ACQUIRE) == t ? n->left : NULL;
}

struct tree_node_kern *rt_bpf_rbtree_right(struct tree_kern *t, struct tree_node_kern *n)
{
	return __atomic_load_n(&n->owner, __ATOMIC_ACQUIRE) == t ? n->right : NULL;
}

void rt_tree_empty(void *root, u32 node_off, void (*take)(void *arg, void *object), void *arg)
{
	struct tree_kern *t = root;

	while (t->first) {
		struct tree_node_kern *n = t->first;

		unhook(t, n);
		take(arg, (char *)n - node_off);
	}
}
