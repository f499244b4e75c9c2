// SPDX-License-Identifier: MIT
/*
 * What a fresh bpffs shows of the kernel's maps and programs, in the columns that Linux has for maps.debug and
 * progs.debug. kernfs_sim/preloaded.py is this file's light skeleton; tools/preload.py makes it anew.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

SEC("iter/bpf_map")
int dump_bpf_map(struct bpf_iter__bpf_map *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct bpf_map *map = ctx->map;

	if (!map)
		return 0;
	if (!ctx->meta->seq_num)
		BPF_SEQ_PRINTF(seq, "  id name             max_entries  cur_entries\n");
	BPF_SEQ_PRINTF(seq, "%4u %-16s  %10d   %10lld\n", map->id, map->name, map->max_entries, bpf_map_sum_elem_count(map));
	return 0;
}

/* A program's name in bpf(2) has room for 15 characters; its first function's type has all of them. */
static const char *whole_name(struct bpf_prog_aux *aux)
{
	struct btf *btf = aux->btf;
	struct btf_type *type = 0;
	u32 name;

	if (!btf)
		return aux->name;
	bpf_probe_read_kernel(&type, sizeof(type), &btf->types[BPF_CORE_READ(aux, func_info, type_id)]);
	name = BPF_CORE_READ(type, name_off);
	return name && name < btf->hdr.str_len ? btf->strings + name : aux->name;
}

SEC("iter/bpf_prog")
int dump_bpf_prog(struct bpf_iter__bpf_prog *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct bpf_prog *prog = ctx->prog;
	struct bpf_prog_aux *aux;

	if (!prog)
		return 0;
	aux = prog->aux;
	if (!ctx->meta->seq_num)
		BPF_SEQ_PRINTF(seq, "  id name             attached\n");
	BPF_SEQ_PRINTF(seq, "%4u %-16s %s %s\n", aux->id, whole_name(aux), aux->attach_func_name, aux->dst_prog->aux->name);
	return 0;
}

char _license[] SEC("license") = "GPL";
