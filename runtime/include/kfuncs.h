/* SPDX-License-Identifier: MIT */
/*
 * The kernel functions that programs may call in the simulation: prototypes as Linux 6.18's BTF has them, suffixes of
 * parameter names included (they say what the verifier makes of an argument). Part of the simulated kernel's BTF and of
 * vmlinux.h; the code of bpf_x is rt_bpf_x in kfunc_*.c, its flags are a row of bpfjit/spec/kfuncs.py.
 */
#pragma once

/* -- tasks and cgroups ------------------------------------------------------------------------- */

struct task_struct *bpf_task_acquire(struct task_struct *p);
void bpf_task_release(struct task_struct *p);
struct task_struct *bpf_task_from_pid(s32 pid);
struct task_struct *bpf_task_from_vpid(s32 vpid);
long bpf_task_under_cgroup(struct task_struct *task, struct cgroup *ancestor);
struct cgroup *bpf_cgroup_acquire(struct cgroup *cgrp);
void bpf_cgroup_release(struct cgroup *cgrp);
s64 bpf_map_sum_elem_count(const struct bpf_map *map);
enum bpf_stream_id {
	BPF_STDOUT = 1,
	BPF_STDERR = 2,
};
int bpf_stream_vprintk_impl(int stream_id, const char *fmt__str, const void *args, u32 len__sz, void *aux__prog);
struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgrp, int level);
struct cgroup *bpf_cgroup_from_id(u64 cgid);
void css_rstat_updated(struct cgroup_subsys_state *css, int cpu);
void css_rstat_flush(struct cgroup_subsys_state *css);

/* -- objects of programs' own types: hidden arguments say which ----------------------------------- */

void *bpf_obj_new_impl(u64 local_type_id__k, void *meta__ign);
void bpf_obj_drop_impl(void *p__alloc, void *meta__ign);
void *bpf_percpu_obj_new_impl(u64 local_type_id__k, void *meta__ign);
void bpf_percpu_obj_drop_impl(void *p__alloc, void *meta__ign);
void *bpf_refcount_acquire_impl(void *p__refcounted_kptr, void *meta__ign);
int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta__ign, u64 off);
int bpf_list_push_back_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta__ign, u64 off);
struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head);
struct bpf_list_node *bpf_list_pop_back(struct bpf_list_head *head);
struct bpf_list_node *bpf_list_front(struct bpf_list_head *head);
struct bpf_list_node *bpf_list_back(struct bpf_list_head *head);
int bpf_rbtree_add_impl(struct bpf_rb_root *root, struct bpf_rb_node *node,
			bool (*less)(struct bpf_rb_node *a, const struct bpf_rb_node *b), void *meta__ign, u64 off);
struct bpf_rb_node *bpf_rbtree_remove(struct bpf_rb_root *root, struct bpf_rb_node *node);
struct bpf_rb_node *bpf_rbtree_first(struct bpf_rb_root *root);
struct bpf_rb_node *bpf_rbtree_root(struct bpf_rb_root *root);
struct bpf_rb_node *bpf_rbtree_left(struct bpf_rb_root *root, struct bpf_rb_node *node);
struct bpf_rb_node *bpf_rbtree_right(struct bpf_rb_root *root, struct bpf_rb_node *node);

/* -- sections ---------------------------------------------------------------------------------- */

void bpf_rcu_read_lock(void);
void bpf_rcu_read_unlock(void);
void bpf_preempt_disable(void);
void bpf_preempt_enable(void);
void bpf_local_irq_save(unsigned long *flags__irq_flag);
void bpf_local_irq_restore(unsigned long *flags__irq_flag);
int bpf_res_spin_lock(struct bpf_res_spin_lock *lock);
void bpf_res_spin_unlock(struct bpf_res_spin_lock *lock);
int bpf_res_spin_lock_irqsave(struct bpf_res_spin_lock *lock, unsigned long *flags__irq_flag);
void bpf_res_spin_unlock_irqrestore(struct bpf_res_spin_lock *lock, unsigned long *flags__irq_flag);
void bpf_throw(u64 cookie);

/* -- iterators: objects on a program's stack ----------------------------------------------------- */

struct bpf_iter_num {
	__u64 __opaque[1];
};

struct bpf_iter_bits {
	__u64 __opaque[2];
};

struct bpf_iter_task {
	__u64 __opaque[3];
};

struct bpf_iter_task_vma {
	__u64 __opaque[1];
};

struct bpf_iter_css {
	__u64 __opaque[3];
};

struct bpf_iter_css_task {
	__u64 __opaque[1];
};

enum {
	BPF_TASK_ITER_ALL_PROCS = 0,
	BPF_TASK_ITER_ALL_THREADS = 1,
	BPF_TASK_ITER_PROC_THREADS = 2,
};

int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
int *bpf_iter_num_next(struct bpf_iter_num *it);
void bpf_iter_num_destroy(struct bpf_iter_num *it);
int bpf_iter_bits_new(struct bpf_iter_bits *it, const u64 *unsafe_ptr__ign, u32 nr_words);
int *bpf_iter_bits_next(struct bpf_iter_bits *it);
void bpf_iter_bits_destroy(struct bpf_iter_bits *it);
int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task__nullable, unsigned int flags);
struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it);
void bpf_iter_task_destroy(struct bpf_iter_task *it);
int bpf_iter_task_vma_new(struct bpf_iter_task_vma *it, struct task_struct *task, u64 addr);
struct vm_area_struct *bpf_iter_task_vma_next(struct bpf_iter_task_vma *it);
void bpf_iter_task_vma_destroy(struct bpf_iter_task_vma *it);
int bpf_iter_css_new(struct bpf_iter_css *it, struct cgroup_subsys_state *start, unsigned int flags);
struct cgroup_subsys_state *bpf_iter_css_next(struct bpf_iter_css *it);
void bpf_iter_css_destroy(struct bpf_iter_css *it);
int bpf_iter_css_task_new(struct bpf_iter_css_task *it, struct cgroup_subsys_state *css, unsigned int flags);
struct task_struct *bpf_iter_css_task_next(struct bpf_iter_css_task *it);
void bpf_iter_css_task_destroy(struct bpf_iter_css_task *it);

