cimport cython
from . cimport branch
from .op cimport Op
from .state cimport Frame, Reg, Slot, State
from .transfer cimport transfer
from .walk cimport Walk

cpdef object decide(Walk w, str name, int width, Reg dst, Reg src)
@cython.locals(frame=Frame, r=Reg, slot=Slot)
cpdef note_linked(Walk w, Reg dst, Reg src)
@cython.locals(r=Reg)
cdef Reg _alone(Reg r)
