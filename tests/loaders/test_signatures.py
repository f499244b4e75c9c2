"""Signatures over loader programs and their data, and maps that belong to one program."""

from __future__ import annotations

import datetime
import errno
import hashlib
import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from both import Side, compiled
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from light import bpftool_signed, signs

from bpfjit.cli.main import main
from bpfjit.errors import errno_name
from bpfjit.isa.asm import assemble
from bpfjit.isa.encoding import decode, encode
from bpfjit.loader.bpf import Buffers
from bpfjit.loader.sign import message, sign
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.keyrings import PLATFORM, SECONDARY, SESSION

INSNS = "r1 = map[idx:0][0]+0\nr0 = *(u32 *)(r1 +0)\nexit"
DATA = b"seven777"


class Key:
    """A key and a certificate of its own making, as PEM files."""

    def __init__(self, directory: Path, name: str, private: Any) -> None:
        self.key, self.cert = directory / f"{name}.key", directory / f"{name}.pem"
        pem = serialization.Encoding.PEM
        plain = serialization.NoEncryption()
        self.key.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(private.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
        builder = builder.not_valid_after(now + datetime.timedelta(days=36500))
        identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
        builder = builder.add_extension(identifier, critical=False)
        self.cert.write_bytes(builder.sign(private, hashes.SHA256()).public_bytes(pem))

    def sign(self, insns: bytes, *metadata: bytes) -> bytes:
        return sign(insns, metadata, str(self.key), str(self.cert))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Key]:
    directory = tmp_path_factory.mktemp("keys")
    return {
        "rsa": Key(directory, "rsa", rsa.generate_private_key(65537, 2048)),
        "ec": Key(directory, "ec", ec.generate_private_key(ec.SECP256R1())),
        "stranger": Key(directory, "stranger", ec.generate_private_key(ec.SECP256R1())),
    }


@pytest.fixture
def strict(keys: dict[str, Key]) -> Iterator[Side]:
    """A kernel that believes two keys, and takes no program without a signature."""
    with Kernel(require_signatures=True) as kernel:
        for name in ("rsa", "ec"):
            kernel.keyrings.add(keys[name].cert.read_bytes())
        side = Side(kernel.bpf, kernel)
        yield side
        side.close_all()


def load(side: Side, signed: bytes, *, insns: str = INSNS, data: bytes = DATA, frozen: bool = True, **more: int) -> str:
    """Load a program whose one map holds `data`: "" or the errno's name."""
    keep, m = Buffers(), side.map(value=len(data))
    assert side.update(m, data) == 0
    if frozen:
        assert side.call(uapi.BPF_MAP_FREEZE, uapi.MapElem(map_fd=m)) == 0
    given = {"signature": keep.put(signed), "signature_size": len(signed), "fd_array_cnt": 1, **more}
    fd = side.load(insns, uapi.BPF_PROG_TYPE_SYSCALL, fds=[m], **given)
    return errno_name(-fd) if fd < 0 else ""


@pytest.mark.parametrize("name", ["rsa", "ec"])
def test_a_trusted_signature_lets_a_program_in(name: str, strict: Side, keys: dict[str, Key]) -> None:
    raw = encode(assemble(INSNS))
    assert load(strict, keys[name].sign(raw, DATA)) == ""
    assert load(strict, keys[name].sign(raw), fd_array_cnt=0) == ""  # the first scheme: over instructions alone


