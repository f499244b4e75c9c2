/* SPDX-License-Identifier: MIT */
/*
 * What Python may call: the runtime's public functions, read by C and by cffi as it stands.
 * Results are >= 0 or -errno unless said otherwise. A function that takes a kernel may be called from
 * any thread, without the GIL.
 */
#pragma once

struct rt_kernel;
struct rt_view;
struct rt_tracepoint;

typedef u64 (*rt_prog_fn)(void *ctx);

/* -- symbols for the JIT: name and address of the i-th, 0 past the end -- */
int rt_symbol(int i, const char **name, void **addr);
/* -- where native code finds what it reads in place of calling: the same, for offsets in bytes -- */
int rt_offset(int i, const char **name, s64 *bytes);

/* -- kernels: simulated CPUs, RCU, kernel objects -- */
struct rt_kernel *rt_kernel_new(int ncpus);
void rt_kernel_free(struct rt_kernel *k);
int rt_ncpus(struct rt_kernel *k);
void rt_kernel_idle(struct rt_kernel *k, struct task_struct *idle);
void *rt_kobj_alloc(struct rt_kernel *k, size_t size);
void rt_kobj_free_rcu(struct rt_kernel *k, void *obj, size_t size);
void rt_sock_closed(struct rt_kernel *k, void *sk); /* it goes out of the maps of sockets, before its memory does */
void rt_kobj_forget_rcu(struct rt_kernel *k, void *obj); /* it lies in another, which goes */
void rt_kernel_printk_hook(struct rt_kernel *k, struct rt_tracepoint *event);
void rt_kernel_rstat_hook(struct rt_kernel *k, struct rt_tracepoint *before, struct rt_tracepoint *after);
int rt_kernel_types(struct rt_kernel *k, const void *data, size_t size);
struct btf *rt_btf_new(struct rt_kernel *k, const void *data, size_t size, u32 id);
void rt_btf_free(struct rt_kernel *k, struct btf *btf, size_t size);
int rt_kernel_name_pointer(struct rt_kernel *k, const void *obj, u64 name);
int rt_kobj_owns(struct rt_kernel *k, u64 addr, u64 size);
struct rt_index;
/* What kernel functions look tasks and cgroups up in, by pid and by id. */
void rt_kernel_registries(struct rt_kernel *k, struct rt_index *tasks, struct rt_index *cgroups);
void rt_task_get(struct task_struct *task);
void rt_task_put(struct rt_kernel *k, struct task_struct *task);
/* What get_stackid() and its like find: addresses, innermost first, at most 127 of each. */
int rt_task_stack(struct rt_kernel *k, struct task_struct *task, const u64 *kernel, u32 nkernel, const u64 *user, u32 nuser);
void rt_cgroup_put(struct rt_kernel *k, struct cgroup *cgroup);
void rt_rcu_barrier(struct rt_kernel *k);

/* -- memory that may not be there -- */
int rt_copy_fault(void *dst, const void *src, size_t size);
u64 rt_probe_load(u64 addr, u64 size);

/* -- programs -- */
u64 rt_prog_run(struct rt_kernel *k, rt_prog_fn fn, void *ctx, struct task_struct *current);
int rt_prog_bench(struct rt_kernel *k, rt_prog_fn fn, void *ctx, struct task_struct *current, u64 repeat, u64 *retval,
		  double *mean_ns);

/*
 * What happens in a cgroup, and to which socket (or none). `retval`: where what it will come to lies, in the context or (NULL)
 * in `own`; flags: what the programs' answers say beside yes and no.
 */
struct rt_event {
	void *ctx;
	struct sock *sk;
	s32 *retval;
	s32 own;
	u32 flags;
	void **storage; /* of the program under way: its cgroup storage, and that of each CPU (the first one's) */
};
/* storage: two for each program, or NULL where none has any. */
s64 rt_cgroup_run(struct rt_kernel *k, const rt_prog_fn *fns, void **storage, u32 count, void *ctx,
		  struct rt_event *event, struct task_struct *current);
void *rt_cgroup_storage(struct bpf_map *map, u64 cgroup_id, u32 attach_type);
void rt_cgroup_storage_forget(struct bpf_map *map, u64 cgroup_id);

enum rt_streams { RT_STREAMS = 2 };
struct rt_text;
struct rt_stream {
	u32 lock, used;
	struct rt_text *first, *last;
};

