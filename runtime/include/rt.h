/* SPDX-License-Identifier: MIT */
/* The runtime's inside: what its C files share. Python sees api.h only. */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

/* The C library has types of these names and other sizes. */
#define loff_t kernel_loff_t
#define dev_t kernel_dev_t

#include "uapi.h"
#include "kernel.h"
#include "api.h"

#define RT_CACHE_LINE 64
#define RT_PAGE 4096UL
#define RT_MAX_CPUS 64
#define RT_COUNTER_BITS 8
#define RT_HEAP_CLASSES 96
#define RT_MAX_LOCKS 31
#define RT_MAX_FUNCTIONS 256 /* BPF_MAX_SUBPROGS */
#define RT_MAY_GOTO_ROUNDS 0xffff /* BPF_MAX_TIMED_LOOPS: rounds between two looks at the clock */
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define round_up(x, to) (((x) + (to) - 1) / (to) * (to))

/*
 * A simulated CPU. Whoever executes a program or touches a map holds one, as Linux disables
 * migration: per-CPU data has one user at a time, and a held CPU is an RCU read section.
 */
struct rt_cpu {
	u64 rcu_seq; /* atomic: odd while held, and so both the lock and the reader's mark */
	u32 index;
	struct rt_kernel *kernel;
	struct task_struct *current;
	u32 nesting;
	struct rt_cpu *outer; /* the other kernel's CPU that this thread holds meanwhile */
	u64 random;
	u32 tail_calls; /* in the chain under way */
	struct rt_drops *drops; /* objects to be freed when readers are through */
	u32 drops_wait; /* a batch of them was handed over since somebody looked */
	struct rt_event *event; /* of a cgroup, under way */
	u32 thrown; /* a program is on its way out of its functions */
	u32 nlocks;
	u64 cookie; /* what it has thrown */
	u32 *locks[RT_MAX_LOCKS]; /* resilient locks that it holds, in their order */
	u32 *wanted; /* atomic: the one that it waits for */
} __attribute__((aligned(128)));

struct rt_deferred {
	struct rt_deferred *next;
	void (*release)(struct rt_kernel *k, void *obj, size_t size);
	void *obj;
	size_t size;
	u64 seen[RT_MAX_CPUS];
};

struct storage_link;
struct rt_timers;

struct rt_kernel {
	struct rt_timers *timers; /* atomic */
	int ncpus;
	struct storage_link *storages; /* maps that keep values for objects */
	u32 storages_lock;
	struct rt_cpu *cpus;
	pthread_mutex_t lock; /* heap, deferred frees, trace log */
	struct rt_deferred *deferred;
	char *heap;
	size_t heap_used;
	void *heap_free[RT_HEAP_CLASSES]; /* by size in 64-byte units, from SMALL_UNITS on by powers of two */
	u64 pointer_key[2];
	struct rt_index *pointer_names; /* what %p shows of objects that another kernel has named */
	u32 rstat_lock; /* one flush at a time, as in Linux: the sums are not made for more */
	struct rt_tracepoint *rstat_before, *rstat_after; /* atomic: what runs around bpf_rstat_flush() */
	struct rt_tracepoint *printk_event; /* atomic: what happens with each line of the trace log */
	struct rt_types *types; /* atomic: the kernel's BTF, for printing by type */
	struct rt_index *tasks, *cgroups;
	struct rt_index *prog_symbols; /* loaded programs' code */
	struct task_struct *idle; /* current where no other task does the work */
	rt_upcall_fn upcall; /* what programs ask of the control side */
	int elsewhere; /* atomic: runs for users whose memory is another process's */
	char *trace;
	size_t trace_used, trace_size;
	s64 cookies; /* atomic: of sockets, the last given */
	u32 stats_users; /* atomic: who wants runs counted */
	u64 objects; /* atomic: of programs' own types, not yet dropped */
	char *percpu; /* ncpus areas; a pointer into the first stands for what each CPU has at its place */
	size_t percpu_used;
	void *percpu_free[64]; /* by size in 8-byte units */
	struct rt_prog *counters[1 << RT_COUNTER_BITS];
};

