"""docs/mount.md: its session is run as it stands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from .mounts import ROOT, need_fuse

PAGE = (ROOT / "docs" / "mount.md").read_text()


def test_the_session(tmp_path: Path) -> None:
    need_fuse()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C"}
    blocks = re.findall(r"^```(console|python)\n(.*?)^```$", PAGE, re.S | re.M)
    assert len(blocks) > 6
    server: subprocess.Popen[str] | None = None
    try:
        for kind, text in blocks:
            if kind == "python":
                subprocess.run([sys.executable, "-c", text], cwd=tmp_path, env=env, check=True, timeout=60)
                continue
            for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
                command, _, wanted = part.partition("\n")
                if command.startswith("bpfjit mount"):
                    server = subprocess.Popen(command.split(), cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
                    assert server.stdout is not None
                    assert server.stdout.readline() == wanted
                    continue
                done = subprocess.run(
                    command, shell=True, cwd=tmp_path, env=env, timeout=60, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )  # fmt: skip
                assert done.stdout == wanted, command
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
    assert not os.listdir(tmp_path / "sim")
