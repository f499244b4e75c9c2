/* SPDX-License-Identifier: MIT */
/*
 * Arenas: pages that programs and users share. Programs know them by the lower 32 bits of the user's address, and reach
 * them behind a base of 4 GiB of their own with guards on both sides (map.values; the upper half is the user's). A page that
 * is not there reads as 0 and swallows what is written: the fault handler passes the instruction over.
 * A user's touch makes a page by itself, as the file behind both has it then; programs find out at their first fault.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "rt.h"

#define GUARD (1UL << 16) /* offsets of instructions reach half as far to either side */
#define WINDOW ((1UL << 32) + GUARD)
#define MAX_ARENAS 4096
#define NO_NODE (-1)

struct mapping { /* a user's */
	struct mapping *next;
	char *at;
	int prot;
};

struct arena {
	struct rt_map m;
	int fd;
	u32 slot;
	char *window;
	u64 user_start, user_end; /* the user's addresses; 0 until they are known */
	pthread_mutex_t lock;
	struct mapping *mappings;
	u64 *taken; /* bits of pages: allocated, reserved, or touched by the user as far as we know */
	u64 *there; /* allocated or touched */
};

/* Where the windows lie, for the fault handler. */
static struct arena *arenas[MAX_ARENAS];
static u32 arenas_used;

static struct arena *arena_of(struct bpf_map *map)
{
	return (struct arena *)map;
}

static u64 pages_of(const struct arena *a)
{
	return (a->user_end - a->user_start) / RT_PAGE;
}

