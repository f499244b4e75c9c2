/* SPDX-License-Identifier: MIT */
/* Many elements of a map in one call; the CPU is let go now and then, programs wait for it. */
#include "rt.h"

#define STRIDE 128
#define AHEAD 16 /* elements whose memory is asked for before the first of them is read */

/*
 * Keys and values from *pos on, at most `count`: how many. With `take` they are deleted too. *pos is
 * where the next call goes on, ~0 once the map has been walked to its end.
 */
s64 rt_map_read_batch(struct bpf_map *map, u64 *pos, char *keys, char *values, u64 count, int take, u64 flags)
{
	struct rt_map *m = rt_map_of(map);
	struct rt_cursor at = { .pos = *pos };
	u64 n = 0;

	while (n < count && at.pos != ~0ULL) {
		struct rt_cpu *cpu = rt_enter(m->kernel);
		u64 stop = n + STRIDE < count ? n + STRIDE : count;

		while (n < stop && at.pos != ~0ULL) {
			u64 found = 0, room = stop - n < AHEAD ? stop - n : AHEAD;
			char *ahead[AHEAD];
			void *key, *value;

			/* A walk's elements lie anywhere: their cache misses overlap when all are asked for at once. */
			while (found < room) {
				if (!map->ops->walk(m, &at, &key, &value)) {
					at.pos = ~0ULL;
					break;
				}
				__builtin_prefetch(key);
				ahead[found++] = key;
				if (key == (void *)&at.index)
					break; /* an array's key is the cursor's own, and gone with the next step */
			}
			for (u64 i = 0; i < found; i++) {
				char *k = keys + n * map->key_size, *v = values + n * m->value_bytes;

				memcpy(k, ahead[i], map->key_size);
				if (take ? map->ops->take(m, k, v, flags) : map->ops->copy_out(m, k, v, flags))
					continue; /* deleted under our hands */
				n++;
			}
		}
		rt_leave(cpu);
	}
	*pos = at.pos;
	return (s64)n;
}

/*
 * The same for maps whose order is their keys' own: from the key after `prev` on (NULL: from the first). *err is -ENOENT
 * at the end.
 */
s64 rt_map_read_keys(struct bpf_map *map, const void *prev, char *keys, char *values, u64 count, u64 flags, int *err)
{
	struct rt_map *m = rt_map_of(map);
	u64 n = 0;

	*err = 0;
	while (n < count && !*err) {
		struct rt_cpu *cpu = rt_enter(m->kernel);
		u64 stop = n + STRIDE < count ? n + STRIDE : count;

		while (n < stop) {
			char *k = keys + n * map->key_size;

			*err = map->ops->next_key(m, prev, k);
			if (*err)
				break;
			if (map->ops->copy_out(m, k, values + n * m->value_bytes, flags))
				break; /* deleted under our hands: looked for again from the key before */
			prev = k;
			n++;
		}
		rt_leave(cpu);
	}
	return (s64)n;
}

/* Stores elements one by one; how many before the first that was refused, whose errno is left in *err. */
s64 rt_map_write_batch(struct bpf_map *map, const char *keys, const char *values, u64 count, u64 flags, int *err)
{
	struct rt_map *m = rt_map_of(map);
	u64 n = 0;

	*err = 0;
	while (n < count && !*err) {
		struct rt_cpu *cpu = rt_enter(m->kernel);
		u64 stop = n + STRIDE < count ? n + STRIDE : count;

		for (; n < stop; n++) {
			const char *k = keys + n * map->key_size;

			*err = values ? map->ops->copy_in(m, k, values + n * m->value_bytes, flags) : map->ops->delete(m, k);
			if (*err)
				break;
		}
		rt_leave(cpu);
	}
	return (s64)n;
}

/* The place behind `key`, or -ENOENT. */
s64 rt_map_seek(struct bpf_map *map, const void *key)
{
	struct rt_cpu *cpu = rt_enter(rt_map_of(map)->kernel);
	s64 at = map->ops->seek(rt_map_of(map), key);

	rt_leave(cpu);
	return at;
}
