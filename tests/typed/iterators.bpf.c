/* SPDX-License-Identifier: MIT */
/* Open-coded iterators at work: each program returns a number that test_typed.py knows. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

int pid;
u64 root_id = 1;
u64 words[4] = { 5, 0, 1ULL << 63, 1 };
int values[16];

SEC("syscall")
int sum_of_numbers(void *ctx)
{
	int i, sum = 0;

	bpf_for(i, 3, 11)
		sum += i;
	return sum; /* 3 + .. + 10 */
}

SEC("syscall")
int nested_numbers(void *ctx)
{
	int i, j, n = 0;

	bpf_for(i, 0, 10) {
		if (i == 7)
			break;
		bpf_for(j, 0, i)
			n++;
	}
	return n; /* 0 + 1 + .. + 6 */
}

SEC("syscall")
int repeated(void *ctx)
{
	int n = 0;

	bpf_repeat(1000)
		n += 2;
	return n;
}

SEC("syscall")
int numbers_as_indexes(void *ctx)
{
	int i, sum = 0;

	bpf_for(i, 0, 16)
		values[i] = i * i;
	bpf_for(i, 0, 16)
		sum += values[i];
	return sum;
}

SEC("syscall")
int bad_numbers(void *ctx)
{
	struct bpf_iter_num it;
	int ret = 0;

	if (bpf_iter_num_new(&it, 5, 3) != -22 || bpf_iter_num_next(&it))
		ret |= 1;
	bpf_iter_num_destroy(&it);
	if (bpf_iter_num_new(&it, 0, (1 << 23) + 1) != -7 || bpf_iter_num_next(&it))
		ret |= 2;
	bpf_iter_num_destroy(&it);
	if (bpf_iter_num_new(&it, 0, 1 << 23))
		ret |= 4;
	bpf_iter_num_destroy(&it);
	if (bpf_iter_num_new(&it, -2147483647 - 1, -2147483647))
		ret |= 8;
	if (!bpf_iter_num_next(&it) || bpf_iter_num_next(&it) || bpf_iter_num_next(&it))
		ret |= 16;
	bpf_iter_num_destroy(&it);
	if (bpf_iter_num_new(&it, 4, 4) || bpf_iter_num_next(&it))
		ret |= 32;
	bpf_iter_num_destroy(&it);
	return ret;
}

SEC("syscall")
int bits_of_words(void *ctx)
{
	int *bit, sum = 0, n = 0;

	bpf_for_each(bits, bit, words, 4) {
		sum += *bit;
		n++;
	}
	return n * 1000 + sum; /* bits 0, 2, 191, 192 */
}

SEC("syscall")
int bits_of_one_word(void *ctx)
{
	u64 word = 0x8000000000000011;
	int *bit, sum = 0;

	bpf_for_each(bits, bit, &word, 1)
		sum += *bit;
	return sum;
}

SEC("syscall")
int bad_bits(void *ctx)
{
	struct bpf_iter_bits it;
	int ret = 0;

	if (bpf_iter_bits_new(&it, words, 0) != -22 || bpf_iter_bits_next(&it))
		ret |= 1;
	bpf_iter_bits_destroy(&it);
	if (bpf_iter_bits_new(&it, (void *)0, 1) != -22 || bpf_iter_bits_next(&it))
		ret |= 2;
	bpf_iter_bits_destroy(&it);
	if (bpf_iter_bits_new(&it, words, 512) != -7)
		ret |= 4;
	bpf_iter_bits_destroy(&it);
	if (bpf_iter_bits_new(&it, (void *)8, 1) != -14)
		ret |= 8;
	bpf_iter_bits_destroy(&it);
	return ret;
}

SEC("syscall")
int myself_among_all_tasks(void *ctx)
{
	struct task_struct *t;
	int found = 0, leaders = 1;

	bpf_rcu_read_lock();
	bpf_for_each(task, t, (void *)0, 0) {
		if (t->pid == pid)
			found++;
		if (t->pid && t->pid != t->tgid)
			leaders = 0;
	}
	bpf_rcu_read_unlock();
	return found * 10 + leaders;
}

SEC("syscall")
int my_threads(void *ctx)
{
	struct task_struct *me = bpf_task_from_pid(pid), *t;
	int others = 0, mine = 0;

	if (!me)
		return -1;
	bpf_rcu_read_lock();
	bpf_for_each(task, t, me, 2) {
		mine = 1;
		if (t->tgid != pid)
			others++;
	}
	bpf_rcu_read_unlock();
	bpf_task_release(me);
	return mine * 10 + others;
}

SEC("syscall")
int task_flags_are_checked(void *ctx)
{
	struct bpf_iter_task it;
	int ret;

	bpf_rcu_read_lock();
	ret = bpf_iter_task_new(&it, (void *)0, 3);
	if (bpf_iter_task_next(&it))
		ret = 1;
	bpf_iter_task_destroy(&it);
	bpf_rcu_read_unlock();
	return ret;
}

SEC("syscall")
int root_comes_first_and_last(void *ctx)
{
	struct cgroup *root = bpf_cgroup_from_id(root_id);
	struct cgroup_subsys_state *css;
	u64 first = 0, last = 0;
	int n = 0, up = 0;

	if (!root)
		return -1;
	bpf_rcu_read_lock();
	bpf_for_each(css, css, &root->self, BPF_CGROUP_ITER_DESCENDANTS_PRE) {
		if (!n++)
			first = css->cgroup->kn->id;
	}
	bpf_for_each(css, css, &root->self, BPF_CGROUP_ITER_DESCENDANTS_POST)
		last = css->cgroup->kn->id;
	bpf_for_each(css, css, &root->self, BPF_CGROUP_ITER_ANCESTORS_UP)
		up++;
	bpf_rcu_read_unlock();
	bpf_cgroup_release(root);
	return (n > 0) * 1000 + (first == root_id) * 100 + (last == root_id) * 10 + up;
}

SEC("syscall")
int tasks_of_the_root(void *ctx)
{
	struct cgroup *root = bpf_cgroup_from_id(root_id);
	struct task_struct *t;
	int n = 0;

	if (!root)
		return -1;
	bpf_for_each(css_task, t, &root->self, 1)
		n = 1; /* counted, and looked at, the number would differ in every round for ever */
	bpf_cgroup_release(root);
	return n;
}
