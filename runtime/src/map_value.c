/* SPDX-License-Identifier: MIT */
/* Values with special fields: copies go around locks, timers and pointers; what an element held is let go with it. */
#include "rt.h"

static void copy_around(const struct rt_map *m, char *to, const char *from, int zero)
{
	const struct rt_fields *f = &m->fields;
	u32 at = 0;

	for (u32 i = 0; i < f->count; i++) {
		memcpy(to + at, from + at, f->field[i].offset - at);
		at = f->field[i].offset + f->field[i].size;
		if (zero)
			memset(to + f->field[i].offset, 0, f->field[i].size);
	}
	memcpy(to + at, from + at, m->stored_bytes - at);
}

void rt_value_write(const struct rt_map *m, void *to, const void *from)
{
	if (likely(!m->fields.count))
		memcpy(to, from, m->stored_bytes);
	else
		copy_around(m, to, from, 0);
}

void rt_value_read(const struct rt_map *m, void *to, const void *from)
{
	if (likely(!m->fields.count))
		memcpy(to, from, m->stored_bytes);
	else
		copy_around(m, to, from, 1);
}

void rt_value_write_locked(const struct rt_map *m, void *to, const void *from)
{
	u32 *lock = (u32 *)((char *)to + m->fields.lock_off);

	rt_spin_lock(lock);
	copy_around(m, to, from, 0);
	rt_spin_unlock(lock);
}

void rt_value_read_locked(const struct rt_map *m, void *to, const void *from)
{
	u32 *lock = (u32 *)((char *)from + m->fields.lock_off);

	rt_spin_lock(lock);
	copy_around(m, to, from, 1);
	rt_spin_unlock(lock);
}

void rt_value_drop_slow(struct rt_map *m, void *value)
{
	for (u32 i = 0; i < m->fields.count; i++) {
		const struct rt_field *f = &m->fields.field[i];
		char *at = (char *)value + f->offset;

		if (f->kind & (RT_TIMER | RT_WORKQUEUE)) {
			rt_timer_drop(at);
		} else if (f->kind & RT_KPTR_UNREF) {
			__atomic_store_n((void **)at, NULL, __ATOMIC_RELAXED);
		}
	}
	if (m->fields.kinds & RT_OWNERS) {
		struct rt_cpu *cpu = rt_enter(m->kernel);

		rt_fields_drop(m->kernel, &m->fields, value);
		rt_leave(cpu);
	}
}
