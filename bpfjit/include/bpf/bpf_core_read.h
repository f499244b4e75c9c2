/* SPDX-License-Identifier: MIT */
/* CO-RE: reads and questions that the loader answers for the kernel at hand. */
#ifndef __BPF_CORE_READ_H__
#define __BPF_CORE_READ_H__

#include "bpf_helpers.h"

enum bpf_field_info_kind {
	BPF_FIELD_BYTE_OFFSET = 0,
	BPF_FIELD_BYTE_SIZE = 1,
	BPF_FIELD_EXISTS = 2,
	BPF_FIELD_SIGNED = 3,
	BPF_FIELD_LSHIFT_U64 = 4,
	BPF_FIELD_RSHIFT_U64 = 5,
};

enum bpf_type_id_kind {
	BPF_TYPE_ID_LOCAL = 0,
	BPF_TYPE_ID_TARGET = 1,
};

enum bpf_type_info_kind {
	BPF_TYPE_EXISTS = 0,
	BPF_TYPE_SIZE = 1,
	BPF_TYPE_MATCHES = 2,
};

enum bpf_enum_value_kind {
	BPF_ENUMVAL_EXISTS = 0,
	BPF_ENUMVAL_VALUE = 1,
};

#define ___bpf_typeof(type) ((typeof(type) *)0)
#define ___bpf_field_ref1(field) (field)
#define ___bpf_field_ref2(type, field) (___bpf_typeof(type)->field)
#define ___bpf_field_ref(args...) ___bpf_apply(___bpf_field_ref, ___bpf_narg(args))(args)

#define bpf_core_field_exists(field...) __builtin_preserve_field_info(___bpf_field_ref(field), BPF_FIELD_EXISTS)
#define bpf_core_field_size(field...) __builtin_preserve_field_info(___bpf_field_ref(field), BPF_FIELD_BYTE_SIZE)
#define bpf_core_field_offset(field...) __builtin_preserve_field_info(___bpf_field_ref(field), BPF_FIELD_BYTE_OFFSET)

/* A kernel object of a type that the verifier does not know it has, to be read with plain loads. */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;
#define bpf_core_cast(ptr, type) ((typeof(type) *)bpf_rdonly_cast((ptr), bpf_core_type_id_kernel(type)))

#define bpf_core_type_id_local(type) __builtin_btf_type_id(*___bpf_typeof(type), BPF_TYPE_ID_LOCAL)
#define bpf_core_type_id_kernel(type) __builtin_btf_type_id(*___bpf_typeof(type), BPF_TYPE_ID_TARGET)
#define bpf_core_type_exists(type) __builtin_preserve_type_info(*___bpf_typeof(type), BPF_TYPE_EXISTS)
#define bpf_core_type_matches(type) __builtin_preserve_type_info(*___bpf_typeof(type), BPF_TYPE_MATCHES)
#define bpf_core_type_size(type) __builtin_preserve_type_info(*___bpf_typeof(type), BPF_TYPE_SIZE)

#define bpf_core_enum_value_exists(enum_type, enum_value)                                                              \
	__builtin_preserve_enum_value(*(typeof(enum_type) *)enum_value, BPF_ENUMVAL_EXISTS)
#define bpf_core_enum_value(enum_type, enum_value)                                                                     \
	__builtin_preserve_enum_value(*(typeof(enum_type) *)enum_value, BPF_ENUMVAL_VALUE)

#define bpf_core_read(dst, sz, src)                                                                                    \
	bpf_probe_read_kernel(dst, sz, (const void *)__builtin_preserve_access_index(src))
#define bpf_core_read_user(dst, sz, src)                                                                               \
	bpf_probe_read_user(dst, sz, (const void *)__builtin_preserve_access_index(src))
#define bpf_core_read_str(dst, sz, src)                                                                                \
	bpf_probe_read_kernel_str(dst, sz, (const void *)__builtin_preserve_access_index(src))
#define bpf_core_read_user_str(dst, sz, src)                                                                           \
	bpf_probe_read_user_str(dst, sz, (const void *)__builtin_preserve_access_index(src))

