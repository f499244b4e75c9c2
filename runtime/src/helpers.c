/* SPDX-License-Identifier: MIT */
/* Helpers that need no object of their own: time, the current task, reads, strings, loops. */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rt.h"

#define MAX_LOOPS (1u << 23)

static u64 clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

u64 rt_ktime_get_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

u64 rt_ktime_get_boot_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

u64 rt_ktime_get_coarse_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

u64 rt_ktime_get_tai_ns(void)
{
	return clock_ns(CLOCK_TAI);
}

u64 rt_jiffies64(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE) / 4000000; /* HZ=250 */
}

u64 rt_get_prandom_u32(void)
{
	u64 x = rt_this_cpu->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	rt_this_cpu->random = x;
	return (u32)(x >> 16);
}

u64 rt_get_smp_processor_id(void)
{
	return rt_this_cpu->index;
}

u64 rt_get_numa_node_id(void)
{
	return 0;
}

/* -- the current task: the idle task where no other does the work; a bare runtime has not even that -- */

u64 rt_get_current_task(void)
{
	return (u64)(uintptr_t)rt_this_cpu->current;
}

u64 rt_get_current_pid_tgid(void)
{
	struct task_struct *t = rt_this_cpu->current;

	return t ? (u64)(u32)t->tgid << 32 | (u32)t->pid : (u64)-EINVAL;
}

u64 rt_get_current_uid_gid(void)
{
	struct task_struct *t = rt_this_cpu->current;

	return t ? (u64)t->cred->gid.val << 32 | t->cred->uid.val : (u64)-EINVAL;
}

s64 rt_get_current_comm(char *buf, u64 size)
{
	struct task_struct *t = rt_this_cpu->current;
	u32 n = (u32)size;

	memset(buf, 0, n);
	if (!t)
		return -EINVAL;
	memcpy(buf, t->comm, n < sizeof(t->comm) ? n : sizeof(t->comm));
	buf[n - 1] = 0;
	return 0;
}

u64 rt_get_current_cgroup_id(void)
{
	struct task_struct *t = rt_this_cpu->current;

	return t ? t->cgroups->dfl_cgrp->kn->id : 0;
}

u64 rt_get_current_ancestor_cgroup_id(u64 level)
{
	struct task_struct *t = rt_this_cpu->current;
	struct cgroup *c = t ? t->cgroups->dfl_cgrp : NULL;
	s32 want = (s32)level;

	return c && want >= 0 && want <= c->level ? c->ancestors[want]->kn->id : 0;
}

/* -- reads of any address -- */

s64 rt_probe_read(void *dst, u64 size, const void *src)
{
	u32 n = (u32)size;

	if (rt_copy_fault(dst, src, n)) {
		memset(dst, 0, n);
		return -EFAULT;
	}
	return 0;
}

/* The length with its NUL; 0 for no room; -EFAULT, and zeroes, for a bad address. */
s64 rt_probe_read_str(char *dst, u64 size, const char *src)
{
	u32 room = (u32)size, n = 0;

	if (!room)
		return 0;
	while (n < room) {
		u32 chunk = RT_PAGE - (((u64)(uintptr_t)src + n) & (RT_PAGE - 1));

		if (chunk > room - n)
			chunk = room - n;
		if (rt_copy_fault(dst + n, src + n, chunk)) {
			memset(dst, 0, room);
			return -EFAULT;
		}
		u32 here = strnlen(dst + n, chunk);

		n += here;
		if (here < chunk) {
			memset(dst + n, 0, chunk - here); /* nothing of what follows the string is left */
			return n + 1;
		}
	}
	dst[room - 1] = 0;
	return room;
}

/*
 * Linux refuses to read user addresses, and those of no address space, as kernel memory: -ERANGE. Here all memory is
 * of one kind; the two differ only where nothing can be read.
 */
static s64 kernel_error(s64 err, const void *src)
{
	return err == -EFAULT && (s64)(uintptr_t)src >> 47 != -1 ? -ERANGE : err;
}

