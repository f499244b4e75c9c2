// SPDX-License-Identifier: MIT
/* kconfig externs of every C type that takes one, and kernel symbols. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_T_BOOL __kconfig;
extern enum libbpf_tristate CONFIG_T_TRI __kconfig;
extern char CONFIG_T_CHAR __kconfig;
extern int CONFIG_T_INT __kconfig;
extern unsigned long CONFIG_T_HEX __kconfig;
extern char CONFIG_T_STRING[8] __kconfig;
extern int CONFIG_T_WEAK __kconfig __weak;
extern int CONFIG_T_WEAK_SET __kconfig __weak;

long out[7];
char word[8];

SEC("syscall")
int config(void *ctx)
{
	out[0] = LINUX_KERNEL_VERSION;
	out[1] = CONFIG_T_BOOL;
	out[2] = CONFIG_T_TRI;
	out[3] = CONFIG_T_CHAR;
	out[4] = CONFIG_T_INT;
	out[5] = CONFIG_T_HEX;
	out[6] = CONFIG_T_WEAK * 100 + CONFIG_T_WEAK_SET;
	for (int i = 0; i < 8; i++)
		word[i] = CONFIG_T_STRING[i];
	return 0;
}

char _license[] SEC("license") = "GPL";
