"""bpftool's verbs: prog, map, link, btf. On the live kernel the words are put to the installed bpftool too, whose text and
JSON must be ours; on the simulated one they are put to a kernel that stands where a mounted one would.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bpfjit import loader, open_object
from bpfjit.loader import LiveBpf, LoadedObject, inspect
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

from .conftest import Cli

ITER = "a_name_beyond_fifteen"
KEY = struct.pack("<i8s", 3, b"abc")
VALUE = struct.pack("<Qi8siB3xiiii", 99, 7, b"nm", 5, 0b10101_010, 1, 2, 3, 4) + struct.pack(
    "<QB3xIB", 0xDEAD, 1, 0x1020304, 65
)
THING = VALUE.ljust(88, b"\x81")


class World:
    """An object in a kernel, its maps filled, and ids in place of names."""

    def __init__(self, bpf: Any, obj: LoadedObject) -> None:
        self.bpf = bpf
        obj.maps["things"].update(KEY, THING)
        obj.maps["arr"].update(struct.pack("<i", 1), struct.pack("<Q", 42))
        obj.maps["plain"].update(b"abcdef", bytes(range(40)))
        obj.links["it"] = obj.attach_prog(obj.progs[ITER])
        fds = {"prog": obj.progs, "map": obj.maps, "link": obj.links}
        self.ids = {
            f"{kind}:{name}": str(inspect.get_info(bpf, made.fd, kind)["id"])
            for kind, all_ in fds.items()
            for name, made in all_.items()
        }
        self.ids["btf:"] = str(inspect.get_info(bpf, obj.btf_fd, "btf")["id"])

    def words(self, text: str) -> list[str]:
        """ "map dump {map:arr}" as words, with ids."""
        return [self.ids[w[1:-1]] if w.startswith("{") else w for w in text.split()]


# -- as bpftool says it, on Linux ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if not shutil.which("bpftool"):
        pytest.skip("bpftool is not installed")
    from bpfjit.loader.compile import compile_c

    made = tmp_path_factory.mktemp("faces") / "faces.o"
    made.write_bytes(compile_c(Path(__file__).parent / "programs" / "faces.bpf.c"))
    bpf = LiveBpf()
    try:
        loaded = open_object(made).load(bpf)
    except OSError as e:
        pytest.skip(f"the live kernel is not to be had: {e}")
    with loaded as obj:
        yield World(bpf, obj)


SAME = [
    "prog show id {prog:filt}",
    f"prog show id {{prog:{ITER}}}",
    "prog show name filt",
    "prog dump xlated id {prog:filt}",
    "prog dump xlated id {prog:filt} opcodes",
    "prog dump xlated id {prog:filt} linum",
    "prog dump xlated id {prog:filt} visual",
    "prog dump xlated id {prog:ways} visual",
    "link show id {link:it}",
    *(
        f"map {verb} id {{map:{name}}}"
        for verb in ("show", "dump")
        for name in ("things", "arr", "pc", "plain", "faces.data")
    ),
    "map dump id {map:faces.rodata}",
    "map lookup id {map:arr} key 1 0 0 0",
    "map lookup id {map:plain} key 1 2 3 4 5 6",
    "map lookup id {map:plain} key 97 98 99 100 101 102",
    "map lookup id {map:pc} key hex 0 0 0 0",
    "map getnext id {map:arr}",
    "map getnext id {map:arr} key 0x1 0 0 0",
    "btf dump id {btf:}",
    "btf dump map id {map:things}",
    "btf dump map id {map:things} value",
    "btf dump prog id {prog:filt}",
    "map update id {map:arr} key 0 0 0 0 value 0 0 0 0 0 0 0 0 exist",
]


@pytest.mark.parametrize("option", ["", "-j", "-p"])
@pytest.mark.parametrize("words", SAME)
def test_text_and_json_are_bpftools(linux: World, cli: Cli, words: str, option: str) -> None:
    ours = cli(*linux.words(words), "--kernel", "live", *option.split())
    theirs = subprocess.run(["bpftool", *option.split(), *linux.words(words)], capture_output=True, text=True, check=False)
    when = re.compile(r"loaded_at\S* \S+")  # rounded to seconds from two moments
    assert when.sub("", ours.out) == when.sub("", theirs.stdout)


@pytest.mark.parametrize("option", ["", "-j"])
def test_lists_are_bpftools(linux: World, cli: Cli, option: str) -> None:
    """Other objects come and go meanwhile: only ours are compared, and the orders of ids that bpftool leaves to its hash."""
    for words, number in (
        ("btf show", "btf:"),
        ("map list", "map:arr"),
        ("prog show", "prog:filt"),
        ("link show", "link:it"),
    ):
        shown = []
        for out in (
            cli(*words.split(), "--kernel", "live", *option.split()).out,
            subprocess.run(["bpftool", *option.split(), *words.split()], capture_output=True, text=True, check=False).stdout,
        ):
            if option:
                row = next(r for r in json.loads(out) if r["id"] == int(linux.ids[number]))
                row.pop("loaded_at", None)
                row.pop("pids", None)  # bpftool finds out whose the objects are
                shown.append({k: sorted(v) if isinstance(v, list) else v for k, v in row.items()})
            else:
                line = next(line for line in out.splitlines() if line.startswith(f"{linux.ids[number]}: "))
                shown.append({word: sorted(word.split(",")) for word in line.split()[:4]})
        assert shown[0] == shown[1]


def test_run_says_what_bpftool_says(linux: World, cli: Cli, tmp_path: Path) -> None:
    packet = tmp_path / "packet"
    packet.write_bytes(bytes(range(48, 112)))
    words = [*linux.words("prog run id {prog:filt} data_in"), str(packet), "data_out", "-"]
    theirs = subprocess.run(["bpftool", *words], capture_output=True, text=True, check=True).stdout
    ours = cli(*words, "--kernel", "live").out
    number = re.compile(r"duration: \d+ns")
    assert number.sub("", ours) == number.sub("", theirs)
    theirs = subprocess.run(["bpftool", "-j", *words], capture_output=True, text=True, check=True).stdout
    assert {**cli(*words, "--kernel", "live", "-j").json, "duration": 0} == {**json.loads(theirs), "duration": 0}


# -- on a kernel that is simulated -----------------------------------------------------------------------------


@pytest.fixture
def mounted(objects: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A simulated kernel where commands look for a mounted one."""
    with Kernel(cpus=2, cache=False) as kernel, open_object(objects("faces")).load(kernel.bpf) as obj:
        monkeypatch.setattr(loader, "mount_bpf", lambda directory: contextlib.nullcontext(kernel.bpf))
        yield World(kernel.bpf, obj)


