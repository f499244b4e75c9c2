/* SPDX-License-Identifier: MIT */
/* Maps for a caller whose memory is this process's: one call copies in, works and copies out. */
#include "rt.h"

#define ON_STACK 512

/* Room for a key and a value; `small` serves most of them. */
static char *room(char *small, u64 size)
{
	return size <= ON_STACK ? small : malloc(size);
}

static inline const void *at(u64 addr)
{
	return (const void *)(uintptr_t)addr;
}

/* The caller's key into `to`; one where the map has none is EINVAL. */
static int read_key(const struct bpf_map *map, char *to, u64 key)
{
	if (unlikely(!map->key_size))
		return key ? -EINVAL : 0;
	return rt_copy_fault(to, at(key), map->key_size);
}

int rt_map_lookup_user(struct bpf_map *map, u64 key, u64 value, u64 flags)
{
	u64 key_size = round_up(map->key_size, 8), size = rt_map_of(map)->value_bytes;
	char small[ON_STACK] __attribute__((aligned(8))), *buf = room(small, key_size + size);
	int err = buf ? read_key(map, buf, key) : -ENOMEM;

	if (!err && map->ops->tests)
		err = rt_copy_fault(buf + key_size, at(value), size);
	if (!err)
		err = rt_map_copy_out(map, buf, buf + key_size, flags);
	if (!err)
		err = rt_copy_fault((void *)(uintptr_t)value, buf + key_size, size);
	if (buf != small)
		free(buf);
	return err;
}

int rt_map_update_user(struct bpf_map *map, u64 key, u64 value, u64 flags)
{
	u64 key_size = round_up(map->key_size, 8), size = rt_map_of(map)->value_bytes;
	char small[ON_STACK] __attribute__((aligned(8))), *buf = room(small, key_size + size);
	int err = buf ? read_key(map, buf, key) : -ENOMEM;

	if (!err)
		err = rt_copy_fault(buf + key_size, at(value), size);
	if (!err)
		err = rt_map_copy_in(map, buf, buf + key_size, flags);
	if (buf != small)
		free(buf);
	return err;
}

int rt_map_delete_user(struct bpf_map *map, u64 key)
{
	char small[ON_STACK] __attribute__((aligned(8))), *buf = room(small, map->key_size);
	int err = buf ? read_key(map, buf, key) : -ENOMEM;

	if (!err)
		err = rt_map_delete(map, buf);
	if (buf != small)
		free(buf);
	return err;
}

int rt_map_next_key_user(struct bpf_map *map, u64 key, u64 next)
{
	u64 key_size = round_up(map->key_size, 8);
	char small[ON_STACK] __attribute__((aligned(8))), *buf = room(small, 2 * key_size);
	int err = !buf ? -ENOMEM : key ? read_key(map, buf, key) : 0;

	if (!err)
		err = rt_map_next_key(map, key ? buf : NULL, buf + key_size);
	if (!err)
		err = rt_copy_fault((void *)(uintptr_t)next, buf + key_size, map->key_size);
	if (buf != small)
		free(buf);
	return err;
}

/* How many elements a hash has; Linux counts those of hashes alone. */
s64 rt_bpf_map_sum_elem_count(struct bpf_map *map)
{
	u64 key_size = round_up(map->key_size, 8);
	char small[ON_STACK] __attribute__((aligned(8))), *keys;
	s64 count = 0;

	switch (map->map_type) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_HASH_OF_MAPS:
		break;
	default:
		return 0;
	}
	keys = room(small, 2 * key_size);
	for (char *key = NULL; keys && !rt_map_next_key(map, key, keys + key_size) && count <= map->max_entries; count++) {
		memcpy(keys, keys + key_size, map->key_size);
		key = keys;
	}
	if (keys != small)
		free(keys);
	return count;
}
