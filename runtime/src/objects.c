/* SPDX-License-Identifier: MIT */
/*
 * Objects of programs' own types: made, counted, dropped, exchanged with pointers in values. Memory is the kernel's heap,
 * which stays mapped, and comes back to it when readers are through; so a stale pointer reads an old object at worst.
 */
#include "rt.h"

#define DROPS 126

/* Before each object: one instruction may drop objects of several types. */
struct header {
	const struct rt_struct *type;
	u64 unused; /* objects are aligned as the heap is, to 16 bytes */
};

static struct header *header_of(void *object)
{
	return (struct header *)object - 1;
}

/* What one CPU has dropped, until there is enough to wait for readers with. */
struct rt_drops {
	u32 count;
	struct {
		void *memory;
		size_t size;
	} drop[DROPS];
};

/* -- structures -- */

struct rt_structs {
	u32 refs; /* atomic */
	struct rt_struct *all;
};

struct rt_structs *rt_structs_new(void)
{
	struct rt_structs *set = calloc(1, sizeof(*set));

	if (set)
		set->refs = 1;
	return set;
}

struct rt_structs *rt_structs_get(struct rt_structs *set)
{
	if (set)
		__atomic_add_fetch(&set->refs, 1, __ATOMIC_RELAXED);
	return set;
}