def test_objects_are_shown_with_bpftools_keys(mounted: World, cli: Cli) -> None:
    prog = cli(*mounted.words("prog show id {prog:filt} -j")).json
    assert list(prog) == [
        *("id", "type", "name", "tag", "gpl_compatible", "loaded_at", "uid", "bytes_xlated", "jited", "bytes_jited"),
        *("bytes_memlock", "map_ids", "btf_id"),
    ]
    assert (prog["type"], prog["name"], prog["jited"], len(prog["map_ids"])) == ("socket_filter", "filt", True, 6)
    assert [p["name"] for p in cli("prog", "show", "-j").json] == ["filt", "ways", ITER], "the whole name, from BTF"
    maps = cli("map", "show", "-j").json
    assert [m["name"] for m in maps] == ["arr", "things", "pc", "plain", "faces.data", "faces.rodata"]
    assert list(maps[0]) == [
        *("id", "type", "name", "flags", "bytes_key", "bytes_value", "max_entries", "bytes_memlock", "frozen", "btf_id"),
    ]
    assert cli("map", "show", "name", "faces.rodata").out.endswith("  frozen\n")
    link = cli("link", "show", "-j").json
    assert link == [
        {
            "id": int(mounted.ids["link:it"]),
            "type": "iter",
            "prog_id": int(mounted.ids[f"prog:{ITER}"]),
            "target_name": "bpf_map",
        }
    ]
    btfs = cli("btf", "list", "-j").json
    assert [(b["id"], b["kernel"], len(b["prog_ids"]), len(b["map_ids"])) for b in btfs] == [
        (1, True, 0, 0),
        (2, False, 3, 5),
    ]
    assert btfs[0]["name"] == "vmlinux"


