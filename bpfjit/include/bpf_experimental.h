/* SPDX-License-Identifier: MIT */
/*
 * Objects of a program's own types, with the names that users of the kernel's header of this name expect: a structure is
 * named where the kernel function takes its BTF id. The functions themselves are in vmlinux.h.
 */
#ifndef __BPF_EXPERIMENTAL__
#define __BPF_EXPERIMENTAL__

#include "bpf/bpf_core_read.h"

/* What a bpf_list_head or bpf_rb_root holds: structures of that name, by that member of theirs. */
#define __contains(name, node) __attribute__((btf_decl_tag("contains:" #name ":" #node)))

/* A global variable in a section of its own, which may hold locks, lists and trees; one lock a section. */
#define private(name) SEC(".data." #name) __hidden __attribute__((aligned(8)))

#define bpf_obj_new(type) ((type *)bpf_obj_new_impl(bpf_core_type_id_local(type), NULL))
#define bpf_obj_drop(kptr) bpf_obj_drop_impl(kptr, NULL)
#define bpf_percpu_obj_new(type) ((type __percpu_kptr *)bpf_percpu_obj_new_impl(bpf_core_type_id_local(type), NULL))
#define bpf_percpu_obj_drop(kptr) bpf_percpu_obj_drop_impl(kptr, NULL)
#define bpf_refcount_acquire(kptr) ((typeof(kptr))bpf_refcount_acquire_impl(kptr, NULL))

#define bpf_list_push_front(head, node) bpf_list_push_front_impl(head, node, NULL, 0)
#define bpf_list_push_back(head, node) bpf_list_push_back_impl(head, node, NULL, 0)
#define bpf_rbtree_add(root, node, less) bpf_rbtree_add_impl(root, node, less, NULL, 0)

/* On the program's main function: which one answers bpf_throw(). */
#define __exception_cb(name) __attribute__((btf_decl_tag("exception_callback:" #name)))

#endif
