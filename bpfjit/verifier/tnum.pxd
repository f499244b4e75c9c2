cimport cython

ctypedef unsigned long long u64

cdef u64 _U64

@cython.locals(differ=u64)
cpdef (u64, u64) range_(u64 low, u64 high)
@cython.locals(sm=u64, sv=u64, sigma=u64, mu=u64)
cpdef (u64, u64) add(u64 av, u64 am, u64 bv, u64 bm)
@cython.locals(dv=u64, alpha=u64, beta=u64, mu=u64)
cpdef (u64, u64) sub(u64 av, u64 am, u64 bv, u64 bm)
@cython.locals(alpha=u64, beta=u64, v=u64)
cpdef (u64, u64) and_(u64 av, u64 am, u64 bv, u64 bm)
@cython.locals(v=u64, mu=u64)
cpdef (u64, u64) or_(u64 av, u64 am, u64 bv, u64 bm)
@cython.locals(v=u64, mu=u64)
cpdef (u64, u64) xor(u64 av, u64 am, u64 bv, u64 bm)
@cython.locals(acc_v=u64, acc_m=u64)
cpdef (u64, u64) mul(u64 av, u64 am, u64 bv, u64 bm)
cpdef (u64, u64) lsh(u64 av, u64 am, int n)
cpdef (u64, u64) rsh(u64 av, u64 am, int n)
@cython.locals(full=u64, high=u64, v=u64, m=u64)
cpdef (u64, u64) arsh(u64 av, u64 am, int n, int width)
@cython.locals(v=u64, mu=u64)
cpdef (u64, u64) intersect(u64 av, u64 am, u64 bv, u64 bm)
@cython.locals(most=u64, least=u64, differ=u64, low=u64, high=u64, up=u64)
cpdef u64 following(u64 v, u64 m, u64 after)
cpdef bint contains(u64 av, u64 am, u64 bv, u64 bm)
@cython.locals(full=u64)
cpdef (u64, u64) cast(u64 v, u64 m, int size)
