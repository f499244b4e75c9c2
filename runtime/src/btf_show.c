/* SPDX-License-Identifier: MIT */
/*
 * bpf_seq_printf_btf and bpf_snprintf_btf: a structure printed by its type, from the kernel's own BTF.
 *
 * What is printed is what Linux 6.18 prints (tests compare the two): members that are zero are left out unless
 * BTF_F_ZERO asks for them, and so are structures and arrays in which nothing is left. While an array is under way no
 * member has a name, be it a member of an element: Linux tells type and name once, for the array.
 */
#include <stdio.h>

#include "rt.h"

#define MAX_SUFFIXES 10
#define SAFE_BYTES 32

struct type {
	u32 name, info, size; /* or the type that it refers to */
	u32 rest[];
};

struct member {
	u32 name, type, offset;
};

enum { INT = 1, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR,
       DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 };

struct rt_types {
	char *data;
	const char *strings;
	u32 strings_size, count;
	const struct type **by_id;
};

static u32 kind(const struct type *t)
{
	return t->info >> 24 & 0x1f;
}

static u32 vlen(const struct type *t)
{
	return t->info & 0xffff;
}

static size_t type_bytes(const struct type *t)
{
	static const u8 each[] = { [STRUCT] = 12, [UNION] = 12, [ENUM] = 8, [FUNC_PROTO] = 8, [DATASEC] = 12, [ENUM64] = 12 };
	static const u8 once[] = { [INT] = 4, [ARRAY] = 12, [VAR] = 4, [DECL_TAG] = 4, [ENUM64] = 0 };
	u32 k = kind(t);

	return sizeof(*t) + (k < sizeof(once) ? once[k] : 0) + (k < sizeof(each) ? each[k] : 0) * vlen(t);
}

static void free_types(struct rt_types *types)
{
	if (!types)
		return;
	free(types->by_id);
	free(types->data);
	free(types);
}

static void release_types(struct rt_kernel *k, void *types, size_t size)
{
	(void)k;
	(void)size;
	free_types(types);
}

void rt_types_free(struct rt_kernel *k)
{
	free_types(k->types);
	k->types = NULL;
}

/* Where each type of a BTF image is, by its id; with NULL only how many ids there are. */
static u32 index_types(const char *data, const struct type **by_id)
{
	const struct btf_header *h = (const void *)data;
	const char *at = data + h->hdr_len + h->type_off, *end = at + h->type_len;
	u32 count = 1;

	if (by_id)
		by_id[0] = NULL;
	for (; at < end; at += type_bytes((const struct type *)at), count++)
		if (by_id)
			by_id[count] = (const struct type *)at;
	return count;
}

/* What programs see of types that were loaded; the image has been checked. rt_btf_free() gives it back. */
struct btf *rt_btf_new(struct rt_kernel *k, const void *data, size_t size, u32 id)
{
	u32 count = index_types(data, NULL);
	struct btf *btf = rt_kobj_alloc(k, sizeof(*btf));
	char *copy = rt_kobj_alloc(k, size);
	void *types = rt_kobj_alloc(k, count * sizeof(void *));

	if (!btf || !copy || !types) {
		rt_kobj_free_rcu(k, btf, sizeof(*btf));
		rt_kobj_free_rcu(k, copy, size);
		rt_kobj_free_rcu(k, types, count * sizeof(void *));
		return NULL;
	}
	memcpy(copy, data, size);
	memcpy(&btf->hdr, copy, sizeof(btf->hdr));
	btf->data = copy;
	btf->types = types;
	btf->nr_types = index_types(copy, types);
	btf->strings = copy + btf->hdr.hdr_len + btf->hdr.str_off;
	btf->id = id;
	return btf;
}

void rt_btf_free(struct rt_kernel *k, struct btf *btf, size_t size)
{
	rt_kobj_free_rcu(k, btf->data, size);
	rt_kobj_free_rcu(k, btf->types, btf->nr_types * sizeof(void *));
	rt_kobj_free_rcu(k, btf, sizeof(*btf));
}

/* The kernel's BTF, checked by whoever loads it; what was there before goes when its readers have gone. */
int rt_kernel_types(struct rt_kernel *k, const void *data, size_t size)
{
	const struct btf_header *h;
	struct rt_types *types = calloc(1, sizeof(*types)), *old;

	if (!types || !(types->data = malloc(size)))
		goto no_memory;
	h = memcpy(types->data, data, size);
	types->strings = types->data + h->hdr_len + h->str_off;
	types->strings_size = h->str_len;
	types->by_id = malloc(sizeof(*types->by_id) * (h->type_len / sizeof(struct type) + 1));
	if (!types->by_id)
		goto no_memory;
	types->count = index_types(types->data, types->by_id);
	old = __atomic_exchange_n(&k->types, types, __ATOMIC_ACQ_REL);
	if (old)
		rt_defer(k, release_types, old, 0);
	return 0;
no_memory:
	free_types(types);
	return -ENOMEM;
}