#define __CORE_RELO(src, field, info) __builtin_preserve_field_info((src)->field, BPF_FIELD_##info)

#define __CORE_BITFIELD_PROBE_READ(dst, src, fld)                                                                      \
	bpf_probe_read_kernel((void *)dst, __CORE_RELO(src, fld, BYTE_SIZE),                                           \
			      (const void *)src + __CORE_RELO(src, fld, BYTE_OFFSET))

#define BPF_CORE_READ_BITFIELD_PROBED(s, field)                                                                        \
	({                                                                                                             \
		unsigned long long val = 0;                                                                            \
		__CORE_BITFIELD_PROBE_READ(&val, s, field);                                                            \
		val <<= __CORE_RELO(s, field, LSHIFT_U64);                                                             \
		if (__CORE_RELO(s, field, SIGNED))                                                                     \
			val = ((long long)val) >> __CORE_RELO(s, field, RSHIFT_U64);                                   \
		else                                                                                                   \
			val = val >> __CORE_RELO(s, field, RSHIFT_U64);                                                \
		val;                                                                                                   \
	})

#define BPF_CORE_READ_BITFIELD(s, field)                                                                               \
	({                                                                                                             \
		const void *p = (const void *)s + __CORE_RELO(s, field, BYTE_OFFSET);                                  \
		unsigned long long val;                                                                                \
		asm volatile("" : "=r"(p) : "0"(p));                                                                   \
		switch (__CORE_RELO(s, field, BYTE_SIZE)) {                                                            \
		case 1: val = *(const unsigned char *)p; break;                                                        \
		case 2: val = *(const unsigned short *)p; break;                                                       \
		case 4: val = *(const unsigned int *)p; break;                                                         \
		case 8: val = *(const unsigned long long *)p; break;                                                   \
		default: val = 0; break;                                                                               \
		}                                                                                                      \
		val <<= __CORE_RELO(s, field, LSHIFT_U64);                                                             \
		if (__CORE_RELO(s, field, SIGNED))                                                                     \
			val = ((long long)val) >> __CORE_RELO(s, field, RSHIFT_U64);                                   \
		else                                                                                                   \
			val = val >> __CORE_RELO(s, field, RSHIFT_U64);                                                \
		val;                                                                                                   \
	})

/* Writes the load unit that holds the bitfield, its other bits kept. */
#define BPF_CORE_WRITE_BITFIELD(s, field, new_val)                                                                     \
	({                                                                                                             \
		void *p = (void *)s + __CORE_RELO(s, field, BYTE_OFFSET);                                              \
		unsigned int byte_size = __CORE_RELO(s, field, BYTE_SIZE);                                             \
		unsigned int lshift = __CORE_RELO(s, field, LSHIFT_U64);                                               \
		unsigned int rshift = __CORE_RELO(s, field, RSHIFT_U64);                                               \
		unsigned long long mask, val, nval = new_val;                                                          \
		asm volatile("" : "+r"(p));                                                                            \
		val = byte_size == 1 ? *(unsigned char *)p : byte_size == 2 ? *(unsigned short *)p :                   \
		      byte_size == 4 ? *(unsigned int *)p : *(unsigned long long *)p;                                  \
		mask = (~0ULL << rshift) >> lshift;                                                                    \
		val = (val & ~mask) | ((nval << rshift >> lshift) & mask);                                             \
		switch (byte_size) {                                                                                   \
		case 1: *(unsigned char *)p = val; break;                                                              \
		case 2: *(unsigned short *)p = val; break;                                                             \
		case 4: *(unsigned int *)p = val; break;                                                               \
		case 8: *(unsigned long long *)p = val; break;                                                         \
		}                                                                                                      \
	})

/*
 * -- BPF_CORE_READ(s, a, b, c) is s->a->b->c, one probed read for each arrow, up to nine of them --
 *
 * ___stepsN makes the reads before the last one, each leaving a pointer in __t; ___intoN adds the last, into dst.
 */
