"""Scenario files: the system they make, the events they play, and one clear line for each way to get them wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bpfjit.errors import UsageError
from kernfs_sim import Kernel
from kernfs_sim.scenario import Scenario, load

GROUP = '[[cgroup]]\npath = "/a"\n'
TASK = "[[task]]\npid = 5\n"

# (the file, what the message must hold): refused when it is read.
MALFORMED = {
    "unknown key at the top": ("colour = 1", "unknown key 'colour'"),
    "unknown table": ("[[process]]\npid = 1", "unknown key 'process'"),
    "unknown key of a cgroup": (GROUP + "size = 1", "[[cgroup]] 1: unknown key 'size'"),
    "unknown key of a task": (TASK + "name = 'x'", "[[task]] 1: unknown key 'name'"),
    "unknown key of a map": ("[[map]]\nname = 'm'\nsize = 3", "[[map]] 1: unknown key 'size'"),
    "unknown key of an entry": ("[[map]]\nname = 'm'\nentries = [{key = 1, value = 2, x = 3}]", "entry 1: unknown key 'x'"),
    "unknown key of an event": ("[[event]]\ntracepoint = 'sched_wakeup'\ntask = 1\nx = 1", "[[event]] 1: unknown key 'x'"),
    "argument of another tracepoint": ("[[event]]\ntracepoint = 'sched_wakeup'\ntask = 1\ndelta = 1", "'delta'"),
    "unknown tracepoint": ("[[event]]\ntracepoint = 'sched_nap'", "unknown tracepoint 'sched_nap'"),
    "no tracepoint": ("[[event]]\ntask = 1", "no 'tracepoint'"),
    "no task": ("[[event]]\ntracepoint = 'sched_stat_wait'\ndelta = 1", "no 'task'"),
    "no prev": ("[[event]]\ntracepoint = 'sched_switch'\nnext = 1", "no 'prev'"),
    "no cgroup": ("[[event]]\ntracepoint = 'cgroup_mkdir'", "no 'cgroup'"),
    "no path": ("[[cgroup]]\nid = 5", "no 'path'"),
    "no pid": ("[[task]]\ncomm = 'x'", "no 'pid'"),
    "no map name": ("[[map]]\nentries = []", "no 'name'"),
    "entry without value": ("[[map]]\nname = 'm'\nentries = [{key = 1}]", "wanted key and value"),
    "entry that is no table": ("[[map]]\nname = 'm'\nentries = [1]", "wanted a table, found 1"),
    "entries that are no list": ("[[map]]\nname = 'm'\nentries = 1", "entries = 1, wanted a list"),
    "a table for a list": ("[cgroup]\npath = '/a'", "wanted a list"),
    "numbers for tables": ("cgroup = [1]", "wanted a table, found 1"),
    "text for a number": ("cpus = 'two'", "cpus = 'two', wanted an integer"),
    "a boolean for a number": ("cpus = true", "cpus = True, wanted an integer"),
    "a float for a number": (TASK.replace("5", "5.0"), "pid = 5.0, wanted an integer"),
    "a number for text": ("[[cgroup]]\npath = 5", "path = 5, wanted a string"),
    "no cpus": ("cpus = 0", "cpus = 0, wanted 1 to 64"),
    "too many cpus": ("cpus = 65", "cpus = 65, wanted 1 to 64"),
    "pid 0": ("[[task]]\npid = 0", "pid = 0"),
    "pid past Linux's limit": ("[[task]]\npid = 4194305", "pid = 4194305"),
    "negative repeat": ("[[event]]\ntracepoint = 'sched_wakeup'\ntask = 1\nrepeat = -1", "repeat = -1"),
    "delta of 65 bits": (
        f"[[event]]\ntracepoint = 'sched_stat_wait'\ntask = 1\ndelta = {1 << 64}",
        "delta = 18446744073709551616",
    ),
    "cgroup id of the root": ("[[cgroup]]\npath = '/a'\nid = 1", "id = 1"),
    "cgroup id of 65 bits": (f"[[cgroup]]\npath = '/a'\nid = {1 << 64}", "id = 18446744073709551616"),
    "negative uid": (TASK + "uid = -1", "uid = -1"),
    "comm too long": (TASK + "comm = '0123456789abcdef'", "at most 15 bytes"),
    "comm too long in bytes": (TASK + "comm = 'éééééééé'", "at most 15 bytes"),
    "comm with a NUL": (TASK + 'comm = "a\\u0000b"', "comm"),
    "relative path": ("[[cgroup]]\npath = 'a'", "path = 'a', wanted an absolute path"),
    "path of the root": ("[[cgroup]]\npath = '/'", "below /"),
    "path with ..": ("[[cgroup]]\npath = '/a/../b'", "path = '/a/../b'"),
    "path with a newline": ('[[cgroup]]\npath = "/a\\nb"', "path"),
    "path with a NUL": ('[[cgroup]]\npath = "/a\\u0000b"', "path"),
    "a name of 256 bytes": (f"[[cgroup]]\npath = '/{'n' * 256}'", "255 bytes"),
    "duplicate path": (GROUP + GROUP, "[[cgroup]] 2: path = '/a' is [[cgroup]] 1's"),
    "duplicate path, spelt otherwise": (GROUP + GROUP.replace("/a", "//a/"), "path = '/a' is [[cgroup]] 1's"),
    "duplicate id": (
        "[[cgroup]]\npath = '/a'\nid = 9\n[[cgroup]]\npath = '/b'\nid = 9",
        "[[cgroup]] 2: id = 9 is [[cgroup]] 1's",
    ),
    "duplicate pid": (TASK + TASK, "[[task]] 2: pid = 5 is [[task]] 1's"),
    "duplicate map": ("[[map]]\nname = 'm'\n[[map]]\nname = 'm'", "name = 'm'"),
    "no TOML": ("this is no toml", "bad TOML"),
    "a key given twice": ("cpus = 1\ncpus = 2", "bad TOML"),
    "an open bracket": ("[[cgroup", "bad TOML"),
    "nested without end": ("a = " + "[" * 5000, "bad TOML"),
}

# Refused when the system is made or the events are played.
IMPOSSIBLE = {
    "task in no cgroup": (TASK + "cgroup = '/none'", "task 5: cgroup = '/none': no such cgroup"),
    "thread of no task": (TASK + "tgid = 4", "task 5: tgid = 4: no such task"),
    "cgroup under a stable file's name": ("[[cgroup]]\npath = '/cgroup.procs'", "cgroup '/cgroup.procs'"),
    "cgroup within a stable file": ("[[cgroup]]\npath = '/a/cgroup.procs/b'", "cgroup '/a/cgroup.procs'"),
    "event of no task": ("[[event]]\ntracepoint = 'sched_wakeup'\ntask = 77", "task = 77: no such task"),
    "event of no next": (TASK + "[[event]]\ntracepoint = 'sched_switch'\nprev = 5\nnext = 6", "next = 6: no such task"),
    "event of no cgroup": ("[[event]]\ntracepoint = 'cgroup_rmdir'\ncgroup = '/no'", "cgroup = '/no': no such cgroup"),
    "event of a file, not a cgroup": ("[[event]]\ntracepoint = 'cgroup_rmdir'\ncgroup = '/cgroup.stat'", "no such cgroup"),
}


def write(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "scenario.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def play(path: str) -> Kernel:
    scenario = load(path)
    kernel = Kernel.from_loaded_scenario(scenario)
    scenario.play(kernel)
    return kernel


@pytest.mark.parametrize("case", list(MALFORMED))
def test_a_malformed_scenario_is_one_usage_error_with_file_and_key(tmp_path: Path, case: str) -> None:
    text, wanted = MALFORMED[case]
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as e:
        load(path)
    assert wanted in str(e.value)
    assert str(e.value).startswith(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("case", list(IMPOSSIBLE))
def test_an_impossible_scenario_is_one_usage_error_with_file_and_value(tmp_path: Path, case: str) -> None:
    text, wanted = IMPOSSIBLE[case]
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as e:
        play(path)
    assert wanted in str(e.value)
    assert str(e.value).startswith(path)


@pytest.mark.parametrize("content", [b"\x7fELF\x02\x01\x01\0\0\0", b"\xff\xfe", b"\0\0\0\0", os.urandom(64) + b"\xff"])
def test_a_binary_file_is_bad_toml(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="bad TOML"):
        load(write(tmp_path, content))


def test_a_file_that_is_missing_or_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml: no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="is a directory"):
        load(tmp_path)


def test_an_empty_file_is_a_system_with_a_root_only(tmp_path: Path) -> None:
    kernel = play(write(tmp_path, ""))
    assert [c.path for c in kernel.cgroups] == ["/"]


# -- entries of maps -----------------------------------------------------------------------------------

MAP = """
struct { __uint(type, %s); __uint(max_entries, 2); __type(key, u32); __type(value, u64); } m SEC(".maps");
SEC("socket") int prog(void *ctx) { u32 k = 0; return bpf_map_lookup_elem(&m, &k) != 0; }
"""

ENTRIES = {
    "integer": ("key = 1, value = 258", (1, b"\x02\x01\0\0\0\0\0\0")),
    "negative integer": ("key = 1, value = -2", (1, b"\xfe" + b"\xff" * 7)),
    "largest integer": (f"key = 1, value = {(1 << 64) - 1}", (1, b"\xff" * 8)),
    "string padded with NULs": ("key = 1, value = 'abc'", (1, b"abc\0\0\0\0\0")),
    "string that just fits": ("key = 1, value = '12345678'", (1, b"12345678")),
    "hex": ("key = 'x:01000000', value = 'x:00ff00ff00ff00ff'", (1, b"\0\xff" * 4)),
}
BAD_ENTRIES = {
    "too large an integer": (f"key = 1, value = {1 << 64}", "does not fit 8 bytes"),
    "too small an integer": (f"key = 1, value = {-(1 << 63) - 1}", "does not fit 8 bytes"),
    "too large a key": (f"key = {1 << 32}, value = 1", "does not fit 4 bytes"),
    "too long a string": ("key = 1, value = '123456789'", "9 bytes, wanted at most 8"),
    "hex of the wrong size": ("key = 1, value = 'x:00ff'", "2 bytes, wanted exactly 8"),
    "hex of no hex": ("key = 1, value = 'x:0g'", "not hex"),
    "a boolean": ("key = 1, value = true", "wanted an integer, a string or hex bytes"),
    "a float": ("key = 1, value = 1.5", "wanted an integer, a string or hex bytes"),
    "a date": ("key = 1, value = 2020-01-01", "wanted an integer, a string or hex bytes"),
    "a list": ("key = 1, value = [1]", "wanted an integer, a string or hex bytes"),
    "past the end of an array": ("key = 2, value = 1", "at key 2"),
}


def fill(tmp_path: Path, build: Any, kernel: Kernel, entry: str, map_type: str = "BPF_MAP_TYPE_ARRAY") -> Any:
    scenario = load(write(tmp_path, f"[[map]]\nname = 'm'\nentries = [ {{ {entry} }} ]"))
    obj = build(MAP % map_type).load(kernel.bpf)
    maps = {name: kernel.caller.fds.get(m.fd).object for name, m in obj.maps.items()}
    scenario.fill(maps, kernel.native.cpus)
    return obj.maps["m"]


@pytest.mark.parametrize("case", list(ENTRIES))
def test_entries_fill_maps(tmp_path: Path, build: Any, kernel: Kernel, case: str) -> None:
    entry, (key, value) = ENTRIES[case]
    assert fill(tmp_path, build, kernel, entry).lookup(key.to_bytes(4, "little")) == value


def test_an_entry_of_a_per_cpu_map_goes_to_every_cpu(tmp_path: Path, build: Any, kernel: Kernel) -> None:
    filled = fill(tmp_path, build, kernel, "key = 1, value = 7", "BPF_MAP_TYPE_PERCPU_ARRAY")
    assert filled.lookup((1).to_bytes(4, "little"), 16) == (7).to_bytes(8, "little") * 2


@pytest.mark.parametrize("case", list(BAD_ENTRIES))
def test_entries_that_do_not_fit_are_refused(tmp_path: Path, build: Any, kernel: Kernel, case: str) -> None:
    entry, wanted = BAD_ENTRIES[case]
    with pytest.raises(UsageError) as e:
        fill(tmp_path, build, kernel, entry)
    assert wanted in str(e.value)
    assert "scenario.toml: map m: " in str(e.value)


def test_a_map_that_is_in_no_object_or_read_only_is_refused(tmp_path: Path, build: Any, kernel: Kernel) -> None:
    scenario = load(write(tmp_path, "[[map]]\nname = 'm'\nentries = [{key = 0, value = 0}]"))
    with pytest.raises(UsageError, match="map 'm' is in none"):
        scenario.fill({}, 1)
    obj = build(MAP % "BPF_MAP_TYPE_ARRAY").load(kernel.bpf)
    target = kernel.caller.fds.get(obj.maps["m"].fd).object
    target.frozen = True
    with pytest.raises(UsageError, match="read-only"):
        scenario.fill({"m": target}, 1)


# -- what a good one makes -----------------------------------------------------------------------------


def test_parents_are_made_and_ids_are_kept_whatever_the_order(tmp_path: Path) -> None:
    text = "[[cgroup]]\npath = '/a/b'\n[[cgroup]]\npath = '/c'\nid = 2\n[[cgroup]]\npath = '/a'\nid = 3\n"
    kernel = play(write(tmp_path, text))
    assert {c.path: c.id for c in kernel.cgroups} == {"/": 1, "/a": 3, "/a/b": 4, "/c": 2}


def test_threads_join_their_leader_in_any_order(tmp_path: Path) -> None:
    text = GROUP + "[[task]]\npid = 6\ntgid = 5\ncgroup = '/a'\n" + TASK + "cgroup = '/a'\ncomm = 'worker'\nuid = 33\n"
    kernel = play(write(tmp_path, text))
    assert kernel.read_text("/sys/fs/cgroup/a/cgroup.procs") == "5\n"
    assert kernel.read_text("/sys/fs/cgroup/a/cgroup.threads") == "5\n6\n"


def test_a_known_tracepoint_without_a_program_is_no_error(tmp_path: Path) -> None:
    events = [
        "tracepoint = 'sched_stat_wait'\ntask = 5\ndelta = 1",
        "tracepoint = 'sched_switch'\npreempt = 1\nprev = 5\nnext = 5",
        "tracepoint = 'sched_wakeup'\ntask = 5",
        "tracepoint = 'sys_enter'\ntask = 5\nid = 3",
        "tracepoint = 'cgroup_mkdir'\ncgroup = '/a'",
        "tracepoint = 'cgroup_rmdir'\ncgroup = '/a'",
    ]
    play(write(tmp_path, GROUP + TASK + "".join(f"[[event]]\n{event}\n" for event in events)))


RECORDER = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, u32); __type(value, u64[4]); } m SEC(".maps");
static void note(u32 what, u64 a, u64 b)
{
    u64 *old = bpf_map_lookup_elem(&m, &what), row[4] = { a, b, bpf_get_current_pid_tgid(), 1 };
    if (old) row[3] = old[3] + 1;
    bpf_map_update_elem(&m, &what, row, 0);
}
SEC("tp_btf/sched_stat_wait") int BPF_PROG(wait, struct task_struct *t, u64 delta) { note(1, t->pid, delta); return 0; }
SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{ note(2, prev->pid, next->pid * 2 + preempt); return 0; }
SEC("tp_btf/sched_wakeup") int BPF_PROG(wakeup, struct task_struct *t) { note(3, t->pid, 0); return 0; }
SEC("tp_btf/sys_enter") int BPF_PROG(enter, void *regs, long id) { note(4, 0, id); return 0; }
SEC("tp_btf/cgroup_mkdir") int BPF_PROG(made, struct cgroup *c, const char *path)
{
    u64 text = 0;
    bpf_probe_read_kernel_str(&text, sizeof(text), path);
    note(5, c->kn->id, text);
    return 0;
}
SEC("tp_btf/cgroup_rmdir") int BPF_PROG(gone, struct cgroup *c, const char *path) { note(6, c->kn->id, c->level); return 0; }
"""


