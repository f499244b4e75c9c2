from .state cimport Reg

cdef class Op:
    cdef public int code, dst, src, off, imm, kind, size, width, uses, defs
    cdef public bint by_register, by_value, adds, forks
    cdef public str name, symbol
    cdef public Reg const
