// SPDX-License-Identifier: MIT
/* Every question that CO-RE answers, asked about types which a test's own "kernel" lays out differently. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define CORE __attribute__((preserve_access_index))

struct inner {
	int x;
	int y[4];
} CORE;

enum color { RED = 1, GREEN = 2, BLUE = 3 };
enum huge { SMALL = 1, LARGE = 0x100000000ULL };
enum sign { MINUS = -5, PLUS = 5 };
typedef int number_t;

struct sample {
	int a;
	unsigned char narrow;
	struct inner in;
	unsigned int bits : 5;
	int sbits : 4;
	union {
		long anon_a;
		int anon_b;
	};
	struct inner many[2];
	int missing;
	enum color paint;
} CORE;

/* A flavor: the same type of the kernel, seen with another member. */
struct sample___new {
	long only_new;
	char a;
} CORE;

struct gone {
	int a;
} CORE;

struct same_shape {
	int a;
	void *p;
} CORE;

struct other_shape {
	int a;
} CORE;

union choice {
	int a;
} CORE;

enum questions {
	OFF_A, OFF_NARROW, OFF_Y2, OFF_ANON_B, OFF_MANY1_X, OFF_NEW,
	SIZE_A, SIZE_NARROW, SIZE_IN,
	EXISTS_A, EXISTS_MISSING, EXISTS_NEW, EXISTS_GONE,
	SIGNED_A, SIGNED_NARROW, SIGNED_PAINT,
	BITS_OFF, BITS_SIZE, BITS_LSHIFT, BITS_RSHIFT, SBITS_SIGNED,
	TYPE_SAMPLE, TYPE_GONE, TYPE_NUMBER, TYPE_CHOICE, SIZEOF_SAMPLE, SIZEOF_GONE,
	MATCH_SAME, MATCH_OTHER, ID_KERNEL, ID_LOCAL, ID_GONE,
	ENUM_GREEN, ENUM_HAS_GREEN, ENUM_HAS_BLUE, ENUM_LARGE, ENUM_MINUS, ENUM_FLAVOR,
	QUESTIONS
};

enum color___other { GREEN___other = 77 };

long out[QUESTIONS];
enum questions asked = QUESTIONS;

SEC("syscall")
int ask(void *ctx)
{
	out[OFF_A] = bpf_core_field_offset(struct sample, a);
	out[OFF_NARROW] = bpf_core_field_offset(struct sample, narrow);
	out[OFF_Y2] = bpf_core_field_offset(struct sample, in.y[2]);
	out[OFF_ANON_B] = bpf_core_field_offset(struct sample, anon_b);
	out[OFF_MANY1_X] = bpf_core_field_offset(struct sample, many[1].x);
	out[OFF_NEW] = bpf_core_field_offset(struct sample___new, only_new);
	out[SIZE_A] = bpf_core_field_size(struct sample, a);
	out[SIZE_NARROW] = bpf_core_field_size(struct sample, narrow);
	out[SIZE_IN] = bpf_core_field_size(struct sample, in);
	out[EXISTS_A] = bpf_core_field_exists(struct sample, a);
	out[EXISTS_MISSING] = bpf_core_field_exists(struct sample, missing);
	out[EXISTS_NEW] = bpf_core_field_exists(struct sample___new, only_new);
	out[EXISTS_GONE] = bpf_core_field_exists(struct gone, a);
	struct sample *s = 0;
	out[SIGNED_A] = __builtin_preserve_field_info(s->a, BPF_FIELD_SIGNED);
	out[SIGNED_NARROW] = __builtin_preserve_field_info(s->narrow, BPF_FIELD_SIGNED);
	out[SIGNED_PAINT] = __builtin_preserve_field_info(s->paint, BPF_FIELD_SIGNED);
	out[BITS_OFF] = __builtin_preserve_field_info(s->bits, BPF_FIELD_BYTE_OFFSET);
	out[BITS_SIZE] = __builtin_preserve_field_info(s->bits, BPF_FIELD_BYTE_SIZE);
	out[BITS_LSHIFT] = __builtin_preserve_field_info(s->bits, BPF_FIELD_LSHIFT_U64);
	out[BITS_RSHIFT] = __builtin_preserve_field_info(s->bits, BPF_FIELD_RSHIFT_U64);
	out[SBITS_SIGNED] = __builtin_preserve_field_info(s->sbits, BPF_FIELD_SIGNED);
	out[TYPE_SAMPLE] = bpf_core_type_exists(struct sample);
	out[TYPE_GONE] = bpf_core_type_exists(struct gone);
	out[TYPE_NUMBER] = bpf_core_type_exists(number_t);
	out[TYPE_CHOICE] = bpf_core_type_exists(union choice);
	out[SIZEOF_SAMPLE] = bpf_core_type_size(struct sample);
	out[SIZEOF_GONE] = bpf_core_type_size(struct gone);
	out[MATCH_SAME] = bpf_core_type_matches(struct same_shape);
	out[MATCH_OTHER] = bpf_core_type_matches(struct other_shape);
	out[ID_KERNEL] = bpf_core_type_id_kernel(struct sample);
	out[ID_LOCAL] = bpf_core_type_id_local(struct sample);
	out[ID_GONE] = bpf_core_type_id_kernel(struct gone);
	out[ENUM_GREEN] = bpf_core_enum_value(enum color, GREEN);
	out[ENUM_HAS_GREEN] = bpf_core_enum_value_exists(enum color, GREEN);
	out[ENUM_HAS_BLUE] = bpf_core_enum_value_exists(enum color, BLUE);
	out[ENUM_LARGE] = bpf_core_enum_value(enum huge, LARGE);
	out[ENUM_MINUS] = bpf_core_enum_value(enum sign, MINUS);
	out[ENUM_FLAVOR] = bpf_core_enum_value(enum color___other, GREEN___other);
	return 0;
}

char _license[] SEC("license") = "GPL";