struct show {
	const struct rt_types *types;
	struct rt_out *out;
	u64 flags;
	u32 depth, id;
	const struct member *member;
	int in_array, as_char, ended; /* an array of characters ends with its first NUL */
	int measuring, found; /* looking for something to print, printing nothing */
	int status;
};

static const struct type *type_of(const struct show *s, u32 id)
{
	return id < s->types->count ? s->types->by_id[id] : NULL;
}

static const char *text_of(const struct show *s, u32 name)
{
	return name < s->types->strings_size ? s->types->strings + name : "";
}

static int is_modifier(u32 k)
{
	return k == TYPEDEF || k == VOLATILE || k == CONST || k == RESTRICT || k == TYPE_TAG;
}

static const struct type *resolved(const struct show *s, u32 id)
{
	const struct type *t = type_of(s, id);

	while (t && is_modifier(kind(t)))
		t = type_of(s, t->size);
	return t;
}

static void emit(struct show *s, const char *text)
{
	size_t n = strlen(text);

	if (s->measuring)
		return;
	if (s->out->count < s->out->size)
		memcpy(s->out->buf + s->out->count, text,
		       n < s->out->size - s->out->count ? n : s->out->size - s->out->count);
	s->out->count += n;
}

static void indent(struct show *s)
{
	static const char blanks[] = "                                ";
	u32 n = s->depth < sizeof(blanks) - 1 ? s->depth : sizeof(blanks) - 1;

	if (!(s->flags & BTF_F_COMPACT))
		emit(s, blanks + sizeof(blanks) - 1 - n);
}

static void end_of_value(struct show *s)
{
	emit(s, s->depth ? "," : "");
	emit(s, s->flags & BTF_F_COMPACT ? "" : "\n");
}

/* ".member = (type)" and the bracket that opens what follows. */
static void put_name(struct show *s)
{
	const char *prefix = "", *parens = "", *name = NULL, *member = "";
	u32 id = s->member ? s->member->type : s->id, stars = 0, brackets = 0, seen = 0, last = 0, i;
	const struct type *t = type_of(s, id);

	if (s->in_array || !t)
		return;
	if (s->member)
		member = text_of(s, s->member->name);
	for (i = 0; i < MAX_SUFFIXES; i++) {
		last = kind(t);
		if (last == TYPEDEF) {
			name = name ? name : text_of(s, t->name);
			id = t->size;
		} else if (last == ARRAY) {
			brackets += brackets < MAX_SUFFIXES;
			parens = "[";
			id = t->rest[0];
		} else if (last == PTR) {
			stars += stars < MAX_SUFFIXES;
			id = t->size;
		} else {
			break;
		}
		if (!id)
			break;
		seen |= 1U << last;
		t = type_of(s, id);
		while (t && (kind(t) == VOLATILE || kind(t) == CONST || kind(t) == RESTRICT || kind(t) == TYPE_TAG))
			t = type_of(s, t->size);
		if (!t)
			return;
	}
	if (i == MAX_SUFFIXES)
		return;
	seen |= 1U << last;
	if (!name)
		name = text_of(s, t->name);
	if (kind(t) == STRUCT || kind(t) == UNION) {
		prefix = kind(t) == STRUCT ? "struct" : "union";
		if (!(seen & 1U << ARRAY))
			parens = "{";
	} else if (kind(t) == ENUM || kind(t) == ENUM64) {
		prefix = "enum";
	}
	if (seen & 1U << PTR)
		parens = "";
	if (seen & 1U << TYPEDEF)
		prefix = "";
	if (!(s->flags & BTF_F_NONAME)) {
		if (*member) {
			emit(s, ".");
			emit(s, member);
			emit(s, " = ");
		}
		emit(s, "(");
		emit(s, prefix);
		emit(s, *prefix && *name ? " " : "");
		emit(s, name);
		emit(s, stars ? " " : "");
		emit(s, "**********" + MAX_SUFFIXES - stars);
		emit(s, "[][][][][][][][][][]" + 2 * (MAX_SUFFIXES - brackets));
		emit(s, ")");
	}
	emit(s, parens);
}