def test_by_name_tag_and_pin(mounted: World, cli: Cli) -> None:
    tag = cli("prog", "show", "name", "filt", "-j").json["tag"]
    assert cli("prog", "show", "tag", tag, "-j").json["name"] == "filt"
    assert cli(*mounted.words("prog pin id {prog:filt} /sys/fs/bpf/p")).code == 0
    assert cli("prog", "show", "pinned", "/sys/fs/bpf/p", "-j").json["tag"] == tag
    assert cli("map", "pin", "name", "arr", "/sys/fs/bpf/m").code == 0
    assert cli("map", "lookup", "pinned", "/sys/fs/bpf/m", "key", "1", "0", "0", "0", "-j").json["formatted"] == {
        "key": 1,
        "value": 42,
    }
    assert cli(*mounted.words("link pin id {link:it} /sys/fs/bpf/l")).code == 0
    assert cli("link", "show", "pinned", "/sys/fs/bpf/l", "-j").json["type"] == "iter"
    wrong = cli("map", "show", "pinned", "/sys/fs/bpf/p")
    assert wrong.code == 1 and "is a prog, no map" in wrong.error


_SIX = ("1", "2", "3", "4", "5", "6")
_FIVE_HI = ("5", "0", "0", "0", "104", "105", "0", "0", "0", "0", "0", "0")


def test_elements_change(mounted: World, cli: Cli) -> None:
    def update(*words: str) -> Any:
        return cli("map", "update", "name", "plain", "key", *_SIX, *words)

    value = [str(b) for b in range(40)]
    assert update("value", *value, "exist").error == "update failed: map plain: no such file or directory (ENOENT)"
    assert update("value", *value, "noexist").code == 0
    assert update("value", *value, "noexist").code == 1
    assert cli("map", "lookup", "name", "plain", "key", "hex", *_SIX, "-j").json["value"][39] == "0x27"
    assert cli("map", "delete", "name", "plain", "key", *_SIX).code == 0
    gone = cli("map", "lookup", "name", "plain", "key", *_SIX)
    assert gone.code == 1 and gone.out.endswith("\nNot found\n")
    per_cpu = cli("map", "update", "name", "pc", "key", "1", "0", "0", "0", "value", *_FIVE_HI)
    assert per_cpu.code == 0
    shown = cli("map", "lookup", "name", "pc", "key", "1", "0", "0", "0", "-j").json
    assert shown["formatted"]["values"] == [{"cpu": cpu, "value": {"a": 5, "name": "hi"}} for cpu in (0, 1)], "of every CPU"
    assert cli("map", "freeze", "name", "plain").code == 0
    assert update("value", *value).code == 1
    assert cli("map", "freeze", "name", "plain").code == 1


def test_queues(mounted: World, cli: Cli) -> None:
    made = cli("map", "create", "/sys/fs/bpf/q", "type", "queue", "key", "0", "value", "4", "entries", "2", "name", "q")
    assert made.code == 0
    assert cli("map", "push", "pinned", "/sys/fs/bpf/q", "value", "1", "2", "3", "4").code == 0
    assert cli("map", "enqueue", "name", "q", "value", "hex", "0a", "0", "0", "0").code == 0
    assert cli("map", "push", "name", "q", "value", "1", "2", "3", "4").code == 1, "full"
    assert cli("map", "peek", "name", "q").out == "value: 01 02 03 04\n"
    assert cli("map", "pop", "name", "q", "-j").json == {"key": [], "value": ["0x01", "0x02", "0x03", "0x04"]}
    assert cli("map", "dequeue", "name", "q").code == 0
    assert cli("map", "pop", "name", "q").error == "empty map (ENOENT)"
    assert cli("map", "dump", "name", "q").out == "Found 0 elements\n"


