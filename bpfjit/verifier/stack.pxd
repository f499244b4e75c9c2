cimport cython
from .bounds cimport truncate
from .state cimport Frame, Reg, Slot
from .walk cimport Walk

@cython.locals(low=cython.longlong, high=cython.longlong)
cpdef tuple check_range(Walk w, Reg reg, int regno, long long off, long long size, str what)
cdef int _byte(Frame frame, long long off) except? -1
@cython.locals(frame=Frame, low=cython.longlong, high=cython.longlong, index=cython.longlong, stored=Reg, old=Slot)
cpdef write(Walk w, Reg reg, int regno, long long off, long long size, Reg value, int value_regno)
@cython.locals(frame=Frame, low=cython.longlong, high=cython.longlong, index=cython.longlong, slot=Slot, spilled=Reg, r=Reg)
cpdef Reg read(Walk w, Reg reg, int regno, long long off, long long size)