def row(obj: Any, what: int) -> list[int]:
    raw = obj.maps["m"].lookup(what.to_bytes(4, "little"))
    return [int.from_bytes(raw[i : i + 8], "little") for i in range(0, 32, 8)]


def test_events_reach_programs_with_the_arguments_by_their_names(tmp_path: Path, build: Any) -> None:
    text = """
        [[cgroup]]
        path = "/a"
        id = 40
        [[task]]
        pid = 5
        cgroup = "/a"
        [[task]]
        pid = 6
        [[event]]
        tracepoint = "sched_stat_wait"
        task = 5
        delta = 1500
        repeat = 3
        [[event]]
        tracepoint = "sched_switch"
        preempt = 1
        prev = 5
        next = 6
        [[event]]
        tracepoint = "sched_wakeup"
        task = 6
        [[event]]
        tracepoint = "sys_enter"
        task = 6
        id = 231
        [[event]]
        tracepoint = "cgroup_mkdir"
        cgroup = "/a"
    """
    scenario: Scenario = load(write(tmp_path, text))
    kernel = Kernel.from_loaded_scenario(scenario)
    obj = build(RECORDER).load(kernel.bpf)
    obj.attach()
    scenario.play(kernel)
    who = {pid: pid << 32 | pid for pid in (5, 6)}
    assert row(obj, 1) == [5, 1500, who[5], 3]
    assert row(obj, 2) == [5, 13, who[5], 1], "prev is still the one that runs"
    assert row(obj, 3) == [6, 0, who[6], 1]
    assert row(obj, 4) == [0, 231, who[6], 1]
    assert row(obj, 5)[:2] == [40, int.from_bytes(b"/a", "little")]