/* -- casts ------------------------------------------------------------------------------------- */

void *bpf_rdonly_cast(const void *obj__ign, u32 btf_id__k);

/* -- CPU masks --------------------------------------------------------------------------------- */

struct bpf_cpumask *bpf_cpumask_create(void);
struct bpf_cpumask *bpf_cpumask_acquire(struct bpf_cpumask *cpumask);
void bpf_cpumask_release(struct bpf_cpumask *cpumask);
u32 bpf_cpumask_first(const struct cpumask *cpumask);
u32 bpf_cpumask_first_zero(const struct cpumask *cpumask);
u32 bpf_cpumask_first_and(const struct cpumask *src1, const struct cpumask *src2);
void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *cpumask);
void bpf_cpumask_clear_cpu(u32 cpu, struct bpf_cpumask *cpumask);
bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *cpumask);
bool bpf_cpumask_test_and_set_cpu(u32 cpu, struct bpf_cpumask *cpumask);
bool bpf_cpumask_test_and_clear_cpu(u32 cpu, struct bpf_cpumask *cpumask);
void bpf_cpumask_setall(struct bpf_cpumask *cpumask);
void bpf_cpumask_clear(struct bpf_cpumask *cpumask);
bool bpf_cpumask_and(struct bpf_cpumask *dst, const struct cpumask *src1, const struct cpumask *src2);
void bpf_cpumask_or(struct bpf_cpumask *dst, const struct cpumask *src1, const struct cpumask *src2);
void bpf_cpumask_xor(struct bpf_cpumask *dst, const struct cpumask *src1, const struct cpumask *src2);
bool bpf_cpumask_equal(const struct cpumask *src1, const struct cpumask *src2);
bool bpf_cpumask_intersects(const struct cpumask *src1, const struct cpumask *src2);
bool bpf_cpumask_subset(const struct cpumask *src1, const struct cpumask *src2);
bool bpf_cpumask_empty(const struct cpumask *cpumask);
bool bpf_cpumask_full(const struct cpumask *cpumask);
void bpf_cpumask_copy(struct bpf_cpumask *dst, const struct cpumask *src);
u32 bpf_cpumask_any_distribute(const struct cpumask *cpumask);
u32 bpf_cpumask_any_and_distribute(const struct cpumask *src1, const struct cpumask *src2);
u32 bpf_cpumask_weight(const struct cpumask *cpumask);
int bpf_cpumask_populate(struct cpumask *cpumask, void *src, size_t src__sz);

/* -- work queues in map values ------------------------------------------------------------------ */

int bpf_wq_init(struct bpf_wq *wq, void *p__map, unsigned int flags);
int bpf_wq_start(struct bpf_wq *wq, unsigned int flags);
int bpf_wq_set_callback_impl(struct bpf_wq *wq, int (*callback_fn)(void *map, int *key, void *value), unsigned int flags,
			     void *aux__prog);

/* -- arenas ------------------------------------------------------------------------------------ */

void *bpf_arena_alloc_pages(void *p__map, void *addr__ign, u32 page_cnt, int node_id, u64 flags);
void bpf_arena_free_pages(void *p__map, void *ptr__ign, u32 page_cnt);
int bpf_arena_reserve_pages(void *p__map, void *ptr__ign, u32 page_cnt);

/* -- dynptrs ------------------------------------------------------------------------------------ */

struct bpf_dynptr {
	__u64 __opaque[2];
};

int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *ptr__uninit);
int bpf_dynptr_from_xdp(struct xdp_md *x, u64 flags, struct bpf_dynptr *ptr__uninit);
void *bpf_dynptr_slice(const struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk);
void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk);
int bpf_dynptr_adjust(const struct bpf_dynptr *p, u32 start, u32 end);
bool bpf_dynptr_is_null(const struct bpf_dynptr *p);
bool bpf_dynptr_is_rdonly(const struct bpf_dynptr *p);
__u32 bpf_dynptr_size(const struct bpf_dynptr *p);
int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit);
int bpf_dynptr_copy(struct bpf_dynptr *dst_ptr, u32 dst_off, struct bpf_dynptr *src_ptr, u32 src_off, u32 size);
int bpf_dynptr_memset(struct bpf_dynptr *p, u32 offset, u32 size, u8 val);

/* -- strings ----------------------------------------------------------------------------------- */

int bpf_strcmp(const char *s1__ign, const char *s2__ign);
int bpf_strcasecmp(const char *s1__ign, const char *s2__ign);
int bpf_strnchr(const char *s__ign, size_t count, char c);
int bpf_strchr(const char *s__ign, char c);
int bpf_strchrnul(const char *s__ign, char c);
int bpf_strrchr(const char *s__ign, int c);
int bpf_strnlen(const char *s__ign, size_t count);
int bpf_strlen(const char *s__ign);
int bpf_strspn(const char *s__ign, const char *accept__ign);
int bpf_strcspn(const char *s__ign, const char *reject__ign);
int bpf_strnstr(const char *s1__ign, const char *s2__ign, size_t len);
int bpf_strstr(const char *s1__ign, const char *s2__ign);
