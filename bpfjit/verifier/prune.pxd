cimport cython
from . cimport tnum
from .state cimport Frame, Reg, Slot, State
from .tnum cimport u64

cdef int _NOT, _WITHIN, _SAME, _NOT_INIT, _SCALAR, _SPILL, _ITER_SLOT
cdef u64 _NOT_DATA, _SPILLED, _LOW7, _HIGH1
cdef Reg _NOT_KNOWN

@cython.final
cdef class Ids:
    cdef public dict to_new, to_old
    cdef public long long unnamed
    cdef public set unwritten
    cpdef bint match(self, long long old, long long new)
    cpdef bint match_scalars(self, long long old, long long new)

cdef bint _within(Reg old, Reg new)
cdef bint _identical(Reg old, Reg new)
cdef bint _fixed_alike(Reg old, Reg new)
cpdef bint covers(Reg old, Reg new, Ids ids, int exact, bint precise)
cdef Reg _as_scalar(Slot slot)
cdef bint _has_unwritten(u64 kinds)
@cython.locals(o=Reg, n=Reg, kinds=u64, others=u64)
cpdef bint _slot_covers(Slot old, Slot new, Ids ids, int exact, bint precise)
@cython.locals(marks=u64, relied=int, index=int, olds=list, news=list, i=int, o=Reg, n=Reg, slot=Slot, fresh=Slot)
cdef bint _frame_covers(Frame old, Frame new, int live, Ids ids, int exact)
@cython.locals(one=Frame, two=Frame, olds=list, news=list, i=int, o=Reg, n=Reg)
cpdef bint looks_alike(State old, State new)
@cython.locals(ids=Ids, last=int, i=int, o=Frame, n=Frame, above=Frame, live=int)
cpdef Ids state_covers(State old, State new, int pc, list live_at, int exact)