/*
 * What is kept of a program: how often and how long it ran (while rt_stats_users() is above 0), how often it was passed over
 * at an event of its own, who is in it on each CPU, what it said. `fn` is its entry, known from rt_prog_code() on.
 */
struct rt_prog {
	void **replaced; /* first: atomic, by its functions the code of other programs that stands for them; NULL for none */
	struct rt_traced *traced; /* atomic: by its functions, who traces them */
	struct rt_prog *next;
	rt_prog_fn fn;
	u64 runs, ns, misses;
	u32 *active;
	struct rt_stream streams[RT_STREAMS];
};
struct rt_prog *rt_prog_new(struct rt_kernel *k);
void rt_prog_code(struct rt_kernel *k, struct rt_prog *p, rt_prog_fn fn);
void rt_prog_free(struct rt_kernel *k, struct rt_prog *p);
/* Where `from` stood for a function `to` does from now on (NULL: the function itself); -EBUSY where something else stands. */
int rt_prog_replace(struct rt_prog *p, u32 function, void *from, void *to);
/* What runs before and behind a function of the program, which has so many arguments; NULL for nobody. -ENOMEM. */
int rt_prog_trace(struct rt_prog *p, u32 function, struct rt_tracepoint *before, struct rt_tracepoint *behind, u32 nargs);
/* Called by the code that is traced: args holds five numbers, and room for one behind them. */
void rt_traced_enter(struct rt_prog *p, u64 function, u64 *args);
void rt_traced_leave(struct rt_prog *p, u64 function, u64 *args, u64 returned);
/* One reader of a program at a time peeks, and drops what he could make use of. */
s64 rt_stream_peek(struct rt_prog *prog, u32 id, char *buf, u64 size);
void rt_stream_drop(struct rt_prog *prog, u32 id, u64 size);
void rt_stats_users(struct rt_kernel *k, int by);

struct rt_packet_run {
	u8 *data;
	u32 data_size;
	u32 data_capacity;
	u32 repeat;
	u32 retval;
	u32 is_xdp;
	u32 pulled; /* bytes in front of the packet that an skb program does not see: its link header */
	u32 frag_bytes; /* of an XDP frame, behind data_capacity */
	double mean_ns;
	u8 *ctx;
	u32 ctx_size;
	struct task_struct *current;
};
int rt_packet_run(struct rt_kernel *k, rt_prog_fn fn, struct rt_packet_run *run);

/* -- memory for linked code: reserved, written and made executable at once, released -- */
void *rt_code_reserve(size_t size);
int rt_code_seal(void *code, const void *bytes, size_t size, size_t sealed);
void rt_code_free(void *code, size_t size);
void *rt_code_libc(const char *name);

/* -- symbols: the kernel's own functions by address, and loaded programs -- */
struct rt_ksym {
	u64 start, size;
	char name[176]; /* what it prints at most is known to bpfjit/jit/formats.py */
};
const struct rt_ksym *rt_ksym(u32 i);
u64 rt_ksym_address(const char *name);
struct rt_ksym *rt_ksym_add(struct rt_kernel *k, u64 start, u64 size, const char *name);
void rt_ksym_remove(struct rt_kernel *k, struct rt_ksym *s);

/* -- what programs ask of the control side: the answer is >= 0 or -errno, of a symbol its address or 0 -- */
enum rt_upcall {
	RT_UP_SYS_BPF = 1, /* command, attr, its size */
	RT_UP_SYS_CLOSE = 2, /* fd */
	RT_UP_FIND_BTF = 3, /* name, kind */
	RT_UP_SYMBOL = 4, /* name */
	RT_UP_COPY_USER = 5, /* destination, size, address in the user's memory */
};
typedef s64 (*rt_upcall_fn)(u32 what, u64 a, u64 b, u64 c);
void rt_kernel_upcall(struct rt_kernel *k, rt_upcall_fn fn);
void rt_kernel_elsewhere(struct rt_kernel *k, int by); /* one run more, or less, for a user whose memory is not ours */