void rt_structs_put(struct rt_structs *set)
{
	struct rt_struct *s, *next;

	if (!set || __atomic_sub_fetch(&set->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (s = set->all; s; s = next) {
		next = s->next;
		free(s);
	}
	free(set);
}

struct rt_struct *rt_struct_new(struct rt_structs *set, u32 size)
{
	struct rt_struct *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->set = set;
	s->size = size;
	s->refcount_off = -1;
	s->next = set->all;
	set->all = s;
	return s;
}

void rt_struct_define(struct rt_struct *s, const struct rt_field *fields, u32 nfields)
{
	rt_fields_take(&s->fields, fields, nfields);
	for (u32 i = 0; i < nfields; i++)
		if (fields[i].kind == RT_REFCOUNT)
			s->refcount_off = (int)fields[i].offset;
}

/* -- memory -- */

u64 rt_objects_alive(struct rt_kernel *k)
{
	return __atomic_load_n(&k->objects, __ATOMIC_RELAXED);
}

#define PERCPU_UNIT 8

/* The place that a size has among the free lists: memory of a list is of one size. */
static u32 percpu_class(u32 size)
{
	return (size + PERCPU_UNIT - 1) / PERCPU_UNIT - 1;
}

void *rt_percpu_alloc(struct rt_kernel *k, u32 size)
{
	u32 class = percpu_class(size), bytes = (class + 1) * PERCPU_UNIT;
	char *area = __atomic_load_n(&k->percpu, __ATOMIC_ACQUIRE), *p = NULL;

	if (!area) { /* two at once waste an area's addresses, no memory */
		char *made = rt_heap_reserve(k, RT_PERCPU_AREA * k->ncpus);

		if (!made)
			return NULL;
		if (__atomic_compare_exchange_n(&k->percpu, &area, made, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			area = made;
	}
	pthread_mutex_lock(&k->lock);
	if (class < 64 && k->percpu_free[class]) {
		p = k->percpu_free[class];
		k->percpu_free[class] = *(void **)p;
	} else if (bytes <= RT_PERCPU_AREA - k->percpu_used) {
		p = area + k->percpu_used;
		k->percpu_used += bytes;
	}
	pthread_mutex_unlock(&k->lock);
	for (int i = 0; p && i < k->ncpus; i++)
		memset(rt_percpu_at(p, i), 0, bytes);
	return p;
}

static void percpu_free(struct rt_kernel *k, void *p, u32 size)
{
	u32 class = percpu_class(size);

	if (class >= 64)
		return;
	pthread_mutex_lock(&k->lock);
	*(void **)p = k->percpu_free[class];
	k->percpu_free[class] = p;
	pthread_mutex_unlock(&k->lock);
}

static int is_percpu(struct rt_kernel *k, void *p)
{
	char *area = __atomic_load_n(&k->percpu, __ATOMIC_ACQUIRE);

	return area && (char *)p >= area && (char *)p < area + RT_PERCPU_AREA;
}

static void readers_passed(struct rt_kernel *k, void *obj, size_t size)
{
	struct rt_drops *d = obj;

	(void)size;
	for (u32 i = 0; i < d->count; i++)
		if (is_percpu(k, d->drop[i].memory))
			percpu_free(k, d->drop[i].memory, d->drop[i].size);
		else
			rt_kobj_free(k, d->drop[i].memory, d->drop[i].size);
	free(d);
}

/* Nothing is freed now: the caller may hold locks. rt_bpf_obj_new_impl() is where readers are asked for. */
static void free_later(struct rt_kernel *k, void *object)
{
	struct rt_cpu *cpu = rt_this_cpu;
	struct rt_drops *d;

	if (!cpu->drops)
		cpu->drops = calloc(1, sizeof(*cpu->drops));
	d = cpu->drops;
	if (!d)
		return; /* no memory: the object is never used again */
	d->drop[d->count].memory = header_of(object);
	d->drop[d->count++].size = header_of(object)->type->size + sizeof(struct header);
	if (d->count == DROPS) {
		cpu->drops = NULL;
		cpu->drops_wait = 1;
		rt_defer_quietly(k, readers_passed, d, 0);
	}
}

void rt_objects_free(struct rt_kernel *k)
{
	for (int i = 0; i < k->ncpus; i++) {
		free(k->cpus[i].drops);
		k->cpus[i].drops = NULL;
	}
}

/* -- letting go -- */

/* Objects that nobody holds any more, still to be looked through: a chain of them may be long. */
struct todo {
	struct rt_kernel *kernel;
	void **object;
	u32 count, room;
};

static void put(void *arg, void *object)
{
	const struct rt_struct *type = header_of(object)->type;
	struct todo *t = arg;

	if (type->refcount_off >= 0 &&
	    __atomic_sub_fetch((u32 *)((char *)object + type->refcount_off), 1, __ATOMIC_ACQ_REL))
		return;
	if (t->count == t->room) {
		u32 room = t->room ? t->room * 2 : 32;
		void **objects = realloc(t->object, room * sizeof(*objects));

		if (!objects)
			return; /* no memory: what it owns stays */
		t->object = objects;
		t->room = room;
	}
	t->object[t->count++] = object;
}

/* The lock beside a list or tree, NULL where nobody else can know the object. */
static u32 *lock_of(const struct rt_fields *f, void *base)
{
	for (u32 i = 0; i < f->count; i++)
		if (f->field[i].kind & (RT_SPIN_LOCK | RT_RES_SPIN_LOCK))
			return (u32 *)((char *)base + f->field[i].offset);
	return NULL;
}

/* Of either kind; in a resilient one stands who holds it. */
static void take_lock(u32 *lock)
{
	u32 nobody = 0, spins = 0;

	while (!__atomic_compare_exchange_n(lock, &nobody, rt_this_cpu->index + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		nobody = 0;
		rt_relax(&spins);
	}
}

static void empty(struct todo *t, const struct rt_fields *f, void *base)
{
	for (u32 i = 0; i < f->count; i++) {
		const struct rt_field *field = &f->field[i];
		char *at = (char *)base + field->offset;

		if (field->kind & (RT_KPTR_REF | RT_KPTR_PERCPU)) {
			void *owned = __atomic_exchange_n((void **)at, NULL, __ATOMIC_ACQ_REL);

			if (!owned)
				continue;
			if (field->type)
				put(t, owned);
			else if (field->destroy)
				field->destroy(owned);
		} else if (field->kind & (RT_LIST_HEAD | RT_RB_ROOT)) {
			u32 *lock = lock_of(f, base);

			if (lock)
				take_lock(lock);
			if (field->kind == RT_LIST_HEAD)
				rt_list_empty(at, field->node_off, put, t);
			else
				rt_tree_empty(at, field->node_off, put, t);
			if (lock)
				rt_spin_unlock(lock);
		}
	}
}

static void finish(struct todo *t)
{
	while (t->count) {
		void *object = t->object[--t->count];

		empty(t, &header_of(object)->type->fields, object);
		free_later(t->kernel, object);
		__atomic_sub_fetch(&t->kernel->objects, 1, __ATOMIC_RELAXED);
	}
	free(t->object);
}

void rt_object_drop(struct rt_kernel *k, void *object)
{
	struct todo t = { .kernel = k };

	put(&t, object);
	finish(&t);
}

void rt_fields_drop(struct rt_kernel *k, const struct rt_fields *f, void *base)
{
	struct todo t = { .kernel = k };

	empty(&t, f, base);
	finish(&t);
}

/* -- what programs call -- */

static void *made(struct rt_kernel *k, struct header *h, const struct rt_struct *type)
{
	if (!h)
		return NULL;
	__atomic_add_fetch(&k->objects, 1, __ATOMIC_RELAXED);
	h->type = type;
	return h + 1;
}

void *rt_bpf_obj_new_impl(u64 size, const struct rt_struct *type)
{
	struct rt_kernel *k = rt_this_cpu->kernel;
	char *object;

	/* Once a batch: who holds a CPU for long lets nobody's batch pass, and the look goes over all that wait. */
	if (unlikely(rt_this_cpu->drops_wait)) {
		rt_this_cpu->drops_wait = 0;
		rt_rcu_poll(k);
	}
	object = made(k, rt_kobj_alloc(k, size + sizeof(struct header)), type);
	if (object && type->refcount_off >= 0)
		*(u32 *)(object + type->refcount_off) = 1;
	return object;
}

void rt_bpf_obj_drop_impl(void *object)
{
	rt_object_drop(rt_this_cpu->kernel, object);
}

void *rt_bpf_percpu_obj_new_impl(u64 size, const struct rt_struct *type)
{
	struct rt_kernel *k = rt_this_cpu->kernel;

	return made(k, rt_percpu_alloc(k, size + sizeof(struct header)), type);
}

void rt_bpf_percpu_obj_drop_impl(void *object)
{
	rt_object_drop(rt_this_cpu->kernel, object);
}

/* One more reference, or NULL for an object whose last one is gone. */
void *rt_bpf_refcount_acquire_impl(void *object)
{
	u32 *count = (u32 *)((char *)object + header_of(object)->type->refcount_off), seen = __atomic_load_n(count, __ATOMIC_RELAXED);

	while (seen)
		if (__atomic_compare_exchange_n(count, &seen, seen + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return object;
	return NULL;
}

void *rt_kptr_xchg(void **slot, void *object)
{
	return __atomic_exchange_n(slot, object, __ATOMIC_ACQ_REL);
}

void *rt_per_cpu_ptr(void *p, u64 cpu)
{
	return (u32)cpu < (u32)rt_this_cpu->kernel->ncpus ? rt_percpu_at(p, (u32)cpu) : NULL;
}

void *rt_this_cpu_ptr(void *p)
{
	return rt_percpu_at(p, rt_this_cpu->index);
}
