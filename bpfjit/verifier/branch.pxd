cimport cython
from . cimport tnum
from .bounds cimport is_contradiction, sync
from .state cimport Reg, i64, s32, s64
from .tnum cimport u64

cdef u64 _U64, _U32
cdef int _NEVER, _ALWAYS, _EITHER

@cython.final
cdef class _View:
    cdef u64 value, mask, umin, umax
    cdef i64 smin, smax

cdef int _equal(_View a, _View b)
cdef int _jset(_View a, _View b)
cdef int _below(_View a, _View b)
cdef int _signed_below(_View a, _View b)
cdef int _not(int outcome)
cdef int _outcome(str name, _View a, _View b)
@cython.locals(outcome=int)
cpdef object decide(str name, int width, Reg a, Reg b)
cdef void _set_unsigned(Reg r, int width, u64 low, u64 high)
cdef void _set_signed(Reg r, int width, i64 low, i64 high)
@cython.locals(nv=u64, nm=u64)
cdef void _set_tnum(Reg r, int width, u64 v, u64 m)
@cython.locals(va=_View, vb=_View, alike=cython.bint)
cdef void _take_eq(Reg a, Reg b, int width)
@cython.locals(v=_View, w=_View, value=u64, signed=i64)
cdef void _take_ne_one(Reg r, Reg o, int width)
cdef void _take_ne(Reg a, Reg b, int width)
@cython.locals(v=_View)
cdef void _set_bits(Reg r, Reg o, int width)
@cython.locals(v=_View)
cdef void _clear_bits(Reg r, Reg o, int width)
@cython.locals(va=_View, vb=_View)
cdef void _take_lt(Reg a, Reg b, int width)
@cython.locals(va=_View, vb=_View)
cdef void _take_le(Reg a, Reg b, int width)
@cython.locals(va=_View, vb=_View)
cdef void _take_slt(Reg a, Reg b, int width)
@cython.locals(va=_View, vb=_View)
cdef void _take_sle(Reg a, Reg b, int width)
cdef void _take(str name, Reg a, Reg b, int width)
cdef Reg narrowed(Reg r, Reg before)
@cython.locals(now=Reg)
cpdef Reg narrow_alone(str name, int width, Reg r)
@cython.locals(a2=Reg, b2=Reg)
cpdef tuple narrow(str name, int width, Reg a, Reg b)
