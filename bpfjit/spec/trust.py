"""Members of kernel structures whose pointers stay good: what Linux 6.18 lists as safe to trust.

Rows are (structure, member). Trusted: valid as long as the structure that holds it is. RCU: valid for the
rest of a read section. Any other member gives a plain pointer.
"""

from __future__ import annotations

TRUSTED_MEMBERS = frozenset(
    {
        ("bpf_iter_meta", "seq"),
        ("bpf_iter__task", "meta"),
        ("bpf_iter__cgroup", "meta"),
        ("bpf_iter__bpf_map", "meta"),
        ("bpf_iter__bpf_map_elem", "meta"),
        ("file", "f_inode"),
        ("linux_binprm", "file"),
    }
)
TRUSTED_OR_NULL_MEMBERS = frozenset(
    {
        ("bpf_iter__task", "task"),
        ("bpf_iter__cgroup", "cgroup"),
        ("bpf_iter__bpf_map", "map"),
        ("bpf_iter__bpf_map_elem", "map"),
        ("dentry", "d_inode"),
        ("socket", "sk"),
    }
)
RCU_MEMBERS = frozenset(
    {
        ("task_struct", "cpus_ptr"),
        ("task_struct", "cgroups"),
        ("task_struct", "real_parent"),
        ("task_struct", "group_leader"),
        ("cgroup", "kn"),
        ("css_set", "dfl_cgrp"),
        ("cgroup_subsys_state", "cgroup"),
    }
)
RCU_OR_NULL_MEMBERS = frozenset({("mm_struct", "exe_file"), ("sk_buff", "sk"), ("request_sock", "sk")})
# Structures that the kernel knows how to let go of, and so the only ones that a map may own (kptr), by the runtime's
# function that does it; "" where the simulated kernel has no such objects.
DESTRUCTIBLE = {
    "task_struct": "rt_bpf_task_release",
    "cgroup": "rt_bpf_cgroup_release",
    "bpf_cpumask": "rt_bpf_cpumask_release",
    "bpf_crypto_ctx": "",
    "prog_test_member": "",
    "prog_test_ref_kfunc": "",
}
