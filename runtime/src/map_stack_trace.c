/* SPDX-License-Identifier: MIT */
/*
 * Stacks: what a task's kernel and user stack hold is what the control side says of it (rt_task_stack); a stack_trace map
 * keeps each different one under a number that its contents give, as far as it has elements for them.
 */
#include "rt.h"

#define MAX_DEPTH 127 /* perf_event_max_stack */
#define SKIP 0xFF
#define USER_STACK (1u << 8)
#define FAST_CMP (1u << 9)
#define REUSE (1u << 10)
#define USER_BUILD_ID (1u << 11)
#define BUILD_ID_IP 2 /* enum bpf_stack_build_id_status: an address is all that is known */

/* What stands behind task_struct.stack: the kernel's addresses, then the user's, innermost first. */
struct stack {
	u32 count[2];
	u64 ip[];
};

struct build_id {
	s32 status;
	u8 build_id[20];
	u64 ip;
};

struct bucket {
	struct bucket *next; /* of the free ones */
	u32 hash, count;
	u64 ip[MAX_DEPTH];
};

struct stacks {
	struct rt_map m;
	u32 lock;
	u32 nbuckets;
	u32 depth; /* addresses in a value */
	struct bucket **buckets;
	struct bucket *elements, *free;
};

static int by_build_id(const struct rt_map *m)
{
	return !!(m->map.map_flags & BPF_F_STACK_BUILD_ID);
}

/* -- tasks -- */

static size_t stack_bytes(const struct stack *s)
{
	return sizeof(*s) + 8 * ((size_t)s->count[0] + s->count[1]);
}

/* The task's stacks are these from now on; none at all without addresses. */
int rt_task_stack(struct rt_kernel *k, struct task_struct *task, const u64 *kernel, u32 nkernel, const u64 *user, u32 nuser)
{
	struct stack *s = NULL, *before;

	if (nkernel > MAX_DEPTH || nuser > MAX_DEPTH)
		return -E2BIG;
	if (nkernel || nuser) {
		s = rt_kobj_alloc(k, sizeof(*s) + 8 * ((size_t)nkernel + nuser));
		if (!s)
			return -ENOMEM;
		s->count[0] = nkernel;
		s->count[1] = nuser;
		for (u32 i = 0; i < nkernel; i++)
			s->ip[i] = kernel[i];
		for (u32 i = 0; i < nuser; i++)
			s->ip[nkernel + i] = user[i];
	}
	before = __atomic_exchange_n((struct stack **)&task->stack, s, __ATOMIC_ACQ_REL);
	if (before)
		rt_kobj_free_rcu(k, before, stack_bytes(before));
	return 0;
}

/* A task's addresses behind the first `skip`, at most `most`; how many there were with those skipped. */
static u32 addresses(struct task_struct *task, int user, u32 skip, u32 most, const u64 **from, u32 *count)
{
	const struct stack *s = task ? __atomic_load_n((struct stack **)&task->stack, __ATOMIC_ACQUIRE) : NULL;
	u32 all = s ? s->count[user] : 0, depth = most + skip < MAX_DEPTH ? most + skip : MAX_DEPTH;

	if (all > depth)
		all = depth;
	*count = all > skip ? all - skip : 0;
	*from = *count ? s->ip + (user ? s->count[0] : 0) + skip : NULL;
	return all;
}

static void write_build_ids(struct build_id *to, const u64 *ip, u32 count)
{
	memset(to, 0, count * sizeof(*to));
	for (u32 i = 0; i < count; i++) {
		to[i].status = BUILD_ID_IP;
		to[i].ip = ip[i];
	}
}

static s64 stack_of(struct task_struct *task, void *buf, u64 size, u64 flags)
{
	u32 skip = flags & SKIP, user = !!(flags & USER_STACK), entry = flags & USER_BUILD_ID ? sizeof(struct build_id) : 8, count;
	const u64 *ip;
	s64 err = 0;

	size = (u32)size;
	if (flags & ~(u64)(SKIP | USER_STACK | USER_BUILD_ID) || (flags & USER_BUILD_ID && !user) || size % entry)
		err = -EINVAL;
	else if (addresses(task, user, skip, size / entry, &ip, &count) < skip)
		err = -EFAULT;
	if (err) {
		memset(buf, 0, size);
		return err;
	}
	if (flags & USER_BUILD_ID)
		write_build_ids(buf, ip, count);
	else if (count)
		memcpy(buf, ip, 8 * (size_t)count);
	memset((char *)buf + count * entry, 0, size - count * entry);
	return count * entry;
}

s64 rt_get_stack(void *ctx, void *buf, u64 size, u64 flags)
{
	(void)ctx;
	return stack_of(rt_this_cpu->current, buf, size, flags);
}

s64 rt_get_task_stack(struct task_struct *task, void *buf, u64 size, u64 flags)
{
	return stack_of(task, buf, size, flags);
}

/* -- the map -- */

static struct rt_map *stacks_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	u32 entry = shape->map_flags & BPF_F_STACK_BUILD_ID ? sizeof(struct build_id) : 8;
	struct stacks *s;

	(void)k;
	*err = -EINVAL;
	if (shape->value_size % entry || shape->value_size < 8 || shape->value_size / entry > MAX_DEPTH)
		return NULL;
	*err = -ENOMEM;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	for (s->nbuckets = 1; s->nbuckets < shape->max_entries; s->nbuckets *= 2)
		;
	s->depth = shape->value_size / entry;
	s->buckets = rt_pages_alloc(s->nbuckets * sizeof(*s->buckets));
	s->elements = rt_pages_alloc(shape->max_entries * sizeof(*s->elements));
	if (!s->buckets || !s->elements) {
		rt_pages_free(s->buckets, s->nbuckets * sizeof(*s->buckets));
		free(s);
		return NULL;
	}
	for (u32 i = shape->max_entries; i--; s->free = &s->elements[i])
		s->elements[i].next = s->free;
	s->m.value_bytes = shape->value_size;
	s->m.memory_bytes = sizeof(*s) + s->nbuckets * sizeof(*s->buckets) + (u64)shape->max_entries * (24 + shape->value_size);
	return &s->m;
}