s64 rt_probe_read_kernel(void *dst, u64 size, const void *src)
{
	return kernel_error(rt_probe_read(dst, size, src), src);
}

s64 rt_probe_read_kernel_str(char *dst, u64 size, const char *src)
{
	return kernel_error(rt_probe_read_str(dst, size, src), src);
}

/* -- strings -- */

s64 rt_strncmp(const char *s1, u64 size, const char *s2)
{
	int order = strncmp(s1, s2, (u32)size);

	return (order > 0) - (order < 0);
}

s64 rt_snprintf(char *str, u64 str_size, const char *fmt, const u64 *data, u64 data_len)
{
	struct rt_out out = { .buf = str, .size = (u32)str_size };
	int err;

	if ((u32)data_len & 7 || (u32)data_len > 12 * 8 || (data_len && !data))
		return -EINVAL;
	err = rt_bprintf(rt_this_cpu->kernel, &out, fmt, 0xffffffff, data, (u32)data_len / 8);
	if (err)
		return err;
	if (out.size)
		str[out.count < out.size ? out.count : out.size - 1] = 0;
	return (s64)out.count + 1;
}

#define NUMBER_CHARS 63 /* Linux looks at no more, spaces and sign aside */

static u32 digit_of(u8 c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 99;
}

/* A magnitude and its sign: the characters used, -EINVAL for none, -ERANGE past 64 bits. Latin-1's space is one too. */
static s64 parse_number(const char *buf, u64 size, u64 flags, int *negative, u64 *res)
{
	u32 base = flags & 31, at = 0, end = (u32)size, first;
	int overflow = 0;

	if ((base != 0 && base != 8 && base != 10 && base != 16) || flags & ~31ULL || !end)
		return -EINVAL;
	while (at < end && (buf[at] == ' ' || (buf[at] >= '\t' && buf[at] <= '\r') || (u8)buf[at] == 0xa0))
		at++;
	*negative = at < end && buf[at] == '-';
	at += *negative;
	if (end - at > NUMBER_CHARS)
		end = at + NUMBER_CHARS;
	int hex = end - at >= 2 && buf[at] == '0' && (buf[at + 1] | 32) == 'x';

	if (!base) /* 0x without a digit behind it is an octal 0 */
		base = hex && end - at >= 3 && digit_of(buf[at + 2]) < 16 ? 16 : at < end && buf[at] == '0' ? 8 : 10;
	if (base == 16 && hex)
		at += 2;
	*res = 0;
	for (first = at; at < end && digit_of(buf[at]) < base; at++) {
		overflow |= __builtin_mul_overflow(*res, (u64)base, res);
		overflow |= __builtin_add_overflow(*res, (u64)digit_of(buf[at]), res);
	}
	return overflow ? -ERANGE : at == first ? -EINVAL : (s64)at;
}

s64 rt_strtol(const char *buf, u64 size, u64 flags, u64 *res)
{
	int negative;
	u64 value;
	s64 used = parse_number(buf, size, flags, &negative, &value);

	if (used >= 0 && value > (u64)INT64_MAX + negative)
		used = -ERANGE;
	*res = used < 0 ? 0 : negative ? -value : value;
	return used;
}

s64 rt_strtoul(const char *buf, u64 size, u64 flags, u64 *res)
{
	int negative;
	u64 value;
	s64 used = parse_number(buf, size, flags, &negative, &value);

	if (used >= 0 && negative)
		used = -EINVAL;
	*res = used < 0 ? 0 : value;
	return used;
}

/* -- loops -- */

s64 rt_loop(u64 nr_loops, u64 (*callback)(u64 index, void *ctx, u64, u64, u64), void *ctx, u64 flags)
{
	u32 n = (u32)nr_loops;

	if (flags)
		return -EINVAL;
	if (n > MAX_LOOPS)
		return -E2BIG;
	for (u32 i = 0; i < n; i++)
		if (callback(i, ctx, 0, 0, 0))
			return i + 1;
	return n;
}

/* -- the function that a program is attached to: how many arguments it has, 1 << 32 where its result stands behind them -- */