def test_programs_run_and_are_dumped(mounted: World, cli: Cli, tmp_path: Path) -> None:
    packet = tmp_path / "packet"
    packet.write_bytes(bytes(64))
    ran = cli("prog", "run", "name", "filt", "data_in", packet, "repeat", "3", "-j").json
    assert ran["retval"] == 2 * 50 + ord("e")
    text = cli("prog", "dump", "xlated", "name", "filt").out
    assert text.startswith("int filt(struct __sk_buff * skb):\n; int filt(struct __sk_buff *skb)\n   0: (")
    assert f"r1 = map[id:{mounted.ids['map:arr']}]\n" in text
    assert "call bpf_map_lookup_elem#1\n" in text
    assert re.search(r"call pc\+\d+#bpf_prog_[0-9a-f]{16}_twice\n", text)
    rows = cli("prog", "dump", "xlated", "name", "filt", "opcodes", "linum", "-j").json
    assert rows[0]["proto"] == "int filt(struct __sk_buff * skb)" and rows[0]["line_num"] > 0
    assert set(rows[0]["opcodes"]) == {"code", "src_reg", "dst_reg", "off", "imm"}
    out = tmp_path / "code"
    assert cli("prog", "dump", "jited", "name", "filt", "file", out).code == 0
    assert len(out.read_bytes()) == cli("prog", "show", "name", "filt", "-j").json["bytes_jited"]
    jited = cli("prog", "dump", "jited", "name", "filt", "-j").json
    assert sum(len(f["code"]) for f in jited) == len(out.read_bytes())
    assert cli("prog", "dump", "jited", "name", "filt").out.startswith(jited[0]["name"] + ":")


def test_loading_pins(mounted: World, cli: Cli, objects: Callable[[str], Path]) -> None:
    assert cli("prog", "load", objects("faces"), "/sys/fs/bpf/first").code == 0
    assert cli("prog", "show", "pinned", "/sys/fs/bpf/first", "-j").json["name"] == "filt"
    assert cli("prog", "load", objects("faces"), "/sys/fs/bpf/first").code == 1, "the name is taken"


def test_links_detach_where_they_can(mounted: World, cli: Cli) -> None:
    assert cli(*mounted.words("link detach id {link:it}")).error.startswith("failed link detach: ")


def test_btf_as_c_and_of_files(mounted: World, cli: Cli, objects: Callable[[str], Path], tmp_path: Path) -> None:
    text = cli(*mounted.words("btf dump map id {map:things} format c")).out
    assert "struct val {" in text and "f1: 3;" in text and "__sk_buff" not in text
    raw = tmp_path / "types.btf"
    raw.write_bytes(open_object(objects("faces")).spec.btf.data)  # type: ignore[union-attr]
    for source in (raw, objects("faces")):
        assert cli("btf", "dump", "file", source).out == cli("btf", "dump", "id", "2").out
    assert cli("btf", "dump", "file", raw, "format", "c", "-j").code == 2
    assert cli("btf", "dump", "file", raw, "root_id", "1", "-j").json["types"][0]["id"] == 1


def test_an_object_is_looked_into_without_a_mount(cli: Cli, objects: Callable[[str], Path]) -> None:
    assert [m["name"] for m in cli("map", "show", objects("faces"), "-j").json][:2] == ["arr", "things"]
    assert cli("map", "dump", objects("faces"), "name", "arr", "-j").json[2]["formatted"] == {"key": 2, "value": 0}
    assert [p["name"] for p in cli("prog", "show", objects("faces"), "-j").json] == ["filt", "ways", ITER]
    assert cli("link", "show", objects("faces"), "-j").json[0]["target_name"] == "bpf_map"
    view = cli("link", "show", objects("wait_latency"))
    assert (
        "raw_tracepoint" in view.out
        and "tp 'sched_stat_wait'" in view.out
        and "view" in view.out
        and "target cgroup" in view.out
    )
    assert "STRUCT 'val'" in cli("btf", "dump", objects("faces")).out


