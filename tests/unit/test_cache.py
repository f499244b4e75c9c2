"""Compiled code on disk: found again, never believed blindly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpfjit import open_object
from bpfjit.jit.cache import ObjectCache, default_directory
from kernfs_sim import Kernel

KEY = ObjectCache.key("ir", "cpu")
IMAGE = b"\x7fELF" + bytes(range(256))


@pytest.fixture
def cache(tmp_path: Path) -> ObjectCache:
    return ObjectCache(tmp_path / "bpfjit")


def the_file(cache: ObjectCache) -> Path:
    (path,) = cache.directory.iterdir()
    return path


def test_object_is_found_again(cache: ObjectCache) -> None:
    assert cache.get(KEY) is None
    cache.put(KEY, IMAGE)
    assert cache.get(KEY) == IMAGE
    assert cache.get(ObjectCache.key("ir", "other cpu")) is None


def test_key_separates_its_parts() -> None:
    assert ObjectCache.key("ab", "c") != ObjectCache.key("a", "bc")


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "grown"])
def test_damaged_file_is_thrown_away(cache: ObjectCache, damage: str) -> None:
    cache.put(KEY, IMAGE)
    path = the_file(cache)
    data = path.read_bytes()
    path.write_bytes(
        {"cut": data[:-1], "flip": data[:50] + bytes([data[50] ^ 1]) + data[51:], "empty": b"", "grown": data + b"x"}[damage]
    )
    assert cache.get(KEY) is None
    assert not path.exists()
    cache.put(KEY, IMAGE)
    assert cache.get(KEY) == IMAGE


def test_file_of_another_key_is_not_taken(cache: ObjectCache) -> None:
    cache.put(KEY, IMAGE)
    other = ObjectCache.key("another")
    os.rename(the_file(cache), cache.directory / f"{other}.o")
    assert cache.get(other) is None


def test_file_that_others_may_write_is_not_believed(cache: ObjectCache) -> None:
    cache.put(KEY, IMAGE)
    the_file(cache).chmod(0o666)
    assert cache.get(KEY) is None


def test_link_is_not_followed(cache: ObjectCache, tmp_path: Path) -> None:
    cache.put(KEY, IMAGE)
    path = the_file(cache)
    elsewhere = tmp_path / "elsewhere"
    os.rename(path, elsewhere)
    path.symlink_to(elsewhere)
    assert cache.get(KEY) is None


def test_directory_that_others_may_write_gets_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o777)
    cache = ObjectCache(directory)
    cache.put(KEY, IMAGE)
    assert list(directory.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another owner")
def test_file_of_another_owner_is_not_believed(cache: ObjectCache) -> None:
    cache.put(KEY, IMAGE)
    os.chown(the_file(cache), 12345, 12345)
    assert cache.get(KEY) is None


def test_unwritable_place_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ObjectCache(tmp_path / "file" / "bpfjit").put(KEY, IMAGE)


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BPFJIT_NO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == str(tmp_path / "bpfjit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_directory() == str(tmp_path / ".cache" / "bpfjit")
    monkeypatch.setenv("BPFJIT_NO_CACHE", "1")
    assert default_directory() is None


EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "wait_latency.bpf.c"


def load_example(kernel_cache: bool = True) -> int:
    """Load the example; how many programs were compiled for it."""
    compiled = 0
    with Kernel(cache=kernel_cache) as kernel:
        before = kernel.jit._simplify

        def count(module: object) -> None:
            nonlocal compiled
            compiled += 1
            before(module)

        kernel.jit._simplify = count  # type: ignore[method-assign]
        with open_object(EXAMPLE).load(kernel.bpf) as loaded:
            loaded.attach()
            loaded.links["wait_show"].pin("/sys/fs/bpf/wait_show")
            loaded.links["wait_show"].pin("/sys/fs/cgroup/wait_show")
            assert kernel.read_text("/sys/fs/cgroup/wait_show") == "1 0\n"
    return compiled


def test_programs_are_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BPFJIT_NO_CACHE", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_example() == 2
    assert load_example() == 0
    assert load_example(kernel_cache=False) == 2
    for path in (tmp_path / "bpfjit").iterdir():
        path.write_bytes(path.read_bytes()[::-1])
    assert load_example() == 2
    assert load_example() == 0
    monkeypatch.setenv("BPFJIT_NO_CACHE", "1")
    assert load_example() == 2
