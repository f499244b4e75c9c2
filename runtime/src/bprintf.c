/* SPDX-License-Identifier: MIT */
/*
 * The formats of bpf_seq_printf, bpf_snprintf and bpf_trace_printk: what Linux 6.18 takes, what it
 * refuses and what it prints, measured on the live kernel and held by tests that run on both.
 */
#include "rt.h"
#include "iter.h"

#define MAX_ARGS 12
#define ARGS_BYTES 512

/* Linux's character classes, which know Latin-1. */
static int is_alnum(u8 c)
{
	return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= 0xc0 && c != 0xd7 && c != 0xf7);
}

static int is_space(u8 c)
{
	return (c >= '\t' && c <= '\r') || c == ' ' || c == 0xa0;
}

static int is_punct(u8 c)
{
	return c > ' ' && c != 0x7f && !(c >= 0x80 && c <= 0xa0) && !is_alnum(c);
}

/* Where %p or %s may end: whatever letter came next would be a part of it. */
static int ends_conversion(u8 c)
{
	return !c || is_space(c) || is_punct(c);
}

struct spec {
	int width; /* -1: none */
	u8 left, zero, plus, space;
	u8 bits; /* 32 or 64 */
	char conversion;
};

static void put(struct rt_out *out, const char *text, size_t n)
{
	if (out->count < out->size)
		memcpy(out->buf + out->count, text, n < out->size - out->count ? n : out->size - out->count);
	out->count += n;
}

static void fill(struct rt_out *out, char c, s64 n)
{
	if (n <= 0)
		return;
	if (out->count < out->size)
		memset(out->buf + out->count, c, (size_t)n < out->size - out->count ? (size_t)n : out->size - out->count);
	out->count += n;
}

static void put_padded(struct rt_out *out, const struct spec *s, const char *text, size_t n)
{
	if (!s->left)
		fill(out, ' ', s->width - (s64)n);
	put(out, text, n);
	if (s->left)
		fill(out, ' ', s->width - (s64)n);
}

