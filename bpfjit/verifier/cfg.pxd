cimport cython
from .op cimport Op

@cython.locals(insn=Op, pc=int)
cpdef tuple find_functions(list insns, int answers_throws=*)
cpdef tuple successors(Op insn, int pc)
@cython.locals(todo=list, following=tuple, pc=int, i=int, target=int, insn=Op, count=int)
cdef _walk(list insns, list follow, int start, list subprog_at, bytearray second, dict sources, bytearray reached)
cdef int _nargs(Op insn, object helpers, object kfuncs)
@cython.locals(count=int, live=list, again=cython.bint, pc=int, insn=Op, out=int, used=int, new=int, t=int)
cdef list _liveness(list insns, list follow, object nargs, object kfuncs, dict sources)
