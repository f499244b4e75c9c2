/* SPDX-License-Identifier: MIT */
/* Tracing programs written with named arguments, and registers of a traced function. */
#ifndef __BPF_TRACING_H__
#define __BPF_TRACING_H__

#include "bpf_helpers.h"

#define ___bpf_ctx_cast0() ctx
#define ___bpf_ctx_cast1(x) ___bpf_ctx_cast0(), (void *)ctx[0]
#define ___bpf_ctx_cast2(x, args...) ___bpf_ctx_cast1(args), (void *)ctx[1]
#define ___bpf_ctx_cast3(x, args...) ___bpf_ctx_cast2(args), (void *)ctx[2]
#define ___bpf_ctx_cast4(x, args...) ___bpf_ctx_cast3(args), (void *)ctx[3]
#define ___bpf_ctx_cast5(x, args...) ___bpf_ctx_cast4(args), (void *)ctx[4]
#define ___bpf_ctx_cast6(x, args...) ___bpf_ctx_cast5(args), (void *)ctx[5]
#define ___bpf_ctx_cast7(x, args...) ___bpf_ctx_cast6(args), (void *)ctx[6]
#define ___bpf_ctx_cast8(x, args...) ___bpf_ctx_cast7(args), (void *)ctx[7]
#define ___bpf_ctx_cast9(x, args...) ___bpf_ctx_cast8(args), (void *)ctx[8]
#define ___bpf_ctx_cast10(x, args...) ___bpf_ctx_cast9(args), (void *)ctx[9]
#define ___bpf_ctx_cast11(x, args...) ___bpf_ctx_cast10(args), (void *)ctx[10]
#define ___bpf_ctx_cast12(x, args...) ___bpf_ctx_cast11(args), (void *)ctx[11]
#define ___bpf_ctx_cast(args...) ___bpf_apply(___bpf_ctx_cast, ___bpf_narg(args))(args)

/* A program whose context is an array of 64-bit arguments: tp_btf, fentry, iterators' views, raw_tp. */
#define BPF_PROG(name, args...)                                                                                        \
	name(unsigned long long *ctx);                                                                                 \
	static __always_inline typeof(name(0)) ____##name(unsigned long long *ctx, ##args);                            \
	typeof(name(0)) name(unsigned long long *ctx)                                                                  \
	{                                                                                                              \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"");                 \
		return ____##name(___bpf_ctx_cast(args));                                                              \
		_Pragma("GCC diagnostic pop")                                                                          \
	}                                                                                                              \
	static __always_inline typeof(name(0)) ____##name(unsigned long long *ctx, ##args)

/* x86-64: the registers of a function's arguments, of its result, and of a system call. */
#define PT_REGS_PARM1(x) (((const struct pt_regs *)(x))->di)
#define PT_REGS_PARM2(x) (((const struct pt_regs *)(x))->si)
#define PT_REGS_PARM3(x) (((const struct pt_regs *)(x))->dx)
#define PT_REGS_PARM4(x) (((const struct pt_regs *)(x))->cx)
#define PT_REGS_PARM5(x) (((const struct pt_regs *)(x))->r8)
#define PT_REGS_PARM6(x) (((const struct pt_regs *)(x))->r9)
#define PT_REGS_RET(x) (((const struct pt_regs *)(x))->sp)
#define PT_REGS_FP(x) (((const struct pt_regs *)(x))->bp)
#define PT_REGS_RC(x) (((const struct pt_regs *)(x))->ax)
#define PT_REGS_SP(x) (((const struct pt_regs *)(x))->sp)
#define PT_REGS_IP(x) (((const struct pt_regs *)(x))->ip)
#define PT_REGS_PARM1_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), di)
#define PT_REGS_PARM2_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), si)
#define PT_REGS_PARM3_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), dx)
#define PT_REGS_PARM4_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), cx)
#define PT_REGS_PARM5_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), r8)
#define PT_REGS_PARM6_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), r9)
#define PT_REGS_RET_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), sp)
#define PT_REGS_FP_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), bp)
#define PT_REGS_RC_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), ax)
#define PT_REGS_SP_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), sp)
#define PT_REGS_IP_CORE(x) BPF_CORE_READ((const struct pt_regs *)(x), ip)
#define PT_REGS_PARM1_SYSCALL(x) (((const struct pt_regs *)(x))->di)
#define PT_REGS_PARM2_SYSCALL(x) (((const struct pt_regs *)(x))->si)
#define PT_REGS_PARM3_SYSCALL(x) (((const struct pt_regs *)(x))->dx)
#define PT_REGS_PARM4_SYSCALL(x) (((const struct pt_regs *)(x))->r10)
#define PT_REGS_PARM5_SYSCALL(x) (((const struct pt_regs *)(x))->r8)
#define PT_REGS_PARM6_SYSCALL(x) (((const struct pt_regs *)(x))->r9)
#define PT_REGS_PARM1_CORE_SYSCALL(x) BPF_CORE_READ((const struct pt_regs *)(x), di)
#define PT_REGS_PARM2_CORE_SYSCALL(x) BPF_CORE_READ((const struct pt_regs *)(x), si)
#define PT_REGS_PARM3_CORE_SYSCALL(x) BPF_CORE_READ((const struct pt_regs *)(x), dx)
#define PT_REGS_PARM4_CORE_SYSCALL(x) BPF_CORE_READ((const struct pt_regs *)(x), r10)
#define PT_REGS_PARM5_CORE_SYSCALL(x) BPF_CORE_READ((const struct pt_regs *)(x), r8)
#define PT_REGS_PARM6_CORE_SYSCALL(x) BPF_CORE_READ((const struct pt_regs *)(x), r9)
/* System calls get the registers of user space through a pointer (CONFIG_ARCH_HAS_SYSCALL_WRAPPER). */
#define PT_REGS_SYSCALL_REGS(ctx) ((struct pt_regs *)PT_REGS_PARM1(ctx))

