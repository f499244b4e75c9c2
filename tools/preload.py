"""Make kernfs_sim/preloaded.py, the light skeleton of kernfs_sim/data/iterators.bpf.c. Wants a clang; run by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bpfjit.cli.main import main  # noqa: E402  (the path comes first)

if __name__ == "__main__":
    made = ROOT / "kernfs_sim" / "preloaded.py"
    source = ROOT / "kernfs_sim" / "data" / "iterators.bpf.c"
    code = main(["gen", "skeleton", "-L", str(source), "-o", str(made)])
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(made)], check=True)
    sys.exit(code)