#define RT_TLS __thread __attribute__((tls_model("initial-exec")))
extern RT_TLS struct rt_cpu *rt_this_cpu;

/* Reads that a writer may race with, and whose result is checked afterwards; ThreadSanitizer need not know. */
#ifdef __SANITIZE_THREAD__
#define RT_RACY __attribute__((no_sanitize_thread))
#else
#define RT_RACY
#endif

struct rt_cpu *rt_enter(struct rt_kernel *k);
void rt_leave(struct rt_cpu *cpu);
void rt_fault_install(void);
int rt_fault_copy16(void *dst, const void *src);
void rt_types_free(struct rt_kernel *k);
void rt_defer_quietly(struct rt_kernel *k, void (*release)(struct rt_kernel *, void *, size_t), void *obj, size_t size);
void rt_defer(struct rt_kernel *k, void (*release)(struct rt_kernel *, void *, size_t), void *obj, size_t size);

u64 rt_run_counted(struct rt_kernel *k, rt_prog_fn fn, void *ctx);

/* One execution, counted where somebody wants it so; the caller holds a CPU. */
static inline u64 rt_run(struct rt_kernel *k, rt_prog_fn fn, void *ctx)
{
	if (likely(!__atomic_load_n(&k->stats_users, __ATOMIC_RELAXED)))
		return fn(ctx);
	return rt_run_counted(k, fn, ctx);
}

u64 rt_run_once(struct rt_kernel *k, struct rt_cpu *cpu, struct rt_prog *p, rt_prog_fn fn, void *ctx);
void rt_streams_free(struct rt_prog *prog);
int rt_tracepoint_used(const struct rt_tracepoint *tp);

/* The task whose doing this is; without one it stays who it was, in the end the idle task. */
static inline void rt_become(struct rt_cpu *cpu, struct task_struct *task)
{
	if (task)
		cpu->current = task;
}

static inline void rt_relax(unsigned *spins)
{
	if (++*spins & 63)
		__builtin_ia32_pause();
	else
		sched_yield(); /* the holder may wait for our processor */
}

static inline void rt_spin_lock(u32 *lock)
{
	unsigned spins = 0;

	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
		while (__atomic_load_n(lock, __ATOMIC_RELAXED))
			rt_relax(&spins);
}

