/* SPDX-License-Identifier: MIT */
/*
 * What BPF programs need beside the kernel's types, with the names that users of libbpf's header of
 * this name expect.
 */
#ifndef __BPF_HELPERS__
#define __BPF_HELPERS__

#include "bpf_helper_defs.h"

/* -- declarations -- */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
#define __ulong(name, val) enum { ___bpf_concat(__unique_value, __COUNTER__) = val } name

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif
#ifndef __hidden
#define __hidden __attribute__((visibility("hidden")))
#endif

#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))
#define __kptr __attribute__((btf_type_tag("kptr")))
#define __kptr_untrusted __attribute__((btf_type_tag("kptr_untrusted")))
#define __percpu_kptr __attribute__((btf_type_tag("percpu_kptr")))
#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))
#define __arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))
#define __arg_nullable __attribute__((btf_decl_tag("arg:nullable")))
#define __arg_trusted __attribute__((btf_decl_tag("arg:trusted")))

/* -- the language -- */
#ifndef offsetof
#define offsetof(type, member) ((unsigned long)&((type *)0)->member)
#endif
#ifndef container_of
#define container_of(ptr, type, member)                                                                                \
	({                                                                                                             \
		void *__mptr = (void *)(ptr);                                                                          \
		(type *)(__mptr - offsetof(type, member));                                                             \
	})
#endif
#ifndef barrier
#define barrier() asm volatile("" ::: "memory")
#endif
#ifndef barrier_var
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif
#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif
#ifndef READ_ONCE
#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))
#endif
#ifndef NULL
#define NULL ((void *)0)
#endif

#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))

enum libbpf_pin_type {
	LIBBPF_PIN_NONE,
	LIBBPF_PIN_BY_NAME,
};

enum libbpf_tristate {
	TRI_NO = 0,
	TRI_YES = 1,
	TRI_MODULE = 2,
};

#define bpf_ksym_exists(sym) (!!sym)

/* -- counting arguments -- */
#ifndef ___bpf_concat
#define ___bpf_concat(a, b) a##b
#endif
#ifndef ___bpf_apply
#define ___bpf_apply(fn, n) ___bpf_concat(fn, n)
#endif
#ifndef ___bpf_nth
#define ___bpf_nth(_, _1, _2, _3, _4, _5, _6, _7, _8, _9, _a, _b, _c, N, ...) N
#endif
#ifndef ___bpf_narg
#define ___bpf_narg(...) ___bpf_nth(_, ##__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#endif

#define ___bpf_fill0(arr, p, x) do {} while (0)
#define ___bpf_fill1(arr, p, x) arr[p] = x
#define ___bpf_fill2(arr, p, x, args...) arr[p] = x; ___bpf_fill1(arr, p + 1, args)
#define ___bpf_fill3(arr, p, x, args...) arr[p] = x; ___bpf_fill2(arr, p + 1, args)
#define ___bpf_fill4(arr, p, x, args...) arr[p] = x; ___bpf_fill3(arr, p + 1, args)
#define ___bpf_fill5(arr, p, x, args...) arr[p] = x; ___bpf_fill4(arr, p + 1, args)
#define ___bpf_fill6(arr, p, x, args...) arr[p] = x; ___bpf_fill5(arr, p + 1, args)
#define ___bpf_fill7(arr, p, x, args...) arr[p] = x; ___bpf_fill6(arr, p + 1, args)
#define ___bpf_fill8(arr, p, x, args...) arr[p] = x; ___bpf_fill7(arr, p + 1, args)
#define ___bpf_fill9(arr, p, x, args...) arr[p] = x; ___bpf_fill8(arr, p + 1, args)
#define ___bpf_fill10(arr, p, x, args...) arr[p] = x; ___bpf_fill9(arr, p + 1, args)
#define ___bpf_fill11(arr, p, x, args...) arr[p] = x; ___bpf_fill10(arr, p + 1, args)
#define ___bpf_fill12(arr, p, x, args...) arr[p] = x; ___bpf_fill11(arr, p + 1, args)
#define ___bpf_fill(arr, args...) ___bpf_apply(___bpf_fill, ___bpf_narg(args))(arr, 0, args)

/* -- printing: each value widened to 64 bits in an array on the stack -- */
#define BPF_SEQ_PRINTF(seq, fmt, args...)                                                                              \
	({                                                                                                             \
		static const char ___fmt[] = fmt;                                                                      \
		unsigned long long ___param[___bpf_narg(args) ?: 1];                                                   \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"");                 \
		___bpf_fill(___param, args);                                                                           \
		_Pragma("GCC diagnostic pop");                                                                         \
		bpf_seq_printf(seq, ___fmt, sizeof(___fmt), ___param, ___bpf_narg(args) * sizeof(___param[0]));        \
	})

