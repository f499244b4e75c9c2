/* SPDX-License-Identifier: MIT */
/* Helpers on the frames of XDP programs. */
#include "packet.h"

#define XDP_FRAME 40 /* Linux keeps its frame structure at the start of the headroom */
#define MAX_META 255

s64 rt_xdp_adjust_head(struct rt_xdp *xdp, u64 by)
{
	size_t meta = xdp->data_meta < xdp->data ? xdp->data - xdp->data_meta : 0;
	s64 offset = (s32)by;

	if (xdp->data - xdp->hard_start + offset < (s64)(XDP_FRAME + meta) || offset > xdp->data_end - xdp->data - ETH_HLEN)
		return -EINVAL;
	if (meta)
		memmove(xdp->data_meta + offset, xdp->data_meta, meta);
	xdp->data_meta += offset;
	xdp->data += offset;
	return 0;
}

s64 rt_xdp_adjust_tail(struct rt_xdp *xdp, u64 by)
{
	s64 offset = (s32)by;

	if (offset > xdp->frame_end - xdp->data_end || xdp->data_end - xdp->data + offset < ETH_HLEN)
		return -EINVAL;
	if (offset > 0)
		memset(xdp->data_end, 0, offset);
	xdp->data_end += offset;
	return 0;
}

s64 rt_xdp_adjust_meta(struct rt_xdp *xdp, u64 by)
{
	u8 *meta = xdp->data_meta + (s32)by;

	if (meta < xdp->hard_start + XDP_FRAME || meta > xdp->data)
		return -EINVAL;
	if ((xdp->data - meta) & 3 || xdp->data - meta > MAX_META)
		return -EACCES;
	xdp->data_meta = meta;
	return 0;
}

u64 rt_xdp_get_buff_len(struct rt_xdp *xdp)
{
	return (u64)(xdp->data_end - xdp->data) + xdp->frag_bytes;
}

/* Where `len` bytes lie; what a frame has in fragments is kept behind its linear part's room. */
static s64 copy(struct rt_xdp *xdp, u64 offset, u8 *buf, u64 len, int store)
{
	u64 linear = (u64)(xdp->data_end - xdp->data), off = (u32)offset, size = (u32)len, first;

	if (off > 0xffff || size > 0xffff)
		return -EFAULT;
	if (off + size > linear + xdp->frag_bytes)
		return -EINVAL;
	first = off >= linear ? 0 : size < linear - off ? size : linear - off;
	if (first) {
		u8 *at = xdp->data + off;

		memcpy(store ? at : buf, store ? buf : at, first);
	}
	if (first < size) {
		u8 *at = xdp->frame_end + (off + first - linear);

		memcpy(store ? at : buf + first, store ? buf + first : at, size - first);
	}
	return 0;
}

s64 rt_xdp_load_bytes(struct rt_xdp *xdp, u64 offset, void *buf, u64 len)
{
	return copy(xdp, offset, buf, len, 0);
}

s64 rt_xdp_store_bytes(struct rt_xdp *xdp, u64 offset, void *buf, u64 len)
{
	return copy(xdp, offset, buf, len, 1);
}
