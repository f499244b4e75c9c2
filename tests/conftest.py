"""What every test shares: no compiled code is kept on disk, unless a test is about that."""

from __future__ import annotations

import os

os.environ["BPFJIT_NO_CACHE"] = "1"
