cimport cython
from .op cimport Op
from .state cimport Frame, Reg, Slot, State, Step
from .tnum cimport u64
from .walk cimport Walk

cdef int _ARGUMENTS, _REGISTERS, _SLOT_BIT, _SCALAR, _SPILL, _MOVE, _ARITHMETIC, _NEGATE, _SWAP, _LOAD, _ATOMIC, _STORE
cdef int _BRANCH, _CALLS, _EXITS, _LOAD_IMMEDIATE, _OTHER
cdef u64 _ONE, _ALL_SLOTS

@cython.final
cdef class Wanted:
    cdef public int frame, now
    cdef public bint others
    cdef public list regs, slots
    @cython.locals(i=int)
    cpdef void begin(self, int frame)
    @cython.locals(i=int)
    cpdef void look(self)
    cpdef enter(self)
    cpdef leave(self)
    cpdef void add(self, int frame, int regs, u64 slots)
    cpdef bint has(self, int frame, int bit)

@cython.locals(wanted=Wanted)
cpdef need(Walk w, int frame, int regs, u64 slots)
@cython.locals(wanted=Wanted, frame=Frame)
cpdef bint carry(Walk w, State old, State state, int pc) except? -1
cdef bint _require(Walk w, State state, int pc, Wanted wanted) except? -1
@cython.locals(program=list, changed=cython.bint, after=int, first=cython.bint, at=State, i=int, step=Step, here=Step, kept=State)
cdef bint _go_back(Walk w, State state, int pc, Wanted wanted) except? -1
@cython.locals(changed=cython.bint, frame=Frame, number=int, inner=cython.bint, regs=int, slots=u64)
cdef bint _mark(State kept, Wanted wanted) except? -1
@cython.locals(found=int, i=int, reg=Reg, regs=list)
cdef int _scalar_regs(Frame frame, int mask) except? -1
@cython.locals(found=u64, index=int, slot=Slot)
cdef u64 _scalar_slots(Frame frame, u64 mask) except? 7
@cython.locals(changed=cython.bint, frame=Frame, kept=State, regs=int, slots=u64)
cdef bint _mark_all(State state) except? -1
@cython.locals(kind=int, dst=int, src=int, fetched=int)
cdef _back_over(Walk w, Op op, int pc, int after, Step step, Wanted wanted)
@cython.locals(frame=int, bit=int)
cdef _together(Step step, Wanted wanted)
cdef int _fetched(Op op)
cdef _fill(Step step, Wanted wanted, int loaded)
@cython.locals(slot=u64)
cdef _spill(Op op, Step step, Wanted wanted)
cdef _call(Walk w, Op op, int pc, int after, Wanted wanted)
cdef _exit(Walk w, int after, Wanted wanted)
