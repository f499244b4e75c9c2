cimport cython
from . cimport mem
from .bounds cimport sign_extend, truncate
from .op cimport Op
from .state cimport Frame, Reg, Slot
from .walk cimport Walk

cdef int _SCALAR, _STACK

@cython.locals(base=Reg, got=Reg)
cpdef load(Walk w, Op insn, object args)
@cython.locals(base=Reg, regno=int, value=Reg)
cpdef store(Walk w, Op insn, object args)