def test_programs_of_a_map_of_sockets(linux: World, cli: Cli, tmp_path: Path) -> None:
    """With ours what bpftool does, with the same errors; on Linux itself, whose map of sockets is this test's own."""
    bpf: Any = linux.bpf
    shape = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_SOCKMAP, key_size=4, value_size=4, max_entries=1)
    fd = bpf(uapi.BPF_MAP_CREATE, bytearray(shape.pack()))
    source = tmp_path / "verdict.bpf.c"
    head = '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\nchar _license[] SEC("license") = "GPL";\n'
    source.write_text(head + 'SEC("sk_skb/stream_verdict") int verdict(struct __sk_buff *skb) { return 1; }\n')
    with open_object(source).load(bpf) as obj:
        prog = str(inspect.get_info(bpf, obj.progs["verdict"].fd, "prog")["id"])
        number = str(inspect.get_info(bpf, fd, "map")["id"])
        words = ["id", prog, "sk_skb_stream_verdict", "id", number]
        for ours, theirs, failing in (("attach", "detach", False), ("detach", "attach", True)):
            told = cli("prog", ours, *words, "--kernel", "live", "-j")
            assert (told.code, told.out) == ((1, "") if failing else (0, "null\n"))
            there = subprocess.run(["bpftool", "prog", theirs, *words], capture_output=True, check=False)
            assert there.returncode == 0
        assert cli("prog", "detach", *words, "--kernel", "live").code == 0
    bpf.close(fd)


