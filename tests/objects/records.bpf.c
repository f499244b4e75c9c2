// SPDX-License-Identifier: MIT
/* Values with special fields, good and bad: only their BTF is of use. One structure a case (tests/unit/test_btf_record.py). */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define __contains(name, node) __attribute__((btf_decl_tag("contains:" #name ":" #node)))
#define __uptr __attribute__((btf_type_tag("uptr")))
#define CASE(name, ...)                                                                                                \
	struct name {                                                                                                  \
		__VA_ARGS__                                                                                            \
	};                                                                                                             \
	struct name *name##_case

struct mine {
	u64 x;
};

struct item {
	struct bpf_list_node list;
	struct bpf_rb_node tree;
	struct bpf_refcount refs;
	u64 x;
};

struct hanging {
	struct bpf_list_node list;
	u64 x;
};

struct mine mine_case;
struct file file_case;
struct item *item_case;
struct hanging *hanging_case;
struct inner_lock {
	u32 x;
	struct bpf_spin_lock lock;
};

CASE(plain, u64 a; u32 b;);
CASE(lock, u32 a; struct bpf_spin_lock l;);
CASE(lock_only, struct bpf_spin_lock l;);
CASE(two_locks, struct bpf_spin_lock l; struct bpf_spin_lock m;);
CASE(lock_nested, u64 a; struct inner_lock in;);
CASE(lock_array, struct bpf_spin_lock l[2];);
CASE(lock_in_array, struct inner_lock in[2];);
CASE(lock_in_one, struct inner_lock in[1];);
CASE(lock_packed, u8 a; struct bpf_spin_lock l __attribute__((packed)); u8 b;);
CASE(timer, u64 a; struct bpf_timer t;);
CASE(two_timers, struct bpf_timer t; struct bpf_timer u;);
CASE(timer_and_lock, struct bpf_timer t; struct bpf_spin_lock l;);
CASE(wq, struct bpf_wq w;);
CASE(kptr, struct task_struct __kptr *t;);
CASE(kptr_untrusted, struct file __kptr_untrusted *f;);
CASE(kptr_file, struct file __kptr *f;);
CASE(kptr_mine, struct mine __kptr *m;);
CASE(kptr_percpu, struct mine __percpu_kptr *m;);
CASE(kptr_int, u64 __kptr *m;);
CASE(kptr_array, struct task_struct __kptr *t[3];);
CASE(kptr_many, struct task_struct __kptr *t[11];);
CASE(kptr_too_many, struct task_struct __kptr *t[12];);
CASE(tagged_otherwise, struct task_struct __attribute__((btf_type_tag("strange"))) *t;);
CASE(tagged_twice, struct task_struct __kptr_untrusted __kptr *t;);
CASE(plain_pointer, struct task_struct *t;);
CASE(refcount, struct bpf_refcount r; u32 a;);
CASE(list, struct bpf_spin_lock l; struct bpf_list_head h __contains(hanging, list););
CASE(list_no_lock, struct bpf_list_head h __contains(hanging, list););
CASE(list_untagged, struct bpf_spin_lock l; struct bpf_list_head h;);
CASE(list_of_nothing, struct bpf_spin_lock l; struct bpf_list_head h __contains(absent, list););
CASE(list_no_member, struct bpf_spin_lock l; struct bpf_list_head h __contains(hanging, other););
CASE(list_wrong_member, struct bpf_spin_lock l; struct bpf_list_head h __contains(hanging, x););
CASE(list_both, struct bpf_spin_lock l; struct bpf_list_head h __contains(item, list););
CASE(tree, struct bpf_spin_lock l; struct bpf_rb_root r __contains(item, tree););
CASE(tree_of_list, struct bpf_spin_lock l; struct bpf_rb_root r __contains(item, list););
CASE(node_in_map, struct bpf_list_node n;);
CASE(uptr, struct mine __uptr *m;);
CASE(bits, u32 a : 3; u32 b : 5; struct bpf_spin_lock l;);
CASE(bits_plain, u32 a : 3; u32 b : 5;);
CASE(in_union, union { struct bpf_spin_lock l; u32 x; };);
CASE(task_work, struct bpf_task_work w;);
CASE(res_lock, struct bpf_res_spin_lock l;);
CASE(lock_and_res_lock, struct bpf_spin_lock l; struct bpf_res_spin_lock r;);

char _license[] SEC("license") = "GPL";
