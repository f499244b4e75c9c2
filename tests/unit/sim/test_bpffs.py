"""bpffs: what pins and directories of them do, on the simulated kernel and on Linux through the same lines."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

import pytest
from systems import System, load_prog, make_map, map_with_btf, obj_get, obj_pin, update_map

from bpfjit.uapi import bpf as uapi

OBJECTS: dict[str, Callable[[System], int]] = {
    "prog": lambda s: load_prog(s.bpf),
    "map": lambda s: make_map(s.bpf),
    "link": lambda s: s.link_fd(),
}


def refused(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as e:
        call()
    assert errno.errorcode[e.value.errno or 0] == errno.errorcode[number]


@pytest.fixture(params=list(OBJECTS))
def pinned(request: pytest.FixtureRequest, system: System) -> str:
    """The path of a pin of each kind of object; no fd holds it."""
    fd = OBJECTS[request.param](system)
    path = f"{system.root}/{request.param}"
    obj_pin(system.bpf, fd, path)
    system.bpf.close(fd)
    return path


def link_pin(system: System) -> str:
    fd = system.link_fd()
    obj_pin(system.bpf, fd, f"{system.root}/link")
    system.bpf.close(fd)
    return f"{system.root}/link"


# -- names -------------------------------------------------------------------------------------------

BAD_NAMES = ["a.b", ".a", "a.", "..."]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_with_dots_are_eperm(system: System, name: str) -> None:
    path, fd = f"{system.root}/{name}", make_map(system.bpf)
    pin = f"{system.root}/good"
    obj_pin(system.bpf, fd, pin)
    refused(errno.EPERM, lambda: obj_pin(system.bpf, fd, path))
    refused(errno.EPERM, lambda: system.mkdir(path))
    refused(errno.EPERM, lambda: system.symlink("x", path))
    refused(errno.EPERM, lambda: system.rename(pin, path))
    refused(errno.EPERM, lambda: system.link(pin, path))
    refused(errno.EPERM, lambda: obj_get(system.bpf, path))
    refused(errno.EPERM, lambda: system.stat(path))
    refused(errno.EPERM, lambda: system.open(path, os.O_RDONLY))
    assert system.listdir(system.root) == ["good"]
    system.bpf.close(fd)


def test_a_name_of_255_bytes_is_taken_and_one_more_is_not(system: System) -> None:
    fd = make_map(system.bpf)
    obj_pin(system.bpf, fd, f"{system.root}/{'n' * 255}")
    refused(errno.ENAMETOOLONG, lambda: obj_pin(system.bpf, fd, f"{system.root}/{'n' * 256}"))
    # NAME_MAX counts bytes, not characters.
    refused(errno.ENAMETOOLONG, lambda: obj_pin(system.bpf, fd, f"{system.root}/{'é' * 128}"))
    obj_pin(system.bpf, fd, f"{system.root}/{'é' * 127}")
    system.bpf.close(fd)


def test_a_path_of_4096_bytes_is_too_long(system: System) -> None:
    path = f"{system.root}/" + "./" * 2048 + "x"
    refused(errno.ENAMETOOLONG, lambda: system.open(path, os.O_RDONLY))
    refused(errno.ENAMETOOLONG, lambda: system.mkdir(path))


def test_a_name_with_spaces_and_utf8_works(system: System) -> None:
    fd = make_map(system.bpf)
    obj_pin(system.bpf, fd, f"{system.root}/a b\n\u00e9")
    assert system.listdir(system.root) == ["a b\n\u00e9"]
    system.bpf.close(fd)


# -- pinning -----------------------------------------------------------------------------------------


def test_pin_twice_is_eexist(system: System, pinned: str) -> None:
    fd = make_map(system.bpf)
    refused(errno.EEXIST, lambda: obj_pin(system.bpf, fd, pinned))
    system.bpf.close(fd)


def test_pin_outside_bpffs_is_eperm(system: System) -> None:
    fd = make_map(system.bpf)
    refused(errno.EPERM, lambda: obj_pin(system.bpf, fd, f"{system.outside}/x"))
    system.bpf.close(fd)


def test_pin_of_a_file_that_is_no_object_is_einval(system: System) -> None:
    fd = system.plain_fd()
    refused(errno.EINVAL, lambda: obj_pin(system.bpf, fd, f"{system.root}/x"))
    system.bpf.close(fd)


def test_pin_of_a_closed_fd_is_einval(system: System) -> None:
    fd = make_map(system.bpf)
    system.bpf.close(fd)
    refused(errno.EINVAL, lambda: obj_pin(system.bpf, fd, f"{system.root}/x"))


def test_pin_where_the_directory_is_missing_is_enoent(system: System, pinned: str) -> None:
    fd = make_map(system.bpf)
    refused(errno.ENOENT, lambda: obj_pin(system.bpf, fd, f"{system.root}/none/x"))
    refused(errno.ENOTDIR, lambda: obj_pin(system.bpf, fd, f"{pinned}/x"))
    refused(errno.ENOENT, lambda: obj_pin(system.bpf, fd, ""))
    system.bpf.close(fd)


def test_a_pin_is_a_regular_file_of_mode_600_less_the_umask(system: System, pinned: str) -> None:
    st = system.stat(pinned)
    assert stat.S_IFMT(st.st_mode) == stat.S_IFREG
    assert stat.S_IMODE(st.st_mode) == 0o600
    assert (st.st_uid, st.st_gid, st.st_nlink, st.st_size) == (0, 0, 1, 0)


def test_get_gives_the_same_object(system: System) -> None:
    fd = make_map(system.bpf)
    obj_pin(system.bpf, fd, f"{system.root}/m")
    update_map(system.bpf, fd, bytes(4), b"12345678")
    system.bpf.close(fd)
    again = obj_get(system.bpf, f"{system.root}/m")
    obj_pin(system.bpf, again, f"{system.root}/second")
    system.bpf.close(again)
    assert system.listdir(system.root) == ["second", "m"], "the newest name comes first"


def test_get_of_no_pin(system: System, pinned: str) -> None:
    system.mkdir(f"{system.root}/dir")
    refused(errno.ENOENT, lambda: obj_get(system.bpf, f"{system.root}/none"))
    refused(errno.EACCES, lambda: obj_get(system.bpf, f"{system.root}/dir"))
    refused(errno.EACCES, lambda: obj_get(system.bpf, system.outside))
    refused(errno.EINVAL, lambda: obj_get(system.bpf, pinned, uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY))
    refused(errno.EINVAL, lambda: obj_get(system.bpf, pinned, 1))


@pytest.mark.parametrize("flag", [uapi.BPF_F_RDONLY, uapi.BPF_F_WRONLY])
def test_a_link_is_got_for_reading_and_writing_only(system: System, pinned: str, flag: int) -> None:
    if pinned.endswith("link"):
        refused(errno.EINVAL, lambda: obj_get(system.bpf, pinned, flag))
    else:
        system.bpf.close(obj_get(system.bpf, pinned, flag))


def test_a_pin_of_each_kind_can_be_got(system: System, pinned: str) -> None:
    system.bpf.close(obj_get(system.bpf, pinned))


# -- opening -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["prog", "map"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC])
def test_open_of_a_prog_or_bare_map_pin_is_eio(system: System, kind: str, flags: int) -> None:
    fd = OBJECTS[kind](system)
    obj_pin(system.bpf, fd, f"{system.root}/{kind}")
    system.bpf.close(fd)
    refused(errno.EIO, lambda: system.open(f"{system.root}/{kind}", flags))


@pytest.mark.parametrize("map_type", [uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_HASH])
def test_a_map_pin_with_btf_reads_as_warning_and_elements(system: System, map_type: int) -> None:
    fd = map_with_btf(system.bpf, map_type=map_type)
    update_map(system.bpf, fd, (1).to_bytes(4, "little"), (7 << 32).to_bytes(8, "little"))
    obj_pin(system.bpf, fd, f"{system.root}/m")
    system.bpf.close(fd)
    file = system.open(f"{system.root}/m", os.O_RDONLY)
    text = b""
    while data := system.read(file, 4096):
        text += data
    system.bpf.close(file)
    lines = text.decode().splitlines()
    assert lines[:2] == [
        "# WARNING!! The output is for debug purpose only",
        "# WARNING!! The output format will change",
    ]
    elements = ["0: 0", f"1: {7 << 32}"] if map_type == uapi.BPF_MAP_TYPE_ARRAY else [f"1: {7 << 32}"]
    assert lines[2:] == elements


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR])
def test_writing_to_a_map_pin_is_refused(system: System, flags: int) -> None:
    fd = map_with_btf(system.bpf)
    obj_pin(system.bpf, fd, f"{system.root}/m")
    system.bpf.close(fd)
    file = system.open(f"{system.root}/m", flags)
    refused(errno.EINVAL, lambda: system.write(file, b"1"))
    system.bpf.close(file)


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_RDONLY])
def test_a_link_pin_opens_in_every_mode(system: System, flags: int) -> None:
    path = link_pin(system)
    if not system.is_live:
        # An iterator's link opens; any other link's pin has nothing to show. The simulation has no iterators yet.
        refused(errno.EIO, lambda: system.open(path, flags))
        return
    system.bpf.close(system.open(path, flags))


def test_creating_plain_files_is_eacces_and_fifos_are_eperm(system: System) -> None:
    path = f"{system.root}/x"
    refused(errno.EACCES, lambda: system.open(path, os.O_CREAT | os.O_WRONLY))
    refused(errno.EACCES, lambda: system.mknod(path))
    refused(errno.EPERM, lambda: system.mkfifo(path))
    assert system.listdir(system.root) == []


def test_o_excl_on_a_pin_is_eexist_and_o_directory_enotdir(system: System, pinned: str) -> None:
    refused(errno.EEXIST, lambda: system.open(pinned, os.O_CREAT | os.O_EXCL))
    refused(errno.ENOTDIR, lambda: system.open(pinned, os.O_DIRECTORY))
    refused(errno.EISDIR, lambda: system.open(system.root, os.O_WRONLY))


# -- everything else a pin takes ---------------------------------------------------------------------


def test_a_pin_takes_truncate_links_rename_chmod_and_chown(system: System, pinned: str) -> None:
    root = system.root
    system.truncate(pinned, 0)
    system.truncate(pinned, 4096)
    # The attribute is kept, as on any file system without contents.
    assert system.stat(pinned).st_size == 4096
    system.link(pinned, f"{root}/hard")
    assert system.stat(pinned).st_nlink == 2
    assert system.stat(f"{root}/hard").st_ino == system.stat(pinned).st_ino
    system.symlink(pinned, f"{root}/soft")
    assert system.readlink(f"{root}/soft") == pinned
    system.bpf.close(obj_get(system.bpf, f"{root}/soft"))
    system.rename(pinned, f"{root}/renamed")
    refused(errno.ENOENT, lambda: system.stat(pinned))
    refused(errno.ENOENT, lambda: obj_get(system.bpf, f"{root}/soft"))
    system.chmod(f"{root}/renamed", 0o4644)
    assert stat.S_IMODE(system.stat(f"{root}/hard").st_mode) == 0o4644
    system.chown(f"{root}/renamed", 1000, 1001)
    st = system.stat(f"{root}/renamed")
    assert (st.st_uid, st.st_gid) == (1000, 1001)
    assert stat.S_IMODE(st.st_mode) == 0o644, "a new owner clears the set-id bits"
    system.chown(f"{root}/renamed", -1, 7)
    assert (system.stat(f"{root}/renamed").st_uid, system.stat(f"{root}/renamed").st_gid) == (1000, 7)
    system.unlink(f"{root}/renamed")
    system.bpf.close(obj_get(system.bpf, f"{root}/hard"))
    system.unlink(f"{root}/hard")
    system.unlink(f"{root}/soft")
    assert system.listdir(root) == []


def test_hard_links_of_directories_are_eperm_and_across_file_systems_exdev(system: System, pinned: str) -> None:
    system.mkdir(f"{system.root}/dir")
    refused(errno.EPERM, lambda: system.link(f"{system.root}/dir", f"{system.root}/other"))
    refused(errno.EXDEV, lambda: system.link(pinned, f"{system.outside}/other"))
    refused(errno.EXDEV, lambda: system.rename(pinned, f"{system.outside}/other"))


def test_rename_over_names(system: System, pinned: str) -> None:
    root = system.root
    fd = make_map(system.bpf)
    obj_pin(system.bpf, fd, f"{root}/other")
    system.bpf.close(fd)
    system.mkdir(f"{root}/dir")
    system.mkdir(f"{root}/full")
    system.mkdir(f"{root}/full/in")
    refused(errno.EISDIR, lambda: system.rename(pinned, f"{root}/dir"))
    refused(errno.ENOTDIR, lambda: system.rename(f"{root}/dir", pinned))
    refused(errno.ENOTEMPTY, lambda: system.rename(f"{root}/dir", f"{root}/full"))
    refused(errno.EINVAL, lambda: system.rename(f"{root}/full", f"{root}/full/in/deeper"))
    refused(errno.ENOENT, lambda: system.rename(f"{root}/none", f"{root}/new"))
    system.rename(pinned, pinned)
    system.rename(pinned, f"{root}/other")
    system.rename(f"{root}/full", f"{root}/dir")
    assert sorted(system.listdir(root)) == ["dir", "other"]
    assert system.listdir(f"{root}/dir") == ["in"]
    assert system.stat(f"{root}/dir").st_nlink == 3
    assert system.stat(root).st_nlink == 3


def test_renaming_two_names_of_one_pin_onto_each_other_changes_nothing(system: System, pinned: str) -> None:
    system.link(pinned, f"{system.root}/hard")
    system.rename(pinned, f"{system.root}/hard")
    assert len(system.listdir(system.root)) == 2


def test_directories_are_made_and_removed(system: System, pinned: str) -> None:
    root = system.root
    system.mkdir(f"{root}/dir")
    assert stat.S_IMODE(system.stat(f"{root}/dir").st_mode) == 0o755
    assert system.stat(f"{root}/dir").st_nlink == 2
    system.mkdir(f"{root}/dir/sub")
    assert system.stat(f"{root}/dir").st_nlink == 3
    refused(errno.EEXIST, lambda: system.mkdir(f"{root}/dir"))
    refused(errno.EEXIST, lambda: system.mkdir(root))
    refused(errno.ENOTEMPTY, lambda: system.rmdir(f"{root}/dir"))
    refused(errno.ENOTDIR, lambda: system.rmdir(pinned))
    refused(errno.EISDIR, lambda: system.unlink(f"{root}/dir"))
    refused(errno.ENOENT, lambda: system.rmdir(f"{root}/none"))
    refused(errno.ENOENT, lambda: system.unlink(f"{root}/none"))
    refused(errno.EINVAL, lambda: system.rmdir(f"{root}/dir/."))
    refused(errno.ENOTEMPTY, lambda: system.rmdir(f"{root}/dir/.."))
    refused(errno.EBUSY, lambda: system.rmdir(root))
    system.rmdir(f"{root}/dir/sub")
    system.rmdir(f"{root}/dir/")
    refused(errno.ENOENT, lambda: system.stat(f"{root}/dir"))


def test_a_trailing_slash_wants_a_directory(system: System, pinned: str) -> None:
    refused(errno.ENOTDIR, lambda: system.stat(f"{pinned}/"))
    refused(errno.ENOTDIR, lambda: system.unlink(f"{pinned}/"))
    fd = make_map(system.bpf)
    refused(errno.ENOENT, lambda: obj_pin(system.bpf, fd, f"{system.root}/new/"))
    system.bpf.close(fd)


def test_symbolic_links_are_followed_and_loops_are_eloop(system: System, pinned: str) -> None:
    root, name = system.root, pinned.rsplit("/", 1)[1]
    system.mkdir(f"{root}/dir")
    system.symlink(f"../{name}", f"{root}/dir/soft")
    system.bpf.close(obj_get(system.bpf, f"{root}/dir/soft"))
    system.symlink("dir", f"{root}/way")
    system.bpf.close(obj_get(system.bpf, f"{root}/way/soft"))
    system.bpf.close(obj_get(system.bpf, f"{root}/way/../{name}"))
    system.symlink("loop", f"{root}/loop")
    refused(errno.ELOOP, lambda: system.stat(f"{root}/loop"))
    refused(errno.EINVAL, lambda: system.readlink(pinned))
    refused(errno.ENOENT, lambda: system.symlink("", f"{root}/empty"))
    assert stat.S_IMODE(system.stat(f"{root}/loop", follow_symlinks=False).st_mode) == 0o777


def test_the_magic_number_is_bpffs_own(system: System, pinned: str) -> None:
    assert system.statfs(system.root) == 0xCAFE4A11
    assert system.statfs(pinned) == 0xCAFE4A11


def test_the_root_is_open_to_all_and_sticky(system: System) -> None:
    assert stat.S_IMODE(system.stat(system.root).st_mode) == 0o1777


def test_unlink_releases_the_object_when_no_fd_holds_it(system: System, pinned: str) -> None:
    system.unlink(pinned)
    refused(errno.ENOENT, lambda: obj_get(system.bpf, pinned))
