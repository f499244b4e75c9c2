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
	X(rt_map_lookup_percpu_elem)                                                                                   \
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
	X(rt_bpf_sys_bpf)                                                                                              \
	X(rt_bpf_sys_close)                                                                                            \
	X(rt_btf_find_by_name_kind)                                                                                    \
	X(rt_kallsyms_lookup_name)                                                                                     \
	X(rt_skb_load_bytes)                                                                                           \
	X(rt_xdp_adjust_head)                                                                                          \
	X(rt_xdp_adjust_tail)                                                                                          \
	X(rt_load8)                                                                                                    \
	X(rt_load16)                                                                                                   \
	X(rt_load32)                                                                                                   \
	X(rt_load64)

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
