/* SPDX-License-Identifier: MIT */
/* Dynptrs: memory with a size known at run time. The verifier keeps programs out of the two words of one. */
#include "dynptr.h"

static int make(struct dynptr *p, void *data, u32 kind, u32 size, int rdonly)
{
	*p = (struct dynptr){ .data = data, .size = size, .kind = kind, .rdonly = rdonly };
	return 0;
}

static int make_null(struct dynptr *p, int err)
{
	memset(p, 0, sizeof(*p));
	return err;
}

/* `len` bytes at an offset: where they lie, or NULL where the dynptr does not reach (or the packet no longer does). */
static u8 *bytes_at(const struct dynptr *p, u32 offset, u32 len)
{
	u64 at = (u64)p->offset + offset;
	u8 *data = p->data, *end = NULL;

	if (!data || len > p->size || offset > p->size - len)
		return NULL;
	if (p->kind == SKB) {
		struct rt_skb *skb = p->data;

		data = skb->data;
		end = skb->data_end;
	} else if (p->kind == XDP) {
		struct rt_xdp *xdp = p->data;

		data = xdp->data;
		end = xdp->data_end;
	}
	return end && at + len > (u64)(end - data) ? NULL : data + at;
}

s64 rt_dynptr_from_mem(void *data, u64 size, u64 flags, struct dynptr *p)
{
	if ((u32)size > RT_DYNPTR_MAX)
		return make_null(p, -E2BIG);
	return flags ? make_null(p, -EINVAL) : make(p, data, LOCAL, (u32)size, 0);
}

s64 rt_ringbuf_reserve_dynptr(struct bpf_map *map, u64 size, u64 flags, struct dynptr *p)
{
	void *record;

	if (flags)
		return make_null(p, -EINVAL);
	if ((u32)size > RT_DYNPTR_MAX)
		return make_null(p, -E2BIG);
	record = rt_ringbuf_reserve(map, (u32)size, 0);
	return record ? make(p, record, RINGBUF, (u32)size, 0) : make_null(p, -EINVAL);
}

void rt_ringbuf_submit_dynptr(struct dynptr *p, u64 flags)
{
	if (p->data)
		rt_ringbuf_submit((u8 *)p->data, flags);
	make_null(p, 0);
}

void rt_ringbuf_discard_dynptr(struct dynptr *p, u64 flags)
{
	if (p->data)
		rt_ringbuf_discard((u8 *)p->data, flags);
	make_null(p, 0);
}

s64 rt_dynptr_read(void *dst, u64 len, const struct dynptr *p, u64 offset, u64 flags)
{
	const u8 *from;

	if (!p->data || flags)
		return -EINVAL;
	if ((u32)len > p->size || (u32)offset > p->size - (u32)len)
		return -E2BIG;
	from = bytes_at(p, (u32)offset, (u32)len);
	if (!from)
		return -EFAULT;
	memmove(dst, from, (u32)len);
	return 0;
}

s64 rt_dynptr_write(const struct dynptr *p, u64 offset, const void *src, u64 len, u64 flags)
{
	u8 *to;

	if (!p->data || p->rdonly || (flags && p->kind != SKB))
		return -EINVAL;
	if ((u32)len > p->size || (u32)offset > p->size - (u32)len)
		return -E2BIG;
	to = bytes_at(p, (u32)offset, (u32)len);
	if (!to)
		return -EFAULT;
	memmove(to, src, (u32)len);
	return 0;
}

/* Packets may be moved or in pieces: their bytes come by slices. */
void *rt_dynptr_data(const struct dynptr *p, u64 offset, u64 len)
{
	return p->rdonly || p->kind >= SKB ? NULL : bytes_at(p, (u32)offset, (u32)len);
}

/* -- kernel functions -- */

s64 rt_bpf_dynptr_from_skb(struct rt_skb *skb, u64 flags, struct dynptr *p, u64 rdonly)
{
	return flags ? make_null(p, -EINVAL) : make(p, skb, SKB, (u32)(skb->data_end - skb->data), rdonly != 0);
}

s64 rt_bpf_dynptr_from_xdp(struct rt_xdp *xdp, u64 flags, struct dynptr *p)
{
	return flags ? make_null(p, -EINVAL) : make(p, xdp, XDP, (u32)(xdp->data_end - xdp->data), 0);
}

s64 rt_bpf_dynptr_adjust(struct dynptr *p, u64 start, u64 end)
{
	u32 from = (u32)start, to = (u32)end;

	if (!p->data || from > to)
		return -EINVAL;
	if (from > p->size || to > p->size)
		return -ERANGE;
	p->offset += from;
	p->size = to - from;
	return 0;
}

u64 rt_bpf_dynptr_is_null(const struct dynptr *p)
{
	return !p->data;
}

u64 rt_bpf_dynptr_is_rdonly(const struct dynptr *p)
{
	return p->data && p->rdonly;
}

u64 rt_bpf_dynptr_size(const struct dynptr *p)
{
	return p->data ? p->size : (u32)-EINVAL;
}

s64 rt_bpf_dynptr_clone(const struct dynptr *p, struct dynptr *clone)
{
	if (!p->data)
		return make_null(clone, -EINVAL);
	*clone = *p;
	return 0;
}

void *rt_bpf_dynptr_slice(const struct dynptr *p, u64 offset, void *buffer, u64 size)
{
	return bytes_at(p, (u32)offset, (u32)size);
}

void *rt_bpf_dynptr_slice_rdwr(const struct dynptr *p, u64 offset, void *buffer, u64 size)
{
	return p->rdonly ? NULL : bytes_at(p, (u32)offset, (u32)size);
}

s64 rt_bpf_dynptr_copy(struct dynptr *dst, u64 dst_off, struct dynptr *src, u64 src_off, u64 size)
{
	const u8 *from;
	u8 *to;

	if (!dst->data || !src->data || dst->rdonly)
		return -EINVAL;
	from = bytes_at(src, (u32)src_off, (u32)size);
	to = bytes_at(dst, (u32)dst_off, (u32)size);
	if (!from || !to)
		return -E2BIG;
	memmove(to, from, (u32)size);
	return 0;
}

s64 rt_bpf_dynptr_memset(struct dynptr *p, u64 offset, u64 size, u64 value)
{
	u8 *to;

	if (!p->data || p->rdonly)
		return -EINVAL;
	to = bytes_at(p, (u32)offset, (u32)size);
	if (!to)
		return -E2BIG;
	memset(to, (u8)value, (u32)size);
	return 0;
}
