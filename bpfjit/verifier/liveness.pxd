cimport cython
from .state cimport Frame, State

@cython.final
cdef class Instance:
    cdef public int start, end, depth
    cdef public dict reads, writes
    cdef public list live, todo
    cdef public tuple caller

cdef class Liveness:
    cdef public tuple insns
    cdef public object cfg
    cdef public dict instances
    cdef public list changed, follow
    @cython.locals(inner=Frame)
    cpdef read(self, State state, int pc, int frame, object slots)
    cpdef _add_read(self, Instance at, int pc, object mask)
    cpdef _look_again(self, Instance at, int pc)
    @cython.locals(at=Instance, inner=Frame)
    cpdef wrote(self, State state, int pc, object mask)
    @cython.locals(at=Instance, caller=Instance, pc=int, t=int, before=int, todo=list, sources=dict, follow=list, following=tuple)
    cpdef _settle(self)
    @cython.locals(at=Instance, only=Instance, frame=Frame, below=Frame)
    cpdef list alive(self, State state, int pc)

cdef Instance _life(Frame frame)
