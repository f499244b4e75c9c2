"""Known programs: admitted once, run by anyone; and what somebody who may write here or there can do about it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from both import Side, compiled

import kernfs_sim.fingerprint as fingerprint_module
from bpfjit import open_object
from bpfjit.cli.main import main
from bpfjit.errors import LoadError, errno_name
from bpfjit.isa.asm import assemble
from bpfjit.isa.encoding import encode
from bpfjit.jit import Native
from bpfjit.jit.link import Image
from bpfjit.loader.compile import compile_c
from bpfjit.uapi import bpf as uapi
from bpfjit.verifier.admitted import keep, restore
from kernfs_sim import Kernel
from kernfs_sim.caller import Cred, InProcess

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "wait_latency.bpf.c"
NOBODY = 65534


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("known") / "wait.bpf.o"
    path.write_bytes(compile_c(EXAMPLE))
    return str(path)


def user() -> InProcess:
    return InProcess(Cred(NOBODY, NOBODY, frozenset()))


def admit(store: Path, source: str, name: str) -> bytes:
    """What an administrator does."""
    with Kernel(known=store) as kernel, open_object(source).load(kernel.bpf) as loaded:
        return kernel.known.admit(kernel.caller, loaded.progs[name].fd, anywhere=True)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "known"


@pytest.fixture
def admitted(store: Path, example: str) -> bytes:
    return admit(store, example, "wait_show")


def outcome(store: Path, digest: bytes) -> str:
    """What a user of a fresh kernel gets: "" or the errno's name; nothing stays open where he gets nothing."""
    with Kernel(known=store) as kernel:
        who = user()
        try:
            kernel.known.instantiate(who, digest)
        except OSError as e:
            assert len(who.fds) == 0
            assert not list(kernel.maps)
            return errno_name(e.errno or 0)
        return ""


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_anyone_reads_a_view_that_was_admitted_elsewhere(engine: str, store: Path, admitted: bytes) -> None:
    with Kernel(engine=engine, known=store) as kernel:
        cgroup, who = kernel.cgroups.create("/web"), user()
        bpf = kernel.caller_bpf(who)
        with pytest.raises(PermissionError):  # who has no right of his own to load programs or make maps
            bpf(uapi.BPF_MAP_CREATE, bytearray(uapi.MapCreate(map_type=2, key_size=4, value_size=4, max_entries=1).pack()))
        made = kernel.known.instantiate(who, admitted)
        link = bpf(
            uapi.BPF_LINK_CREATE,
            bytearray(uapi.LinkCreate(prog_fd=made.prog_fd, attach_type=uapi.BPF_TRACE_VIEW).pack()),
        )
        mine = kernel.caller.fds.install(who.fds.get(link).get())
        assert kernel.read_views(mine, [cgroup]) == [f"{cgroup.id} 0\n".encode()]
        # His map, which nobody else sees.
        side = Side(bpf, kernel)
        m = made.map_fds[0]
        keep_alive = side.call(uapi.BPF_MAP_UPDATE_ELEM, _element(m, cgroup.id, 77))
        assert keep_alive == 0
        assert kernel.read_views(mine, [cgroup]) == [f"{cgroup.id} 77\n".encode()]
        again = kernel.known.instantiate(who, admitted)
        assert side.call(uapi.BPF_MAP_GET_NEXT_KEY, _element(again.map_fds[0], 0, 0)) == -2


_KEEP: list[Any] = []


def _element(fd: int, key: int, value: int) -> uapi.MapElem:
    from bpfjit.loader.bpf import Buffers

    buffers = Buffers()
    _KEEP.append(buffers)
    return uapi.MapElem(
        map_fd=fd,
        key=buffers.put(key.to_bytes(8, "little")) if key else 0,
        value=buffers.put(bytearray(value.to_bytes(8, "little"))),
    )


