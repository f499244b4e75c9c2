/* SPDX-License-Identifier: MIT */
/*
 * Pieces of text for formats that native code has taken apart (bpfjit/jit/printf.py): each is written at `at`, where its
 * caller has made sure of the room, and the place behind it comes back. Nothing is written beyond that.
 */
#include <emmintrin.h>

#include "rt.h"

static const char two_digits[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
				 "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
				 "8081828384858687888990919293949596979899";

static const u64 powers[] = {
	0ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL, 1000000ULL, 10000000ULL, 100000000ULL, 1000000000ULL,
	10000000000ULL, 100000000000ULL, 1000000000000ULL, 10000000000000ULL, 100000000000000ULL, 1000000000000000ULL,
	10000000000000000ULL, 100000000000000000ULL, 1000000000000000000ULL, 10000000000000000000ULL,
};

/* Decimal digits of v, 10 and more: 1233/4096 is log10(2) as nearly as 64 bits need, and v may be below the power. */
static inline u32 digits_of(u64 v)
{
	u32 about = (64 - __builtin_clzll(v)) * 1233 >> 12;

	return about + (v >= powers[about]);
}

char *rt_put_u64(char *at, u64 v)
{
	char *end, *p;

	if (v < 10) {
		*at = '0' + v;
		return at + 1;
	}
	p = end = at + digits_of(v);
	while (v >> 32) {
		memcpy(p -= 2, two_digits + v % 100 * 2, 2);
		v /= 100;
	}
	u32 low = v;

	while (low >= 100) {
		memcpy(p -= 2, two_digits + low % 100 * 2, 2);
		low /= 100;
	}
	if (low >= 10)
		memcpy(at, two_digits + low * 2, 2);
	else
		*at = '0' + low;
	return end;
}

char *rt_put_s64(char *at, u64 v)
{
	if ((s64)v < 0) {
		*at++ = '-';
		v = -v;
	}
	return rt_put_u64(at, v);
}

char *rt_put_hex(char *at, u64 v)
{
	u32 n = (64 - __builtin_clzll(v | 1) + 3) / 4;

	for (u32 i = n; i--; v >>= 4)
		at[i] = "0123456789abcdef"[v & 15];
	return at + n;
}

/*
 * A string of fewer than `room` bytes (a multiple of 16, all of which may be written); NULL where it is longer, or cannot
 * be read: the whole format is then another's task. Sixteen bytes at a time, none of them on a page that the string is not on.
 */
char *rt_put_text(char *at, u64 from, u64 room)
{
	for (char *end = at + room; at < end; at += 16, from += 16) {
		u32 beyond = -from & (RT_PAGE - 1);

		if (beyond && beyond < 16) { /* the page ends here, and the string may */
			char piece[16];
			size_t n;

			if (rt_copy_fault(piece, (const void *)(uintptr_t)from, beyond))
				return NULL;
			n = strnlen(piece, beyond);
			if (n < beyond)
				return (char *)memcpy(at, piece, n) + n;
		}
		if (rt_fault_copy16(at, (const void *)(uintptr_t)from))
			return NULL;
		u32 nuls = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const void *)at), _mm_setzero_si128()));

		if (nuls)
			return at + __builtin_ctz(nuls);
	}
	return NULL;
}

/* A string in a field of `width` bytes, to the left or to the right; NULL as rt_put_text(), which writes it. */
char *rt_put_field_text(char *at, u64 from, u64 room, u64 width, u64 left)
{
	char *end = rt_put_text(at, from, room);
	u64 n = end ? (u64)(end - at) : width;

	if (n >= width)
		return end;
	if (!left)
		memmove(at + width - n, at, n);
	memset(left ? at + n : at, ' ', width - n);
	return at + width;
}

/* Numbers to the right of a field of `width` bytes: zeros go behind the sign, spaces before it. */
static inline char *to_the_right(char *at, u64 v, u64 width, u64 fill, u32 minus)
{
	u64 used = (v < 10 ? 1 : digits_of(v)) + minus;

	if (minus && fill == '0')
		*at++ = '-';
	for (; used < width; used++)
		*at++ = fill;
	if (minus && fill != '0')
		*at++ = '-';
	return rt_put_u64(at, v);
}

char *rt_put_field_u64(char *at, u64 v, u64 width, u64 fill)
{
	return to_the_right(at, v, width, fill, 0);
}

char *rt_put_field_s64(char *at, u64 v, u64 width, u64 fill)
{
	return to_the_right(at, (s64)v < 0 ? -v : v, width, fill, (s64)v < 0);
}
