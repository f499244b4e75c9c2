/* SPDX-License-Identifier: MIT */
/* Kernel objects by ascending number (tasks by pid, maps by id): a sorted array, walked from any number on. */
#include "rt.h"
#include "iter.h"

struct rt_index {
	struct rt_kernel *kernel;
	u32 lock;
	u32 count, room;
	struct {
		u64 key;
		void *obj;
	} *rows;
};

struct rt_index *rt_index_new(struct rt_kernel *k)
{
	struct rt_index *x = calloc(1, sizeof(*x));

	if (x)
		x->kernel = k;
	return x;
}

void rt_index_free(struct rt_index *x)
{
	if (!x)
		return;
	free(x->rows);
	free(x);
}

/* The first row whose key is not below `key`. */
static u32 lower_bound(const struct rt_index *x, u64 key)
{
	u32 low = 0, high = x->count;

	while (low < high) {
		u32 mid = low + (high - low) / 2;

		if (x->rows[mid].key < key)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int rt_index_add(struct rt_index *x, u64 key, void *obj)
{
	int err = -EEXIST;
	u32 at;

	rt_spin_lock(&x->lock);
	at = lower_bound(x, key);
	if (at < x->count && x->rows[at].key == key)
		goto out;
	if (x->count == x->room) {
		u32 room = x->room ? x->room * 2 : 64;
		void *rows = realloc(x->rows, room * sizeof(*x->rows));

		err = -ENOMEM;
		if (!rows)
			goto out;
		x->rows = rows;
		x->room = room;
	}
	memmove(&x->rows[at + 1], &x->rows[at], (x->count - at) * sizeof(*x->rows));
	x->rows[at].key = key;
	x->rows[at].obj = obj;
	x->count++;
	err = 0;
out:
	rt_spin_unlock(&x->lock);
	return err;
}

int rt_index_remove(struct rt_index *x, u64 key)
{
	int err = -ENOENT;
	u32 at;

	rt_spin_lock(&x->lock);
	at = lower_bound(x, key);
	if (at < x->count && x->rows[at].key == key) {
		memmove(&x->rows[at], &x->rows[at + 1], (x->count - at - 1) * sizeof(*x->rows));
		x->count--;
		err = 0;
	}
	rt_spin_unlock(&x->lock);
	return err;
}

u32 rt_index_count(struct rt_index *x)
{
	return __atomic_load_n(&x->count, __ATOMIC_RELAXED);
}

void *rt_index_find(struct rt_index *x, u64 key)
{
	u64 at = key;
	u32 hint = 0;
	void *found = rt_index_from(x, &at, &hint);

	return at == key ? found : NULL;
}

/* The object with the smallest key >= *key, which becomes its key; NULL past the end. `hint` is where it was found. */
void *rt_index_from(struct rt_index *x, u64 *key, u32 *hint)
{
	void *found = NULL;
	u32 at = *hint;

	rt_spin_lock(&x->lock);
	/* Walks step by one: the row after the last is nearly always the one. */
	if (at >= x->count || x->rows[at].key < *key || (at && x->rows[at - 1].key >= *key))
		at = lower_bound(x, *key);
	if (at < x->count) {
		*key = x->rows[at].key;
		found = x->rows[at].obj;
	}
	*hint = at + 1;
	rt_spin_unlock(&x->lock);
	return found;
}
