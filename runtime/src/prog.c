/* SPDX-License-Identifier: MIT */
/* Running programs: once, many times for a measurement, on a packet, at a tracepoint. */
#include "packet.h"

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

u64 rt_prog_run(struct rt_kernel *k, rt_prog_fn fn, void *ctx, struct task_struct *current)
{
	struct rt_cpu *cpu = rt_enter(k);
	struct task_struct *before = cpu->current;
	u64 ret;

	rt_become(cpu, current);
	ret = rt_run(k, fn, ctx);
	cpu->current = before;
	rt_leave(cpu);
	return ret;
}

/* `repeat` executions in a row; the mean of their times in ns. Whether to count is asked once. */
static double run_many(struct rt_kernel *k, rt_prog_fn fn, void *ctx, u64 repeat, u64 *ret)
{
	int counted = __atomic_load_n(&k->stats_users, __ATOMIC_RELAXED) != 0;
	u64 start = now_ns();

	if (counted)
		for (u64 i = 0; i < repeat; i++)
			*ret = rt_run_counted(k, fn, ctx);
	else
		for (u64 i = 0; i < repeat; i++)
			*ret = fn(ctx);
	return (double)(now_ns() - start) / (repeat ? repeat : 1);
}

int rt_prog_bench(struct rt_kernel *k, rt_prog_fn fn, void *ctx, struct task_struct *current, u64 repeat, u64 *retval,
		  double *mean_ns)
{
	struct rt_cpu *cpu = rt_enter(k);
	struct task_struct *before = cpu->current;
	u64 ret = 0;

	rt_become(cpu, current);
	*mean_ns = run_many(k, fn, ctx, repeat, &ret);
	*retval = ret;
	cpu->current = before;
	rt_leave(cpu);
	return 0;
}

/* -- packets: run->data holds 256 bytes of headroom, the packet, and room behind it -- */

#define HEADROOM 256
int rt_packet_run(struct rt_kernel *k, rt_prog_fn fn, struct rt_packet_run *run)
{
	struct rt_cpu *cpu = rt_enter(k);
	u8 *data = run->data + HEADROOM, *data_end = data + run->data_size;
	u64 ret = 0;

	rt_become(cpu, run->current);
	if (run->is_xdp) {
		struct rt_xdp xdp = { .hard_start = run->data, .frame_end = run->data + run->data_capacity, .frag_bytes = run->frag_bytes };

		memcpy(&xdp.md, run->ctx, run->ctx_size < sizeof(xdp.md) ? run->ctx_size : sizeof(xdp.md));
		/* What comes before md.data is metadata, and lies in the headroom. */
		xdp.data = data;
		xdp.data_meta = memmove(data - xdp.md.data, data, run->data_size);
		xdp.data_end = xdp.data_meta + run->data_size;
		run->mean_ns = run_many(k, fn, &xdp, run->repeat, &ret);
		data = xdp.data_meta < xdp.data ? xdp.data_meta : xdp.data;
		data_end = xdp.data_end;
		xdp.md.data = (u32)(xdp.data - data);
		xdp.md.data_end = (u32)(data_end - data);
		xdp.md.data_meta = 0;
		memcpy(run->ctx, &xdp.md, run->ctx_size < sizeof(xdp.md) ? run->ctx_size : sizeof(xdp.md));
	} else {
		struct rt_skb skb = {
			.data = data + run->pulled,
			.data_end = data_end,
			.data_meta = data + run->pulled,
			.head = run->data,
			.limit = run->data + run->data_capacity,
			.mac = data,
			.network = data + ETH_HLEN,
		};

		memcpy(&skb.skb, run->ctx, run->ctx_size < sizeof(skb.skb) ? run->ctx_size : sizeof(skb.skb));
		skb.skb.len = run->data_size - run->pulled;
		run->mean_ns = run_many(k, fn, &skb, run->repeat, &ret);
		data = skb.data;
		data_end = skb.data_end;
		memcpy(run->ctx, &skb.skb, run->ctx_size < sizeof(skb.skb) ? run->ctx_size : sizeof(skb.skb));
	}
	rt_leave(cpu);
	run->retval = (u32)ret;
	run->data_size = (u32)(data_end - data);
	memmove(run->data, data, run->data_size);
	return 0;
}

