cimport cython
from . cimport stack
from . cimport state as st
from .bounds cimport truncate
from .state cimport Reg
from .walk cimport Walk

cdef int _STACK, _SCALAR, _OR_NULL, _STACK_REGION, _MAP_VALUE, _PACKET, _PACKET_META, _CTX, _MAP_REGION
cdef long long _MAX_VAR_OFF

cpdef Reg sized_scalar(int size)
@cython.locals(low=cython.longlong)
cpdef check_alignment(Walk w, Reg reg, long long off, long long size, bint strict=*)
cdef _check_region(Walk w, Reg reg, int regno, long long off, long long size, long long limit, object what)
@cython.locals(limit=cython.longlong, low=cython.longlong)
cdef Reg _map_value(Walk w, Reg reg, int regno, long long off, long long size, Reg value, int value_regno)
@cython.locals(before=int)
cdef _one_kind(Walk w, Reg reg)
@cython.locals(write=cython.bint)
cpdef Reg access(Walk w, Reg reg, int regno, long long off, long long size, object args, Reg value=*, int value_regno=*)
