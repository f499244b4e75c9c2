"""Signatures over loader programs: PKCS#7 as the kernel checks it, made by the `cryptography` package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ObjectError, UsageError


def message(insns: bytes, metadata: Sequence[bytes]) -> bytes:
    """What is signed: the instructions, then the contents of the program's maps in the order of its fd_array."""
    return b"".join((insns, *metadata))


def sign(insns: bytes, metadata: Sequence[bytes], key: str, cert: str) -> bytes:
    """A detached PKCS#7 signature (SHA-256, no attributes, no certificates) as DER bytes.

    key, cert: PEM files. Raises ObjectError for files that cannot be read, UsageError for a key that is not the
    certificate's, or where `cryptography` is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
        from cryptography.hazmat.primitives.serialization import pkcs7
        from cryptography.x509 import load_pem_x509_certificate
    except ImportError:
        raise UsageError("signing wants the package 'cryptography' (pip install bpfjit[sign])") from None
    try:
        private = serialization.load_pem_private_key(_read(key), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise ObjectError(f"no private key: {e}", file=key) from None
    try:
        certificate = load_pem_x509_certificate(_read(cert))
    except ValueError as e:
        raise ObjectError(f"no certificate: {e}", file=cert) from None
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise UsageError(f"{key}: wanted an RSA or EC key")
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise UsageError(f"{cert} is not the certificate of {key}")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(message(insns, metadata))
    builder = builder.add_signer(certificate, private, hashes.SHA256())
    options = [
        pkcs7.PKCS7Options.DetachedSignature,
        pkcs7.PKCS7Options.Binary,
        pkcs7.PKCS7Options.NoAttributes,
        pkcs7.PKCS7Options.NoCerts,
    ]
    return builder.sign(serialization.Encoding.DER, options)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise ObjectError((e.strerror or "unreadable").lower(), file=path) from None
