"""The kernel's keyrings: whose signatures over programs it believes."""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING

from bpfjit.errors import refuse

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

BUILTIN, SECONDARY, PLATFORM = 0, 1, 2  # what keyring_id says of the system's own
SESSION = -3  # KEY_SPEC_SESSION_KEYRING


class Keyrings:
    """Certificates by keyring. The secondary keyring includes the builtin one, as in Linux."""

    def __init__(self) -> None:
        self._rings: dict[int, list[Certificate]] = {ring: [] for ring in (BUILTIN, SECONDARY, PLATFORM, SESSION)}
        self._serials = itertools.count(1 << 20)

    def create(self) -> int:
        """A keyring of a user's; its serial number."""
        serial = next(self._serials)
        self._rings[serial] = []
        return serial

    def add(self, pem: bytes, ring: int = BUILTIN) -> None:
        """Trust a certificate. Raises EOPNOTSUPP without the `cryptography` package, ValueError for what is none."""
        try:
            from cryptography.x509 import load_pem_x509_certificate
        except ImportError:
            raise refuse(errno.EOPNOTSUPP, "certificates want the package 'cryptography'") from None
        self._rings[ring].append(load_pem_x509_certificate(pem))

    def certificates(self, ring: int) -> list[Certificate]:
        """Raises EINVAL for a keyring that is not there."""
        if ring not in self._rings:
            raise refuse(errno.EINVAL, f"no keyring {ring}")
        found = self._rings[ring]
        return self._rings[BUILTIN] + found if ring == SECONDARY else found
