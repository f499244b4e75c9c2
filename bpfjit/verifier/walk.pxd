cimport cython
from .liveness cimport Liveness
from .precision cimport Wanted
from .state cimport Frame, Reg, State, Step, make_step
from .tnum cimport u64

cdef u64 _ONE
cdef int _MAP_REGION, _SCALAR, _SCALAR_KIND, _POINTER_KIND, _ARENA, _ARENA_KIND

cdef class Walk:
    cdef public object program, insns, env, cfg, log, facts
    cdef public Liveness life
    cdef public Wanted wanted
    cdef public list ops, live, plain_values, stack_bytes
    cdef public bytearray zero_stack, pointer_at, results, value_maps
    cdef public list regions
    cdef public bint strict_alignment
    cdef public State state
    cdef public int pc, came_from, ids
    cdef public long long processed, jumps
    cdef public Step own_step
    @cython.locals(step=Step)
    cpdef Step step(self)
    @cython.locals(frame=Frame, reg=Reg)
    cpdef precise(self, int regno)
    @cython.locals(frame=Frame, reg=Reg)
    cpdef Reg read(self, int regno)
    @cython.locals(frame=Frame)
    cpdef write(self, int regno, Reg reg)
    @cython.locals(r=Reg)
    cpdef Reg linked(self, Reg reg)
    cpdef leave(self, Reg reg)
    cpdef touch(self, int region)
    @cython.locals(pc=cython.int, have=cython.int)
    cpdef touch_value(self, int index)
    cpdef int new_id(self)
    @cython.locals(step=Step)
    cpdef touch_slot(self, int frame, int slot)
    cpdef wrote_slots(self, Frame frame, object slots)
    cpdef precise_slot(self, int frame, int slot)
    cpdef need_stack(self, Frame frame, long long low)

cpdef int kind_of(Reg reg)