EVENTS = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 2);
} events SEC(".maps");
SEC("tc") int put(struct __sk_buff *skb)
{
	char data[20] = "hello, world";

	return bpf_perf_event_output(skb, &events, BPF_F_CURRENT_CPU, data, sizeof(data)) ? 1 : 0;
}
char _license[] SEC("license") = "GPL";
"""


def runs_until_taken(bpf: Any, prog: int) -> None:
    """Run a program until it returns 0: somebody listens on the CPU that it ran on."""
    for _ in range(1000):
        keep = Buffers()
        raw = bytearray(uapi.TestRun(prog_fd=prog, data_in=keep.put(bytes(64)), data_size_in=64).pack())
        bpf(uapi.BPF_PROG_TEST_RUN, raw)
        if not uapi.TestRun.unpack(raw).retval:
            return
        time.sleep(0.02)
    pytest.fail("nobody listens")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("events") / "events.bpf.c"
    source.write_text(EVENTS)
    return source


@pytest.mark.parametrize("option", ["", "-j"])
def test_events_come_as_bpftool_shows_them(linux: World, events: Path, option: str) -> None:
    bpf: Any = linux.bpf
    with open_object(events).load(bpf) as obj:
        number = str(inspect.get_info(bpf, obj.maps["events"].fd, "map")["id"])
        told = []
        ours = [sys.executable, "-m", "bpfjit.cli.main"]
        for command, more in ((ours, ["--kernel", "live"]), (["bpftool"], [])):
            words = [*command, *option.split(), "map", "event_pipe", "id", number, *more]
            # SIGINT is ignored by what a shell runs in the background: both take it all the same.
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            pipe = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            signal.signal(signal.SIGINT, before)
            try:
                runs_until_taken(bpf, obj.progs["put"].fd)
                time.sleep(0.5)
                pipe.send_signal(signal.SIGINT)
                out = pipe.communicate(timeout=10)[0]
            finally:
                pipe.kill()
            assert pipe.returncode == 0
            told.append(re.sub(r'@[0-9.]+|(CPU: |index: |cpu":|index":|timestamp":)\d+', r"\1", out))
        assert told[0] == told[1] != ""


def test_events_of_a_kernel_in_this_process(cli: Cli, events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Kernel(cpus=2, cache=False) as kernel, open_object(events).load(kernel.bpf) as obj:
        monkeypatch.setattr(loader, "mount_bpf", lambda directory: contextlib.nullcontext(kernel.bpf))

        def happen() -> None:
            runs_until_taken(kernel.bpf, obj.progs["put"].fd)
            time.sleep(0.5)
            _thread.interrupt_main()

        thread = threading.Thread(target=happen)
        thread.start()
        told = cli("map", "event_pipe", "name", "events", "-j")
        thread.join()
        row = told.json[0]
        assert (told.code, row["type"], row["cpu"], bytes(row["data"])[:20]) == (
            0,
            9,
            row["index"],
            b"hello, world".ljust(20, b"\0"),
        )
        assert cli("map", "event_pipe", "name", "events", "cpu", "9", "index", "0").code == 1
        assert cli("map", "event_pipe", "name", "events", "cpu", "0").code == 2


BAD = [
    ("map event_pipe name arr", 2, "no perf event array"),
    ("map event_pipe", 2, "which map?"),
    ("prog attach name filt xdp", 2, "attach type xdp: wanted sk_msg_verdict, "),
    ("prog attach name filt sk_skb_verdict", 2, "which map?"),
    ("prog attach name filt sk_skb_verdict name arr", 1, "failed prog attach: a socket_filter program as attach type 38"),
    ("prog detach name filt flow_dissector", 1, "failed prog detach: a socket_filter program as flow dissector"),
    ("map dump", 2, "which map?"),
    ("map dump id xx", 2, "id xx"),
    ("map dump id 99999999", 1, "map with id 99999999"),
    ("map lookup name arr", 2, "key DATA is missing"),
    ("map lookup name arr key 1 0 0", 2, "key expected 4 bytes got 3"),
    ("map lookup name arr key 300 0 0 0", 2, "300 is no byte"),
    ("map lookup name arr key 1 0 0 0 7", 2, "what is '7'?"),
    ("map update name arr key 1 0 0 0", 2, "value DATA is missing"),
    ("map update name arr key 1 0 0 0 value 1 2 3 4 5 6 7 8 perhaps", 2, "update flags perhaps"),
    ("map show name nothing", 1, "no map with name nothing"),
    ("map show pinned /sys/fs/bpf/none", 1, "/sys/fs/bpf/none"),
    ("map create /sys/fs/bpf/x type nonsense", 2, "unrecognized map type: nonsense"),
    ("map create /sys/fs/bpf/x type hash key 4 value 8 entries 1", 2, "map name not specified"),
    ("map create /sys/fs/bpf/x type hash key 4 value 8 entries 0 name x", 1, "map create failed"),
    ("map frob", 2, "frob"),
    ("prog show tag abcd", 2, "tag abcd"),
    ("prog run name filt", 2, "wanted data_in FILE"),
    ("prog run name filt data_in /dev/zero", 2, "/dev/zero: larger than 67108864 bytes"),
    ("prog dump facts name filt", 2, "wants a SOURCE"),
    ("prog dump xlated name filt visual opcodes", 2, "visual goes with no other option"),
    ("prog dump jited name filt visual", 2, "what is 'visual'?"),
    ("prog pin name filt", 2, "FILE is missing"),
    ("link pin id 1", 2, "FILE is missing"),
    ("btf dump", 2, "is missing"),
    ("btf dump id 2 format x", 2, "format x"),
    ("btf dump map name plain", 1, "has no BTF"),
]


@pytest.mark.parametrize("words, code, error", BAD)
def test_bad_words_are_told_in_one_line(mounted: World, cli: Cli, words: str, code: int, error: str) -> None:
    ran = cli(*words.split())
    assert (ran.code, error in ran.error) == (code, True), ran.err


def test_without_a_mount_it_is_said(cli: Cli) -> None:
    ran = cli("map", "show", "--mount", tempfile.gettempdir())
    assert ran.code == 2 and "no bpfjit mount" in ran.error
