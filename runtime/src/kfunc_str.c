/* SPDX-License-Identifier: MIT */
/*
 * Kernel functions on strings at any address: results are offsets or lengths, -ENOENT for what is not found, -E2BIG for a
 * string without an end in RT_STR_MAX bytes, -EFAULT for memory that cannot be read (-ERANGE where Linux would not even try).
 */
#include "rt.h"

#define STR_MAX 65536 /* XATTR_SIZE_MAX */

/* A string read a piece at a time, so that a page that is not there costs one fault. */
struct text {
	const char *at;
	u64 start, end; /* which bytes `piece` holds */
	char piece[128];
};

/* Byte `i`, or -EFAULT or -ERANGE. */
static int byte_at(struct text *t, u64 i)
{
	if (i < t->start || i >= t->end) {
		u64 addr = (u64)(uintptr_t)t->at + i, room = RT_PAGE - (addr & (RT_PAGE - 1));

		if (room > sizeof(t->piece))
			room = sizeof(t->piece);
		if (rt_copy_fault(t->piece, (const void *)(uintptr_t)addr, room))
			return (s64)(uintptr_t)t->at >> 47 == -1 ? -EFAULT : -ERANGE;
		t->start = i;
		t->end = i + room;
	}
	return (u8)t->piece[i - t->start];
}

static u8 lower(int c)
{
	return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static s64 compare(const char *s1, const char *s2, int fold)
{
	struct text a = { .at = s1 }, b = { .at = s2 };

	for (u64 i = 0; i < STR_MAX; i++) {
		int x = byte_at(&a, i), y = x < 0 ? x : byte_at(&b, i);

		if (x < 0 || y < 0)
			return x < 0 ? x : y;
		if (fold)
			x = lower(x), y = lower(y);
		if (x != y)
			return x < y ? -1 : 1;
		if (!x)
			return 0;
	}
	return -E2BIG;
}

s64 rt_bpf_strcmp(const char *s1, const char *s2)
{
	return compare(s1, s2, 0);
}

s64 rt_bpf_strcasecmp(const char *s1, const char *s2)
{
	return compare(s1, s2, 1);
}

s64 rt_bpf_strnchr(const char *s, u64 count, u64 c)
{
	struct text t = { .at = s };

	for (u64 i = 0; i < count && i < STR_MAX; i++) {
		int x = byte_at(&t, i);

		if (x < 0)
			return x;
		if ((u8)c == x)
			return i;
		if (!x)
			return -ENOENT;
	}
	return count <= STR_MAX ? -ENOENT : -E2BIG;
}

s64 rt_bpf_strchr(const char *s, u64 c)
{
	return rt_bpf_strnchr(s, ~0ULL, c);
}

s64 rt_bpf_strchrnul(const char *s, u64 c)
{
	struct text t = { .at = s };

	for (u64 i = 0; i < STR_MAX; i++) {
		int x = byte_at(&t, i);

		if (x < 0 || !x || x == (u8)c)
			return x < 0 ? x : (s64)i;
	}
	return -E2BIG;
}

s64 rt_bpf_strrchr(const char *s, u64 c)
{
	struct text t = { .at = s };
	s64 last = -ENOENT;

	for (u64 i = 0; i < STR_MAX; i++) {
		int x = byte_at(&t, i);

		if (x < 0)
			return x;
		if (x == (u8)c)
			last = i;
		if (!x)
			return last;
	}
	return -E2BIG;
}

s64 rt_bpf_strnlen(const char *s, u64 count)
{
	struct text t = { .at = s };

	for (u64 i = 0; i < count && i < STR_MAX; i++) {
		int x = byte_at(&t, i);

		if (x <= 0)
			return x < 0 ? x : (s64)i;
	}
	return count <= STR_MAX ? (s64)count : -E2BIG;
}

s64 rt_bpf_strlen(const char *s)
{
	return rt_bpf_strnlen(s, ~0ULL);
}

/* How many bytes at the start of `s` are all in `set`, or all outside of it. */
static s64 span(const char *s, const char *set, int inside)
{
	struct text t = { .at = s }, in = { .at = set };

	for (u64 i = 0; i < STR_MAX; i++) {
		int x = byte_at(&t, i), y = 0, found = 0;
		u64 j = 0;

		if (x <= 0)
			return x < 0 ? x : (s64)i;
		for (; j < STR_MAX && !found; j++) {
			y = byte_at(&in, j);
			if (y <= 0)
				break;
			found = x == y;
		}
		if (y < 0 || j == STR_MAX)
			return y < 0 ? y : -E2BIG;
		if (found != inside)
			return i;
	}
	return -E2BIG;
}

s64 rt_bpf_strspn(const char *s, const char *accept)
{
	return span(s, accept, 1);
}

s64 rt_bpf_strcspn(const char *s, const char *reject)
{
	return span(s, reject, 0);
}

s64 rt_bpf_strnstr(const char *s1, const char *s2, u64 len)
{
	struct text t = { .at = s1 }, what = { .at = s2 };

	for (u64 i = 0; i < STR_MAX; i++) {
		u64 j = 0;

		for (; i + j <= len && j < STR_MAX; j++) {
			int y = byte_at(&what, j), x;

			if (y <= 0)
				return y < 0 ? y : (s64)i;
			if (i + j == len)
				break;
			x = byte_at(&t, i + j);
			if (x < 0)
				return x;
			if (!x)
				return -ENOENT;
			if (x != y)
				break;
		}
		if (j == STR_MAX)
			return -E2BIG;
		if (i + j == len)
			return -ENOENT;
	}
	return -E2BIG;
}

s64 rt_bpf_strstr(const char *s1, const char *s2)
{
	return rt_bpf_strnstr(s1, s2, ~0ULL >> 1);
}
