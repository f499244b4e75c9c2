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
	/* int rt_fault_copy16(void *dst, const void *src): 0, or 1 where it cannot be read */
	".p2align 4\n"
	".globl rt_fault_copy16\n"
	".hidden rt_fault_copy16\n"
	".hidden rt_fault_copy16_at\n"
	".hidden rt_fault_copy16_fixup\n"
	".type rt_fault_copy16, @function\n"
	"rt_fault_copy16:\n"
	"rt_fault_copy16_at:\n"
	"	movdqu (%rsi), %xmm0\n"
	"	movdqu %xmm0, (%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	"rt_fault_copy16_fixup:\n"
	"	mov $1, %eax\n"
	"	ret\n"
	".size rt_fault_copy16, .-rt_fault_copy16\n"
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
extern char rt_fault_copy16_at[], rt_fault_copy16_fixup[];
extern char rt_load8_at[], rt_load16_at[], rt_load32_at[], rt_load64_at[];
long rt_fault_copy(void *dst, const void *src, size_t n);
u64 rt_load8(u64 addr), rt_load16(u64 addr), rt_load32(u64 addr), rt_load64(u64 addr);

static struct sigaction before_segv, before_bus;
static RT_TLS int handing_on;

/*
 * A fault that is not ours: to the handler that was there before, else to the default that ends the process.
 * Whoever was before may raise the signal again when it is done (faulthandler does), and that comes here.
 */
static void hand_on(int sig, siginfo_t *info, void *context)
{
	struct sigaction *before = sig == SIGBUS ? &before_bus : &before_segv, fatal = { .sa_handler = SIG_DFL };

	if (!handing_on) {
		handing_on = 1;
		if (before->sa_flags & SA_SIGINFO && before->sa_sigaction) {
			before->sa_sigaction(sig, info, context);
			handing_on = 0;
			return;
		}
		if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
			before->sa_handler(sig);
			handing_on = 0;
			return;
		}
	}
	sigaction(sig, &fatal, NULL);
	if (info->si_code <= 0)
		raise(sig); /* else the instruction runs again, and the process ends at it */
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	char *pc = (char *)FAULT_PC(uc);
	int in_arena = info->si_code > 0 ? rt_arena_fault((u64)(uintptr_t)info->si_addr, sig == SIGSEGV) : 0;

	if (in_arena > 1)
		return; /* the page is there by now */
	if (pc >= rt_fault_begin && pc < rt_fault_end)
		FAULT_PC(uc) = (greg_t)(uintptr_t)rt_fault_fixup;
	else if (pc == rt_fault_copy16_at)
		FAULT_PC(uc) = (greg_t)(uintptr_t)rt_fault_copy16_fixup;
	else if (pc == rt_load8_at || pc == rt_load16_at || pc == rt_load32_at || pc == rt_load64_at)
		FAULT_PC(uc) = (greg_t)(uintptr_t)rt_load_fixup;
	else if (!in_arena || !rt_arena_pass_over(uc))
		hand_on(sig, info, context);
}

static void claim(int sig, struct sigaction *before)
{
	struct sigaction ours = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER }, now;

	if (sigaction(sig, NULL, &now) || (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_fault))
		return;
	sigemptyset(&ours.sa_mask);
	*before = now;
	sigaction(sig, &ours, NULL);
}

/*
 * Be the first to see a fault. Called when the library is loaded and again with every kernel, map and link: a
 * handler installed in between (Python's faulthandler, which pytest turns on) would take our faults for crashes.
 */
void rt_fault_install(void)
{
	claim(SIGSEGV, &before_segv);
	claim(SIGBUS, &before_bus);
}

__attribute__((constructor)) static void install(void)
{
	rt_fault_install();
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
