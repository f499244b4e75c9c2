// SPDX-License-Identifier: MIT
/* Programs on maps: one operation by a map's orders, the same in both kernels. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define MAP(name, kind, key_type)                                                                                      \
	struct {                                                                                                       \
		__uint(type, kind);                                                                                    \
		__uint(max_entries, 8);                                                                                \
		__type(key, key_type);                                                                                 \
		__type(value, u64);                                                                                    \
	} name SEC(".maps")

MAP(array, BPF_MAP_TYPE_ARRAY, u32);
MAP(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, u32);
MAP(hash, BPF_MAP_TYPE_HASH, u64);
MAP(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, u64);
MAP(lru, BPF_MAP_TYPE_LRU_HASH, u64);

enum op { UPDATE, DELETE, LOOKUP, ADD, FOR_EACH, FOR_EACH_DELETE };

struct order {
	u32 op;
	u32 map;
	u64 key, value, flags;
};

struct walk {
	u64 count, sum, stop_after;
};

static long visit(struct bpf_map *map, const void *key, u64 *value, struct walk *w)
{
	w->count++;
	w->sum += *value;
	return w->count == w->stop_after;
}

static long visit_and_delete(struct bpf_map *map, const u64 *key, u64 *value, struct walk *w)
{
	u64 k = *key;

	w->count++;
	bpf_map_delete_elem(&hash, &k);
	return 0;
}

#define OPERATE(map, k)                                                                                                \
	({                                                                                                             \
		struct walk w = { .stop_after = o->value };                                                            \
		u64 *value;                                                                                            \
		u64 fresh = o->value;                                                                                  \
		long r = -1000;                                                                                        \
		switch (o->op) {                                                                                       \
		case UPDATE:                                                                                           \
			r = bpf_map_update_elem(&map, &k, &fresh, o->flags);                                           \
			break;                                                                                         \
		case DELETE:                                                                                           \
			r = bpf_map_delete_elem(&map, &k);                                                             \
			break;                                                                                         \
		case LOOKUP:                                                                                           \
			value = bpf_map_lookup_elem(&map, &k);                                                         \
			r = value ? (long)*value : -1;                                                                 \
			break;                                                                                         \
		case ADD:                                                                                              \
			value = bpf_map_lookup_elem(&map, &k);                                                         \
			r = value ? (long)__sync_fetch_and_add(value, o->value) : -1;                                  \
			break;                                                                                         \
		case FOR_EACH:                                                                                         \
			r = bpf_for_each_map_elem(&map, visit, &w, o->flags);                                          \
			o->value = w.sum;                                                                              \
			o->key = w.count;                                                                              \
			break;                                                                                         \
		}                                                                                                      \
		r;                                                                                                     \
	})

SEC("syscall")
int operate(struct order *o)
{
	u32 index = o->key;
	u64 key = o->key;
	struct walk w = {};
	long r = -2000;

	if (o->op == FOR_EACH_DELETE) {
		r = bpf_for_each_map_elem(&hash, visit_and_delete, &w, 0);
		return r;
	}
	switch (o->map) {
	case 0:
		r = OPERATE(array, index);
		break;
	case 1:
		r = OPERATE(percpu_array, index);
		break;
	case 2:
		r = OPERATE(hash, key);
		break;
	case 3:
		r = OPERATE(percpu_hash, key);
		break;
	case 4:
		r = OPERATE(lru, key);
		break;
	}
	return r;
}

char _license[] SEC("license") = "GPL";
