/* SPDX-License-Identifier: MIT */
/*
 * The addresses that compiled programs call. cffi hands out trampolines for functions, so the real
 * addresses leave C in this table; tests hold it against the helper table in bpfjit/spec.
 */
#include "rt.h"

#define SYMBOLS(X)                                                                                                     \
	X(rt_map_lookup_elem)                                                                                          \
	X(rt_map_update_elem)                                                                                          \
	X(rt_map_delete_elem)                                                                                          \
	X(rt_map_push_elem)                                                                                            \
	X(rt_map_pop_elem)                                                                                             \
	X(rt_map_peek_elem)                                                                                            \
	X(rt_tail_call)                                                                                                \
	X(rt_tail_enter)                                                                                               \
	X(rt_tail_leave)                                                                                               \
	X(rt_current_task_under_cgroup)                                                                                \
	X(rt_ringbuf_reserve)                                                                                          \
	X(rt_ringbuf_submit)                                                                                           \
	X(rt_ringbuf_discard)                                                                                          \
	X(rt_dynptr_from_mem)                                                                                          \
	X(rt_ringbuf_reserve_dynptr)                                                                                   \
	X(rt_ringbuf_submit_dynptr)                                                                                    \
	X(rt_ringbuf_discard_dynptr)                                                                                   \
	X(rt_dynptr_read)                                                                                              \
	X(rt_dynptr_write)                                                                                             \
	X(rt_dynptr_data)                                                                                              \
	X(rt_ringbuf_output)                                                                                           \
	X(rt_ringbuf_query)                                                                                            \
	X(rt_user_ringbuf_drain)                                                                                       \
	X(rt_storage_get)                                                                                              \
	X(rt_storage_delete)                                                                                           \
	X(rt_perf_event_output)                                                                                        \
	X(rt_value_lock)                                                                                               \
	X(rt_value_unlock)                                                                                             \
	X(rt_timer_init)                                                                                               \
	X(rt_timer_set_callback)                                                                                       \
	X(rt_timer_start)                                                                                              \
	X(rt_timer_cancel)                                                                                             \
	X(rt_map_lookup_percpu_elem)                                                                                   \
	X(rt_hash_walk)                                                                                                \
	X(rt_for_each_map_elem)                                                                                        \
	X(rt_loop)                                                                                                     \
	X(rt_ktime_get_ns)                                                                                             \
	X(rt_ktime_get_boot_ns)                                                                                        \
	X(rt_ktime_get_coarse_ns)                                                                                      \
	X(rt_ktime_get_tai_ns)                                                                                         \
	X(rt_jiffies64)                                                                                                \
	X(rt_get_prandom_u32)                                                                                          \
	X(rt_get_smp_processor_id)                                                                                     \
	X(rt_get_numa_node_id)                                                                                         \
	X(rt_get_current_task)                                                                                         \
	X(rt_get_stackid)                                                                                             \
	X(rt_get_stack)                                                                                               \
	X(rt_get_task_stack)                                                                                          \
	X(rt_get_current_pid_tgid)                                                                                     \
	X(rt_get_current_uid_gid)                                                                                      \
	X(rt_get_current_comm)                                                                                         \
	X(rt_get_current_cgroup_id)                                                                                    \
	X(rt_get_current_ancestor_cgroup_id)                                                                           \
	X(rt_probe_read)                                                                                               \
	X(rt_probe_read_str)                                                                                           \
	X(rt_probe_read_kernel)                                                                                        \
	X(rt_probe_read_kernel_str)                                                                                    \
	X(rt_strncmp)                                                                                                  \
	X(rt_strtol)                                                                                                   \
	X(rt_strtoul)                                                                                                  \
	X(rt_snprintf)                                                                                                 \
	X(rt_trace_printk)                                                                                             \
	X(rt_seq_printf)                                                                                               \
	X(rt_seq_write)                                                                                                \
	X(rt_put_u64)                                                                                                  \
	X(rt_put_s64)                                                                                                  \
	X(rt_put_hex)                                                                                                  \
	X(rt_put_field_s64)                                                                                            \
	X(rt_put_field_u64)                                                                                            \
	X(rt_put_spec)                                                                                                 \
	X(rt_put_text)                                                                                                 \
	X(rt_put_field_text)                                                                                           \
	X(rt_put_extended)                                                                                             \
	X(rt_trace_text)                                                                                               \
	X(rt_bpf_sys_bpf)                                                                                              \
	X(rt_bpf_sys_close)                                                                                            \
	X(rt_copy_from_user)                                                                                            \
	X(rt_btf_find_by_name_kind)                                                                                    \
	X(rt_kallsyms_lookup_name)                                                                                     \
	X(rt_seq_printf_btf)                                                                                           \
	X(rt_snprintf_btf)                                                                                             \
	X(rt_d_path)                                                                                                   \
	X(rt_sock_from_file)                                                                                           \
	X(rt_skc_to_tcp6_sock)                                                                                         \
	X(rt_skc_to_tcp_sock)                                                                                          \
	X(rt_skc_to_tcp_timewait_sock)                                                                                 \
	X(rt_skc_to_tcp_request_sock)                                                                                  \
	X(rt_skc_to_udp6_sock)                                                                                         \
	X(rt_skc_to_unix_sock)                                                                                         \
	X(rt_skb_load_bytes)                                                                                           \
	X(rt_load_packet)                                                                                              \
	X(rt_xdp_adjust_head)                                                                                          \
	X(rt_xdp_adjust_tail)                                                                                          \
	X(rt_load8)                                                                                                    \
	X(rt_load16)                                                                                                   \
	X(rt_load32)                                                                                                   \
	X(rt_load64)                                                                                                   \
	X(rt_bpf_task_acquire)                                                                                         \
	X(rt_bpf_task_release)                                                                                         \
	X(rt_bpf_task_from_pid)                                                                                        \
	X(rt_bpf_task_from_vpid)                                                                                       \
	X(rt_bpf_task_under_cgroup)                                                                                    \
	X(rt_bpf_cgroup_acquire)                                                                                       \
	X(rt_bpf_cgroup_release)                                                                                       \
	X(rt_bpf_cgroup_ancestor)                                                                                      \
	X(rt_bpf_map_sum_elem_count)                                                                                  \
	X(rt_bpf_stream_vprintk_impl)                                                                                  \
	X(rt_get_retval)                                                                                         \
	X(rt_set_retval)                                                                                         \
	X(rt_sk_cookie)                                                                                                 \
	X(rt_get_socket_cookie)                                                                                  \
	X(rt_get_netns_cookie)                                                                                   \
	X(rt_sk_fullsock)                                                                                        \
	X(rt_tcp_sock)                                                                                           \
	X(rt_sk_cgroup_id)                                                                                       \
	X(rt_setsockopt)                                                                                         \
	X(rt_getsockopt)                                                                                         \
	X(rt_sk_setsockopt)                                                                                      \
	X(rt_sk_getsockopt)                                                                                      \
	X(rt_sock_ops_cb_flags_set)                                                                              \
	X(rt_bind)                                                                                               \
	X(rt_may_goto)                                                                                                 \
	X(rt_bpf_cgroup_from_id)                                                                                       \
	X(rt_css_rstat_updated)                                                                                        \
	X(rt_css_rstat_flush)                                                                                          \
	X(rt_bpf_rcu_read_lock)                                                                                        \
	X(rt_bpf_rcu_read_unlock)                                                                                      \
	X(rt_bpf_preempt_disable)                                                                                      \
	X(rt_bpf_preempt_enable)                                                                                       \
	X(rt_bpf_rdonly_cast)                                                                                          \
	X(rt_kptr_xchg)                                                                                                \
	X(rt_bpf_obj_new_impl)                                                                                         \
	X(rt_bpf_obj_drop_impl)                                                                                        \
	X(rt_bpf_percpu_obj_new_impl)                                                                                  \
	X(rt_bpf_percpu_obj_drop_impl)                                                                                 \
	X(rt_bpf_refcount_acquire_impl)                                                                                \
	X(rt_bpf_list_push_front_impl)                                                                                 \
	X(rt_bpf_list_push_back_impl)                                                                                  \
	X(rt_bpf_list_pop_front)                                                                                       \
	X(rt_bpf_list_pop_back)                                                                                        \
	X(rt_bpf_list_front)                                                                                           \
	X(rt_bpf_list_back)                                                                                            \
	X(rt_bpf_rbtree_add_impl)                                                                                      \
	X(rt_bpf_rbtree_remove)                                                                                        \
	X(rt_bpf_rbtree_first)                                                                                         \
	X(rt_bpf_rbtree_root)                                                                                          \
	X(rt_bpf_rbtree_left)                                                                                          \
	X(rt_bpf_rbtree_right)                                                                                         \
	X(rt_bpf_local_irq_save)                                                                                       \
	X(rt_bpf_local_irq_restore)                                                                                    \
	X(rt_bpf_res_spin_lock)                                                                                        \
	X(rt_bpf_res_spin_unlock)                                                                                      \
	X(rt_bpf_res_spin_lock_irqsave)                                                                                \
	X(rt_bpf_res_spin_unlock_irqrestore)                                                                           \
	X(rt_bpf_throw)                                                                                                \
	X(rt_thrown)                                                                                                   \
	X(rt_catch)                                                                                                    \
	X(rt_per_cpu_ptr)                                                                                              \
	X(rt_this_cpu_ptr)                                                                                             \
	X(rt_bpf_cpumask_create)                                                                                       \
	X(rt_bpf_cpumask_acquire)                                                                                      \
	X(rt_bpf_cpumask_release)                                                                                      \
	X(rt_bpf_cpumask_first)                                                                                        \
	X(rt_bpf_cpumask_first_zero)                                                                                   \
	X(rt_bpf_cpumask_first_and)                                                                                    \
	X(rt_bpf_cpumask_set_cpu)                                                                                      \
	X(rt_bpf_cpumask_clear_cpu)                                                                                    \
	X(rt_bpf_cpumask_test_cpu)                                                                                     \
	X(rt_bpf_cpumask_test_and_set_cpu)                                                                             \
	X(rt_bpf_cpumask_test_and_clear_cpu)                                                                           \
	X(rt_bpf_arena_alloc_pages)                                                                                   \
	X(rt_bpf_arena_free_pages)                                                                                    \
	X(rt_bpf_arena_reserve_pages)                                                                                 \
	X(rt_bpf_cpumask_setall)                                                                                       \
	X(rt_bpf_cpumask_clear)                                                                                        \
	X(rt_bpf_cpumask_and)                                                                                          \
	X(rt_bpf_cpumask_or)                                                                                           \
	X(rt_bpf_cpumask_xor)                                                                                          \
	X(rt_bpf_cpumask_equal)                                                                                        \
	X(rt_bpf_cpumask_intersects)                                                                                   \
	X(rt_bpf_cpumask_subset)                                                                                       \
	X(rt_bpf_cpumask_empty)                                                                                        \
	X(rt_bpf_cpumask_full)                                                                                         \
	X(rt_bpf_cpumask_copy)                                                                                         \
	X(rt_bpf_cpumask_any_distribute)                                                                               \
	X(rt_bpf_cpumask_any_and_distribute)                                                                           \
	X(rt_bpf_cpumask_weight)                                                                                       \
	X(rt_bpf_cpumask_populate)                                                                                     \
	X(rt_bpf_strcmp)                                                                                               \
	X(rt_bpf_strcasecmp)                                                                                           \
	X(rt_bpf_strnchr)                                                                                              \
	X(rt_bpf_strchr)                                                                                               \
	X(rt_bpf_strchrnul)                                                                                            \
	X(rt_bpf_strrchr)                                                                                              \
	X(rt_bpf_strnlen)                                                                                              \
	X(rt_bpf_strlen)                                                                                               \
	X(rt_bpf_strspn)                                                                                               \
	X(rt_bpf_strcspn)                                                                                              \
	X(rt_bpf_strnstr)                                                                                              \
	X(rt_bpf_strstr)                                                                                               \
	X(rt_bpf_iter_num_new)                                                                                         \
	X(rt_bpf_iter_num_next)                                                                                        \
	X(rt_bpf_iter_num_destroy)                                                                                     \
	X(rt_bpf_iter_bits_new)                                                                                        \
	X(rt_bpf_iter_bits_next)                                                                                       \
	X(rt_bpf_iter_bits_destroy)                                                                                    \
	X(rt_bpf_iter_task_new)                                                                                        \
	X(rt_bpf_iter_task_next)                                                                                       \
	X(rt_bpf_iter_task_destroy)                                                                                    \
	X(rt_bpf_iter_task_vma_new)                                                                                    \
	X(rt_bpf_iter_task_vma_next)                                                                                   \
	X(rt_bpf_iter_task_vma_destroy)                                                                                \
	X(rt_bpf_iter_css_new)                                                                                         \
	X(rt_bpf_iter_css_next)                                                                                        \
	X(rt_bpf_iter_css_destroy)                                                                                     \
	X(rt_bpf_iter_css_task_new)                                                                                    \
	X(rt_bpf_iter_css_task_next)                                                                                   \
	X(rt_bpf_iter_css_task_destroy)                                                                                \
	X(rt_bpf_dynptr_from_skb)                                                                                      \
	X(rt_bpf_dynptr_from_xdp)                                                                                      \
	X(rt_bpf_dynptr_slice)                                                                                         \
	X(rt_bpf_dynptr_slice_rdwr)                                                                                    \
	X(rt_bpf_dynptr_adjust)                                                                                        \
	X(rt_bpf_dynptr_is_null)                                                                                       \
	X(rt_bpf_dynptr_is_rdonly)                                                                                     \
	X(rt_bpf_dynptr_size)                                                                                          \
	X(rt_bpf_dynptr_clone)                                                                                         \
	X(rt_bpf_dynptr_copy)                                                                                          \
	X(rt_bpf_dynptr_memset)

#define DECLARE(name) extern char name##_as_object[] __asm__(#name);
SYMBOLS(DECLARE)

static const struct {
	const char *name;
	void *addr;
} symbols[] = {
#define ROW(name) { #name, name##_as_object },
	SYMBOLS(ROW)
};

int rt_symbol(int i, const char **name, void **addr)
{
	if (i < 0 || (size_t)i >= sizeof(symbols) / sizeof(symbols[0]))
		return 0;
	*name = symbols[i].name;
	*addr = symbols[i].addr;
	return 1;
}
