"""What pyproject.toml cannot say: the cffi extension, and the verifier's compiled modules."""

import os
import sys

from setuptools import setup

# A wheel has the verifier's hot modules compiled by Cython (its pure Python mode; the types stand in the .pxd files). An
# editable install stays uncompiled, so that changed Python counts at once: `make compiled` compiles it in place.
COMPILE = os.environ.get("BPFJIT_COMPILE", str(int("bdist_wheel" in sys.argv))) == "1"
HOT = (
    *("alu", "bounds", "branch", "cfg", "check", "encoding", "explored", "jump", "liveness", "loops", "mem", "moves"),
    *("op", "precision", "prune", "stack", "state", "tnum", "transfer", "walk"),
)


def compiled():
    if not COMPILE:
        return []
    from Cython.Build import cythonize

    modules = [f"bpfjit/verifier/{name}.py" for name in HOT]
    found = cythonize(
        modules, build_dir="build/cython", compiler_directives={"annotation_typing": False, "language_level": 3}
    )
    for extension in found:
        extension.extra_compile_args = ["-O2", "-g0", "-w"]
    return found


# Twenty extensions, as many at a time as there are processors: an install takes half as long on two.
PARALLEL = {"build_ext": {"parallel": os.cpu_count() or 1}}

setup(cffi_modules=["runtime/build.py:ffibuilder"], ext_modules=compiled(), options=PARALLEL)