/* -- tracepoints -- */

struct probe {
	rt_prog_fn fn;
	struct rt_prog *prog;
};

struct probes {
	u32 count;
	struct probe at[];
};

struct rt_tracepoint {
	struct rt_kernel *kernel;
	struct probes *probes; /* atomic: replaced whole, the old one freed after readers */
};

struct rt_tracepoint *rt_tracepoint_new(struct rt_kernel *k)
{
	struct rt_tracepoint *tp = calloc(1, sizeof(*tp));

	if (tp)
		tp->kernel = k;
	return tp;
}

static void release_probes(struct rt_kernel *k, void *obj, size_t size)
{
	(void)k;
	(void)size;
	free(obj);
}

static int replace(struct rt_tracepoint *tp, struct probes *fresh)
{
	struct probes *old = __atomic_exchange_n(&tp->probes, fresh, __ATOMIC_ACQ_REL);

	if (old)
		rt_defer(tp->kernel, release_probes, old, 0);
	return 0;
}

/* Whoever frees a tracepoint knows that nobody fires it any more: between two repeats fire() holds no CPU. */
void rt_tracepoint_free(struct rt_tracepoint *tp)
{
	if (!tp)
		return;
	replace(tp, NULL);
	rt_rcu_barrier(tp->kernel);
	free(tp);
}

/* Attaching and detaching are serialised by the caller (Python's kernel lock). */
static int attach_at(struct rt_tracepoint *tp, struct probe probe, int first)
{
	u32 count = tp->probes ? tp->probes->count : 0;
	struct probes *fresh = malloc(sizeof(*fresh) + (count + 1) * sizeof(probe));

	if (!fresh)
		return -ENOMEM;
	if (count)
		memcpy(fresh->at + (first ? 1 : 0), tp->probes->at, count * sizeof(probe));
	fresh->at[first ? 0 : count] = probe;
	fresh->count = count + 1;
	return replace(tp, fresh);
}

int rt_tracepoint_attach(struct rt_tracepoint *tp, rt_prog_fn fn, struct rt_prog *prog)
{
	return attach_at(tp, (struct probe){ fn, prog }, 0);
}

int rt_tracepoint_attach_first(struct rt_tracepoint *tp, rt_prog_fn fn, struct rt_prog *prog)
{
	return attach_at(tp, (struct probe){ fn, prog }, 1);
}

u64 rt_tracepoint_ask(struct rt_tracepoint *tp, u64 *args, u32 nargs, struct task_struct *current)
{
	struct rt_cpu *cpu = rt_enter(tp->kernel);
	struct task_struct *before = cpu->current;
	struct probes *p = __atomic_load_n(&tp->probes, __ATOMIC_ACQUIRE);
	u64 ret = 0;

	rt_become(cpu, current);
	for (u32 i = 0; p && i < p->count && !ret; i++) {
		args[nargs] = ret;
		ret = rt_run_once(tp->kernel, cpu, p->at[i].prog, p->at[i].fn, args);
	}
	cpu->current = before;
	rt_leave(cpu);
	return ret;
}

int rt_tracepoint_detach(struct rt_tracepoint *tp, rt_prog_fn fn)
{
	u32 count = tp->probes ? tp->probes->count : 0, kept = 0;
	int found = 0;
	struct probes *fresh = malloc(sizeof(*fresh) + count * sizeof(struct probe));

	if (!fresh)
		return -ENOMEM;
	for (u32 i = 0; i < count; i++) {
		if (!found && tp->probes->at[i].fn == fn)
			found = 1;
		else
			fresh->at[kept++] = tp->probes->at[i];
	}
	fresh->count = kept;
	if (!found) {
		free(fresh);
		return -ENOENT;
	}
	return replace(tp, fresh);
}

int rt_tracepoint_used(const struct rt_tracepoint *tp)
{
	return tp && __atomic_load_n(&tp->probes, __ATOMIC_RELAXED);
}