def test_what_is_not_as_signed_is_refused(strict: Side, keys: dict[str, Key]) -> None:
    raw, before = encode(assemble(INSNS)), strict.open_fds()
    good = keys["ec"].sign(raw, DATA)
    assert load(strict, b"") == "EKEYREJECTED"  # none at all, and this kernel requires one
    assert load(strict, good, insns=INSNS.replace("[0]+0", "[0]+4")) == "EKEYREJECTED"
    assert load(strict, good, data=b"seven778") == "EKEYREJECTED"
    assert load(strict, good, fd_array_cnt=0) == "EKEYREJECTED"
    assert load(strict, keys["ec"].sign(raw, DATA, b"more")) == "EKEYREJECTED"
    assert load(strict, keys["stranger"].sign(raw, DATA)) == "ENOKEY"
    assert load(strict, good, frozen=False) == "EINVAL"
    for size in (1, 2, 10, len(good) // 2, len(good) - 1):
        assert load(strict, good[:size]) == "EBADMSG", size
    assert load(strict, good + b"\0") == "EBADMSG"
    assert load(strict, bytes(300)) == "EBADMSG"
    assert load(strict, bytes(9000)) == "EINVAL"
    assert load(strict, good, keyring_id=77) == "EINVAL"
    assert load(strict, good, keyring_id=PLATFORM) == "ENOKEY"
    assert load(strict, good, keyring_id=SECONDARY) == ""
    assert load(strict, good, signature=8) == "ENOMEM"
    strict.close_all()
    assert strict.open_fds() == before


def test_a_byte_changed_anywhere_in_a_signature_is_refused(strict: Side, keys: dict[str, Key]) -> None:
    raw = encode(assemble(INSNS))
    good = keys["ec"].sign(raw, DATA)
    allowed = {"EBADMSG", "EKEYREJECTED", "ENOKEY", "ENOPKG", ""}
    accepted = []
    for at in range(len(good)):
        altered = bytearray(good)
        altered[at] ^= 0x10
        found = load(strict, bytes(altered))
        assert found in allowed, (at, found)
        if not found:
            accepted.append(at)
        strict.close_all()
    # Fields that say nothing of the signed bytes: versions, the list of digests, the names of algorithms. As in Linux.
    assert not any(at >= len(good) - 64 for at in accepted)


def test_a_keyring_of_a_user_is_searched_when_named(strict: Side, keys: dict[str, Key]) -> None:
    assert strict.kernel is not None
    signature = keys["stranger"].sign(encode(assemble(INSNS)), DATA)
    ring = strict.kernel.keyrings.create()
    strict.kernel.keyrings.add(keys["stranger"].cert.read_bytes(), ring)
    assert load(strict, signature, keyring_id=ring) == ""
    assert load(strict, signature, keyring_id=SESSION) == "ENOKEY"
    assert load(strict, signature) == "ENOKEY"


@pytest.mark.parametrize("options", [(), ("-noattr",), ("-keyid",), ("-noattr", "-keyid")], ids=str)
def test_openssl_and_the_kernel_agree(options: tuple[str, ...], strict: Side, keys: dict[str, Key], tmp_path: Path) -> None:
    """Signatures of OpenSSL's making, with signed attributes and without; and ours as OpenSSL sees them."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    raw, key = encode(assemble(INSNS)), keys["rsa"]
    (tmp_path / "message").write_bytes(message(raw, (DATA,)))
    files = ["-inkey", str(key.key), "-signer", str(key.cert)]
    files += ["-in", str(tmp_path / "message"), "-out", str(tmp_path / "sig")]
    make = [openssl, "cms", "-sign", "-binary", "-nocerts", "-outform", "DER", "-md", "sha256", *options, *files]
    subprocess.run(make, check=True, capture_output=True)
    signature = (tmp_path / "sig").read_bytes()
    assert load(strict, signature) == ""
    assert load(strict, signature, data=b"seven778") == "EKEYREJECTED"
    (tmp_path / "ours").write_bytes(key.sign(raw, DATA))
    check = [openssl, "cms", "-verify", "-binary", "-inform", "DER", "-noverify", "-certfile", str(key.cert)]
    check += ["-content", str(tmp_path / "message"), "-in", str(tmp_path / "ours"), "-out", "/dev/null"]
    subprocess.run(check, check=True, capture_output=True)


def test_a_signed_skeleton_loads_where_signatures_are_required(strict: Side, keys: dict[str, Key], tmp_path: Path) -> None:
    key = keys["rsa"]
    signed = ["-S", "-k", str(key.key), "-i", str(key.cert)]
    for name, options in (("plain", []), ("signed", signed)):
        assert main(["gen", "skeleton", "-L", *options, compiled("trip"), "-o", str(tmp_path / f"{name}.py")]) == 0
    modules = {}
    for name in ("plain", "signed"):
        spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
        assert spec is not None and spec.loader is not None
        modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])
    before = strict.open_fds()
    with pytest.raises(OSError) as refused:
        modules["plain"].Trip().load(strict.bpf)
    assert refused.value.errno == errno.EKEYREJECTED
    skel = modules["signed"].Trip()
    skel.rodata.step = 11  # values are the loader's to take, not the signature's
    with skel.load(strict.bpf):
        assert strict.run(skel.progs.count.fd)[1] == 11
    # One byte of what was signed.
    trip = modules["signed"].Trip
    for blob in ("INSNS", "DATA"):
        changed = bytearray(getattr(trip, blob))
        changed[len(changed) // 2] ^= 1
        altered = type("Altered", (trip,), {blob: bytes(changed)})
        with pytest.raises(OSError) as refused:
            altered().load(strict.bpf)
        assert refused.value.errno == errno.EKEYREJECTED
    assert strict.open_fds() == before


@pytest.mark.parametrize(
    ("key", "cert", "why"),
    [
        ("none", "rsa", "no such file"),
        ("rsa", "none", "no such file"),
        ("rsa", "ec", "is not the certificate of"),
        ("rsa.cert", "rsa", "no private key"),
        ("rsa", "rsa.key", "no certificate"),
    ],
)
def test_bad_keys_are_bad_input(
    key: str, cert: str, why: str, keys: dict[str, Key], capsys: pytest.CaptureFixture[str]
) -> None:
    def file(name: str, what: str) -> str:
        if name == "none":
            return "/no/such.pem"
        name, _, other = name.partition(".")
        return str(getattr(keys[name], other or what))

    words = ["-S", "-k", file(key, "key"), "-i", file(cert, "cert")]
    assert main(["gen", "skeleton", "-L", *words, compiled("trip")]) == 2
    assert why in capsys.readouterr().err


# -- maps that belong to one program --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "size", "wanted"), [(32, 32, 0), (32, 31, -22), (32, 0, -22), (32, 33, -22), (0, 32, -22), (-1, 32, -14)]
)
def test_an_exclusive_map_is_made_with_a_sha256(given: int, size: int, wanted: int, side: Side) -> None:
    keep = Buffers()
    addr = 8 if given < 0 else keep.put(bytes(given))
    assert min(side.map(excl_prog_hash=addr, excl_prog_hash_size=size), 0) == wanted


def test_an_exclusive_map_is_its_programs_alone(side: Side) -> None:
    text, other = "r1 = map[idx:0]\nr0 = 6\nexit", "r1 = map[idx:0]\nr0 = 7\nexit"
    keep = Buffers()
    digest = hashlib.sha256(encode(assemble(text))).digest()
    m = side.map(excl_prog_hash=keep.put(digest), excl_prog_hash_size=32)
    assert side.load(text, fds=[m]) > 0
    assert side.load(other, fds=[m]) == -errno.EACCES
    assert "program's hash doesn't match map's excl_prog_hash" in side.log
    assert side.update(m, bytes(8)) == 0  # processes are not programs


@pytest.mark.skipif(not signs(), reason="a bpftool that signs")
@pytest.mark.parametrize("what", ["", "insns", "signature", "stranger"])
def test_what_bpftool_signed_is_let_in_as_it_was(what: str, strict: Side, keys: dict[str, Key]) -> None:
    """It signs the instructions alone, and counts no map."""
    key = keys["stranger" if what == "stranger" else "rsa"]
    made, signed = bpftool_signed("trip", key.key, key.cert)
    insns = bytearray(made.insns)
    if what == "insns":
        insns[-8] ^= 1
    if what == "signature":
        signed = signed[:-1] + bytes([signed[-1] ^ 1])
    m, keep = strict.map(value=len(made.data)), Buffers()
    assert strict.update(m, made.data) == 0
    given = {"signature": keep.put(signed), "signature_size": len(signed)}
    wanted = {"": "", "stranger": "ENOKEY"}.get(what, "EKEYREJECTED")
    fd = strict.load(decode(bytes(insns)), uapi.BPF_PROG_TYPE_SYSCALL, fds=[m], license=b"Dual BSD/GPL\0", **given)
    assert (errno_name(-fd) if fd < 0 else "") == wanted


def test_a_kernel_without_the_means_says_so(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux built without signatures (as here), and ours where `cryptography` is not installed."""
    keep = Buffers()
    signature = {"signature": keep.put(bytes(300)), "signature_size": 300}
    if side.is_live:
        assert side.load("r0 = 0\nexit", **signature) in (-errno.EOPNOTSUPP, -errno.EBADMSG)
        return
    import builtins

    real = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert side.load("r0 = 0\nexit", **signature) == -errno.EOPNOTSUPP
