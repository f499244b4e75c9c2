cimport cython
from .op cimport Op
from .state cimport Reg, State, make_step, s32
from .tnum cimport u64
from .transfer cimport transfer
from .walk cimport Walk

cdef int _MAP_PTR, _STACK, _SCALAR, _MOVE, _ARITHMETIC, _SWAP
cdef long long _MAX_AWAY
cdef u64 _U64, _U32
cdef int _ADDED, _ADDED_32

cpdef State step(Walk w, Op insn)
@cython.locals(width=int, dst=Reg)
cdef _one_operand(Walk w, Op insn)
@cython.locals(is_whole=cython.bint, other=State, state=State, value=u64, r=Reg)
cdef State _fork(Walk w, Op insn, Reg dst)
@cython.locals(narrow=cython.bint, away=cython.longlong)
cdef _move_on(Op insn, Reg dst, Reg src, Reg got)
@cython.locals(width=int, dst=Reg, src=Reg, got=Reg, other=State)
cdef State _arithmetic(Walk w, Op insn)
@cython.locals(width=int, src=Reg, got=Reg, name=str)
cdef _move(Walk w, Op insn)
cdef _check_sane(Walk w, Reg ptr, Reg off)
@cython.locals(dst=int, width=int, sign=cython.longlong, r=Reg, variable=Reg, moved=Reg, name=str, symbol=str)
cdef _pointer(Walk w, Op insn, Reg ptr, Reg off)