def test_nothing_is_verified_and_nothing_compiled(store: Path, admitted: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    import bpfjit.verifier.check as check
    from bpfjit.jit import Engine

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("called")

    monkeypatch.setattr(check, "verify", never)
    monkeypatch.setattr(Engine, "__init__", never)
    assert outcome(store, admitted) == ""


def test_only_an_administrator_admits_and_revokes(store: Path, example: str, admitted: bytes) -> None:
    with Kernel(known=store) as kernel, open_object(example).load(kernel.bpf) as loaded:
        who = user()
        fd = who.fds.install(kernel.caller.fds.get(loaded.progs["wait_show"].fd).get())
        with pytest.raises(PermissionError, match="CAP_SYS_ADMIN"):
            kernel.known.admit(who, fd)
        with pytest.raises(PermissionError, match="CAP_SYS_ADMIN"):
            kernel.known.revoke(who, admitted)
        with pytest.raises(PermissionError, match="acts on others' doings"):
            kernel.known.admit(kernel.caller, loaded.progs["wait_record"].fd)
        assert kernel.known.admit(kernel.caller, loaded.progs["wait_show"].fd) == admitted
        kernel.known.revoke(kernel.caller, admitted)
    assert outcome(store, admitted) == "ENOENT"


def test_a_digest_is_the_same_wherever_the_program_was_loaded(store: Path, example: str, admitted: bytes) -> None:
    with Kernel(cpus=2, known=store) as kernel:
        for _ in range(3):  # other fds, other ids
            open_object(example).load(kernel.bpf)
        with open_object(example).load(kernel.bpf) as loaded:
            assert kernel.known.admit(kernel.caller, loaded.progs["wait_show"].fd) == admitted


def test_a_digest_covers_every_part_of_a_program(store: Path) -> None:
    changes: list[Callable[[Any], None]] = [
        lambda obj: None,
        lambda obj: setattr(obj.maps["sums"], "max_entries", 5),
        lambda obj: setattr(obj.maps["seen"], "flags", uapi.BPF_F_NO_PREALLOC),
        lambda obj: setattr(obj.maps[".rodata"], "contents", bytes(12)),
        lambda obj: setattr(obj.maps[".bss"], "contents", b"\1" + bytes(23)),
        lambda obj: setattr(obj.maps[".rodata"], "freeze", False),
        lambda obj: obj.progs["sum"].insns.__setitem__(-1, obj.progs["sum"].insns[-1]._replace(off=0)),
        lambda obj: setattr(obj.spec, "license", "MIT"),
    ]
    digests, names = [], ["keep", "sum", "count"]
    with Kernel(known=store) as kernel:
        for change in changes:
            obj = open_object(compiled("trip"))
            change(obj)
            with obj.load(kernel.bpf, only=names) as loaded:
                ids = [kernel.known.admit(kernel.caller, loaded.progs[p].fd, anywhere=True) for p in names]
                digests.append(tuple(ids))
    assert digests[0] == digests[6]  # a change that is none
    different = [d for i, d in enumerate(digests) if i != 6]
    assert len(set(different)) == len(different)


# -- the store, and who can write where ---------------------------------------------------------------------------


def _file(store: Path, digest: bytes) -> Path:
    return store / f"{digest.hex()}.prog"


def _mine(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


def _to_link(path: Path, directory: Path) -> None:
    elsewhere = directory / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


ATTACKS: dict[str, tuple[Callable[[Path, bytes], None], str]] = {
    "nothing": (lambda s, d: None, ""),
    "a file of another owner": (lambda s, d: _mine(_file(s, d)), "EACCES"),
    "a file that all may write": (lambda s, d: _file(s, d).chmod(0o666), "EACCES"),
    "a file that a group may write": (lambda s, d: _file(s, d).chmod(0o664), "EACCES"),
    "a link in its place": (lambda s, d: _to_link(_file(s, d), s.parent), "EACCES"),
    "a second name of it": (lambda s, d: os.link(_file(s, d), s.parent / "second"), "EACCES"),
    "a directory of another owner": (lambda s, d: _mine(s), "EACCES"),
    "a directory that all may write": (lambda s, d: s.chmod(0o777), "EACCES"),
    "a directory that is sticky": (lambda s, d: s.chmod(0o1777), "EACCES"),
    "a link to the directory": (lambda s, d: _to_link(s, s.parent), "EACCES"),
    "a parent of another owner": (lambda s, d: _mine(s.parent), "EACCES"),
    "a parent that all may write": (lambda s, d: s.parent.chmod(0o777), "EACCES"),
    "no file": (lambda s, d: _file(s, d).unlink(), "ENOENT"),
    "an empty file": (lambda s, d: _file(s, d).write_bytes(b""), "EBADMSG"),
    "a pipe": (lambda s, d: (_file(s, d).unlink(), os.mkfifo(_file(s, d), 0o600)), "EACCES"),
    "a directory for a file": (lambda s, d: (_file(s, d).unlink(), _file(s, d).mkdir()), "EACCES"),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
@pytest.mark.parametrize("name", ATTACKS)
def test_only_what_the_administrator_wrote_is_believed(name: str, store: Path, admitted: bytes) -> None:
    attack, wanted = ATTACKS[name]
    attack(store, admitted)
    assert outcome(store, admitted) == wanted


def test_a_byte_changed_anywhere_is_damage(store: Path, admitted: bytes) -> None:
    path = _file(store, admitted)
    good = path.read_bytes()
    for at in range(0, len(good), 97):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert outcome(store, admitted) == "EBADMSG", at
    for size in (len(good) - 1, len(good) // 2, 10):
        path.write_bytes(good[:size])
        assert outcome(store, admitted) == "EBADMSG", size


def test_another_programs_file_is_not_taken_for_it(store: Path, admitted: bytes, example: str) -> None:
    other = admit(store, example, "wait_record")
    shutil.copy(_file(store, other), _file(store, admitted))
    assert outcome(store, admitted) == "EBADMSG"


@pytest.mark.parametrize("part", ["_processor", "__version__"])
def test_code_for_another_processor_or_of_another_version_is_stale(
    part: str, store: Path, admitted: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint_module.fingerprint.cache_clear()
    monkeypatch.setattr(fingerprint_module, part, "0.0" if part == "__version__" else lambda: "another")
    try:
        assert outcome(store, admitted) == "ESTALE"
    finally:
        monkeypatch.undo()
        fingerprint_module.fingerprint.cache_clear()
    assert outcome(store, admitted) == ""


def test_a_file_replaced_while_it_is_read_gives_one_program_or_none(store: Path, admitted: bytes) -> None:
    path, good = _file(store, admitted), _file(store, admitted).read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 1
    stop = threading.Event()

    def replace() -> None:
        n = 0
        while not stop.is_set():
            fresh = store / ".swap"
            fresh.write_bytes(good if n % 2 else bytes(bad))
            os.replace(fresh, path)
            n += 1

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        with Kernel(known=store) as kernel:
            found = set()
            for _ in range(60):
                kernel.known._entries.clear()
                try:
                    kernel.known.instantiate(kernel.caller, admitted)
                    found.add("")
                except OSError as e:
                    found.add(errno_name(e.errno or 0))
            assert found <= {"", "EBADMSG", "ENOENT"}
    finally:
        stop.set()
        thread.join()


def test_a_record_names_no_functions() -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, ("touch /tmp/bpfjit-was-here",)

    for record in (pickle.dumps(Evil()), pickle.dumps((1, 2, 3)), b"", b"junk", pickle.dumps(os.path.join)):
        with pytest.raises(ValueError, match="no record of a verdict"):
            restore(record)
    assert not Path("/tmp/bpfjit-was-here").exists()


def test_a_verdict_survives_being_written_down() -> None:
    with Kernel() as kernel, open_object(compiled("trip")).load(kernel.bpf):
        for prog in kernel.progs:
            again = restore(keep(prog.verified))
            assert again.program.insns == prog.program.insns
            assert again.facts == prog.verified.facts
            assert again.stats == prog.verified.stats


# -- maps ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def keeper(store: Path) -> Iterator[tuple[Kernel, bytes]]:
    """A kernel whose program `keep` is known: it uses seen (a hash), sums (an array) and data."""
    digest = admit(store, compiled("trip"), "keep")
    with Kernel(known=store) as kernel:
        yield kernel, digest


def test_a_map_of_the_users_own_takes_the_place_of_a_new_one(keeper: tuple[Kernel, bytes]) -> None:
    kernel, digest = keeper
    side = Side(kernel.bpf, kernel)
    rows = kernel.known.get(digest).maps
    sums = next(i for i, m in enumerate(rows) if m.name == "sums")
    mine = side.map(value=8, entries=4)
    made = kernel.known.instantiate(kernel.caller, digest, {sums: mine})
    from bpfjit.loader.bpf import Buffers

    buffers, packet = Buffers(), bytes(64)
    attr = uapi.TestRun(prog_fd=made.prog_fd, data_in=buffers.put(packet), data_size_in=64, repeat=3)
    assert side.call(uapi.BPF_PROG_TEST_RUN, attr) == 0
    assert int.from_bytes(side.lookup(mine, 8), "little") == 6
    before = side.open_fds()
    for what, wanted in {
        side.map(value=8, entries=5): "EINVAL",
        side.map(value=16, entries=4): "EINVAL",
        side.map(uapi.BPF_MAP_TYPE_HASH, value=8, entries=4): "EINVAL",
        side.map(value=8, entries=4, map_flags=uapi.BPF_F_RDONLY): "EPERM",
        made.prog_fd: "EINVAL",
        9999: "EBADF",
    }.items():
        with pytest.raises(OSError) as refused:
            kernel.known.instantiate(kernel.caller, digest, {sums: what})
        assert errno_name(refused.value.errno or 0) == wanted
    assert side.open_fds() == before + 4


def test_a_constant_is_nobodys_to_change(store: Path) -> None:
    digest = admit(store, compiled("trip"), "count")
    with Kernel(known=store) as kernel:
        side, rows = Side(kernel.bpf, kernel), kernel.known.get(digest).maps
        rodata = next(i for i, m in enumerate(rows) if m.frozen)
        shape = {"map_flags": rows[rodata].flags, "value": rows[rodata].value_size}
        with pytest.raises(OSError, match="cannot take the place"):
            kernel.known.instantiate(kernel.caller, digest, {rodata: side.map(**shape)})
        made = kernel.known.instantiate(kernel.caller, digest)
        assert side.update(made.map_fds[rodata], bytes(shape["value"])) == -1
        assert side.run(made.prog_fd)[1] == 3


# -- linking without LLVM -----------------------------------------------------------------------------------------


def _rights(addr: int) -> str:
    """What may be done at an address of this process, as /proc/self/maps has it."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        extent, rights, *_ = line.split()
        low, high = (int(part, 16) for part in extent.split("-"))
        if low <= addr < high:
            return rights
    return ""


def test_code_is_never_writable() -> None:
    with Kernel() as kernel, open_object(compiled("trip")).load(kernel.bpf):
        for prog in kernel.progs:
            assert _rights(prog.native.addr) == "r-xp"
            assert all(_rights(addr) == "r-xp" for addr, size in prog.native.functions if size)


def test_an_object_that_asks_for_more_is_refused() -> None:
    with Kernel() as kernel, open_object(compiled("trip")).load(kernel.bpf):
        prog = next(p for p in kernel.progs if p.name == "keep")
        image, binding = kernel.jit.image(prog.verified), kernel.binding(prog.maps)
        for at in range(0, len(image.data), 13):
            data = bytearray(image.data)
            data[at] ^= 0xFF
            with contextlib.suppress(LoadError):
                Native.of(Image(bytes(data), image.symbols, image.functions), binding).close()
        with pytest.raises(LoadError, match="unknown symbol"):
            Native.of(Image(image.data, (), image.functions), binding)


# -- the command --------------------------------------------------------------------------------------------------


def test_the_command_from_admission_to_revocation(
    store: Path, example: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["--store", str(store)]
    assert main(["known", "admit", example, "--prog", "wait_show", *there]) == 0
    digest, name = capsys.readouterr().out.split()
    assert name == "wait_show"
    assert main(["known", "list", "-j", *there]) == 0
    assert json.loads(capsys.readouterr().out) == [{"digest": digest, "name": "wait_show"}]
    scenario = tmp_path / "s.toml"
    scenario.write_text('[[cgroup]]\npath = "/web/api"\n')
    assert main(["known", "read", digest[:8], "--scenario", str(scenario), "--cgroup", "/web/api", *there]) == 0
    assert capsys.readouterr().out == "==> /web/api <==\n3 0\n"
    assert main(["known", "revoke", digest, *there]) == 0
    assert main(["known", "read", digest, *there]) == 2
    assert "0 known programs begin with" in capsys.readouterr().err
    assert main(["known", "admit", example, *there]) == 1
    assert "acts on others' doings" in capsys.readouterr().err
    assert main(["known", "admit", example, "--prog", "nothing", *there]) == 2


def test_bytes_of_instructions_are_not_a_program(store: Path) -> None:
    """A digest is of what was admitted; nothing else has one."""
    assert outcome(store.parent / "none", b"\0" * 32) in ("ENOENT", "EACCES")
    (store.parent / "empty").mkdir(mode=0o755)
    assert outcome(store.parent / "empty", encode(assemble("r0 = 0\nexit"))) == "ENOENT"