/* -- tracepoints: programs attached, in order; fire() runs them all `repeat` times, none within itself if `prog` is told -- */
struct rt_tracepoint *rt_tracepoint_new(struct rt_kernel *k);
void rt_tracepoint_free(struct rt_tracepoint *tp);
int rt_tracepoint_attach(struct rt_tracepoint *tp, rt_prog_fn fn, struct rt_prog *prog);
/* As attach, before all others: of a function's programs the last attached runs first. */
int rt_tracepoint_attach_first(struct rt_tracepoint *tp, rt_prog_fn fn, struct rt_prog *prog);
/* Runs them in order, args[nargs] being what the one before returned, until one returns more or less than 0; what it did. */
u64 rt_tracepoint_ask(struct rt_tracepoint *tp, u64 *args, u32 nargs, struct task_struct *current);
int rt_tracepoint_detach(struct rt_tracepoint *tp, rt_prog_fn fn);
int rt_tracepoint_fire(struct rt_tracepoint *tp, u64 *args, struct task_struct *current, u64 repeat);

/* -- maps: `shape` says type, sizes, flags; what programs see of a map is filled from it -- */
enum rt_limits {
	RT_MAX_FIELDS = 11,
};

struct rt_struct;
struct rt_structs;

/* A special field of a value or an object: `kind` as in bpfjit/btf/record.py, offset and size in bytes. */
struct rt_field {
	u32 kind;
	u32 offset;
	u32 size;
	u32 node_off; /* of a list or tree: where the node lies in what it contains */
	void (*destroy)(void *object); /* what a pointer to an object of the kernel's is let go with */
	struct rt_struct *type; /* of the programs' own: what a pointer leads to, a list or tree contains */
};

/*
 * Structures that programs allocate, as long as somebody holds the set: whoever has their BTF, and maps that own such
 * objects.
 */
struct rt_structs *rt_structs_new(void);
void rt_structs_put(struct rt_structs *set);
struct rt_struct *rt_struct_new(struct rt_structs *set, u32 size); /* NULL: no memory */
void rt_struct_define(struct rt_struct *s, const struct rt_field *fields, u32 nfields);
u64 rt_objects_alive(struct rt_kernel *k);

void rt_map_drop_timers(struct bpf_map *map);
int rt_map_type_known(u32 map_type);
struct bpf_map *rt_map_new(struct rt_kernel *k, const struct bpf_map *shape, const struct rt_field *fields, u32 nfields,
			   int *err);
void rt_map_free(struct bpf_map *map);
int rt_map_copy_out(struct bpf_map *map, const void *key, void *value, u64 flags);
int rt_map_take(struct bpf_map *map, const void *key, void *value, u64 flags);
int rt_map_copy_in(struct bpf_map *map, const void *key, const void *value, u64 flags);
int rt_map_delete(struct bpf_map *map, const void *key);
/* Elements by the addresses that a caller in this process gave: bad ones are -EFAULT. */
int rt_map_lookup_user(struct bpf_map *map, u64 key, u64 value, u64 flags);
int rt_map_update_user(struct bpf_map *map, u64 key, u64 value, u64 flags);
int rt_map_delete_user(struct bpf_map *map, u64 key);
int rt_map_next_key_user(struct bpf_map *map, u64 key, u64 next);
int rt_map_next_key(struct bpf_map *map, const void *key, void *next);
u64 rt_map_value_bytes(struct bpf_map *map);
u64 rt_map_memory_bytes(struct bpf_map *map);
void *rt_map_direct(struct bpf_map *map);
int rt_map_owns(struct bpf_map *map, u64 addr, u64 size);

/* -- ring buffers: their memory from the consumer's page on, an eventfd that wakeups count up, whether poll() is ready -- */
void *rt_ring_memory(struct bpf_map *map, u64 *size);
int rt_ring_event(struct bpf_map *map);
void rt_ring_seen(struct bpf_map *map);
int rt_ring_ready(struct bpf_map *map);

/* -- arenas: the user's address and size, 0 until they are known; where a user in this process sees one -- */
u64 rt_arena_user(struct bpf_map *map, u64 *size);
s64 rt_arena_mmap(struct bpf_map *map, u64 addr, u64 size, int writable);
void rt_arena_munmap(struct bpf_map *map, void *at);

/* -- perf events of one CPU: a page with head and tail, then `pages` of records; the eventfd counts what came -- */
struct rt_perf_event;
struct rt_perf_event *rt_perf_event_new(struct rt_kernel *k, u32 cpu, u32 pages);
void rt_perf_event_free(struct rt_perf_event *e);
void *rt_perf_event_memory(struct rt_perf_event *e, u64 *size);
int rt_perf_event_fd(struct rt_perf_event *e);
int rt_perf_event_ready(struct rt_perf_event *e);

