"""The simulated kernel: bpf(2), bpffs, kernfs, cgroupfs, and the objects that programs see."""

from .caller import Cred, InProcess
from .kernel import Kernel

__all__ = ["Cred", "InProcess", "Kernel"]
