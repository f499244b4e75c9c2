cimport cython
from .prune cimport Ids, looks_alike, state_covers
from .state cimport Frame, State
from .walk cimport Walk

cdef int _MAX_STEPS, _KEEP_CHECKPOINT, _KEEP, _NOT, _WITHIN, _SAME

@cython.final
cdef class _Kept:
    cdef public State state
    cdef public long long hits, misses

cdef class Explored:
    cdef public Walk w
    cdef public object counts, cfg, log, loops
    cdef public bytearray checkpoint
    cdef public bint watched
    cdef public dict kept
    cdef public long long last_processed, last_jumps
    @cython.locals(w=Walk, pc=int, current=State, forced=cython.bint, long=cython.bint, jumps=cython.longlong, insns=cython.longlong, add=cython.bint, innermost=Frame, kept=list, seen=int, entry=_Kept, old=State, found=Ids, loop=cython.bint, n=int)
    cpdef bint seen_before(self) except? -1
    @cython.locals(same=cython.bint)
    cpdef Ids _comes_back(self, State old, State current, int pc)
    @cython.locals(saved=State)
    cpdef _keep(self, list kept, State current, int pc)
    cpdef release(self, State state)