/* -- views: one kernel object shown through a program, read as kernfs serves a seq_file -- */
struct rt_view *rt_view_open(struct rt_kernel *k, rt_prog_fn fn, void *object);
void rt_view_close(struct rt_view *v);
int rt_view_past_page(struct rt_view *v);
int rt_view_made(struct rt_view *v);
s64 rt_view_read(struct rt_view *v, void *buf, size_t size, u64 pos, struct task_struct *current);
s64 rt_view_read_many(struct rt_kernel *k, rt_prog_fn fn, void **objects, u64 count, char *buf, size_t size, u64 *ends,
		      struct task_struct *current);

/* -- /dev/fuse: opens, reads and releases of views are answered by whoever waits in next() for other requests -- */
struct rt_fuse;
struct rt_fuse *rt_fuse_new(int fd);
void rt_fuse_shut(struct rt_fuse *f);
void rt_fuse_free(struct rt_fuse *f);
s64 rt_fuse_next(struct rt_fuse *f, void *buf, size_t size);
int rt_fuse_show(struct rt_fuse *f, u64 nodeid, struct rt_kernel *k, rt_prog_fn fn, void *object, u64 tag);
void rt_fuse_retire(struct rt_fuse *f);
void rt_fuse_forget(struct rt_fuse *f, u64 nodeid);
u64 rt_fuse_reap(struct rt_fuse *f);
u64 rt_fuse_tag(struct rt_fuse *f, u64 fh);
s64 rt_fuse_read(struct rt_fuse *f, u64 fh, void *buf, size_t size, u64 pos);
int rt_fuse_made(struct rt_fuse *f, u64 fh);
int rt_fuse_release(struct rt_fuse *f, u64 fh);

/* -- formats, for tests: bpf_seq_printf's rules into a plain buffer; the length or -errno -- */
s64 rt_format(struct rt_kernel *k, char *out, size_t size, const char *fmt, u32 fmt_size, const u64 *args, u32 nargs);

/* -- bpf_trace_printk's text: moves up to `size` bytes out of the kernel's log -- */
s64 rt_trace_read(struct rt_kernel *k, char *buf, size_t size);

/* -- the live kernel -- */
s64 rt_sys_bpf(int cmd, void *attr, u32 size);
s64 rt_sys_mmap(int fd, u64 addr, u64 size, int writable); /* at that address */
void rt_sys_munmap(void *at, u64 size);

/* -- bare instruction streams -- */
u64 rt_raw_run(struct rt_kernel *k, u64 fn, void *memory, u64 size);

/* -- registries: kernel objects by ascending number, which iterators walk -- */
struct rt_index *rt_index_new(struct rt_kernel *k);
void rt_index_free(struct rt_index *x);
int rt_index_add(struct rt_index *x, u64 key, void *obj);
int rt_index_remove(struct rt_index *x, u64 key);
u32 rt_index_count(struct rt_index *x);

/* A task's memory, with its areas in the order of their addresses. */
struct rt_mm {
	struct mm_struct mm;
	struct rt_index *areas;
};

/* -- iterators: read as bpf_seq_read() serves them -- */
struct rt_iter_ops;
const struct rt_iter_ops *rt_iter_walk(const char *name); /* NULL for none of that name */

struct rt_iter_how {
	const struct rt_iter_ops *ops;
	void *subject; /* an rt_index, a struct cgroup or a struct bpf_map */
	void *last; /* objects: what the call at the end is given, NULL for most targets */
	u32 order; /* cgroups: enum bpf_cgroup_iter_order */
	u32 tid; /* tasks: only this one */
	u32 tgid; /* tasks: only the threads of this one */
};

struct rt_iter;
struct rt_iter *rt_iter_open(struct rt_kernel *k, rt_prog_fn fn, const struct rt_iter_how *how, u64 session_id);
void rt_iter_close(struct rt_iter *it);
s64 rt_iter_read(struct rt_iter *it, void *buf, size_t size, struct task_struct *current);

/* -- many elements at once -- */
s64 rt_map_read_batch(struct bpf_map *map, u64 *pos, char *keys, char *values, u64 count, int take, u64 flags);
s64 rt_map_read_keys(struct bpf_map *map, const void *prev, char *keys, char *values, u64 count, u64 flags, int *err);
s64 rt_map_write_batch(struct bpf_map *map, const char *keys, const char *values, u64 count, u64 flags, int *err);
s64 rt_map_seek(struct bpf_map *map, const void *key);
