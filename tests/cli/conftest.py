"""The command line as tests drive it: main() in this process, and the installed script."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bpfjit.cli.main import main
from bpfjit.loader.compile import compile_c

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLE = ROOT / "examples" / "wait_latency.bpf.c"
SCENARIO = ROOT / "examples" / "web.toml"


@dataclass(frozen=True)
class Ran:
    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def error(self) -> str:
        """The one line of error that the contract wants, without its head."""
        assert self.err.endswith("\n") and self.err.count("\n") == 1, self.err
        assert self.err.startswith("bpfjit: error: "), self.err
        return self.err.removeprefix("bpfjit: error: ").rstrip("\n")

    @property
    def refusal(self) -> str:
        """The line of error, which the log of a rejected program may follow."""
        line = self.err.split("\n", 1)[0]
        assert line.startswith("bpfjit: error: "), self.err
        return line.removeprefix("bpfjit: error: ")


Cli = Callable[..., Ran]


@pytest.fixture
def cli(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """cli("view", path, …, stdin=b"") -> Ran, in this process."""

    def run(*words: object, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(w) for w in words])
        out, err = capsysbinary.readouterr()
        return Ran(code, out, err.decode())

    return run


@pytest.fixture
def script() -> Cli:
    """The same through the installed command."""

    def run(*words: object, stdin: bytes = b"", **more: Any) -> Ran:
        command = [str(Path(sys.executable).parent / "bpfjit"), *map(str, words)]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False, **more)
        return Ran(done.returncode, done.stdout, done.stderr.decode())

    return run


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The object of a program in programs/, compiled once."""
    where = tmp_path_factory.mktemp("objects")

    def compiled(name: str) -> Path:
        out = where / f"{name}.bpf.o"
        if not out.exists():
            source = EXAMPLE if name == "wait_latency" else HERE / "programs" / f"{name}.bpf.c"
            out.write_bytes(compile_c(source))
        return out

    return compiled