static void put_value(struct show *s, const char *text, int is_zero)
{
	if (is_zero && !(s->flags & BTF_F_ZERO) && s->depth)
		return;
	s->found = 1;
	if (s->measuring)
		return;
	indent(s);
	put_name(s);
	emit(s, text);
	end_of_value(s);
}

static int fetch(struct show *s, void *to, const char *data, size_t size)
{
	s->status = rt_copy_fault(to, data, size);
	return s->status;
}

static void put_wide(struct show *s, u64 low, u64 high)
{
	char text[40];

	if (high)
		snprintf(text, sizeof(text), "0x%llx%016llx", (unsigned long long)high, (unsigned long long)low);
	else
		snprintf(text, sizeof(text), "0x%llx", (unsigned long long)low);
	put_value(s, text, !low && !high);
}

static void show_bits(struct show *s, const char *data, u32 first, u32 bits)
{
	unsigned __int128 raw = 0;
	u32 bytes = (first + bits + 7) / 8;

	if (bytes > sizeof(raw) || fetch(s, &raw, data, bytes))
		return;
	raw >>= first;
	if (bits < 128)
		raw &= ((unsigned __int128)1 << bits) - 1;
	put_wide(s, (u64)raw, (u64)(raw >> 64));
}

static void show_int(struct show *s, const struct type *t, const char *data)
{
	u32 bits = t->rest[0] & 0xff, is_signed = t->rest[0] >> 24 & 1;
	s64 v = 0;
	char text[32];

	if (bits != 8 && bits != 16 && bits != 32 && bits != 64) {
		show_bits(s, data, t->rest[0] >> 16 & 0xff, bits);
		return;
	}
	if (fetch(s, &v, data, bits / 8))
		return;
	if (is_signed)
		v = v << (64 - bits) >> (64 - bits);
	if (bits == 8 && s->as_char) {
		if (s->ended)
			return;
		if (!v) {
			s->ended = 1;
			return;
		}
		if (((u8)v >= ' ' && (u8)v < 0x7f) || (u8)v >= 0xa0) { /* Linux's letters are Latin-1's */
			snprintf(text, sizeof(text), "'%c'", (char)v);
			put_value(s, text, 0);
			return;
		}
	}
	snprintf(text, sizeof(text), is_signed ? "%lld" : "%llu", (long long)v);
	put_value(s, text, !v);
}

static void show_pointer(struct show *s, const char *data)
{
	char text[24];
	u64 v;

	if (fetch(s, &v, data, sizeof(v)))
		return;
	if (!(s->flags & BTF_F_PTR_RAW))
		v = rt_pointer_name(rt_this_cpu->kernel, v);
	snprintf(text, sizeof(text), "0x%016llx", (unsigned long long)v);
	put_value(s, text, !v);
}

static void show_enum(struct show *s, const struct type *t, const char *data)
{
	u32 wide = kind(t) == ENUM64, is_signed = t->info >> 31;
	char text[32];
	s64 v = 0;

	if (fetch(s, &v, data, wide ? 8 : 4))
		return;
	for (u32 i = 0; i < vlen(t); i++) {
		u32 at = i * (wide ? 3 : 2);
		u64 value = wide ? t->rest[at + 1] | (u64)t->rest[at + 2] << 32 : t->rest[at + 1];

		if (value == (wide ? (u64)v : (u32)v)) {
			put_value(s, text_of(s, t->rest[at]), 0);
			return;
		}
	}
	if (!wide && is_signed)
		v = (s32)v;
	snprintf(text, sizeof(text), is_signed ? "%lld" : "%llu", (long long)v);
	put_value(s, text, !v);
}

static void show(struct show *s, const struct type *t, u32 id, const char *data);

static void show_array(struct show *s, const struct type *t, const char *data)
{
	const struct type *elem = resolved(s, t->rest[0]);
	u32 k = elem ? kind(elem) : 0, size = k == PTR ? 0 : elem && (k == ARRAY || k == FWD) ? 0 : elem ? elem->size : 0;

	s->as_char = k == INT && size == 1;
	s->ended = 0;
	for (u32 i = 0; elem && i < t->rest[2]; i++) {
		s->in_array = 1;
		s->member = NULL;
		show(s, elem, t->rest[0], data + (size_t)i * size);
		s->in_array = 0;
		if (s->ended)
			break;
	}
	s->as_char = s->ended = 0;
}

