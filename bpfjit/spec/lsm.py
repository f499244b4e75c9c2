"""Security hooks that LSM programs attach to, named without bpf_lsm_: where they may sleep, what they may answer."""

from __future__ import annotations


def _names(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


# Hooks that are called where sleeping is allowed. Source: Linux's list of them.
SLEEPABLE = _names(
    "bpf bpf_map bpf_map_create bpf_map_free bpf_prog bpf_prog_load bpf_token_capable bpf_token_cmd",
    "bpf_token_create bpf_token_free bprm_check_security bprm_committed_creds bprm_committing_creds",
    "bprm_creds_for_exec bprm_creds_from_file capget capset cred_prepare current_getsecid_subj file_ioctl file_lock",
    "file_open file_post_open file_receive inode_create inode_free_security inode_getattr inode_getxattr",
    "inode_mknod inode_need_killpriv inode_post_setxattr inode_readlink inode_rename inode_rmdir inode_setattr",
    "inode_setxattr inode_symlink inode_unlink kernel_module_request kernel_read_file kernfs_init_security",
    "mmap_file netlink_send path_chmod path_chown path_link path_mkdir path_notify path_rename path_rmdir",
    "path_symlink path_truncate path_unlink release_secctx sb_alloc_security sb_eat_lsm_opts sb_kern_mount sb_mount",
    "sb_remount sb_set_mnt_opts sb_show_options sb_statfs sb_umount settime socket_accept socket_bind",
    "socket_connect socket_create socket_getpeername socket_getpeersec_dgram socket_getsockname socket_getsockopt",
    "socket_listen socket_post_create socket_recvmsg socket_sendmsg socket_shutdown socket_socketpair syslog",
    "task_alloc task_getsecid_obj task_prctl task_setscheduler userns_create",
)
# Hooks that no program attaches to.
DISABLED = _names(
    "audit_rule_match getprocattr getselfattr inode_copy_up_xattr inode_getsecurity inode_listsecurity",
    "inode_need_killpriv ismaclabel key_getsecurity setprocattr vm_enough_memory xfrm_decode_session",
)
# Hooks whose objects are being made or freed: their pointers are not to be trusted.
UNTRUSTED = _names(
    "bpf_map_free bpf_prog_free file_alloc_security file_free_security sk_alloc_security sk_free_security task_free",
)
# Hooks that answer yes or no; all others 0 or -errno.
YES_OR_NO = _names(
    "audit_rule_known inode_xattr_skipcap xfrm_state_pol_flow_match",
)
PREFIX = "bpf_lsm_"
MAX_ERRNO = 4095
# The hooks that happen in the simulated kernel, in kernfs_sim/lsm.py.
HOOKS = ("bpf", "bpf_map", "bpf_prog", "file_open", "inode_mkdir", "inode_rmdir", "inode_unlink")