#define ___bpf_kprobe_args0() ctx
#define ___bpf_kprobe_args1(x) ___bpf_kprobe_args0(), (void *)PT_REGS_PARM1(ctx)
#define ___bpf_kprobe_args2(x, args...) ___bpf_kprobe_args1(args), (void *)PT_REGS_PARM2(ctx)
#define ___bpf_kprobe_args3(x, args...) ___bpf_kprobe_args2(args), (void *)PT_REGS_PARM3(ctx)
#define ___bpf_kprobe_args4(x, args...) ___bpf_kprobe_args3(args), (void *)PT_REGS_PARM4(ctx)
#define ___bpf_kprobe_args5(x, args...) ___bpf_kprobe_args4(args), (void *)PT_REGS_PARM5(ctx)
#define ___bpf_kprobe_args6(x, args...) ___bpf_kprobe_args5(args), (void *)PT_REGS_PARM6(ctx)
#define ___bpf_kprobe_args(args...) ___bpf_apply(___bpf_kprobe_args, ___bpf_narg(args))(args)

#define ___bpf_kretprobe_args0() ctx
#define ___bpf_kretprobe_args1(x) ___bpf_kretprobe_args0(), (void *)PT_REGS_RC(ctx)
#define ___bpf_kretprobe_args(args...) ___bpf_apply(___bpf_kretprobe_args, ___bpf_narg(args))(args)

#define ___bpf_syscall_args0() ctx
#define ___bpf_syscall_args1(x) ___bpf_syscall_args0(), (void *)PT_REGS_PARM1_CORE_SYSCALL(regs)
#define ___bpf_syscall_args2(x, args...) ___bpf_syscall_args1(args), (void *)PT_REGS_PARM2_CORE_SYSCALL(regs)
#define ___bpf_syscall_args3(x, args...) ___bpf_syscall_args2(args), (void *)PT_REGS_PARM3_CORE_SYSCALL(regs)
#define ___bpf_syscall_args4(x, args...) ___bpf_syscall_args3(args), (void *)PT_REGS_PARM4_CORE_SYSCALL(regs)
#define ___bpf_syscall_args5(x, args...) ___bpf_syscall_args4(args), (void *)PT_REGS_PARM5_CORE_SYSCALL(regs)
#define ___bpf_syscall_args6(x, args...) ___bpf_syscall_args5(args), (void *)PT_REGS_PARM6_CORE_SYSCALL(regs)
#define ___bpf_syscall_args(args...) ___bpf_apply(___bpf_syscall_args, ___bpf_narg(args))(args)

#define BPF_KPROBE(name, args...)                                                                                      \
	name(struct pt_regs *ctx);                                                                                     \
	static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args);                                \
	typeof(name(0)) name(struct pt_regs *ctx)                                                                      \
	{                                                                                                              \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"");                 \
		return ____##name(___bpf_kprobe_args(args));                                                           \
		_Pragma("GCC diagnostic pop")                                                                          \
	}                                                                                                              \
	static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args)

#define BPF_KRETPROBE(name, args...)                                                                                   \
	name(struct pt_regs *ctx);                                                                                     \
	static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args);                                \
	typeof(name(0)) name(struct pt_regs *ctx)                                                                      \
	{                                                                                                              \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"");                 \
		return ____##name(___bpf_kretprobe_args(args));                                                        \
		_Pragma("GCC diagnostic pop")                                                                          \
	}                                                                                                              \
	static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args)

/* The arguments of a system call, read through CO-RE: include bpf_core_read.h. */
#define BPF_KSYSCALL(name, args...)                                                                                    \
	name(struct pt_regs *ctx);                                                                                     \
	static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args);                                \
	typeof(name(0)) name(struct pt_regs *ctx)                                                                      \
	{                                                                                                              \
		struct pt_regs *regs __attribute__((unused)) = PT_REGS_SYSCALL_REGS(ctx);                              \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"");                 \
		return ____##name(___bpf_syscall_args(args));                                                          \
		_Pragma("GCC diagnostic pop")                                                                          \
	}                                                                                                              \
	static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args)

#define BPF_KPROBE_SYSCALL BPF_KSYSCALL
#define BPF_UPROBE(name, args...) BPF_KPROBE(name, ##args)
#define BPF_URETPROBE(name, args...) BPF_KRETPROBE(name, ##args)

#endif
