cimport cython
from .tnum cimport u64

ctypedef long long i64

cdef u64 _U64, _SIGN64, _U32, _SIGN32
cdef i64 _S64_MIN, _S64_MAX, _S32_MIN, _S32_MAX

cpdef i64 s64(u64 value)
cpdef i64 s32(u64 value)

@cython.final
cdef class Reg:
    cdef public int type, flags, map, btf_id, frame
    cdef public i64 id, off, size, range, ref
    cdef public u64 value, mask, umin, umax, u32min, u32max
    cdef public i64 smin, smax, s32min, s32max
    @cython.locals(r=Reg)
    cpdef Reg copy(self)
    cpdef void unlink(self)
    cpdef void unbound(self)
    cpdef void set_unknown(self)
    cpdef void know(self, u64 value)

cpdef Reg scalar()
cpdef Reg unknown_scalar()
cpdef Reg pointer(int type_, int flags=*)

cdef u64 _EACH, _SPILL, _SPILLED

@cython.final
cdef class Slot:
    cdef public u64 kinds
    cdef public int top
    cdef public Reg reg
    cpdef bint is_full_spill(self)
    @cython.locals(kinds=u64, count=int)
    cpdef int spilled_bytes(self)
    cpdef int byte(self, int index)

@cython.locals(slot=Slot)
cpdef Slot make_slot(u64 kinds, Reg reg)
cpdef Slot filled(u64 kind, Reg reg=*)

@cython.final
cdef class Frame:
    cdef public int number, subprog, call_site
    cdef public bint callback
    cdef public i64 rounds
    cdef public int precise
    cdef public u64 precise_slots
    cdef public object life
    cdef public list regs
    cdef public dict stack
    @cython.locals(f=Frame)
    cpdef Frame copy(self)

@cython.final
cdef class Step:
    cdef public Step before
    cdef public int pc, came_from, count, frame, slot
    cdef public tuple linked

@cython.locals(step=Step)
cpdef Step make_step(Step before, int pc, int came_from)

@cython.final
cdef class State:
    cdef public list frames
    cdef public object held, visit
    cdef public State parent
    cdef public Step steps
    cdef public i64 branches, unrolled, may_gotos
    cdef public int first_pc, last_pc, pc
    cdef public bint clean, evicted, is_kept
    @cython.locals(s=State, f=Frame, frames=list)
    cpdef State copy(self)