static int bit(const u64 *bits, u64 i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static void set_bits(u64 *bits, u64 from, u64 count, int on)
{
	for (u64 i = from; i < from + count; i++)
		if (on)
			bits[i / 64] |= 1ULL << i % 64;
		else
			bits[i / 64] &= ~(1ULL << i % 64);
}

/* -- making, and where the user has it -- */

static int announce(struct arena *a)
{
	for (u32 i = 0; i < MAX_ARENAS; i++) {
		struct arena *none = NULL;

		if (!__atomic_compare_exchange_n(&arenas[i], &none, a, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		a->slot = i;
		for (u32 used = __atomic_load_n(&arenas_used, __ATOMIC_RELAXED);
		     used <= i && !__atomic_compare_exchange_n(&arenas_used, &used, i + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);)
			;
		return 0;
	}
	return -ENOMEM;
}

/* The user's addresses are known: the pages have their places in the programs' window. Under the lock. */
static int settle(struct arena *a, u64 start, u64 size)
{
	u64 words = (size / RT_PAGE + 63) / 64;

	if (ftruncate(a->fd, (off_t)size))
		return -ENOMEM;
	a->taken = calloc(words, 16);
	if (!a->taken)
		return -ENOMEM;
	a->there = a->taken + words;
	if (mmap(a->window + GUARD / 2 + (u32)start, size, PROT_NONE, MAP_SHARED | MAP_FIXED, a->fd, 0) == MAP_FAILED) {
		free(a->taken);
		a->taken = NULL;
		return -ENOMEM;
	}
	a->user_start = start;
	a->user_end = start + size;
	return 0;
}

static void arena_free(struct rt_map *m)
{
	struct arena *a = (struct arena *)m;

	if (a->window) {
		__atomic_store_n(&arenas[a->slot], NULL, __ATOMIC_RELEASE);
		munmap(a->window, WINDOW);
	}
	while (a->mappings) { /* whoever had them goes with the map */
		struct mapping *gone = a->mappings;

		a->mappings = gone->next;
		munmap(gone->at, a->user_end - a->user_start);
		free(gone);
	}
	if (a->fd >= 0)
		close(a->fd);
	free(a->taken);
	free(a);
}

static struct rt_map *arena_alloc(struct rt_kernel *k, const struct bpf_map *shape, int *err)
{
	u64 size = (u64)shape->max_entries * RT_PAGE, start = shape->map_extra;
	struct arena *a;

	(void)k;
	*err = -E2BIG;
	if (size > 1ULL << 32)
		return NULL;
	*err = -ERANGE; /* all addresses share their upper half */
	if (start >> 32 != (start + size - 1) >> 32)
		return NULL;
	*err = -ENOMEM;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	pthread_mutex_init(&a->lock, NULL);
	a->fd = memfd_create("arena", MFD_CLOEXEC);
	a->window = mmap(NULL, WINDOW, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (a->window == MAP_FAILED)
		a->window = NULL;
	if (a->window && announce(a)) {
		munmap(a->window, WINDOW);
		a->window = NULL;
	}
	if (a->fd < 0 || !a->window || (start && settle(a, start, size))) {
		arena_free(&a->m);
		return NULL;
	}
	return &a->m;
}

static void *arena_direct(struct rt_map *m)
{
	return ((struct arena *)m)->window + GUARD / 2;
}

u64 rt_arena_user(struct bpf_map *map, u64 *size)
{
	struct arena *a = arena_of(map);

	*size = a->user_end - a->user_start;
	return a->user_start;
}

/* -- protection: what is there can be reached; under the lock -- */

static char *page_at(const struct arena *a, u64 page)
{
	return a->window + GUARD / 2 + (u32)(a->user_start + page * RT_PAGE);
}

static int protect_users(struct arena *a, u64 from, u64 count, int open)
{
	for (struct mapping *v = a->mappings; v; v = v->next)
		if (mprotect(v->at + from * RT_PAGE, count * RT_PAGE, open ? v->prot : PROT_NONE))
			return -ENOMEM;
	return 0;
}

static int segv(const struct arena *a)
{
	return !!(a->m.map.map_flags & BPF_F_SEGV_ON_FAULT);
}

/* Pages come to be there. */
static int give(struct arena *a, u64 from, u64 count)
{
	if (mprotect(page_at(a, from), count * RT_PAGE, PROT_READ | PROT_WRITE) || protect_users(a, from, count, 1))
		return -ENOMEM;
	set_bits(a->taken, from, count, 1);
	set_bits(a->there, from, count, 1);
	return 0;
}

/* The first page of a run of free ones that the user has touched; `to` for none. */
static u64 touched(const struct arena *a, u64 from, u64 to)
{
	off_t at = segv(a) ? -1 : lseek(a->fd, (off_t)(from * RT_PAGE), SEEK_DATA);

	return at < 0 || (u64)at / RT_PAGE >= to ? to : (u64)at / RT_PAGE;
}

/* -- mmap: `addr` 0 for wherever there is room; the user's addresses are settled by the first one -- */

/* Room for `size` bytes that share the upper half of their addresses. */
static char *room(int fd, u64 size, u64 wish, int prot)
{
	char *at = MAP_FAILED, *good;

	if (wish)
		at = mmap((void *)(uintptr_t)wish, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (at != MAP_FAILED)
		return at;
	at = mmap(NULL, size + (1UL << 32), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	good = at;
	if ((u64)(uintptr_t)at >> 32 != ((u64)(uintptr_t)at + size - 1) >> 32)
		good = (char *)(((u64)(uintptr_t)at + size) & ~0xFFFFFFFFUL);
	if (good > at)
		munmap(at, good - at);
	munmap(good + size, at + (1UL << 32) - good);
	if (mmap(good, size, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		munmap(good, size);
		return NULL;
	}
	return good;
}

static s64 check_mmap(const struct arena *a, u64 addr, u64 size)
{
	if (size > 1ULL << 32)
		return -E2BIG;
	if (a->user_start && size > a->user_end - a->user_start)
		return -E2BIG;
	if (a->user_start && (size != a->user_end - a->user_start || addr != a->user_start))
		return -EINVAL;
	return 0;
}

/* Where a user sees the arena, in this process; its pages' addresses are rt_arena_user()'s, which may be others. */
s64 rt_arena_mmap(struct bpf_map *map, u64 addr, u64 size, int writable)
{
	struct arena *a = arena_of(map);
	struct mapping *v = calloc(1, sizeof(*v));
	s64 err;

	if (!v)
		return -ENOMEM;
	v->prot = PROT_READ | (writable ? PROT_WRITE : 0);
	size = round_up(size, RT_PAGE);
	pthread_mutex_lock(&a->lock);
	err = check_mmap(a, addr, size);
	if (!err) {
		v->at = room(a->fd, size, addr, v->prot);
		err = !v->at ? -ENOMEM : a->user_start ? 0 : settle(a, addr ? addr : (u64)(uintptr_t)v->at, size);
		if (err && v->at)
			munmap(v->at, size);
	}
	for (u64 page = 0; !err && page < pages_of(a); page++)
		if (!bit(a->there, page) && (segv(a) || bit(a->taken, page)))
			mprotect(v->at + page * RT_PAGE, RT_PAGE, PROT_NONE);
	if (!err) {
		v->next = a->mappings;
		a->mappings = v;
	}
	pthread_mutex_unlock(&a->lock);
	if (!err)
		return (s64)(uintptr_t)v->at;
	free(v);
	return err;
}

void rt_arena_munmap(struct bpf_map *map, void *at)
{
	struct arena *a = arena_of(map);
	struct mapping **v, *gone;

	pthread_mutex_lock(&a->lock);
	for (v = &a->mappings; *v && (*v)->at != at; v = &(*v)->next)
		;
	gone = *v;
	if (gone)
		*v = gone->next;
	pthread_mutex_unlock(&a->lock);
	if (gone)
		munmap(gone->at, a->user_end - a->user_start);
	free(gone);
}

/* -- kernel functions -- */

/* Where `count` free pages lie in a row, from `from` on; -1: nowhere. What the user has touched meanwhile is found out. */
static s64 find(struct arena *a, u64 from, u64 count, u64 last)
{
	u64 run = 0;

	for (u64 page = from; page <= last; page++) {
		run = bit(a->taken, page) ? 0 : run + 1;
		if (run < count)
			continue;
		u64 start = page + 1 - count, at = touched(a, start, page + 1);

		if (at > page)
			return (s64)start;
		if (give(a, at, 1))
			return -1;
		run = page - at;
	}
	return -1;
}

u64 rt_bpf_arena_alloc_pages(struct bpf_map *map, u64 addr, u64 count, u64 node, u64 flags)
{
	struct arena *a = arena_of(map);
	u64 pages, page = 0, found = 0;
	s64 at;

	count = (u32)count;
	if (map->map_type != BPF_MAP_TYPE_ARENA || flags || !count)
		return 0;
	pages = pages_of(a);
	if (((int)node != NO_NODE && (int)node != 0) || count > pages)
		return 0;
	if (addr) {
		if (addr % RT_PAGE)
			return 0;
		page = (u32)(addr - (u32)a->user_start) / RT_PAGE;
		if (page > pages - count)
			return 0;
	}
	pthread_mutex_lock(&a->lock);
	at = find(a, page, count, addr ? page + count - 1 : pages - 1);
	if (at >= 0 && !give(a, (u64)at, count))
		found = a->user_start + (u64)at * RT_PAGE;
	pthread_mutex_unlock(&a->lock);
	return found;
}

/* The pages that an address and a number of them mean, cut off at the arena's end; 0 for none. */
static u64 span(const struct arena *a, u64 addr, u64 count, u64 *page)
{
	u64 start = (a->user_start & ~0xFFFFFFFFUL) + ((u32)addr & ~(RT_PAGE - 1)), end = start + count * RT_PAGE;

	if (start < a->user_start)
		return 0;
	if (end > a->user_end)
		end = a->user_end;
	*page = (start - a->user_start) / RT_PAGE;
	return start < end ? (end - start) / RT_PAGE : 0;
}

void rt_bpf_arena_free_pages(struct bpf_map *map, u64 addr, u64 count)
{
	struct arena *a = arena_of(map);
	u64 page;

	if (map->map_type != BPF_MAP_TYPE_ARENA || !addr)
		return;
	count = span(a, addr, (u32)count, &page);
	if (!count)
		return;
	pthread_mutex_lock(&a->lock);
	set_bits(a->taken, page, count, 0);
	set_bits(a->there, page, count, 0);
	mprotect(page_at(a, page), count * RT_PAGE, PROT_NONE);
	protect_users(a, page, count, !segv(a));
	fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(page * RT_PAGE), (off_t)(count * RT_PAGE));
	pthread_mutex_unlock(&a->lock);
}

/* Nobody gets these pages until they are freed: no allocation, no user's touch. */
s64 rt_bpf_arena_reserve_pages(struct bpf_map *map, u64 addr, u64 count)
{
	struct arena *a = arena_of(map);
	u64 pages = pages_of(a), page = (u32)(addr - (u32)a->user_start) / RT_PAGE;
	s64 err = 0;

	count = (u32)count;
	if (map->map_type != BPF_MAP_TYPE_ARENA)
		return -EINVAL;
	if (!count)
		return 0;
	if (addr % RT_PAGE)
		return 0;
	if (count > pages || page > pages - count)
		return -EINVAL;
	pthread_mutex_lock(&a->lock);
	if (find(a, page, count, page + count - 1) < 0 || protect_users(a, page, count, 0))
		err = -EBUSY;
	else
		set_bits(a->taken, page, count, 1);
	pthread_mutex_unlock(&a->lock);
	return err;
}

/* -- faults -- */

/* Bytes of a ModRM byte and what belongs to it. */
static int modrm_bytes(const u8 *p)
{
	int mod = p[0] >> 6, rm = p[0] & 7, sib = mod != 3 && rm == 4;
	int disp = mod == 1 ? 1 : mod == 2 || (mod == 0 && (rm == 5 || (sib && (p[1] & 7) == 5))) ? 4 : 0;

	return 1 + sib + disp;
}

/*
 * Pass an instruction over, a load with 0 in its register. Only those that the JIT writes for arenas (jit/arena.py): moves
 * and atomic operations, whose registers stay as they are.
 */
static int pass_over(ucontext_t *uc)
{
	static const u8 number[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				       REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };
	const u8 *p = (const u8 *)(uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
	int rex = 0, load = 0;

	while (*p == 0x66 || *p == 0xF0)
		p++;
	if ((*p & 0xF0) == 0x40)
		rex = *p++;
	if (*p == 0x0F) {
		p++;
		load = *p == 0xB6 || *p == 0xB7; /* movzx */
		if (!load && *p != 0xB0 && *p != 0xB1 && *p != 0xC0 && *p != 0xC1) /* cmpxchg, xadd */
			return 0;
	} else {
		load = *p == 0x8B;
		switch (*p) {
		case 0x8B: case 0x88: case 0x89: case 0x86: case 0x87: /* mov, xchg */
		case 0x01: case 0x09: case 0x21: case 0x31: /* add, or, and, xor */
			break;
		default:
			return 0;
		}
	}
	p++;
	if (load)
		uc->uc_mcontext.gregs[number[(*p >> 3 & 7) | (rex & 4) << 1]] = 0;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)(p + modrm_bytes(p));
	return 1;
}

/* The page is there now: run the instruction again. */
static int arrived(struct arena *a, u64 at)
{
	u64 page = (at - (u32)a->user_start) / RT_PAGE;
	int now = 0;

	if (!a->user_start || at < (u32)a->user_start || page >= pages_of(a))
		return 0;
	pthread_mutex_lock(&a->lock);
	if (bit(a->there, page))
		now = 1;
	else if (!bit(a->taken, page) && touched(a, page, page + 1) == page)
		now = !give(a, page, 1);
	pthread_mutex_unlock(&a->lock);
	return now;
}

/* A fault at `addr`: 2 if it lies in an arena's window and the instruction runs again, 1 if it lies there, 0 elsewhere. */
int rt_arena_fault(u64 addr, int missing)
{
	u32 used = __atomic_load_n(&arenas_used, __ATOMIC_ACQUIRE);

	for (u32 i = 0; i < used; i++) {
		struct arena *a = __atomic_load_n(&arenas[i], __ATOMIC_ACQUIRE);

		if (a && addr - (u64)(uintptr_t)a->window < WINDOW)
			return missing && arrived(a, addr - (u64)(uintptr_t)a->window - GUARD / 2) ? 2 : 1;
	}
	return 0;
}

int rt_arena_pass_over(void *context)
{
	return pass_over(context);
}

/* -- the map -- */

static int arena_copy_out(struct rt_map *m, const void *key, void *value, u64 flags)
{
	(void)m;
	(void)key;
	(void)value;
	(void)flags;
	return -EINVAL;
}

static int arena_copy_in(struct rt_map *m, const void *key, const void *value, u64 flags)
{
	(void)m;
	(void)key;
	(void)value;
	(void)flags;
	return -EOPNOTSUPP;
}

static int arena_delete(struct rt_map *m, const void *key)
{
	(void)m;
	(void)key;
	return -EOPNOTSUPP;
}

static int arena_next_key(struct rt_map *m, const void *key, void *next)
{
	(void)m;
	(void)key;
	(void)next;
	return -EOPNOTSUPP;
}

static const struct bpf_map_ops arena_ops = {
	.map_type = BPF_MAP_TYPE_ARENA,
	.alloc = arena_alloc,
	.free = arena_free,
	.copy_out = arena_copy_out,
	.copy_in = arena_copy_in,
	.delete = arena_delete,
	.next_key = arena_next_key,
	.direct = arena_direct,
};
RT_MAP_TYPE(arena_ops);
