/* SPDX-License-Identifier: MIT */
/* Where native code finds what it reads itself, in place of calling the runtime: the layouts' one home is C. */
#include "array.h"
#include "hash.h"
#include "held.h"
#include "ringbuf.h"

#define OFFSETS(X)                                                                                                     \
	X("cpu.index", struct rt_cpu, index)                                                                           \
	X("cpu.current", struct rt_cpu, current)                                                                       \
	X("map.max_entries", struct rt_map, map.max_entries)                                                           \
	X("held.slot", struct held_array, slot)                                                                        \
	X("array.values", struct rt_array, values)                                                                     \
	X("array.block_bytes", struct rt_array, block_bytes)                                                           \
	X("hash.buckets", struct rt_hash, buckets)                                                                     \
	X("hash.overflow", struct rt_hash, overflow)                                                                   \
	X("hash.elems", struct rt_hash, elems)                                                                         \
	X("hash.referenced", struct rt_hash, referenced)                                                               \
	X("hash.seed", struct rt_hash, seed)                                                                           \
	X("hash.mask", struct rt_hash, mask)                                                                           \
	X("hash.elem_bytes", struct rt_hash, elem_bytes)                                                               \
	X("bucket.next", struct rt_bucket, next)                                                                       \
	X("map.ring", struct rt_ring_map, ring)                                                                         \
	X("ring.lock", struct rt_ring, lock)                                                                            \
	X("ring.mask", struct rt_ring, mask)                                                                            \
	X("ring.consumed", struct rt_ring, consumed)                                                                    \
	X("ring.pending", struct rt_ring, pending)                                                                      \
	X("ring.event", struct rt_ring, event)                                                                          \
	X("task.pid", struct task_struct, pid)                                                                         \
	X("task.tgid", struct task_struct, tgid)                                                                       \
	X("task.comm", struct task_struct, comm)                                                                       \
	X("task.cred", struct task_struct, cred)                                                                       \
	X("cred.uid", struct cred, uid)                                                                                \
	X("cred.gid", struct cred, gid)                                                                                \
	X("task.cgroups", struct task_struct, cgroups)                                                                 \
	X("css_set.dfl_cgrp", struct css_set, dfl_cgrp)                                                                \
	X("cgroup.kn", struct cgroup, kn)                                                                              \
	X("kernfs_node.id", struct kernfs_node, id)                                                                    \
	X("seq_file.buf", struct seq_file, buf)                                                                        \
	X("seq_file.size", struct seq_file, size)                                                                      \
	X("seq_file.count", struct seq_file, count)

static const struct {
	const char *name;
	s64 bytes;
} offsets[] = {
#define ROW(name, type, member) { name, offsetof(type, member) },
	OFFSETS(ROW)
};

/* A bucket is one vector, its tags the upper halves of the first seven of eight words. */
_Static_assert(sizeof(struct rt_bucket) == 64 && RT_SLOTS == 7 && !offsetof(struct rt_bucket, slot), "the JIT's bucket");
_Static_assert(sizeof(struct rt_cursor) == 32, "the JIT's cursor (loops.py)");
_Static_assert(RT_PAGE == 4096 && sizeof(struct rt_ring_header) == 8, "the JIT's ring (ring.py)");

#define COUNT ((int)(sizeof(offsets) / sizeof(offsets[0])))

int rt_offset(int i, const char **name, s64 *bytes)
{
	if (i < 0 || i > COUNT)
		return 0;
	if (i == COUNT) {
		/* rt_this_cpu's place relative to the thread: the same in every thread (initial-exec) while this process runs. */
		*name = "cpu";
		*bytes = (char *)&rt_this_cpu - (char *)__builtin_thread_pointer();
		return 1;
	}
	*name = offsets[i].name;
	*bytes = offsets[i].bytes;
	return 1;
}
