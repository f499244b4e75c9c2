cimport cython
from .op cimport Op
from .state cimport Frame, Reg, Slot, State, Step

cdef int _ARGUMENTS, _REGISTERS, _SLOT_BIT, _MOVE, _ARITHMETIC, _NEGATE, _SWAP, _LOAD, _ATOMIC, _STORE, _BRANCH
cdef int _CALLS, _EXITS, _LOAD_IMMEDIATE, _OTHER

@cython.final
cdef class _Wanted:
    cdef public int frame, now
    cdef public bint others
    cdef public list regs, slots
    cpdef void look(self)
    cpdef enter(self)
    cpdef leave(self)
    cpdef object of(self, int frame)
    cpdef void put(self, int frame, object mask)

@cython.locals(reg=Reg, slot=Slot)
cpdef object scalars_of(Frame frame, object mask)
cpdef need(object w, int frame, object bits)
cpdef bint require(object w, State state, int pc, list masks) except? -1
@cython.locals(program=list, changed=cython.bint, after=int, first=cython.bint, at=State, i=int, step=Step, here=Step, kept=State, frame=Frame)
cdef bint _go_back(object w, State state, int pc, _Wanted wanted) except? -1
@cython.locals(frame=Frame, kept=State)
cdef bint _mark_all(State state) except? -1
@cython.locals(kind=int, dst=int, src=int, fetched=int)
cdef _back_over(object w, Op op, int pc, int after, Step step, _Wanted wanted)
cdef _together(Step step, _Wanted wanted)
cdef int _fetched(Op op)
cdef _fill(Step step, _Wanted wanted, int loaded)
cdef _spill(Op op, Step step, _Wanted wanted)
cdef _call(object w, Op op, int pc, int after, _Wanted wanted)
cdef _exit(object w, int after, _Wanted wanted)
