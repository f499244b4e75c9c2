cimport cython
from .state cimport Frame, Reg, State, Step

cdef int _SCALAR, _SCALAR_KIND, _POINTER_KIND, _ARENA, _ARENA_KIND

cdef class Walk:
    cdef public object program, insns, env, cfg, log, facts, life
    cdef public list ops, live, stack_bytes
    cdef public bytearray zero_stack, pointer_at, results
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

cpdef int kind_of(Reg reg)
