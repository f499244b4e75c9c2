/* SPDX-License-Identifier: MIT */
/*
 * Kernel functions on tasks and cgroups. Both are counted: the simulation holds one reference for as long as the thing
 * exists, programs hold others; the memory goes, after the readers, with the last one.
 */
#include "rt.h"
#include "iter.h"

#define CSS_ONLINE 2

/* One more reference, unless the last one has gone. */
static int get_unless_zero(int *count)
{
	int now = __atomic_load_n(count, __ATOMIC_RELAXED);

	while (now && !__atomic_compare_exchange_n(count, &now, now + 1, 1, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		;
	return now != 0;
}

static int put_is_last(int *count)
{
	return __atomic_sub_fetch(count, 1, __ATOMIC_ACQ_REL) == 0;
}

void rt_task_get(struct task_struct *t)
{
	__atomic_add_fetch(&t->usage.refs.counter, 1, __ATOMIC_RELAXED);
}

void rt_task_put(struct rt_kernel *k, struct task_struct *t)
{
	if (!put_is_last(&t->usage.refs.counter))
		return;
	rt_task_stack(k, t, NULL, 0, NULL, 0);
	rt_kobj_free_rcu(k, (void *)t->cred, sizeof(*t->cred));
	rt_kobj_free_rcu(k, t->thread_pid, sizeof(*t->thread_pid) + (t->thread_pid->level + 1) * sizeof(struct upid));
	rt_kobj_free_rcu(k, t->nsproxy, sizeof(*t->nsproxy));
	rt_kobj_free_rcu(k, t, sizeof(*t));
}

/* A cgroup holds its parent. */
void rt_cgroup_put(struct rt_kernel *k, struct cgroup *c)
{
	while (c && put_is_last((int *)&c->self.refcnt.percpu_count_ptr)) {
		struct cgroup *up = c->self.parent ? c->self.parent->cgroup : NULL;

		rt_kobj_free_rcu(k, (void *)c->kn->name, strlen(c->kn->name) + 1);
		rt_kobj_free_rcu(k, c->kn, sizeof(*c->kn));
		rt_kobj_free_rcu(k, c->self.rstat_cpu, sizeof(*c->self.rstat_cpu) * k->ncpus);
		rt_kobj_free_rcu(k, c->subsys[memory_cgrp_id], sizeof(struct mem_cgroup)); /* whose css comes first */
		rt_kobj_free_rcu(k, c, sizeof(*c) + (c->level + 1) * sizeof(c->ancestors[0]));
		c = up;
	}
}

void rt_kernel_registries(struct rt_kernel *k, struct rt_index *tasks, struct rt_index *cgroups)
{
	k->tasks = tasks;
	k->cgroups = cgroups;
}

static void *find(struct rt_index *index, u64 key)
{
	u64 found = key;
	u32 hint = 0;
	void *obj = index ? rt_index_from(index, &found, &hint) : NULL;

	return found == key ? obj : NULL;
}

struct task_struct *rt_bpf_task_acquire(struct task_struct *p)
{
	return p && get_unless_zero(&p->usage.refs.counter) ? p : NULL;
}

void rt_bpf_task_release(struct task_struct *p)
{
	rt_task_put(rt_this_cpu->kernel, p);
}

struct task_struct *rt_bpf_task_from_pid(u64 pid)
{
	return rt_bpf_task_acquire(find(rt_this_cpu->kernel->tasks, (u32)pid));
}

/* By the number that the task has in the current one's pid namespace. */
struct task_struct *rt_bpf_task_from_vpid(u64 vpid)
{
	const struct pid *mine = rt_this_cpu->current->thread_pid;
	const struct upid *me = mine->numbers + mine->level;
	struct task_struct *t;
	u64 pid = 0;
	u32 hint = 0;

	for (; (t = rt_index_from(rt_this_cpu->kernel->tasks, &pid, &hint)); pid++) {
		const struct pid *p = t->thread_pid;

		if (p->level >= mine->level && p->numbers[mine->level].ns == me->ns && (u32)p->numbers[mine->level].nr == (u32)vpid)
			return rt_bpf_task_acquire(t);
	}
	return NULL;
}

static int is_descendant(const struct cgroup *c, const struct cgroup *ancestor)
{
	return c->level >= ancestor->level && c->ancestors[ancestor->level] == ancestor;
}

s64 rt_bpf_task_under_cgroup(struct task_struct *task, struct cgroup *ancestor)
{
	return is_descendant(task->cgroups->dfl_cgrp, ancestor);
}

struct cgroup *rt_bpf_cgroup_acquire(struct cgroup *c)
{
	return c && get_unless_zero((int *)&c->self.refcnt.percpu_count_ptr) ? c : NULL;
}

void rt_bpf_cgroup_release(struct cgroup *c)
{
	rt_cgroup_put(rt_this_cpu->kernel, c);
}

struct cgroup *rt_bpf_cgroup_ancestor(struct cgroup *c, u64 level)
{
	s32 want = (s32)level;

	return want >= 0 && want <= c->level ? rt_bpf_cgroup_acquire(c->ancestors[want]) : NULL;
}

struct cgroup *rt_bpf_cgroup_from_id(u64 id)
{
	return rt_bpf_cgroup_acquire(find(rt_this_cpu->kernel->cgroups, id));
}

/* -- sections: whoever runs a program holds its CPU, which is an RCU read section and is not taken from it -- */

void rt_bpf_rcu_read_lock(void)
{
}

void rt_bpf_rcu_read_unlock(void)
{
}

void rt_bpf_preempt_disable(void)
{
}

void rt_bpf_preempt_enable(void)
{
}

void *rt_bpf_rdonly_cast(void *obj, u64 btf_id)
{
	return obj;
}
