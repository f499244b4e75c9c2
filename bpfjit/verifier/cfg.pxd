cimport cython
from .op cimport Op



@cython.locals(insn=Op, high=Op, raw=cython.bint, pc=int, count=int)
cpdef check_encoding(object program, list ops)
@cython.locals(cls=int, mode=int)
cdef str _encoding_problem(Op insn, bint raw)
@cython.locals(op=int, width=int)
cdef str _alu_problem(Op insn, bint raw)
@cython.locals(op=int, is32=cython.bint)
cdef str _jump_problem(Op insn)
@cython.locals(insn=Op, pc=int)
cpdef tuple find_functions(list insns, int answers_throws=*)
cpdef tuple successors(Op insn, int pc)
@cython.locals(todo=list, following=tuple, pc=int, i=int, target=int, insn=Op, count=int)
cdef _walk(list insns, list follow, int start, list subprog_at, bytearray second, dict sources, bytearray reached)
cdef int _nargs(Op insn, object helpers, object kfuncs)
@cython.locals(count=int, live=list, again=cython.bint, pc=int, insn=Op, out=int, used=int, new=int, t=int)
cdef list _liveness(list insns, list follow, object nargs, object kfuncs, dict sources)
