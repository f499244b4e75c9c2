/* SPDX-License-Identifier: MIT */
/* Kernel functions at work: each program returns a number that test_typed.py knows. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char _license[] SEC("license") = "GPL";

/* What the test tells us of the world it runs in. */
int pid, missing_pid = 4000000;
u64 root_id = 1;
const char text[] = "hello, world";
const char Shouted[] = "HELLO, World";

SEC("syscall")
int task_found(void *ctx)
{
	struct task_struct *t = bpf_task_from_pid(pid);
	int found;

	if (!t)
		return 1;
	found = t->pid == pid;
	bpf_task_release(t);
	return found ? 42 : 2;
}

SEC("syscall")
int task_not_found(void *ctx)
{
	struct task_struct *t = bpf_task_from_pid(missing_pid);

	if (t) {
		bpf_task_release(t);
		return 1;
	}
	return 42;
}

SEC("syscall")
int task_acquired_again(void *ctx)
{
	struct task_struct *t = bpf_task_from_vpid(pid), *again;
	int ret = 1;

	if (!t)
		return 2;
	again = bpf_task_acquire(t);
	if (again) {
		ret = again == t ? 42 : 3;
		bpf_task_release(again);
	}
	bpf_task_release(t);
	return ret;
}

SEC("syscall")
int parent_in_a_read_section(void *ctx)
{
	struct task_struct *t = bpf_task_from_pid(pid), *parent;
	int ret = 1;

	if (!t)
		return 2;
	bpf_rcu_read_lock();
	parent = bpf_task_acquire(t->real_parent);
	bpf_rcu_read_unlock();
	if (parent) {
		ret = 42;
		bpf_task_release(parent);
	}
	bpf_task_release(t);
	return ret;
}

SEC("syscall")
int root_cgroup(void *ctx)
{
	struct cgroup *root = bpf_cgroup_from_id(root_id), *top;
	int ret = 1;

	if (!root)
		return 2;
	if (root->kn->id == root_id && root->level == 0)
		ret = 42;
	top = bpf_cgroup_ancestor(root, 0);
	if (!top || top != root)
		ret = 3;
	if (top)
		bpf_cgroup_release(top);
	top = bpf_cgroup_ancestor(root, 1);
	if (top) {
		bpf_cgroup_release(top);
		ret = 4;
	}
	bpf_cgroup_release(root);
	return ret;
}

SEC("syscall")
int task_under_root(void *ctx)
{
	struct task_struct *t = bpf_task_from_pid(pid);
	struct cgroup *root;
	int ret = 1;

	if (!t)
		return 2;
	root = bpf_cgroup_from_id(root_id);
	if (root) {
		ret = bpf_task_under_cgroup(t, root) == 1 ? 42 : 3;
		bpf_cgroup_release(root);
	}
	bpf_task_release(t);
	return ret;
}

SEC("syscall")
int masks(void *ctx)
{
	struct bpf_cpumask *a = bpf_cpumask_create(), *b;
	int ret = 0;

	if (!a)
		return 1;
	b = bpf_cpumask_create();
	if (!b) {
		bpf_cpumask_release(a);
		return 2;
	}
	if (!bpf_cpumask_empty((const struct cpumask *)a))
		ret |= 1;
	if (bpf_cpumask_test_and_set_cpu(0, a) || !bpf_cpumask_test_and_set_cpu(0, a))
		ret |= 2;
	bpf_cpumask_setall(b);
	if (!bpf_cpumask_full((const struct cpumask *)b) || bpf_cpumask_first((const struct cpumask *)b))
		ret |= 4;
	if (!bpf_cpumask_and(b, (const struct cpumask *)b, (const struct cpumask *)a))
		ret |= 8;
	if (!bpf_cpumask_equal((const struct cpumask *)b, (const struct cpumask *)a))
		ret |= 16;
	if (bpf_cpumask_weight((const struct cpumask *)b) != 1)
		ret |= 32;
	bpf_cpumask_xor(b, (const struct cpumask *)b, (const struct cpumask *)a);
	if (bpf_cpumask_intersects((const struct cpumask *)a, (const struct cpumask *)b))
		ret |= 64;
	if (bpf_cpumask_test_cpu(100000, (const struct cpumask *)a))
		ret |= 128;
	bpf_cpumask_release(b);
	bpf_cpumask_release(a);
	return ret;
}

SEC("syscall")
int strings(void *ctx)
{
	char far[] = "hello, friend", o = 'o';
	int ret = 0;

	/* Linux reads no other string than one in kernel memory; a map's is. */
	if (bpf_strlen(text) != 12 || bpf_strnlen(text, 5) != 5 || bpf_strnlen(text, 100) != 12)
		ret |= 1;
	if (bpf_strchr(text, 'o') != 4 || bpf_strrchr(text, 'o') != 8 || bpf_strnchr(text, 4, 'o') != -2)
		ret |= 2;
	if (bpf_strchr(text, 'z') != -2 || bpf_strchr(text, 0) != 12 || bpf_strchrnul(text, 'z') != 12)
		ret |= 4;
	if (bpf_strstr(text, "world") != 7 || bpf_strstr(text, "worlds") != -2 || bpf_strstr(text, "") != 0)
		ret |= 8;
	if (bpf_strnstr(text, "world", 12) != 7 || bpf_strnstr(text, "world", 11) != -2)
		ret |= 16;
	if (bpf_strspn(text, "ehl") != 4 || bpf_strcspn(text, ",w") != 5)
		ret |= 32;
	if (bpf_strcmp(text, text) || bpf_strcmp(text, Shouted) != 1 || bpf_strcmp(Shouted, text) != -1)
		ret |= 64;
	if (bpf_strcasecmp(text, Shouted) || bpf_strcmp(text, far) != 1)
		ret |= 128;
	if (bpf_strlen((const char *)8) != -34)
		ret |= 256;
	return ret;
}

SEC("syscall")
int looked_at_through_a_cast(void *ctx)
{
	struct task_struct *t = bpf_task_from_pid(pid), *cast;
	int ret;

	if (!t)
		return 1;
	cast = bpf_rdonly_cast(t, bpf_core_type_id_kernel(struct task_struct));
	ret = cast->pid == pid ? 42 : 2;
	bpf_task_release(t);
	/* No address at all reads as 0. */
	cast = bpf_rdonly_cast((void *)8, bpf_core_type_id_kernel(struct task_struct));
	if (cast->pid)
		return 3;
	return ((long *)bpf_rdonly_cast((void *)1234, 0))[5] ? 4 : ret;
}

extern int bpf_that_no_kernel_has(int x) __weak __ksym;

SEC("syscall")
int asked_whether_they_are_there(void *ctx)
{
	return (bpf_ksym_exists(bpf_task_acquire) ? 40 : 1) + (bpf_ksym_exists(bpf_that_no_kernel_has) ? 100 : 2);
}