static void show_members(struct show *s, const struct type *t, const char *data)
{
	const struct member *m = (const struct member *)t->rest;

	for (u32 i = 0; i < vlen(t); i++, m++) {
		u32 has_bits = t->info >> 31, offset = has_bits ? m->offset & 0xffffff : m->offset;
		u32 bits = has_bits ? m->offset >> 24 : 0;

		s->member = m;
		s->id = m->type;
		if (bits)
			show_bits(s, data + offset / 8, offset % 8, bits);
		else
			show(s, type_of(s, m->type), m->type, data + offset / 8);
		s->member = NULL;
	}
}

static void show_inside(struct show *s, const struct type *t, u32 id, const char *data)
{
	const struct member *member = s->member;
	char probe;

	if (fetch(s, &probe, data, 1))
		return;
	s->id = id;
	if (!s->measuring) {
		indent(s);
		put_name(s);
		emit(s, s->flags & BTF_F_COMPACT ? "" : "\n");
	}
	s->depth++;
	if (kind(t) == ARRAY)
		show_array(s, t, data);
	else
		show_members(s, t, data);
	s->depth--;
	s->member = member;
	if (!s->measuring) {
		indent(s);
		emit(s, kind(t) == ARRAY ? "]" : "}");
		end_of_value(s);
	}
}

/* A structure or array: nothing of it is printed where there would be nothing inside. */
static void show_aggregate(struct show *s, const struct type *t, u32 id, const char *data)
{
	if (s->depth && !(s->flags & BTF_F_ZERO) && !s->measuring) {
		struct show trial = *s;

		trial.measuring = 1;
		trial.found = 0;
		show_inside(&trial, t, id, data);
		if (!trial.found)
			return;
	}
	show_inside(s, t, id, data);
}

static void show(struct show *s, const struct type *t, u32 id, const char *data)
{
	char text[32];

	s->id = id;
	while (t && is_modifier(kind(t)))
		t = type_of(s, t->size);
	switch (t ? kind(t) : 0) {
	case INT:
		show_int(s, t, data);
		break;
	case PTR:
		show_pointer(s, data);
		break;
	case ENUM:
	case ENUM64:
		show_enum(s, t, data);
		break;
	case STRUCT:
	case UNION:
	case ARRAY:
		show_aggregate(s, t, id, data);
		break;
	default:
		snprintf(text, sizeof(text), "<unsupported kind:%u>", t ? kind(t) : 0);
		emit(s, text);
	}
}

static s64 begin(struct show *s, struct rt_out *out, const struct btf_ptr *ptr, u64 size, u64 flags)
{
	struct rt_types *types = __atomic_load_n(&rt_this_cpu->kernel->types, __ATOMIC_ACQUIRE);
	char first[SAFE_BYTES];
	const struct type *t;

	if (flags & ~(u64)(BTF_F_COMPACT | BTF_F_NONAME | BTF_F_PTR_RAW | BTF_F_ZERO) || (u32)size != sizeof(*ptr))
		return -EINVAL;
	if (!ptr->type_id || !types)
		return -EINVAL;
	*s = (struct show){ .types = types, .out = out, .flags = flags };
	t = type_of(s, ptr->type_id);
	if (!t)
		return -ENOENT;
	t = resolved(s, ptr->type_id);
	if (t && (kind(t) == STRUCT || kind(t) == UNION || kind(t) == INT || kind(t) == ENUM)) {
		/* Linux takes the first bytes of the object before it prints anything. */
		s64 err = rt_copy_fault(first, ptr->ptr, t->size < SAFE_BYTES ? t->size : SAFE_BYTES);

		if (err)
			return err;
	}
	show(s, type_of(s, ptr->type_id), ptr->type_id, ptr->ptr);
	return s->status;
}

s64 rt_seq_printf_btf(struct seq_file *seq, const struct btf_ptr *ptr, u64 size, u64 flags)
{
	struct rt_out out = { .buf = seq->buf, .size = seq->size, .count = seq->count };
	struct show s;
	s64 err = begin(&s, &out, ptr, size, flags);

	seq->count = out.count < seq->size ? out.count : seq->size;
	return err;
}

s64 rt_snprintf_btf(char *to, u64 to_size, const struct btf_ptr *ptr, u64 size, u64 flags)
{
	u32 room = (u32)to_size;
	struct rt_out out = { .buf = to, .size = room ? room - 1 : 0 };
	struct show s;
	s64 err = begin(&s, &out, ptr, size, flags);

	if (room && (!err || out.count))
		to[out.count < out.size ? out.count : out.size] = 0;
	return err ? err : (s64)out.count;
}
