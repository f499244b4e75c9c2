cimport cython
from .prune cimport Ids, looks_alike, state_covers
from .state cimport Frame, State
from .loops cimport Loops
from .walk cimport Walk

cdef int _MAX_STEPS, _KEEP_CHECKPOINT, _KEEP, _NOT, _WITHIN, _SAME

@cython.final
cdef class _Kept:
    cdef public State state
    cdef public long long hits, misses

@cython.final
cdef class Counts:
    cdef public long long alive, max_per_insn, peak, total

cdef class Explored:
    cdef public Walk w
    cdef public Counts counts
    cdef public object cfg, log
    cdef public Loops loops
    cdef public list live
    cdef public bytearray checkpoint
    cdef public bint watched
    cdef public dict kept
    cdef public long long last_processed, last_jumps
    @cython.locals(w=Walk, pc=cython.longlong, current=State, forced=cython.bint, long=cython.bint, jumps=cython.longlong, insns=cython.longlong, add=cython.bint, innermost=Frame, kept=list, seen=int, entry=_Kept, old=State, found=Ids, loop=cython.bint, n=int, i=int, place=cython.longlong)
    cpdef bint seen_before(self) except? -1
    @cython.locals(same=cython.bint)
    cpdef Ids _comes_back(self, State old, State current, int pc, bint forced)
    @cython.locals(back=State)
    cpdef _hit(self, State old, State current, int pc, Ids found, bint loop)
    @cython.locals(saved=State, counts=Counts)
    cpdef _keep(self, list kept, State current, int pc)
    cpdef release(self, State state)