#define ___arrow1(s) s
#define ___arrow2(s, a) s->a
#define ___arrow3(s, a, b) s->a->b
#define ___arrow4(s, a, b, c) s->a->b->c
#define ___arrow5(s, a, b, c, d) s->a->b->c->d
#define ___arrow6(s, a, b, c, d, e) s->a->b->c->d->e
#define ___arrow7(s, a, b, c, d, e, f) s->a->b->c->d->e->f
#define ___arrow8(s, a, b, c, d, e, f, g) s->a->b->c->d->e->f->g
#define ___arrow9(s, a, b, c, d, e, f, g, h) s->a->b->c->d->e->f->g->h
#define ___arrow10(s, a, b, c, d, e, f, g, h, i) s->a->b->c->d->e->f->g->h->i
#define ___arrow(...) ___bpf_apply(___arrow, ___bpf_narg(__VA_ARGS__))(__VA_ARGS__)
#define ___type(...) typeof(___arrow(__VA_ARGS__))
#define ___read(fn, dst, type, src, field) fn((void *)(dst), sizeof(*(dst)), &((type)(src))->field)

#define ___steps1(fn, s)
#define ___steps2(fn, s, a) ___read(fn, &__t, ___type(s), s, a);
#define ___steps3(fn, s, a, b) ___steps2(fn, s, a) ___read(fn, &__t, ___type(s, a), __t, b);
#define ___steps4(fn, s, a, b, c) ___steps3(fn, s, a, b) ___read(fn, &__t, ___type(s, a, b), __t, c);
#define ___steps5(fn, s, a, b, c, d) ___steps4(fn, s, a, b, c) ___read(fn, &__t, ___type(s, a, b, c), __t, d);
#define ___steps6(fn, s, a, b, c, d, e) ___steps5(fn, s, a, b, c, d) ___read(fn, &__t, ___type(s, a, b, c, d), __t, e);
#define ___steps7(fn, s, a, b, c, d, e, f)                                                                             \
	___steps6(fn, s, a, b, c, d, e) ___read(fn, &__t, ___type(s, a, b, c, d, e), __t, f);
#define ___steps8(fn, s, a, b, c, d, e, f, g)                                                                          \
	___steps7(fn, s, a, b, c, d, e, f) ___read(fn, &__t, ___type(s, a, b, c, d, e, f), __t, g);
#define ___steps9(fn, s, a, b, c, d, e, f, g, h)                                                                       \
	___steps8(fn, s, a, b, c, d, e, f, g) ___read(fn, &__t, ___type(s, a, b, c, d, e, f, g), __t, h);

#define ___into2(fn, last, dst, s, a) ___read(last, dst, ___type(s), s, a);
#define ___into3(fn, last, dst, s, a, b) ___steps2(fn, s, a) ___read(last, dst, ___type(s, a), __t, b);
#define ___into4(fn, last, dst, s, a, b, c) ___steps3(fn, s, a, b) ___read(last, dst, ___type(s, a, b), __t, c);
#define ___into5(fn, last, dst, s, a, b, c, d)                                                                         \
	___steps4(fn, s, a, b, c) ___read(last, dst, ___type(s, a, b, c), __t, d);
#define ___into6(fn, last, dst, s, a, b, c, d, e)                                                                      \
	___steps5(fn, s, a, b, c, d) ___read(last, dst, ___type(s, a, b, c, d), __t, e);
#define ___into7(fn, last, dst, s, a, b, c, d, e, f)                                                                   \
	___steps6(fn, s, a, b, c, d, e) ___read(last, dst, ___type(s, a, b, c, d, e), __t, f);
#define ___into8(fn, last, dst, s, a, b, c, d, e, f, g)                                                                \
	___steps7(fn, s, a, b, c, d, e, f) ___read(last, dst, ___type(s, a, b, c, d, e, f), __t, g);
#define ___into9(fn, last, dst, s, a, b, c, d, e, f, g, h)                                                             \
	___steps8(fn, s, a, b, c, d, e, f, g) ___read(last, dst, ___type(s, a, b, c, d, e, f, g), __t, h);