static void stacks_free(struct rt_map *m)
{
	struct stacks *s = (struct stacks *)m;

	rt_pages_free(s->buckets, s->nbuckets * sizeof(*s->buckets));
	rt_pages_free(s->elements, m->map.max_entries * sizeof(*s->elements));
	free(s);
}

static u32 hash_of(const u64 *ip, u32 count)
{
	u64 h = count;

	for (u32 i = 0; i < count; i++) {
		h = (h ^ ip[i]) * 0x9E3779B97F4A7C15ULL;
		h ^= h >> 29;
	}
	return (u32)(h >> 32);
}

static void drop(struct stacks *s, u32 id)
{
	s->buckets[id]->next = s->free;
	s->free = s->buckets[id];
	s->buckets[id] = NULL;
}

s64 rt_get_stackid(void *ctx, struct bpf_map *map, u64 flags)
{
	struct stacks *s = (struct stacks *)rt_map_of(map);
	u32 skip = flags & SKIP, count, hash, id;
	struct bucket *b;
	const u64 *ip;
	s64 result;

	(void)ctx;
	if (flags & ~(u64)(SKIP | USER_STACK | FAST_CMP | REUSE))
		return -EINVAL;
	addresses(rt_this_cpu->current, !!(flags & USER_STACK), skip, s->depth, &ip, &count);
	if (!count)
		return -EFAULT;
	hash = hash_of(ip, count);
	result = id = hash & (s->nbuckets - 1);
	rt_spin_lock(&s->lock);
	b = s->buckets[id];
	if (b && b->hash == hash && (flags & FAST_CMP || (b->count == count && !memcmp(b->ip, ip, 8 * (size_t)count))))
		goto out;
	if (b && !(flags & REUSE)) {
		result = -EEXIST;
		goto out;
	}
	if (!s->free) { /* as in Linux the new one is taken before the old one is given back */
		result = -ENOMEM;
		goto out;
	}
	b = s->free;
	s->free = b->next;
	b->hash = hash;
	b->count = count;
	memcpy(b->ip, ip, 8 * (size_t)count);
	if (s->buckets[id])
		drop(s, id);
	s->buckets[id] = b;
out:
	rt_spin_unlock(&s->lock);
	return result;
}

static int stacks_out(struct rt_map *m, const void *key, void *value, int take)
{
	struct stacks *s = (struct stacks *)m;
	u32 id = *(const u32 *)key, size = 0;
	struct bucket *b;

	if (id >= s->nbuckets)
		return -ENOENT;
	rt_spin_lock(&s->lock);
	b = s->buckets[id];
	if (b && by_build_id(m))
		write_build_ids(value, b->ip, b->count);
	else if (b)
		memcpy(value, b->ip, 8 * (size_t)b->count);
	if (b)
		size = b->count * (by_build_id(m) ? sizeof(struct build_id) : 8);
	if (b && take)
		drop(s, id);
	rt_spin_unlock(&s->lock);
	if (!b)
		return -ENOENT;
	memset((char *)value + size, 0, m->map.value_size - size);
	return 0;
}

static int stacks_copy_out(struct rt_map *m, const void *key, void *value, u64 flags)
{
	return flags ? -EINVAL : stacks_out(m, key, value, 0);
}

static int stacks_take(struct rt_map *m, const void *key, void *value, u64 flags)
{
	return flags ? -EINVAL : stacks_out(m, key, value, 1);
}

static int stacks_copy_in(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	(void)m;
	(void)key;
	(void)value;
	(void)flags;
	return -EINVAL; /* only programs put stacks in */
}

static int stacks_delete(struct rt_map *m, const void *key)
{
	struct stacks *s = (struct stacks *)m;
	u32 id = *(const u32 *)key;
	int err = -ENOENT;

	if (id >= s->nbuckets)
		return -E2BIG;
	rt_spin_lock(&s->lock);
	if (s->buckets[id]) {
		drop(s, id);
		err = 0;
	}
	rt_spin_unlock(&s->lock);
	return err;
}

static int stacks_next_key(struct rt_map *m, const void *key, void *next)
{
	struct stacks *s = (struct stacks *)m;
	u32 id = key ? *(const u32 *)key : 0;
	int err = -ENOENT;

	rt_spin_lock(&s->lock);
	if (key && id < s->nbuckets && s->buckets[id])
		id++;
	else
		id = 0; /* from the beginning where the key is not there */
	while (id < s->nbuckets && !s->buckets[id])
		id++;
	if (id < s->nbuckets) {
		*(u32 *)next = id;
		err = 0;
	}
	rt_spin_unlock(&s->lock);
	return err;
}

static const struct bpf_map_ops stack_trace_ops = {
	.map_type = BPF_MAP_TYPE_STACK_TRACE,
	.alloc = stacks_alloc,
	.free = stacks_free,
	.copy_out = stacks_copy_out,
	.copy_in = stacks_copy_in,
	.take = stacks_take,
	.delete = stacks_delete,
	.next_key = stacks_next_key,
};
RT_MAP_TYPE(stack_trace_ops);
