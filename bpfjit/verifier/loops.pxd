cimport cython
from .state cimport Frame, State

@cython.final
cdef class Visit:
    cdef public State entry
    cdef public list ways_back

@cython.final
cdef class Loops:
    cdef public list loop
    cdef public dict visits
    cdef public bint none
    @cython.locals(visit=Visit)
    cpdef enter(self, State kept)
    @cython.locals(visit=Visit, changed=cython.bint)
    cpdef leave(self, State kept, object carry)
    @cython.locals(visit=Visit)
    cpdef way_back(self, State old, State state)
    @cython.locals(visit=Visit)
    cpdef bint open(self, State kept)

cdef Visit _visit(State kept)
