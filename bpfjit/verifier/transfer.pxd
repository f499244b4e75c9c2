cimport cython
from . cimport tnum
from .bounds cimport sign_extend, sync, zero_extend
from .state cimport Reg, i64, s32, s64
from .tnum cimport u64

cdef u64 _U64, _U32
cdef i64 _S64_MIN, _S64_MAX, _S32_MIN, _S32_MAX

cdef bint _sum_fits(i64 a, i64 b)
cdef bint _difference_fits(i64 a, i64 b)
cdef void _signed_32(Reg d, i64 low, i64 high)
@cython.locals(low=u64, high=u64, v=u64, m=u64)
cdef void _add(Reg d, Reg s)
@cython.locals(v=u64, m=u64)
cdef void _sub(Reg d, Reg s)
@cython.locals(r=Reg)
cdef Reg _negated(Reg d)
cdef bint _small(Reg r)
@cython.locals(a=i64, b=i64, c=i64, e=i64, v=u64, m=u64)
cdef void _mul(Reg d, Reg s)
cdef void _from_unsigned(Reg d)
@cython.locals(v=u64, m=u64)
cdef void _and(Reg d, Reg s)
@cython.locals(v=u64, m=u64)
cdef void _or(Reg d, Reg s)
@cython.locals(v=u64, m=u64)
cdef void _xor(Reg d, Reg s)
cdef void _lsh_32_bounds(Reg d, int n)
cdef void _lsh(Reg d, int n)
cdef void _lsh32(Reg d, int n)
cdef void _forget_32(Reg d)
cdef void _rsh(Reg d, int n)
cdef void _rsh32(Reg d, int n)
@cython.locals(v=u64, m=u64)
cdef void _arsh(Reg d, int n)
@cython.locals(v=u64, m=u64)
cdef void _arsh32(Reg d, int n)
cdef void _shift(str name, int width, Reg d, int n)
@cython.locals(d=Reg)
cpdef Reg transfer(str name, int width, Reg dst, Reg src)
