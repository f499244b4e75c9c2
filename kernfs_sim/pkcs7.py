"""PKCS#7 signatures as the kernel takes them: detached, by a certificate that one of its keyrings holds.

The little of DER that they are made of is read here, strictly; the arithmetic is the `cryptography` package's.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bpfjit.dataclass import dataclass
from bpfjit.errors import refuse

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_SEQUENCE, _SET, _INTEGER, _OCTETS, _OID = 0x30, 0x31, 0x02, 0x04, 0x06
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_DATA = bytes.fromhex("2a864886f70d010701")
_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")
# SHA-2 by the last byte of its object identifier.
_SHA2 = bytes.fromhex("6086480165030402")
_HASHES = {1: "SHA256", 2: "SHA384", 3: "SHA512"}


class Malformed(ValueError):
    """Bytes that are no such structure."""


class _Der:
    """A cursor over DER: take() one element of a tag, its contents as another cursor or as bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def done(self) -> bool:
        return self.at == len(self.data)

    def tag(self) -> int:
        return self.data[self.at] if not self.done else -1

    def element(self) -> tuple[int, bytes, bytes]:
        """The next element: (tag, contents, all of its bytes)."""
        start, data = self.at, self.data
        if len(data) - start < 2:
            raise Malformed("ends inside an element")
        size, at = data[start + 1], start + 2
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 4 or len(data) - at < count:
                raise Malformed("an element of no definite length")
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if len(data) - at < size:
            raise Malformed("an element reaches past the end")
        self.at = at + size
        return data[start], data[at : self.at], data[start : self.at]

    def take(self, tag: int) -> bytes:
        found, contents, _ = self.element()
        if found != tag:
            raise Malformed(f"tag {found:#x}, wanted {tag:#x}")
        return contents

    def into(self, tag: int) -> _Der:
        return _Der(self.take(tag))


@dataclass(frozen=True, slots=True)
class _Signer:
    issuer: bytes
    serial: int
    key_id: bytes
    digest: bytes
    attributes: bytes
    signature: bytes


def _signers(data: bytes) -> list[_Signer]:
    """The signers of a detached SignedData. Raises Malformed."""
    outer = _Der(data)
    info = outer.into(_SEQUENCE)
    if not outer.done or info.take(_OID) != _SIGNED_DATA:
        raise Malformed("no SignedData")
    signed = info.into(0xA0).into(_SEQUENCE)
    signed.take(_INTEGER)
    signed.take(_SET)
    content = signed.into(_SEQUENCE)
    if content.take(_OID) != _DATA or not content.done:
        raise Malformed("the signed data are in the message")
    for tag in (0xA0, 0xA1):  # certificates and revocations, which nobody trusts
        if signed.tag() == tag:
            signed.element()
    infos, found = signed.into(_SET), []
    while not infos.done:
        found.append(_signer(infos.into(_SEQUENCE)))
    if not found or not signed.done:
        raise Malformed("no signer")
    return found


def _signer(info: _Der) -> _Signer:
    info.take(_INTEGER)
    issuer, serial, key_id = b"", 0, b""
    if info.tag() == 0x80:
        key_id = info.take(0x80)
    else:
        who = info.into(_SEQUENCE)
        issuer = who.element()[2]
        serial = int.from_bytes(who.take(_INTEGER), "big", signed=True)
    digest = info.into(_SEQUENCE).take(_OID)
    attributes = info.element()[2] if info.tag() == 0xA0 else b""
    info.take(_SEQUENCE)
    return _Signer(issuer, serial, key_id, digest, attributes, info.take(_OCTETS))


def verify(data: bytes, message: bytes, trusted: Iterable[Certificate]) -> None:
    """Check that `data` signs `message` for every signer, with certificates of `trusted`.

    Raises EBADMSG (malformed), ENOPKG (an unknown digest), ENOKEY (nobody trusted), EKEYREJECTED (a wrong signature).
    """
    try:
        signers = _signers(data)
    except Malformed as e:
        raise refuse(errno.EBADMSG, f"signature of {len(data)} bytes: {e}") from None
    certificates = list(trusted)
    for signer in signers:
        if signer.digest[:-1] != _SHA2 or signer.digest[-1] not in _HASHES:
            raise refuse(errno.ENOPKG, f"signature with digest {signer.digest.hex()}, wanted SHA-2")
        certificate = next((c for c in certificates if _is_of(signer, c)), None)
        if certificate is None:
            raise refuse(errno.ENOKEY, f"no trusted certificate of serial {signer.serial:x}")
        if not _holds(signer, message, certificate.public_key()):
            raise refuse(errno.EKEYREJECTED, "the signature is not one over these instructions and data")


def _is_of(signer: _Signer, certificate: Certificate) -> bool:
    if signer.key_id:
        from cryptography.x509 import SubjectKeyIdentifier

        return SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest == signer.key_id
    return certificate.serial_number == signer.serial and certificate.issuer.public_bytes() == signer.issuer


def _holds(signer: _Signer, message: bytes, key: Any) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    form = getattr(hashes, _HASHES[signer.digest[-1]])()
    if signer.attributes:
        hasher = hashes.Hash(form)
        hasher.update(message)
        if _attribute(signer.attributes, _MESSAGE_DIGEST) != hasher.finalize():
            return False
        message = bytes([_SET]) + signer.attributes[1:]  # what is signed is the set itself
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signer.signature, message, padding.PKCS1v15(), form)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signer.signature, message, ec.ECDSA(form))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _attribute(raw: bytes, wanted: bytes) -> bytes:
    try:
        attributes = _Der(raw).into(0xA0)
        while not attributes.done:
            attribute = attributes.into(_SEQUENCE)
            if attribute.take(_OID) == wanted:
                return attribute.into(_SET).take(_OCTETS)
    except Malformed:
        pass
    return b""