static const char two_digits[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
				 "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
				 "8081828384858687888990919293949596979899";

/* Digits of `value` before `end`; where they begin. */
static char *decimal(char *end, u64 value)
{
	while (value >= 100) {
		memcpy(end -= 2, two_digits + value % 100 * 2, 2);
		value /= 100;
	}
	if (value >= 10)
		memcpy(end -= 2, two_digits + value * 2, 2);
	else
		*--end = '0' + value;
	return end;
}

static char *hexadecimal(char *end, u64 value, int upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";

	do
		*--end = digits[value & 15];
	while (value >>= 4);
	return end;
}

static void put_number(struct rt_out *out, const struct spec *s, u64 arg)
{
	char text[32], *end = text + sizeof(text), *at;
	char sign = 0;
	size_t digits;

	if (s->conversion == 'd' || s->conversion == 'i') {
		s64 value = s->bits == 32 ? (s32)arg : (s64)arg;

		sign = value < 0 ? '-' : s->plus ? '+' : s->space ? ' ' : 0;
		at = decimal(end, value < 0 ? -(u64)value : (u64)value);
	} else {
		u64 value = s->bits == 32 ? (u32)arg : arg;

		at = s->conversion == 'u' ? decimal(end, value) : hexadecimal(end, value, s->conversion == 'X');
	}
	digits = end - at;
	s64 pad = s->width - (s64)digits - (sign != 0);

	if (!s->left && !s->zero)
		fill(out, ' ', pad);
	if (sign)
		put(out, &sign, 1);
	if (!s->left && s->zero)
		fill(out, '0', pad);
	put(out, at, digits);
	if (s->left)
		fill(out, ' ', pad);
}

static void put_pointer(struct rt_out *out, const struct spec *s, u64 value)
{
	struct spec hex = *s;

	hex.conversion = 'x';
	hex.bits = 64;
	if (hex.width < 0) {
		hex.width = 16;
		hex.zero = 1;
	}
	put_number(out, &hex, value);
}

/* %p hides addresses: a keyed hash of 32 bits, the same for the same address while the kernel runs. */
static u64 hashed(struct rt_kernel *k, u64 value)
{
	u64 x = value;

	for (int i = 0; i < 4; i++) {
		__uint128_t r = (__uint128_t)(x ^ k->pointer_key[i & 1]) * 0xd6e8feb86659fd93ULL;

		x = (u64)r ^ (u64)(r >> 64);
	}
	return (u32)x;
}

/* What %p shows of an address: error pointers and NULL are themselves, objects that another kernel has named keep that. */
u64 rt_pointer_name(struct rt_kernel *k, u64 address)
{
	struct rt_index *names = __atomic_load_n(&k->pointer_names, __ATOMIC_ACQUIRE);
	void *name = names ? rt_index_find(names, address) : NULL;

	if (address + 4095 < 4096)
		return address;
	return name ? (u64)(uintptr_t)name : hashed(k, address);
}

/* A name of 0 takes back the one that there is. */
int rt_kernel_name_pointer(struct rt_kernel *k, const void *obj, u64 name)
{
	if (!name)
		return k->pointer_names ? rt_index_remove(k->pointer_names, (u64)(uintptr_t)obj) : 0;
	if (!k->pointer_names)
		k->pointer_names = rt_index_new(k);
	return k->pointer_names ? rt_index_add(k->pointer_names, (u64)(uintptr_t)obj, (void *)(uintptr_t)name) : -ENOMEM;
}

/* A C string from anywhere into at most `size` bytes, NUL included; its length, or 0 when the address is bad. */
static size_t copy_string(char *to, u64 from, size_t size)
{
	size_t n = 0;

	while (n + 1 < size) {
		/* Page by page: the string may end right before memory that is not there. */
		size_t chunk = RT_PAGE - ((from + n) & (RT_PAGE - 1));

		if (chunk > size - 1 - n)
			chunk = size - 1 - n;
		if (rt_copy_fault(to + n, (const void *)(uintptr_t)(from + n), chunk)) {
			n = 0;
			break;
		}
		size_t here = strnlen(to + n, chunk);

		n += here;
		if (here < chunk)
			break;
	}
	to[n] = 0;
	return n;
}

/* Prints at most `room` bytes of it; its whole length. */
static u32 put_ip(struct rt_out *out, char form, char version, u64 from, size_t room)
{
	u8 raw[16] = { 0 };
	char text[48], *at = text;

	if (rt_copy_fault(raw, (const void *)(uintptr_t)from, version == '4' ? 4 : 16))
		memset(raw, 0, sizeof(raw));
	if (version == '4') {
		for (int i = 0; i < 4; i++) {
			char digits[4], *end = digits + 4, *d = decimal(end, raw[i]);

			if (i)
				*at++ = '.';
			if (form == 'i')
				for (long pad = 3 - (end - d); pad > 0; pad--)
					*at++ = '0';
			memcpy(at, d, end - d);
			at += end - d;
		}
	} else {
		for (int i = 0; i < 16; i++) {
			if (i && !(i & 1) && form == 'I')
				*at++ = ':';
			*at++ = "0123456789abcdef"[raw[i] >> 4];
			*at++ = "0123456789abcdef"[raw[i] & 15];
		}
	}
	put(out, text, (size_t)(at - text) < room ? (size_t)(at - text) : room);
	return at - text;
}

static char *put_hex(char *at, u64 value)
{
	char digits[16], *end = digits + sizeof(digits), *first = hexadecimal(end, value, 0);

	return mempcpy(mempcpy(at, "0x", 2), first, end - first);
}

/* %pS and %pB, by the letter: symbol+0xoffset/0xsize; %ps: the symbol. A number where there is none. */
static void put_symbol(struct rt_kernel *k, struct rt_out *out, const struct spec *s, char letter, u64 addr)
{
	/* An address in a trace is where a call returns to, which may be behind its function's end. */
	const struct rt_ksym *sym = rt_ksym_of(k, letter == 'B' ? addr - 1 : addr);
	char text[sizeof(sym->name) + 64], *end = text;

	if (!sym) {
		end = put_hex(text, addr);
	} else {
		end = stpcpy(text, sym->name);
		if (letter != 's') {
			*end++ = '+';
			end = put_hex(end, addr - sym->start);
			*end++ = '/';
			end = put_hex(end, sym->size);
		}
	}
	put_padded(out, s, text, end - text);
}

static const char *parse_flags(const char *f, struct spec *s)
{
	for (;; f++) {
		if (*f == '0')
			s->zero = 1;
		else if (*f == '+')
			s->plus = 1;
		else if (*f == '-')
			s->left = 1;
		else if (*f == ' ')
			s->space = 1;
		else
			break;
	}
	if (*f >= '1' && *f <= '9')
		for (s->width = 0; *f >= '0' && *f <= '9'; f++)
			s->width = s->width < 1 << 23 ? s->width * 10 + (*f - '0') : 1 << 23;
	return f;
}

/* A first pass over the whole format: nothing is printed by a format that is refused further on. *good counts the
 * conversions before the bad one. */
static int check(const char *f, u32 nargs, u32 *good)
{
	u32 used = 0;

	for (; *f; f++) {
		struct spec s = { .width = -1 };

		*good = used;
		if ((u8)*f < ' ' ? !is_space(*f) : *f == 0x7f)
			return -EINVAL;
		if (*f != '%')
			continue;
		if (f[1] == '%') {
			f++;
			continue;
		}
		if (used >= nargs || used >= MAX_ARGS)
			return -EINVAL;
		used++;
		f = parse_flags(f + 1, &s);
		if (*f == 'p') {
			u8 n = f[1];

			if ((n == 'k' || n == 'u') && f[2] == 's')
				f += 2; /* and on as %s */
			else if ((n == 'i' || n == 'I') && (f[2] == '4' || f[2] == '6'))
				f += 2;
			else if (n == 'K' || n == 'x' || n == 's' || n == 'S' || n == 'B')
				f += 1;
			else if (!ends_conversion(n))
				return -EINVAL;
			if (*f != 's' || n == 's')
				continue;
		}
		if (*f == 's') {
			if (!ends_conversion(f[1]))
				return -EINVAL;
			continue;
		}
		if (*f == 'c')
			continue;
		if (*f == 'l')
			f += f[1] == 'l' ? 2 : 1;
		if (!*f || !strchr("diuxX", *f))
			return -EINVAL;
	}
	return 0;
}

/*
 * Linux copies the arguments into 512 bytes before it prints them, and what does not fit is ENOSPC: numbers of 4
 * or 8 bytes, aligned to 4, characters, and strings and addresses as text with its NUL.
 */
static int take_number(u32 *used, u32 size)
{
	*used = round_up(*used, 4);
	if (*used + size > ARGS_BYTES)
		return -ENOSPC;
	*used += size;
	return 0;
}

/*
 * Of these Linux makes text first; where the output is full already, it neither counts that nor passes over it. (What comes
 * behind is then made of the text's bytes, which is not done here: only a length that nobody can use differs.)
 */
static void forget_beyond(struct rt_out *out, size_t before)
{
	if (before >= out->size)
		out->count = before;
}

/* What follows %p: *fmt stands behind the p. */
static int put_extended(struct rt_kernel *k, struct rt_out *out, struct spec *s, const char **fmt, u64 arg, u32 *used)
{
	const char *f = *fmt;
	struct spec plain = { .width = -1 };
	size_t before = out->count;
	int err = 0;
	u8 next = *f;

	if ((next == 'i' || next == 'I') && (f[1] == '4' || f[1] == '6')) {
		if (*used + (f[1] == '4' ? 4 : 16) > ARGS_BYTES)
			return -ENOSPC;
		*used += put_ip(out, next, f[1], arg, ARGS_BYTES - *used - 1) + 1;
		forget_beyond(out, before);
	} else if (next == 'B') {
		put_symbol(k, out, &plain, 'B', arg);
		*used += (u32)(out->count - before) + 1;
		forget_beyond(out, before);
	} else {
		err = take_number(used, 8);
		if (err)
			return err;
		if (next == 'x')
			put_pointer(out, s, arg);
		else if (next == 's' || next == 'S')
			put_symbol(k, out, s, next, arg);
		else
			put_pointer(out, s, rt_pointer_name(k, arg));
	}
	while (is_alnum((u8)*f))
		f++; /* vsnprintf passes over whatever letters follow %p */
	*fmt = f;
	return 0;
}

/* Print the format's first `limit` conversions, and the text around them; check() has passed them. */
static int render(struct rt_kernel *k, struct rt_out *out, const char *f, const u64 *args, u32 limit)
{
	char string[ARGS_BYTES];
	u32 used = 0;
	int err = 0;

	while (*f) {
		struct spec s = { .width = -1, .bits = 32 };
		const char *literal = f;
		u64 arg;

		f = strchrnul(f, '%');
		put(out, literal, f - literal);
		if (!*f)
			break;
		if (f[1] == '%') {
			put(out, "%", 1);
			f += 2;
			continue;
		}
		if (!limit--)
			break;
		f = parse_flags(f + 1, &s);
		arg = *args++;
		if (*f == 's' || (*f == 'p' && (f[1] == 'k' || f[1] == 'u') && f[2] == 's')) {
			size_t n;

			if (used >= ARGS_BYTES)
				return -ENOSPC;
			n = copy_string(string, arg, ARGS_BYTES - used);
			used += n + 1;
			if (*f == 'p') {
				s = (struct spec){ .width = -1 };
				for (f += 3; is_alnum((u8)*f); f++)
					;
			} else {
				f++;
			}
			put_padded(out, &s, string, n);
		} else if (*f == 'c') {
			char c = (char)arg;

			if (used++ >= ARGS_BYTES)
				return -ENOSPC;
			put_padded(out, &s, &c, 1);
			f++;
		} else if (*f == 'p') {
			f++;
			err = put_extended(k, out, &s, &f, arg, &used);
		} else {
			if (*f == 'l') {
				s.bits = 64;
				f += f[1] == 'l' ? 2 : 1;
			}
			s.conversion = *f++;
			err = take_number(&used, s.bits / 8);
			if (!err)
				put_number(out, &s, arg);
		}
		if (err)
			return err;
	}
	return 0;
}

/* -- what native code that has taken a format apart asks for: see put.c -- */

static struct spec spec_of(u64 flags, s64 width)
{
	return (struct spec){
		.width = (int)width,
		.left = !!(flags & 1),
		.zero = !!(flags & 2),
		.plus = !!(flags & 4),
		.space = !!(flags & 8),
		.bits = flags & 16 ? 64 : 32,
	};
}

/* One number or character. */
char *rt_put_spec(char *at, u64 arg, u64 conversion, u64 flags, s64 width)
{
	struct rt_out out = { .buf = at, .size = SIZE_MAX };
	struct spec s = spec_of(flags, width);
	char c = (char)arg;

	s.conversion = (char)conversion;
	if (s.conversion == 'c')
		put_padded(&out, &s, &c, 1);
	else
		put_number(&out, &s, arg);
	return at + out.count;
}

/* One %p and what follows it, its letters as a string in `form`. */
char *rt_put_extended(char *at, u64 arg, u64 form, u64 flags, s64 width)
{
	struct rt_out out = { .buf = at, .size = SIZE_MAX };
	struct spec s = spec_of(flags, width);
	const char *letters = (const char *)&form;
	u32 used = 0;

	put_extended(rt_this_cpu->kernel, &out, &s, &letters, arg, &used);
	return at + out.count;
}

int rt_bprintf(struct rt_kernel *k, struct rt_out *out, const char *fmt, u32 fmt_size, const u64 *args, u32 nargs)
{
	struct rt_out nowhere = { 0 };
	size_t start = out->count;
	u32 good = 0;
	int err;

	if (!memchr(fmt, 0, fmt_size))
		return -EINVAL;
	err = check(fmt, nargs, &good);
	if (err) /* the first error counts: arguments that find no room come before a bad conversion behind them */
		return render(k, &nowhere, fmt, args, good) == -ENOSPC ? -ENOSPC : err;
	err = render(k, out, fmt, args, MAX_ARGS);
	if (err)
		out->count = start;
	return err;
}

s64 rt_format(struct rt_kernel *k, char *buf, size_t size, const char *fmt, u32 fmt_size, const u64 *args, u32 nargs)
{
	struct rt_out out = { .buf = buf, .size = size };
	struct rt_cpu *cpu = rt_enter(k);
	int err = rt_bprintf(k, &out, fmt, fmt_size, args, nargs);

	rt_leave(cpu);
	return err ? err : (s64)out.count;
}