def test_an_impossible_event_plays_none_at_all(tmp_path: Path, build: Any) -> None:
    good = "[[event]]\ntracepoint = 'sched_wakeup'\ntask = 5\n"
    scenario = load(write(tmp_path, TASK + good + good.replace("5", "6")))
    kernel = Kernel.from_loaded_scenario(scenario)
    obj = build(RECORDER).load(kernel.bpf)
    obj.attach()
    with pytest.raises(UsageError):
        scenario.play(kernel)
    assert obj.maps["m"].keys() == []


def test_making_and_removing_a_directory_fires_its_tracepoint(kernel: Kernel, build: Any) -> None:
    obj = build(RECORDER).load(kernel.bpf)
    links = obj.attach()
    kernel.mkdir("/sys/fs/cgroup/x")
    kernel.mkdir("/sys/fs/cgroup/x/y")
    assert row(obj, 5)[:2] == [3, int.from_bytes(b"/x/y", "little")]
    kernel.rmdir("/sys/fs/cgroup/x/y")
    assert row(obj, 6)[:2] == [3, 2]
    assert row(obj, 5)[3] == 2
    for link in links.values():
        link.close()
    kernel.mkdir("/sys/fs/cgroup/z")
    assert row(obj, 5)[3] == 2


def test_a_loaded_scenario_is_played_as_often_as_one_likes(tmp_path: Path, build: Any) -> None:
    scenario = load(write(tmp_path, TASK + "[[event]]\ntracepoint = 'sched_wakeup'\ntask = 5\nrepeat = 2\n"))
    kernel = Kernel.from_loaded_scenario(scenario)
    obj = build(RECORDER).load(kernel.bpf)
    obj.attach()
    scenario.play(kernel)
    scenario.play(kernel)
    assert row(obj, 3)[3] == 4
