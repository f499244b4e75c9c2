"""The simulated kernel: bpf(2), bpffs, kernfs, cgroupfs, and the objects that programs see."""

import gc

# What modules make lives as long as the process: looking through it for garbage is an eighth of the time that imports take.
_collects = gc.isenabled()
gc.disable()
try:
    from .caller import Cred, InProcess
    from .kernel import Kernel
finally:
    if _collects:
        gc.enable()

__all__ = ["Cred", "InProcess", "Kernel"]
