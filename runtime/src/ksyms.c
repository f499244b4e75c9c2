/* SPDX-License-Identifier: MIT */
/*
 * Names of addresses and addresses of names, as kallsyms knows them: the functions that programs call under the names
 * that Linux has for them, and loaded programs.
 */
#include "iter.h"
#include "rt.h"

#define LONGEST 4096 /* a function that we know is not longer: others, without a name here, come behind it */

/* Pieces of native code that are no function of a kernel's. */
static const char *const pieces[] = {
	"rt_put_", "rt_load", "rt_tail_enter", "rt_tail_leave", "rt_trace_text", "rt_may_goto", "rt_thrown", "rt_catch",
};

/* Functions that serve under several names, or under one that does not follow from ours. */
static const struct {
	const char *name, *symbol;
} others[] = {
	{ "bpf_spin_lock", "rt_value_lock" },
	{ "bpf_spin_unlock", "rt_value_unlock" },
	{ "bpf_probe_read_user", "rt_probe_read" },
	{ "bpf_probe_read_user_str", "rt_probe_read_str" },
	{ "bpf_get_current_task_btf", "rt_get_current_task" },
	{ "bpf_sock_hash_update", "rt_sock_map_update" },
	{ "bpf_sk_storage_get", "rt_storage_get" },
	{ "bpf_sk_storage_delete", "rt_storage_delete" },
	{ "bpf_task_storage_get", "rt_storage_get" },
	{ "bpf_task_storage_delete", "rt_storage_delete" },
	{ "bpf_cgrp_storage_get", "rt_storage_get" },
	{ "bpf_cgrp_storage_delete", "rt_storage_delete" },
	{ "bpf_inode_storage_get", "rt_storage_get" },
	{ "bpf_inode_storage_delete", "rt_storage_delete" },
};

#define OTHERS (sizeof(others) / sizeof(others[0]))
#define MOST 1024

static struct rt_ksym own[MOST];
static u32 count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int by_address(const void *a, const void *b)
{
	const struct rt_ksym *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void put(u64 start, const char *prefix, const char *name)
{
	struct rt_ksym *s = &own[count];

	if (count == MOST)
		return;
	s->start = start;
	stpncpy(stpncpy(s->name, prefix, 8), name, sizeof(s->name) - 9);
	count++;
}

static void put_symbol(const char *symbol, u64 start)
{
	const char *name = symbol + strlen("rt_");
	int known = 0;

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		if (!strncmp(symbol, pieces[i], strlen(pieces[i]))) {
			put(start, "", ""); /* where the one before ends */
			return;
		}
	for (size_t i = 0; i < OTHERS; i++)
		if (!strcmp(others[i].symbol, symbol)) {
			put(start, "", others[i].name);
			known |= !strcmp(symbol, "rt_storage_get") || !strcmp(symbol, "rt_storage_delete");
			known |= !strncmp(symbol, "rt_value_", 9);
		}
	if (!known)
		put(start, !strncmp(name, "bpf_", 4) || !strncmp(name, "css_", 4) ? "" : "bpf_", name);
}

static void gather(void)
{
	const char *name;
	void *addr;

	for (int i = 0; rt_symbol(i, &name, &addr); i++)
		put_symbol(name, (u64)(uintptr_t)addr);
	qsort(own, count, sizeof(own[0]), by_address);
	for (u32 i = count; i-- > 0;) {
		u64 size = LONGEST;

		for (u32 j = i + 1; j < count; j++)
			if (own[j].start != own[i].start) {
				size = own[j].start - own[i].start;
				break;
			}
		own[i].size = size < LONGEST ? size : LONGEST;
	}
}

/* The i-th of the kernel's own functions by address, NULL behind the last. */
const struct rt_ksym *rt_ksym(u32 i)
{
	pthread_once(&once, gather);
	for (u32 at = 0; at < count; at++)
		if (own[at].name[0] && !i--)
			return &own[at];
	return NULL;
}

u64 rt_ksym_address(const char *name)
{
	pthread_once(&once, gather);
	for (u32 i = 0; i < count && *name; i++)
		if (!strcmp(own[i].name, name))
			return own[i].start;
	return 0;
}

/* The symbol that an address lies in: the first of its names. A program's stays for as long as the caller's CPU is held. */
const struct rt_ksym *rt_ksym_of(struct rt_kernel *k, u64 addr)
{
	struct rt_index *progs = __atomic_load_n(&k->prog_symbols, __ATOMIC_ACQUIRE);
	struct rt_ksym *s = NULL;
	u32 low = 0, high;
	u64 end = addr;
	u32 hint = 0;

	if (progs)
		s = rt_index_from(progs, &end, &hint);
	if (s && addr >= s->start)
		return s;
	pthread_once(&once, gather);
	high = count;
	while (low < high) {
		u32 mid = (low + high) / 2;

		if (own[mid].start <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	while (low > 1 && own[low - 2].start == own[low - 1].start)
		low--;
	if (!low || !own[low - 1].name[0] || addr - own[low - 1].start >= own[low - 1].size)
		return NULL;
	return &own[low - 1];
}

/* -- loaded programs, by their last byte: the first at or after an address is the one that ends beyond it -- */

struct rt_ksym *rt_ksym_add(struct rt_kernel *k, u64 start, u64 size, const char *name)
{
	struct rt_ksym *s = rt_kobj_alloc(k, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct rt_ksym){ .start = start, .size = size };
	strncpy(s->name, name, sizeof(s->name) - 1);
	if (rt_index_add(k->prog_symbols, start + size - 1, s)) {
		rt_kobj_free(k, s, sizeof(*s));
		return NULL;
	}
	return s;
}

void rt_ksym_remove(struct rt_kernel *k, struct rt_ksym *s)
{
	rt_index_remove(k->prog_symbols, s->start + s->size - 1);
	rt_kobj_free_rcu(k, s, sizeof(*s));
}