#define ___into10(fn, last, dst, s, a, b, c, d, e, f, g, h, i)                                                         \
	___steps9(fn, s, a, b, c, d, e, f, g, h) ___read(last, dst, ___type(s, a, b, c, d, e, f, g, h), __t, i);
#define ___into(fn, last, dst, args...) ___bpf_apply(___into, ___bpf_narg(args))(fn, last, dst, args)

#define BPF_CORE_READ_INTO(dst, src, a, ...)                                                                           \
	({                                                                                                             \
		const void *__t __attribute__((unused));                                                               \
		___into(bpf_core_read, bpf_core_read, dst, (src), a, ##__VA_ARGS__)                                    \
	})
#define BPF_CORE_READ_STR_INTO(dst, src, a, ...)                                                                       \
	({                                                                                                             \
		const void *__t __attribute__((unused));                                                               \
		___into(bpf_core_read, bpf_core_read_str, dst, (src), a, ##__VA_ARGS__)                                \
	})
#define BPF_CORE_READ(src, a, ...)                                                                                     \
	({                                                                                                             \
		___type((src), a, ##__VA_ARGS__) __r;                                                                  \
		BPF_CORE_READ_INTO(&__r, (src), a, ##__VA_ARGS__);                                                     \
		__r;                                                                                                   \
	})
#define BPF_CORE_READ_USER_INTO(dst, src, a, ...)                                                                      \
	({                                                                                                             \
		const void *__t __attribute__((unused));                                                               \
		___into(bpf_core_read_user, bpf_core_read_user, dst, (src), a, ##__VA_ARGS__)                          \
	})
#define BPF_CORE_READ_USER_STR_INTO(dst, src, a, ...)                                                                  \
	({                                                                                                             \
		const void *__t __attribute__((unused));                                                               \
		___into(bpf_core_read_user, bpf_core_read_user_str, dst, (src), a, ##__VA_ARGS__)                      \
	})
#define BPF_CORE_READ_USER(src, a, ...)                                                                                \
	({                                                                                                             \
		___type((src), a, ##__VA_ARGS__) __r;                                                                  \
		BPF_CORE_READ_USER_INTO(&__r, (src), a, ##__VA_ARGS__);                                                \
		__r;                                                                                                   \
	})
#define BPF_PROBE_READ_INTO(dst, src, a, ...)                                                                          \
	({                                                                                                             \
		const void *__t __attribute__((unused));                                                               \
		___into(bpf_probe_read_kernel, bpf_probe_read_kernel, dst, (src), a, ##__VA_ARGS__)                    \
	})
#define BPF_PROBE_READ_STR_INTO(dst, src, a, ...)                                                                      \
	({                                                                                                             \
		const void *__t __attribute__((unused));                                                               \
		___into(bpf_probe_read_kernel, bpf_probe_read_kernel_str, dst, (src), a, ##__VA_ARGS__)                \
	})
#define BPF_PROBE_READ(src, a, ...)                                                                                    \
	({                                                                                                             \
		___type((src), a, ##__VA_ARGS__) __r;                                                                  \
		BPF_PROBE_READ_INTO(&__r, (src), a, ##__VA_ARGS__);                                                    \
		__r;                                                                                                   \
	})
#define BPF_PROBE_READ_USER_INTO(dst, src, a, ...)                                                                     \
	({                                                                                                             \
		const void *__t __attribute__((unused));                                                               \
		___into(bpf_probe_read_user, bpf_probe_read_user, dst, (src), a, ##__VA_ARGS__)                        \
	})
#define BPF_PROBE_READ_USER_STR_INTO(dst, src, a, ...)                                                                 \
	({                                                                                                             \
		const void *__t __attribute__((unused));                                                               \
		___into(bpf_probe_read_user, bpf_probe_read_user_str, dst, (src), a, ##__VA_ARGS__)                    \
	})
#define BPF_PROBE_READ_USER(src, a, ...)                                                                               \
	({                                                                                                             \
		___type((src), a, ##__VA_ARGS__) __r;                                                                  \
		BPF_PROBE_READ_USER_INTO(&__r, (src), a, ##__VA_ARGS__);                                               \
		__r;                                                                                                   \
	})

#endif