#define BPF_SNPRINTF(out, out_size, fmt, args...)                                                                      \
	({                                                                                                             \
		static const char ___fmt[] = fmt;                                                                      \
		unsigned long long ___param[___bpf_narg(args) ?: 1];                                                   \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"");                 \
		___bpf_fill(___param, args);                                                                           \
		_Pragma("GCC diagnostic pop");                                                                         \
		bpf_snprintf(out, out_size, ___fmt, ___param, ___bpf_narg(args) * sizeof(___param[0]));                \
	})

extern int bpf_stream_vprintk_impl(int stream_id, const char *fmt__str, const void *args, __u32 len__sz,
				   void *aux__prog) __weak __ksym;
/* To BPF_STDOUT or BPF_STDERR of the program, for whoever reads that (BPF_PROG_STREAM_READ_BY_FD). */
#define bpf_stream_printk(stream_id, fmt, args...)                                                                     \
	({                                                                                                             \
		static const char ___fmt[] = fmt;                                                                      \
		unsigned long long ___param[___bpf_narg(args) ?: 1];                                                   \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"");                 \
		___bpf_fill(___param, args);                                                                           \
		_Pragma("GCC diagnostic pop");                                                                         \
		bpf_stream_vprintk_impl(stream_id, ___fmt, ___param, ___bpf_narg(args) * sizeof(___param[0]), (void *)0); \
	})

/* bpf_trace_printk() takes three values; more go through an array and bpf_trace_vprintk(). */
static long (*const ___bpf_trace_vprintk)(const char *fmt, __u32 fmt_size, const void *data, __u32 data_len) =
	(void *)177;
#define ___bpf_printk_few(fmt, args...)                                                                                \
	({                                                                                                             \
		static const char ____fmt[] = fmt;                                                                     \
		bpf_trace_printk(____fmt, sizeof(____fmt), ##args);                                                    \
	})
#define ___bpf_printk_many(fmt, args...)                                                                               \
	({                                                                                                             \
		static const char ____fmt[] = fmt;                                                                     \
		unsigned long long ___param[___bpf_narg(args) ?: 1];                                                   \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"");                 \
		___bpf_fill(___param, args);                                                                           \
		_Pragma("GCC diagnostic pop");                                                                         \
		___bpf_trace_vprintk(____fmt, sizeof(____fmt), ___param, sizeof(___param));                            \
	})
#define ___bpf_pick_printk(...)                                                                                        \
	___bpf_nth(_, ##__VA_ARGS__, ___bpf_printk_many, ___bpf_printk_many, ___bpf_printk_many, ___bpf_printk_many,   \
		   ___bpf_printk_many, ___bpf_printk_many, ___bpf_printk_many, ___bpf_printk_many,                     \
		   ___bpf_printk_many, ___bpf_printk_few, ___bpf_printk_few, ___bpf_printk_few, ___bpf_printk_few)
#define bpf_printk(fmt, args...) ___bpf_pick_printk(args)(fmt, ##args)
#define __bpf_printk(fmt, args...) ___bpf_printk_few(fmt, ##args)
#define __bpf_vprintk(fmt, args...) ___bpf_printk_many(fmt, ##args)

/* -- loops that the verifier knows: the kernel's number iterator (vmlinux.h or linux/bpf.h have its structure) -- */
struct bpf_iter_num;
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;

#define ___bpf_each_number(start, end, step)                                                                           \
	for (struct bpf_iter_num ___it __attribute__((aligned(8), cleanup(bpf_iter_num_destroy))),                     \
	     *___p __attribute__((unused)) = (bpf_iter_num_new(&___it, (start), (end)), (void *)0);                    \
	     step;)
#define bpf_for(i, start, end)                                                                                         \
	___bpf_each_number(start, end, ({                                                                              \
				   int *___n = bpf_iter_num_next(&___it);                                              \
				   (i) = ___n ? *___n : 0;                                                             \
				   ___n && (i) >= (start) && (i) < (end);                                              \
			   }))
#define bpf_repeat(n) ___bpf_each_number(0, n, bpf_iter_num_next(&___it))

/* Open-coded iterators of the kernel: bpf_for_each(task, t, ...) uses bpf_iter_task_new() and its sisters. */
#define bpf_for_each(type, cur, args...)                                                                               \
	for (struct bpf_iter_##type ___it __attribute__((aligned(8), cleanup(bpf_iter_##type##_destroy))),             \
	     *___p __attribute__((unused)) = (bpf_iter_##type##_new(&___it, ##args), (void *)0);                       \
	     ((cur) = bpf_iter_##type##_next(&___it));)

/* A tail call whose slot is a constant, in the one shape that the kernel turns into a jump. */
static __always_inline void bpf_tail_call_static(void *ctx, const void *map, const __u32 slot)
{
	asm volatile("r1 = %[ctx]\n\tr2 = %[map]\n\tr3 = %[slot]\n\tcall 12"
		     :
		     : [ctx] "r"(ctx), [map] "r"(map), [slot] "i"(slot)
		     : "r0", "r1", "r2", "r3", "r4", "r5");
}
#define __bpf_unreachable() __builtin_trap()

#endif
