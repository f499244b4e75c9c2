cimport cython
from .op cimport Op
from .state cimport Reg
from .transfer cimport transfer
from .walk cimport Walk

cdef int _SCALAR, _MOVE, _NEGATE, _SWAP
cdef long long _MAX_AWAY

@cython.locals(width=int, dst=Reg, src=Reg, got=Reg)
cpdef step(Walk w, Op insn)
@cython.locals(width=int, src=Reg, low=Reg, name=str)
cdef _move(Walk w, Op insn)
@cython.locals(dst=int, width=int, r=Reg, variable=Reg, moved=Reg, name=str, symbol=str)
cdef _pointer(Walk w, Op insn, Reg ptr, Reg off)
