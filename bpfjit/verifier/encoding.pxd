cimport cython
from .op cimport Op

@cython.locals(insn=Op, raw=cython.bint, pc=int, count=int, seen=dict, found=dict, problem=str)
cpdef dict check(object program, list ops)
@cython.locals(insn=Op, high=Op)
cdef _check_wide(list ops, int pc)
@cython.locals(cls=int, mode=int, op=int, known=cython.bint)
cdef str _unknown(Op insn)
cdef str _problem(Op insn, bint raw)
@cython.locals(cls=int)
cdef str _reserved(Op insn, bint raw)
@cython.locals(op=int, width=int)
cdef str _alu(Op insn, bint raw)
@cython.locals(op=int, is32=cython.bint)
cdef str _jump(Op insn)