static inline void rt_spin_unlock(u32 *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

/* -- maps -- */

enum rt_field_kind { /* the kernel's enum btf_field_type */
	RT_SPIN_LOCK = 1,
	RT_TIMER = 2,
	RT_WORKQUEUE = 1024,
	RT_KPTR_UNREF = 4,
	RT_KPTR_REF = 8,
	RT_KPTR_PERCPU = 16,
	RT_LIST_HEAD = 32,
	RT_RB_ROOT = 128,
	RT_REFCOUNT = 512,
	RT_RES_SPIN_LOCK = 4096,
	RT_OWNERS = RT_KPTR_REF | RT_KPTR_PERCPU | RT_LIST_HEAD | RT_RB_ROOT,
};

/* Fields of a value that are no plain data (spec: bpfjit/btf/record.py): copies leave them alone. */
struct rt_fields {
	u32 count;
	u32 kinds;
	int lock_off; /* of its bpf_spin_lock, -1 none */
	int timer_off;
	int work_off;
	struct rt_field field[RT_MAX_FIELDS];
};

/* -- objects of programs' own types (objects.c) -- */

struct rt_struct {
	struct rt_structs *set;
	struct rt_struct *next;
	u32 size;
	int refcount_off; /* -1: objects are not counted */
	struct rt_fields fields;
};

/* One reference is given back; with the last one go what the object owns, and then the object. */
void rt_object_drop(struct rt_kernel *k, void *object);
/* What the fields of a value or an object own is let go. */
void rt_fields_drop(struct rt_kernel *k, const struct rt_fields *f, void *base);
void rt_objects_free(struct rt_kernel *k);
struct rt_structs *rt_structs_get(struct rt_structs *set);
void *rt_percpu_alloc(struct rt_kernel *k, u32 size);
/* Hands each object of a list or tree (whose lock the caller holds, or which nobody else knows) to `take`. */
void rt_list_empty(void *head, u32 node_off, void (*take)(void *arg, void *object), void *arg);
void rt_tree_empty(void *root, u32 node_off, void (*take)(void *arg, void *object), void *arg);

#define RT_PERCPU_AREA (16UL << 20)

static inline void *rt_percpu_at(void *p, u32 cpu)
{
	return (char *)p + cpu * RT_PERCPU_AREA;
}

void rt_fields_take(struct rt_fields *to, const struct rt_field *fields, u32 count);

struct rt_map {
	struct bpf_map map; /* first: programs see it */
	struct rt_kernel *kernel;
	u32 value_stride; /* round_up(value_size, 8) */
	u64 value_bytes; /* as copy_in and copy_out have one value */
	u32 stored_bytes; /* value_size, or what is kept in its place */
	u64 memory_bytes;
	struct rt_fields fields;
};

/* A walk's place; `index` holds the key of maps that keep none in memory. */
struct rt_cursor {
	u64 pos;
	u64 used, next; /* a hash's: what it has seen before it gets there */
	u32 index;
};

typedef u64 (*rt_map_callback)(struct bpf_map *map, const void *key, void *value, void *ctx, u64 unused);

/* One map type; RT_MAP_TYPE() makes it known. What a type does not have is NULL and answered with ENOTSUPP. */
struct bpf_map_ops {
	u32 map_type;
	struct rt_map *(*alloc)(struct rt_kernel *k, const struct bpf_map *shape, int *err);
	void (*free)(struct rt_map *m);
	void *(*lookup)(struct rt_map *m, const void *key, int cpu);
	int (*update)(struct rt_map *m, const void *key, const void *value, u64 flags);
	int (*delete)(struct rt_map *m, const void *key);
	/* maps without keys */
	int (*push)(struct rt_map *m, const void *value, u64 flags);
	int (*pop)(struct rt_map *m, void *value);
	int (*peek)(struct rt_map *m, void *value);
	int tests; /* peek asks whether `value` is there */
	/* syscall side: whole values, every CPU's for per-CPU maps */
	int (*copy_out)(struct rt_map *m, const void *key, void *value, u64 flags);
	int (*copy_in)(struct rt_map *m, const void *key, const void *value, u64 flags);
	int (*take)(struct rt_map *m, const void *key, void *value, u64 flags); /* copy_out and delete in one */
	/* The element at or after the cursor, which moves past it. 0 at the end. */
	int (*walk)(struct rt_map *m, struct rt_cursor *at, void **key, void **value);
	/* The cursor behind `key`, or -ENOENT. */
	s64 (*seek)(struct rt_map *m, const void *key);
	/* In place of walk and seek, where the order is the keys' own: the key after `key` (NULL: the first). */
	int (*next_key)(struct rt_map *m, const void *key, void *next);
	int (*owns)(struct rt_map *m, u64 addr, u64 size);
	void *(*direct)(struct rt_map *m);
};

/* The types gather in a section of their own: the file that implements one is the only place that names it. */
#define RT_MAP_TYPE(ops)                                                                                               \
	static const struct bpf_map_ops *const ops##_known __attribute__((used, section("rt_map_types"))) = &ops

#define RT_ENOTSUPP 524 /* the kernel's own, which no C library names */

/* Copies between a value of the map and plain memory: the special fields stay as they are, or read as zero. */
void rt_value_write(const struct rt_map *m, void *to, const void *from);
void rt_value_read(const struct rt_map *m, void *to, const void *from);
/* The same under the value's own lock (BPF_F_LOCK). */
void rt_value_write_locked(const struct rt_map *m, void *to, const void *from);
void rt_value_read_locked(const struct rt_map *m, void *to, const void *from);
/* What the special fields of an element hold is let go: it is about to be another's, or gone. */
void rt_value_drop_slow(struct rt_map *m, void *value);

static inline void rt_value_drop(struct rt_map *m, void *value)
{
	if (unlikely(m->fields.count))
		rt_value_drop_slow(m, value);
}

/* A copy of what may be written meanwhile; whoever calls checks afterwards whether it was. */
static RT_RACY inline void rt_copy_racing(void *to, const void *from, size_t size)
{
#ifdef __SANITIZE_THREAD__
	for (size_t i = 0; i < size; i++)
		((volatile char *)to)[i] = ((const volatile char *)from)[i];
#else
	memcpy(to, from, size);
#endif
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

void *rt_heap_reserve(struct rt_kernel *k, size_t size); /* zeroed for the first time, not given back; NULL: full */
void rt_kobj_free(struct rt_kernel *k, void *obj, size_t size); /* nobody reads it any more */
void rt_rcu_poll(struct rt_kernel *k);
void *rt_pages_alloc(size_t size);
void rt_pages_free(void *pages, size_t size);

static inline struct rt_map *rt_map_of(const struct bpf_map *map)
{
	return (struct rt_map *)map;
}

/* -- views -- */

/* What a view shows at `pos`, `n` bytes at most `size` or -errno, handed over while it stays where it is. */
typedef void (*rt_text_fn)(void *arg, s64 n, const char *text);
void rt_view_pass(struct rt_view *v, size_t size, u64 pos, rt_text_fn take, void *arg);

void rt_timer_drop(void *at);
void rt_timers_stop(struct rt_kernel *k);
void rt_timers_free(struct rt_kernel *k);
void rt_storage_forget(struct rt_kernel *k, void *object);
/* Maps that know kernel objects are told with this when one is no more, and (at_once) when it is closed. */
typedef void (*rt_forget_fn)(struct rt_map *m, void *object);
int rt_objects_watch(struct rt_kernel *k, struct rt_map *m, rt_forget_fn forget, int at_once);
void rt_objects_unwatch(struct rt_map *m);
u64 rt_sk_cookie(struct sock *sk);
struct sock *rt_event_sock(const void *ctx); /* of the event that a cgroup program sees, or NULL */

int rt_arena_fault(u64 addr, int missing);
int rt_arena_pass_over(void *context);
s64 rt_probe_read(void *dst, u64 size, const void *src);

/* -- printing -- */

/* Appends formatted text; 0, -EINVAL/-ENOSPC for a bad format, -EOVERFLOW when it does not fit. */
struct rt_out {
	char *buf;
	size_t size;
	size_t count;
};
const struct rt_ksym *rt_ksym_of(struct rt_kernel *k, u64 addr);
u64 rt_pointer_name(struct rt_kernel *k, u64 address);
int rt_bprintf(struct rt_kernel *k, struct rt_out *out, const char *fmt, u32 fmt_size, const u64 *args, u32 nargs);

/* -- contexts: the UAPI structure, then the 64-bit packet pointers (spec/prog_types.py) -- */

struct rt_xdp {
	struct xdp_md md;
	u8 *data, *data_end, *data_meta;
	u8 *hard_start, *frame_end;
	u32 frag_bytes; /* at frame_end */
};

struct rt_skb {
	struct __sk_buff skb;
	u8 *data, *data_end, *data_meta;
	u8 *head, *limit; /* of the buffer */
	u8 *mac, *network; /* headers */
	u32 hash_known, csum_known;
};

/* -- records of ring buffers, as dynptrs hold them -- */

void *rt_ringbuf_reserve(struct bpf_map *map, u64 size, u64 flags);
void rt_ringbuf_submit(void *record, u64 flags);
void rt_ringbuf_discard(void *record, u64 flags);
void rt_ringbuf_committed(void *record, u64 flags);
