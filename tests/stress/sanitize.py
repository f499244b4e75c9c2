"""Builds tests/stress/stress*.c with the runtime's sources under each sanitizer and runs it: `make sanitize`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# A fence is no happens-before edge to ThreadSanitizer; the marks it stands for (rcu_seq) are.
SANITIZERS = {
    "thread": ("-fsanitize=thread", "-Wno-tsan"),
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "none": (),
    "figures": ("-O2",),  # no sanitizer: tests/stress/figures.c measures
}


def build(name: str, out: Path) -> None:
    """Compile the stress program under one sanitizer. Raises CalledProcessError."""
    own = [HERE / "figures.c"] if name == "figures" else sorted(HERE.glob("stress*.c"))
    sources = [*own, *sorted((ROOT / "runtime/src").glob("*.c"))]
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g"]
    command += ["-fno-strict-aliasing", "-fno-omit-frame-pointer"]
    command += ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", *SANITIZERS[name]]
    subprocess.run([*command, f"-I{ROOT / 'runtime/include'}", *map(str, sources), "-o", str(out), "-pthread"], check=True)


def run(name: str, seconds: float, *, realtime: bool = False) -> int:
    """Build and run; the exit status. `seconds` a case. realtime: before all other processes, for some seconds (as root)."""
    with tempfile.TemporaryDirectory(prefix="bpfjit-stress-") as scratch:
        program = Path(scratch) / f"stress-{name}"
        build(name, program)
        print(f"== {name}", flush=True)
        env = os.environ | {"TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "handle_segv=0:handle_sigbus=0"}
        first = ["chrt", "--fifo", "10"] if realtime else []
        return subprocess.run([*first, program, str(seconds)], env=env, timeout=60 + 40 * seconds, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each case (default 0.5)")
    parser.add_argument("--realtime", action="store_true", help="figures on a busy machine: before all others, as root")
    parser.add_argument("sanitizers", nargs="*", default=["thread", "address"], help=", ".join(SANITIZERS))
    args = parser.parse_args()
    return max(run(name, args.seconds, realtime=args.realtime) for name in args.sanitizers)


if __name__ == "__main__":
    sys.exit(main())