int rt_tracepoint_fire(struct rt_tracepoint *tp, u64 *args, struct task_struct *current, u64 repeat)
{
	for (u64 r = 0; r < repeat; r++) {
		struct rt_cpu *cpu = rt_enter(tp->kernel);
		struct task_struct *before = cpu->current;
		struct probes *p = __atomic_load_n(&tp->probes, __ATOMIC_ACQUIRE);

		rt_become(cpu, current);
		for (u32 i = 0; p && i < p->count; i++)
			rt_run_once(tp->kernel, cpu, p->at[i].prog, p->at[i].fn, args);
		cpu->current = before;
		rt_leave(cpu);
	}
	return 0;
}

/* -- programs around a function of another program: that one runs, and so this thread holds a CPU -- */

struct rt_traced {
	struct rt_tracepoint *before, *behind; /* atomic */
	u32 nargs;
};

int rt_prog_trace(struct rt_prog *p, u32 function, struct rt_tracepoint *before, struct rt_tracepoint *behind, u32 nargs)
{
	struct rt_traced *all = __atomic_load_n(&p->traced, __ATOMIC_ACQUIRE), *none = NULL;

	if (function >= RT_MAX_FUNCTIONS)
		return -EINVAL;
	if (!all) {
		all = calloc(RT_MAX_FUNCTIONS, sizeof(*all));
		if (!all)
			return -ENOMEM;
		if (!__atomic_compare_exchange_n(&p->traced, &none, all, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			free(all);
			all = none;
		}
	}
	all[function].nargs = nargs;
	__atomic_store_n(&all[function].before, before, __ATOMIC_RELEASE);
	__atomic_store_n(&all[function].behind, behind, __ATOMIC_RELEASE);
	return 0;
}

static void run_probes(struct rt_cpu *cpu, struct rt_tracepoint *tp, u64 *args)
{
	struct probes *p = tp ? __atomic_load_n(&tp->probes, __ATOMIC_ACQUIRE) : NULL;

	for (u32 i = 0; p && i < p->count; i++)
		rt_run_once(tp->kernel, cpu, p->at[i].prog, p->at[i].fn, args);
}

void rt_traced_enter(struct rt_prog *p, u64 function, u64 *args)
{
	struct rt_traced *all = __atomic_load_n(&p->traced, __ATOMIC_ACQUIRE);

	if (all)
		run_probes(rt_this_cpu, __atomic_load_n(&all[function].before, __ATOMIC_ACQUIRE), args);
}

/* What an exception ends does not come to its end. */
void rt_traced_leave(struct rt_prog *p, u64 function, u64 *args, u64 returned)
{
	struct rt_traced *all = __atomic_load_n(&p->traced, __ATOMIC_ACQUIRE);
	struct rt_tracepoint *behind = all ? __atomic_load_n(&all[function].behind, __ATOMIC_ACQUIRE) : NULL;

	if (!behind || rt_this_cpu->thrown)
		return;
	args[all[function].nargs] = returned;
	run_probes(rt_this_cpu, behind, args);
}

u64 rt_raw_run(struct rt_kernel *k, u64 fn, void *memory, u64 size)
{
	struct rt_cpu *cpu = rt_enter(k);
	u64 ret = ((u64 (*)(void *, u64))(uintptr_t)fn)(memory, size);

	rt_leave(cpu);
	return ret;
}

/* LD_ABS, LD_IND: a byte, half or word of the packet in host order, or -EFAULT where it has none there. */
s64 rt_load_packet(struct rt_skb *skb, u64 offset, u64 size)
{
	s64 off = (s32)offset, end = skb->data_end - skb->data;
	const u8 *at;

	/* Negative offsets name the link or the network header (SKF_LL_OFF, SKF_NET_OFF). */
	if (off < 0)
		off = off >= -0x100000 ? off + 0x100000 + 14 : off >= -0x200000 ? off + 0x200000 : -1;
	if (off < 0 || off + (s64)size > end)
		return -EFAULT;
	at = skb->data + off;
	return size == 1 ? at[0] : size == 2 ? at[0] << 8 | at[1] : (s64)((u32)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]);
}
