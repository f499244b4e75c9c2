/* SPDX-License-Identifier: MIT */
/*
 * Calls out of programs into the control side: bpf(2) on a program's behalf, closing its fds, names of types and
 * symbols. Whoever runs such a program (sleepable, in the context of a caller) has set the function that answers.
 */
#include "rt.h"

void rt_kernel_upcall(struct rt_kernel *k, rt_upcall_fn fn)
{
	k->upcall = fn;
}

static s64 upcall(u32 what, u64 a, u64 b, u64 c)
{
	rt_upcall_fn fn = rt_this_cpu->kernel->upcall;

	return fn ? fn(what, a, b, c) : -EINVAL;
}

s64 rt_bpf_sys_bpf(u64 cmd, const void *attr, u64 attr_size)
{
	return upcall(RT_UP_SYS_BPF, (u32)cmd, (u64)(uintptr_t)attr, (u32)attr_size);
}

s64 rt_bpf_sys_close(u64 fd)
{
	return upcall(RT_UP_SYS_CLOSE, (u32)fd, 0, 0);
}

/* Names come with their NUL inside the size. */
static int is_name(const char *name, u64 size)
{
	return (s32)size > 1 && !name[(s32)size - 1];
}

s64 rt_btf_find_by_name_kind(const char *name, u64 size, u64 kind, u64 flags)
{
	if ((u32)flags || !is_name(name, size))
		return -EINVAL;
	return upcall(RT_UP_FIND_BTF, (u64)(uintptr_t)name, (u32)kind, 0);
}

s64 rt_kallsyms_lookup_name(const char *name, u64 size, u64 flags, u64 *res)
{
	s64 addr;

	*res = 0;
	if ((u32)flags || !is_name(name, size))
		return -EINVAL;
	addr = upcall(RT_UP_SYMBOL, (u64)(uintptr_t)name, 0, 0);
	if ((u64)addr >= (u64)-4095)
		return addr;
	*res = (u64)addr;
	return addr ? 0 : -ENOENT;
}

void rt_kernel_elsewhere(struct rt_kernel *k, int by)
{
	__atomic_add_fetch(&k->elsewhere, by, __ATOMIC_RELAXED);
}

/* User memory is this process's, unless programs run for others: then whoever runs this one knows where it is. */
s64 rt_copy_from_user(void *dst, u64 size, const void *src)
{
	s64 err;

	if (likely(!__atomic_load_n(&rt_this_cpu->kernel->elsewhere, __ATOMIC_RELAXED)))
		return rt_probe_read(dst, size, src);
	err = upcall(RT_UP_COPY_USER, (u64)(uintptr_t)dst, (u32)size, (u64)(uintptr_t)src);
	if (err)
		memset(dst, 0, (u32)size);
	return err;
}
