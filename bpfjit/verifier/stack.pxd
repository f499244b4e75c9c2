cimport cython
from .bounds cimport truncate
from .state cimport Frame, Reg, Slot, make_slot
from .tnum cimport u64
from .walk cimport Walk

cdef u64 _U64, _EACH, _SPILLED, _ONE
cdef int _INVALID, _SPILL, _MISC, _ZEROED, _ITER_SLOT, _DYNPTR_SLOT, _SCALAR, _STACK, _STACK_BYTES

@cython.locals(low=cython.longlong, high=cython.longlong)
cpdef tuple check_range(Walk w, Reg reg, int regno, long long off, long long size, str what)
@cython.locals(slot=Slot)
cdef int _byte(Frame frame, long long off) except? -1
@cython.locals(at=cython.longlong)
cdef bint _all(Frame frame, int kind, long long low, long long end) except? -1
@cython.locals(found=u64, kind=u64, i=int)
cdef u64 _as_data(u64 kinds)
@cython.locals(end=cython.longlong, at=cython.longlong, index=cython.longlong, start=int, n=int, old=Slot, mask=u64, kinds=u64)
cdef _set_bytes(Frame frame, long long off, long long size, u64 kind)
@cython.locals(frame=Frame, low=cython.longlong, high=cython.longlong, index=cython.longlong, first=cython.longlong, i=cython.longlong, stored=Reg, old=Slot, mask=u64, rest=u64, zero=cython.bint)
cpdef write(Walk w, Reg reg, int regno, long long off, int size, Reg value, int value_regno)
@cython.locals(at=cython.longlong, slot=Slot, zero=cython.bint, relied=cython.bint, kind=int)
cdef _write_somewhere(Walk w, Frame frame, long long low, long long end, Reg value, int value_regno)
@cython.locals(frame=Frame, low=cython.longlong, high=cython.longlong, index=cython.longlong, slot=Slot, spilled=Reg, r=Reg)
cpdef Reg read(Walk w, Reg reg, int regno, long long off, int size)
@cython.locals(low=cython.longlong, slot=Slot, frame=Frame)
cpdef Reg whole(Walk w, Reg reg, long long off, int size)
@cython.locals(i=int, kind=int)
cpdef check_initialised(Walk w, Frame frame, long long low, long long size, int regno, bint by_helper=*)
