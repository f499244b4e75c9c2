/* SPDX-License-Identifier: MIT */
/*
 * Reads of memory that may not be there, as the kernel does them: a handful of instructions with an
 * exception table. A SIGSEGV or SIGBUS at one of them goes on at its fixup; any other goes to whoever
 * handled the signal before us.
 */
#include <signal.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "rt.h"

#if defined(__x86_64__)
__asm__(".text\n"
	".globl rt_fault_begin\n"
	".globl rt_fault_end\n"
	".globl rt_fault_fixup\n"
	".hidden rt_fault_begin\n"
	".hidden rt_fault_end\n"
	".hidden rt_fault_fixup\n"
	".p2align 4\n"
	/* long rt_fault_copy(void *dst, const void *src, size_t n): bytes left */
	".globl rt_fault_copy\n"
	".hidden rt_fault_copy\n"
	".type rt_fault_copy, @function\n"
	"rt_fault_copy:\n"
	"	mov %rdx, %rcx\n"
	"rt_fault_begin:\n"
	"	rep movsb\n"
	"rt_fault_end:\n"
	"rt_fault_fixup:\n"
	"	mov %rcx, %rax\n"
	"	ret\n"
	".size rt_fault_copy, .-rt_fault_copy\n"
	/* The loads: 0 in place of what cannot be read. */
#define LOAD(bits, insn)                                                                                               \
	".p2align 4\n"                                                                                                 \
	".globl rt_load" #bits "\n"                                                                                    \
	".type rt_load" #bits ", @function\n"                                                                          \
	"rt_load" #bits ":\n"                                                                                          \
	".globl rt_load" #bits "_at\n"                                                                                 \
	".hidden rt_load" #bits "_at\n"                                                                                \
	"rt_load" #bits "_at:\n"                                                                                       \
	"	" insn "\n"                                                                                            \
	"	ret\n"                                                                                                 \
	".size rt_load" #bits ", .-rt_load" #bits "\n"
	LOAD(8, "movzbl (%rdi), %eax")
	LOAD(16, "movzwl (%rdi), %eax")
	LOAD(32, "movl (%rdi), %eax")
	LOAD(64, "movq (%rdi), %rax")
	".globl rt_load_fixup\n"
	".hidden rt_load_fixup\n"
	"rt_load_fixup:\n"
	"	xor %eax, %eax\n"
	"	ret\n");
#define FAULT_PC(uc) ((uc)->uc_mcontext.gregs[REG_RIP])
#else
#error "bpfjit's fault table is written for x86-64 only so far"
#endif

extern char rt_fault_begin[], rt_fault_end[], rt_fault_fixup[], rt_load_fixup[];
extern char rt_load8_at[], rt_load16_at[], rt_load32_at[], rt_load64_at[];
long rt_fault_copy(void *dst, const void *src, size_t n);
u64 rt_load8(u64 addr), rt_load16(u64 addr), rt_load32(u64 addr), rt_load64(u64 addr);

static struct sigaction before_segv, before_bus;
static __thread int chained;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	char *pc = (char *)FAULT_PC(uc);
	struct sigaction *before = sig == SIGBUS ? &before_bus : &before_segv;

	if (pc >= rt_fault_begin && pc < rt_fault_end) {
		FAULT_PC(uc) = (greg_t)(uintptr_t)rt_fault_fixup;
		return;
	}
	if (pc == rt_load8_at || pc == rt_load16_at || pc == rt_load32_at || pc == rt_load64_at) {
		FAULT_PC(uc) = (greg_t)(uintptr_t)rt_load_fixup;
		return;
	}
	if (chained++)
		signal(sig, SIG_DFL); /* whoever we passed it to gave it back: the instruction runs again and ends the process */
	else if (before->sa_flags & SA_SIGINFO && before->sa_sigaction)
		before->sa_sigaction(sig, info, context);
	else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN)
		before->sa_handler(sig);
	else
		sigaction(sig, before, NULL); /* the instruction runs again and ends the process as it should */
}

static void arm(int sig, struct sigaction *before)
{
	struct sigaction ours = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER }, now;

	sigemptyset(&ours.sa_mask);
	if (!sigaction(sig, NULL, &now) && now.sa_sigaction != on_fault && !sigaction(sig, &ours, &now))
		*before = now;
}

/* Again for each kernel: a debugger's handler (Python's faulthandler) may have taken our place since. */
__attribute__((constructor)) void rt_fault_arm(void)
{
	arm(SIGSEGV, &before_segv);
	arm(SIGBUS, &before_bus);
}

/* Copy from (or to) memory that may be bad: 0 or -EFAULT; what could be copied has been. */
int rt_copy_fault(void *dst, const void *src, size_t size)
{
	return rt_fault_copy(dst, src, size) ? -EFAULT : 0;
}

u64 rt_probe_load(u64 addr, u64 size)
{
	switch (size) {
	case 1:
		return rt_load8(addr);
	case 2:
		return rt_load16(addr);
	case 4:
		return rt_load32(addr);
	default:
		return rt_load64(addr);
	}
}
