cimport cython
from . cimport tnum
from .state cimport Reg, s32, s64
from .tnum cimport u64

cdef u64 _U64, _U32, _ONE, _HIGH, _SIGN64, _SIGN32, _LOW63, _LOW31
cdef long long _S32_MIN, _S32_MAX

@cython.locals(value=u64, mask=u64, high=u64, v32=u64, m32=u64)
cdef void _from_tnum(Reg r)
@cython.locals(value=u64, mask=u64, low=u64, after=u64)
cdef void _only_member(Reg r)
@cython.locals(low=u64, high=u64)
cdef void _signs_64(Reg r)
@cython.locals(low=u64, high=u64)
cdef void _signs_32(Reg r)
cdef void _narrow_32_by(Reg r, u64 low, u64 high)
cdef void _narrow_32(Reg r)
cdef void _narrow_64(Reg r)
@cython.locals(v=u64, m=u64, bv=u64, bm=u64, v32=u64, m32=u64)
cdef void _to_tnum(Reg r)
cdef void _deduce(Reg r)
cpdef void sync(Reg r)
cpdef bint is_contradiction(Reg r)
cpdef void zero_extend(Reg r)
@cython.locals(full=u64)
cpdef void truncate(Reg r, int size_bytes)
@cython.locals(bits=cython.int, v=u64, m=u64, most=cython.longlong, low=cython.longlong, high=cython.longlong, first=cython.longlong, last=cython.longlong, alike=cython.bint)
cpdef void sign_extend(Reg r, int size_bytes, int width=*)
@cython.locals(sign=u64)
cdef long long _extended(u64 value, int bits)
