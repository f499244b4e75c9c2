/* SPDX-License-Identifier: MIT */
/* What the files of the stress program share. */
#pragma once

#include <stdio.h>
#include <unistd.h>

#include "rt.h"

#define CHECK(cond, ...)                                                                                               \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s: ", __func__, __LINE__, #cond);                                     \
			fprintf(stderr, __VA_ARGS__);                                                                  \
			fputc('\n', stderr);                                                                           \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

/* The helpers, as compiled programs call them. */
void *rt_map_lookup_elem(struct bpf_map *map, const void *key);
s64 rt_seq_printf(struct seq_file *seq, const char *fmt, u64 fmt_size, const u64 *data, u64 data_len);
s64 rt_probe_read(void *dst, u64 size, const void *src);
s64 rt_probe_read_str(char *dst, u64 size, const char *src);

#define THREADS 4
#define KEYS 61

struct pair {
	u64 a, b;
};

struct worker {
	struct rt_kernel *k;
	struct bpf_map *map;
	int index;
	u64 done;
	u64 random;
};

u64 draw(struct worker *w);
int going(void);
/* Run `n` threads of `fn` for the time given, and add up what they did. */
u64 race(struct rt_kernel *k, struct bpf_map *map, int n, void *(*fn)(void *));
struct bpf_map *map_new(struct rt_kernel *k, u32 type, u32 key_size, u32 value_size, u32 entries, u32 flags);
u64 count_keys(struct bpf_map *map);

/* -- the cases -- */

void test_arena(struct rt_kernel *k);
void test_user_ring(struct rt_kernel *k);
void test_stacks(struct rt_kernel *k);
void test_churn_flags(struct rt_kernel *k, u32 type, u32 entries, u32 flags);
void test_churn(struct rt_kernel *k, u32 type, u32 entries);
void test_percpu(struct rt_kernel *k, u32 type);
void test_rcu(struct rt_kernel *k);
void test_tracepoint(struct rt_kernel *k);
void test_views(struct rt_kernel *k);
void test_fuse(struct rt_kernel *k);
void test_walk(struct rt_kernel *k);
void test_symbols(struct rt_kernel *k);
void test_rstat(struct rt_kernel *k);
void test_edges(struct rt_kernel *k);
void test_trie(struct rt_kernel *k);
void test_queue(struct rt_kernel *k, u32 type);
void test_ring(struct rt_kernel *k);
void test_timers(struct rt_kernel *k);
void test_storage(struct rt_kernel *k);
void test_inner(struct rt_kernel *k);
