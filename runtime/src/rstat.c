/* SPDX-License-Identifier: MIT */
/*
 * Statistics of cgroups, kept for each CPU and summed up the hierarchy when somebody wants them: css_rstat_updated()
 * marks a cgroup (and all above it) as one whose CPU has something new, css_rstat_flush() lets bpf_rstat_flush() happen for
 * every cgroup below that is so marked, children before parents, and takes the marks away. What is summed is the
 * programs' that trace bpf_rstat_flush(); the simulation's own figures are always up to date.
 */
#include "rt.h"

void rt_kernel_rstat_hook(struct rt_kernel *k, struct rt_tracepoint *before, struct rt_tracepoint *after)
{
	__atomic_store_n(&k->rstat_before, before, __ATOMIC_RELEASE);
	__atomic_store_n(&k->rstat_after, after, __ATOMIC_RELEASE);
}

/*
 * Marked where the owner is said: who is, is so with everyone above, and only a flush of those takes that away. Marks are
 * made without a lock, from below: who marks looks whether the parent is marked after its own mark, who takes a mark away
 * looks for marks below after that. One of the two sees the other.
 */
static int is_marked(const struct cgroup_subsys_state *css, u32 cpu)
{
	return css->rstat_cpu && __atomic_load_n(&css->rstat_cpu[cpu].owner, __ATOMIC_SEQ_CST) != NULL;
}

void rt_css_rstat_updated(struct cgroup_subsys_state *css, u64 on)
{
	u32 cpu = (u32)on;

	if (cpu >= (u32)rt_this_cpu->kernel->ncpus)
		return;
	for (; css && css->rstat_cpu && !is_marked(css, cpu); css = css->parent)
		__atomic_store_n(&css->rstat_cpu[cpu].owner, css, __ATOMIC_SEQ_CST);
}

static struct cgroup_subsys_state *of(struct list_head *sibling)
{
	return (struct cgroup_subsys_state *)((char *)sibling - offsetof(struct cgroup_subsys_state, sibling));
}

static struct cgroup_subsys_state *marked_from(struct list_head *at, struct cgroup_subsys_state *parent, u32 cpu)
{
	for (; at != &parent->children; at = at->next)
		if (is_marked(of(at), cpu))
			return of(at);
	return NULL;
}

static struct cgroup_subsys_state *deepest(struct cgroup_subsys_state *css, u32 cpu)
{
	struct cgroup_subsys_state *below;

	while ((below = marked_from(css->children.next, css, cpu)))
		css = below;
	return css;
}

static void flush_one(struct rt_kernel *k, struct cgroup_subsys_state *css, u32 cpu)
{
	struct rt_tracepoint *hooks[] = { __atomic_load_n(&k->rstat_before, __ATOMIC_ACQUIRE),
					  __atomic_load_n(&k->rstat_after, __ATOMIC_ACQUIRE) };
	u64 args[] = { (u64)(uintptr_t)css->cgroup, css->parent ? (u64)(uintptr_t)css->parent->cgroup : 0, cpu, 0 };

	__atomic_store_n(&css->rstat_cpu[cpu].owner, NULL, __ATOMIC_SEQ_CST);
	if (unlikely(marked_from(css->children.next, css, cpu)))
		rt_css_rstat_updated(css, cpu); /* came meanwhile: it is for the next flush */
	for (int i = 0; i < 2; i++)
		if (hooks[i])
			rt_tracepoint_fire(hooks[i], args, NULL, 1);
}

void rt_css_rstat_flush(struct cgroup_subsys_state *top)
{
	struct rt_kernel *k = rt_this_cpu->kernel;

	rt_spin_lock(&k->rstat_lock);
	for (u32 cpu = 0; cpu < (u32)k->ncpus; cpu++) {
		struct cgroup_subsys_state *css, *next;

		if (!is_marked(top, cpu))
			continue;
		for (css = deepest(top, cpu);; css = next ? deepest(next, cpu) : css->parent) {
			flush_one(k, css, cpu);
			if (css == top)
				break;
			next = marked_from(css->sibling.next, css->parent, cpu);
		}
	}
	rt_spin_unlock(&k->rstat_lock);
}
