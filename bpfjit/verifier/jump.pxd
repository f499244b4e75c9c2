cimport cython
from . cimport branch
from .bounds cimport zero_extend
from .op cimport Op
from .state cimport Frame, Reg, Slot, State, make_slot
from .transfer cimport transfer
from .walk cimport Walk

cdef int _SCALAR, _SPILL, _SLOT_BIT, _ADDED_32, _BOTH

cpdef object decide(Walk w, str name, int width, Reg dst, Reg src)
@cython.locals(state=State, d=Reg, s=Reg, by_register=cython.bint)
cpdef refine(Walk w, Op insn, str name, int width, Reg dst, Reg src, State taken, tuple linked)
cpdef tuple note_linked(Walk w, Reg dst, Reg src)
@cython.locals(frame=Frame, regs=list, r=Reg, slot=Slot, spilled=Reg, i=int, pc=int, live=int)
cdef _collect(Walk w, long long number, list found)
@cython.locals(r=Reg)
cdef Reg _alone(Reg r)
@cython.locals(frame=Frame, r=Reg, slot=Slot, spilled=Reg, number=int, bit=int)
cdef _spread(State state, Reg now, tuple linked)
@cython.locals(moved=Reg, narrow=int)
cdef Reg _linked(Reg r, Reg now)