s64 rt_get_func_arg(const u64 *ctx, u64 n, u64 *value, u64 attached)
{
	if ((u32)n >= (u32)attached)
		return -EINVAL;
	*value = ctx[(u32)n];
	return 0;
}

s64 rt_get_func_ret(const u64 *ctx, u64 *value, u64 attached)
{
	if (!(attached >> 32))
		return -EOPNOTSUPP;
	*value = ctx[(u32)attached];
	return 0;
}

u64 rt_get_func_arg_cnt(const u64 *ctx, u64 attached)
{
	(void)ctx;
	return (u32)attached;
}

/* -- the trace log -- */

#define TRACE_BYTES (1u << 20)
#define TRACE_LINE 1024

void rt_kernel_printk_hook(struct rt_kernel *k, struct rt_tracepoint *event)
{
	__atomic_store_n(&k->printk_event, event, __ATOMIC_RELEASE);
}

/* Text into the log; how much of it. A line is cut at what Linux's buffer holds. */
s64 rt_trace_text(const char *text, u64 count)
{
	struct rt_kernel *k = rt_this_cpu->kernel;
	size_t n = count < TRACE_LINE ? count : TRACE_LINE - 1;

	struct rt_tracepoint *event = __atomic_load_n(&k->printk_event, __ATOMIC_ACQUIRE);

	if (unlikely(rt_tracepoint_used(event))) {
		char line[TRACE_LINE];
		u64 arg = (u64)(uintptr_t)memcpy(line, text, n);

		line[n] = 0;
		rt_tracepoint_fire(event, &arg, NULL, 1);
	}
	pthread_mutex_lock(&k->lock);
	if (!k->trace && (k->trace = malloc(TRACE_BYTES)))
		k->trace_size = TRACE_BYTES;
	if (k->trace_used + n <= k->trace_size) { /* a full log drops what comes, as an unread ring does */
		memcpy(k->trace + k->trace_used, text, n);
		k->trace_used += n;
	}
	pthread_mutex_unlock(&k->lock);
	return (s64)n;
}

s64 rt_trace_printk(const char *fmt, u64 fmt_size, u64 a, u64 b, u64 c)
{
	u64 args[3] = { a, b, c };
	char text[TRACE_LINE];
	struct rt_out out = { .buf = text, .size = sizeof(text) };
	int err = rt_bprintf(rt_this_cpu->kernel, &out, fmt, (u32)fmt_size, args, 3);

	return err ? err : rt_trace_text(text, out.count);
}

/* The values in an array, and of any number that formats take. */
s64 rt_trace_vprintk(const char *fmt, u64 fmt_size, const u64 *data, u64 data_len)
{
	char text[TRACE_LINE];
	struct rt_out out = { .buf = text, .size = sizeof(text) };
	u32 size = (u32)data_len;
	int err;

	if (size & 7 || size > 12 * 8 || (size && !data))
		return -EINVAL;
	err = rt_bprintf(rt_this_cpu->kernel, &out, fmt, (u32)fmt_size, data, size / 8);
	return err ? err : rt_trace_text(text, out.count);
}

s64 rt_trace_read(struct rt_kernel *k, char *buf, size_t size)
{
	pthread_mutex_lock(&k->lock);
	size_t n = k->trace_used < size ? k->trace_used : size;

	if (n) {
		memcpy(buf, k->trace, n);
		memmove(k->trace, k->trace + n, k->trace_used - n);
		k->trace_used -= n;
	}
	pthread_mutex_unlock(&k->lock);
	return (s64)n;
}

/* -- the live kernel's bpf(2) -- */

s64 rt_sys_mmap(int fd, u64 addr, u64 size, int writable)
{
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);
	void *at = mmap((void *)(uintptr_t)addr, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);

	return at == MAP_FAILED ? -errno : (s64)(uintptr_t)at;
}

void rt_sys_munmap(void *at, u64 size)
{
	munmap(at, size);
}

s64 rt_sys_bpf(int cmd, void *attr, u32 size)
{
	long ret = syscall(SYS_bpf, cmd, attr, size);

	return ret < 0 ? -errno : ret;
}
