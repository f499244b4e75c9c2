cimport cython
from . cimport alu, jump, moves
from .explored cimport Explored
from .op cimport Op
from .state cimport Frame, Reg, State
from .walk cimport Walk

cdef int _LAST_ALU, _LOAD_IMMEDIATE, _LOAD, _ATOMIC, _STORE, _CALLS, _EXITS, _JUMP, _BRANCH

cdef class Checker:
    cdef public list todo
    cdef public object program, env, log, counts, args, contracts, packet_changers, problems, later, sleepers
    cdef public Explored explored
    cdef public Walk w, walk
    cdef public int entry_subprog, exception_callback, functions
    @cython.locals(w=Walk, pc=int, prune=bytearray, joins=bytearray, visited=bytearray, ops=list, frame=Frame, following=int, explored=Explored, told=cython.bint, limit=cython.longlong)
    cpdef _path(self)
    @cython.locals(w=Walk)
    cpdef _push(self, State state, int pc)
    @cython.locals(w=Walk, kind=int, other=State)
    cpdef int _step(self, Op insn) except? -2
    @cython.locals(w=Walk, dst=Reg, src=Reg, other=State, name=str, width=int, target=int)
    cpdef int _branch(self, Op insn) except? -2
